"""Plain data against its type: what does not fit is named, with its value and what there is."""

import math

import pytest
from helpers.messages import raises
from msgspec import Struct

from effowt_d2.utils.typed import as_typed, as_typed_list


class Point(Struct, forbid_unknown_fields=True):
    x: float
    tags: list[str] = []


class ListError(Exception):
    pass


def test_what_fits():
    assert as_typed({"x": 1}, Point, "here", ListError) == Point(1.0)
    assert math.isnan(as_typed({"x": math.nan}, Point, "here", ListError).x)
    assert as_typed_list([{"x": 1.5, "tags": ["a"]}], Point, "here", ListError) == [Point(1.5, ["a"])]


@pytest.mark.parametrize(
    "data, expected",
    [
        ({"x": "1"}, ["'x'", "'1'", "float", "str"]),
        ({"x": 1, "tags": ["a", 2]}, ["'tags'", "['a', 2]", "[1]", "str", "int"]),
        ({"tags": []}, ["'x'", "'tags'"]),
        ({"x": 1, "z": 2}, ["'z'", "x, tags"]),
        ({"x": 1, 5: 2}, ["5", "x, tags"]),
        ([1, 2], ["[1, 2]", "x, tags"]),
        (None, ["None", "x, tags"]),
        ({"x": "a" * 1000}, ["'x'"]),
    ],
)
def test_what_does_not_fit_is_named(data, expected):
    with raises(ListError, "list.yaml: point 'a':", *expected) as error:
        as_typed(data, Point, "list.yaml: point 'a'", ListError)
    assert len(str(error.value)) < 300
    with raises(ListError, "list.yaml: point 71:", *expected):
        as_typed_list([{"x": 1}, data, {"x": None}], Point, "list.yaml: point", ListError, start=70)

"""Domains of settings: what they hold, and their text."""

import math

import pytest

from effowt_d2.utils.domains import Choice, Flag, Integer, ListOf, OneOf, Real, Text, domain_like

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "domain, inside, outside",
    [
        (Flag(), [True, False], [0, 1, None, "True"]),
        (Integer(), [0, -5], [True, 1.0, None, "1", NAN]),
        (Integer(2, 4), [2, 4], [1, 5, 3.0]),
        (Real(), [0, -1e300], [NAN, INF, -INF, True, None, "1"]),
        (Real(0, 1), [0, 1, 0.5], [-1e-9, 1.1, NAN]),
        (Real(0, 1, open_low=True, open_high=True), [0.5], [0, 1]),
        (Text(), ["", "a"], [None, 1, ["a"]]),
        (Text(empty=False), ["a"], [""]),
        (Choice(("a", "b")), ["a"], ["c", "", None, ["a"]]),
        (Choice(lambda: ["late"]), ["late"], ["early"]),
        (ListOf(Integer(0)), [[], (1, 2)], [[-1], [1.0], 1, "12", None, [NAN]]),
        (ListOf(Flag(), 1, 2), [[True], [True, False]], [[], [True] * 3]),
        (OneOf(Integer(1), None), [1, None], [0, "x"]),
        (domain_like(1), [-7], [None, 1.5, INF]),
        (domain_like(1.5), [-7.0], [None, NAN]),
        (domain_like((1, "a")), [[], [1.0, ["b", 2]]], [None, [INF], [[NAN]]]),
        (domain_like(None), [None, 1, "a"], [NAN, [INF]]),
    ],
)
def test_what_is_inside(domain, inside, outside):
    assert [value for value in inside if not domain.holds(value)] == []
    assert [value for value in outside if domain.holds(value)] == []


@pytest.mark.parametrize(
    "domain, data",
    [
        (Integer(2, 4), ["2", "4"]),
        (Integer(3), ["3"]),
        (Real(0, 1, open_high=True), ["[0", "1)"]),
        (Choice(("a", "b")), ["a", "b"]),
        (ListOf(Integer(1), 3, 3), ["3", "1"]),
        (ListOf(Text(), 1, 2), ["1", "2"]),
        (OneOf(Flag(), None), ["True", "False", "None"]),
    ],
)
def test_texts_have_the_limits(domain, data):
    assert [part for part in data if part not in str(domain)] == []

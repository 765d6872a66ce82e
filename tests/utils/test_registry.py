"""Parts by name."""

import pytest
from helpers.messages import raises

from effowt_d2.utils.registry import Registry


@pytest.fixture
def shapes():
    registry = Registry("shapes", argument="shape")
    registry.register("square")(int)
    registry.register("disc")(float)
    return registry


def test_parts_have_names_of_their_own_choice(shapes):
    @shapes.register("sum")
    def add():
        return 3

    assert shapes.get("sum") is add and add() == 3 and shapes.get("disc") is float
    assert shapes.names() == ["disc", "square", "sum"] and list(shapes) == [int, float, add]


def test_an_unknown_name_lists_the_known_ones_and_names_the_argument(shapes):
    with raises(ValueError, "shape", "star", ["disc", "square"]) as caught:
        shapes.get("star")
    assert caught.value.argument == "shape"


def test_a_name_that_is_taken_names_who_has_it(shapes):
    with raises(ValueError, "disc", "shapes", "float"):
        shapes.register("disc")(str)
    assert shapes.get("disc") is float

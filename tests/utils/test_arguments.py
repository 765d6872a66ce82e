"""Errors name an argument, and in from_config the key that it comes from."""

import pickle
from functools import partial

import pytest
from helpers.messages import raises

from effowt_d2.utils.arguments import about_argument, bad_argument, config_keys


def make(*, width=1, kind=ValueError):
    if width < 1:
        raise bad_argument("width", f"must be at least 1, got {width}", kind)
    return width


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, RuntimeError])
def test_the_key_is_put_in_front_of_the_argument(kind):
    with raises(kind, "width", 0) as caught:
        make(width=0, kind=kind)
    plain = str(caught.value)
    with raises(kind, "MODEL.BOX.WIDTH", plain) as caught, config_keys("MODEL.BOX"):
        make(width=0, kind=kind)
    assert type(caught.value) is kind and str(caught.value).startswith("MODEL.BOX.WIDTH")


def test_a_key_of_another_name():
    with raises(ValueError, "MODEL.SIDES", "width"), config_keys("MODEL.BOX", width="MODEL.SIDES"):
        make(width=-3)


def test_the_innermost_key_stands():
    with raises(ValueError, "MODEL.BOX.WIDTH") as caught, config_keys("MODEL"), config_keys("MODEL.BOX"):
        make(width=0)
    assert "MODEL.WIDTH" not in str(caught.value)


def test_a_function_is_wrapped_for_all_its_calls():
    wrapped = config_keys("MODEL.BOX")(partial(make, kind=OSError))
    assert wrapped(width=4) == 4
    for _ in range(2):
        with raises(OSError, "MODEL.BOX.WIDTH", 0):
            wrapped(width=0)


def test_other_errors_pass_as_they_are():
    for error in (ValueError("width"), KeyError("width"), ValueError()):
        with pytest.raises(type(error)) as caught, config_keys("MODEL.BOX"):
            raise error
        assert caught.value is error and "MODEL" not in str(error)


def test_errors_of_a_part_can_be_about_an_argument():
    with raises(OSError, "MODEL.BOX.FILE", "gone"), config_keys("MODEL.BOX"), about_argument("file"):
        raise OSError("gone")
    with raises(ValueError, "MODEL.BOX.WIDTH"), config_keys("MODEL.BOX"), about_argument("file"):
        make(width=0)


def test_they_survive_the_way_between_processes():
    error = pickle.loads(pickle.dumps(bad_argument("width", "must be at least 1, got 0")))
    with raises(ValueError, "MODEL.BOX.WIDTH", "width", 0), config_keys("MODEL.BOX"):
        raise error

"""Values that arguments can't have."""

import math

import pytest
from helpers.messages import raises

from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.checks import check_choice, check_count, check_number, check_positive

GOOD = [
    (check_choice, "b", (["ab", "b"],), "b"),
    (check_count, 1, (), 1),
    (check_count, 0, (0,), 0),
    (check_number, 0, (), 0.0),
    (check_number, 1e9, (), 1e9),
    (check_number, -1, (-1.0, 1.0), -1.0),
    (check_number, 1, (0.0, 1.0), 1.0),
    (check_positive, 3, (), 3.0),
    (check_positive, 1e-9, (), 1e-9),
]
BAD = [
    *((check_choice, value, (["ab", "b"],), ("ab", "b")) for value in ("c", "a", "", 3)),
    *((check_count, value, (), (1,)) for value in (0, -1, 1.0, True, "2", None)),
    (check_count, -1, (0,), (0,)),
    *((check_number, value, (), (0,)) for value in (-1e-9, math.nan, math.inf, True, "2", None)),
    *((check_number, value, (0.5, 2.0), ("0.5", 2)) for value in (0.4, 2.1, math.nan)),
    *((check_positive, value, (), (0,)) for value in (0, -1.0, math.nan, math.inf, False, "2", None)),
]


@pytest.mark.parametrize("check, value, limits, expected", GOOD)
def test_good_values_are_returned(check, value, limits, expected):
    found = check("width", value, *limits)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize("check, value, limits, data", BAD)
def test_bad_values_are_named_with_argument_key_and_limits(check, value, limits, data):
    with raises(ValueError, "MODEL.BOX.WIDTH", "width", *data) as caught, config_keys("MODEL.BOX"):
        check("width", value, *limits)
    assert repr(value) in str(caught.value)

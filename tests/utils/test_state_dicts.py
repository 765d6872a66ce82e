"""The comparison of two state dicts."""

import torch
from helpers.messages import raises

from effowt_d2.utils.state_dicts import check_tensors, grouped_by_number
from effowt_d2.utils.tensor_files import CheckpointError


def state(**shapes):
    return {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}


def test_equal_ones_pass_whatever_their_values_and_order():
    check_tensors({"b": torch.ones(3), "a": torch.ones(2)}, state(a=2, b=3), problem="no")


def test_all_differences_are_listed_with_numbers_together():
    found = state(blocks__0__w=(2, 2), blocks__1__w=(2, 2), norm=3, extra=1)
    expected = state(blocks__0__w=(2, 4), blocks__1__w=(2, 4), norm=3, head__7__b=5)
    data = ("file.pt", 4, "missing: head.7.b (5,)", "unexpected: extra (1,)", "blocks.N.w", "(2, 2)", "(2, 4)")
    with raises(CheckpointError, *data, "(2)"):
        check_tensors(found, expected, problem="file.pt is of another model")


def test_lines_that_differ_in_numbers_only_share_one():
    lines = ["a.0.x", "a.1.x", "a.1.y", "b"]
    assert grouped_by_number(lines) == ["a.N.x (2)", "a.1.y", "b"]

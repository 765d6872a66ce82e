"""Which entries a frame looks at, and which are kept: the recorded table, and long runs."""

import pytest
import torch
from helpers.golden import golden_manifest
from sot.state import Reference
from spmtrack.memory import Memory, MemoryPolicy, halves, thirds


@pytest.mark.parametrize("rule, name", [(halves, "halves"), (thirds, "thirds")])
def test_entries_are_those_of_the_release(rule, name):
    table = golden_manifest("spmtrack")["history"]
    key = next(key for key in table if key.startswith(name) and "large" not in key)
    assert [rule(t, 3) for t in table["t"]] == table[key]
    assert {t: rule(int(t), 3) for t in table[f"{name}_large_t"]} == table[f"{name}_large_t"]


def test_entries_of_hand_cases():
    assert [halves(t, 3) for t in (4, 8)] == [[0, 1, 3], [0, 2, 6]] and thirds(9, 3) == [0, 3, 6]
    assert halves(7, 1) == [0] and halves(7, 2) == [0, 3] and thirds(8, 4) == [0, 2, 4, 6]


def entry(number, targets=2):
    return Reference(torch.full((targets, 3, 2, 2), float(number)), torch.ones(targets, 1, 1, dtype=torch.bool))


def run(policy, frames, admitted=None):
    """The memory behind each frame, and what each frame looked at."""
    memory = Memory({0: entry(0)}, torch.zeros(2, 1, 4), torch.zeros(2, dtype=torch.int64))
    for frame in range(1, frames + 1):
        yield memory, [int(reference.crops[0, 0, 0, 0]) for reference in policy.look_up(memory, frame)]
        good = torch.ones(2, dtype=torch.bool) if admitted is None else admitted(frame)
        memory = policy.add(memory, frame, entry(frame), good)
    yield memory, None


@pytest.mark.parametrize("history", ["halves", "thirds"])
@pytest.mark.parametrize("references", [2, 3, 4])
def test_pruning_never_takes_what_is_needed(history, references):
    policy = MemoryPolicy(references=references, history=history)
    sizes = []
    for frame, (memory, looked) in enumerate(run(policy, 300), 1):
        sizes.append(len(memory.entries))
        assert looked is None or looked == policy.wanted(frame)
    assert sizes[-1] < 300 and max(sizes[:50]) < sizes[-1]


def test_least_entries_wanted_never_decrease():
    for history in ("halves", "thirds"):
        policy = MemoryPolicy(history=history)
        least = [min(policy.wanted(frame)[1:]) for frame in range(1, 10_001)]
        assert least == sorted(least)


def test_a_cap_keeps_memory_flat():
    sizes, looked = zip(*((len(memory.entries), entries) for memory, entries in run(MemoryPolicy(cap=8), 400)))
    assert max(sizes) == 9 and sizes[-1] == 9
    wanted = MemoryPolicy().wanted(400)
    # stand-ins are near what is wanted, and never later
    assert looked[399][0] == 0 and all(0 <= want - have < 100 for want, have in zip(wanted, looked[399]))
    alone = [entries for _, entries in run(MemoryPolicy(history="first"), 20) if entries]
    assert alone == [[0, 0, 0]] * 20
    (*_, (memory, _)) = run(MemoryPolicy(history="first"), 20)
    assert len(memory.entries) == 2


def test_what_is_not_admitted_is_stood_in_for():
    policy = MemoryPolicy()
    # the second target is lost in frames 2 and 3
    (*_, (memory, _)) = run(policy, 3, lambda frame: torch.tensor([True, frame < 2]))
    assert memory.skipped.tolist() == [0, 2]
    assert [int(memory.entries[k].crops[0, 0, 0, 0]) for k in (1, 2, 3)] == [1, 2, 3]
    assert [int(memory.entries[k].crops[1, 0, 0, 0]) for k in (1, 2, 3)] == [1, 1, 1]


@pytest.mark.parametrize(
    "argument, value", [("references", 0), ("history", "quarters"), ("cap", -1), ("admit_score", 1.5)]
)
def test_a_policy_refuses_what_cannot_be(argument, value):
    with pytest.raises(ValueError, match=argument) as error:
        MemoryPolicy(**{argument: value})
    assert str(value) in str(error.value)

"""Known, unknown and distractor by ids or names, one definition for a file, a caller and TAO."""

import numpy as np
import pytest
from helpers import own_data, shared_data
from helpers.messages import raises

from effowt_d2.assets.tao import is_tao, tao_names, tao_vocabulary
from effowt_d2.evaluation import evaluate_tao_ow
from effowt_d2.evaluation.groups import choose_groups, find_categories, tao_groups

NAMES = {3: "dog", 7: "car", 8: "car", 9: "traffic_light"}


@pytest.mark.parametrize(
    "wanted, ids, missing",
    [
        (["dog"], {3}, []),
        (["car"], {7, 8}, []),
        (["traffic light", 3], {9, 3}, []),
        (["cow", "Dog", 55], {55}, ["cow", "Dog"]),
        (("dog",), {3}, []),
        (np.array([7]), {7}, []),
    ],
)
def test_categories_by_name_or_id(wanted, ids, missing):
    assert find_categories(wanted, NAMES, "here") == (ids, missing)


@pytest.mark.parametrize(
    "wanted, value", [("dog", "dog"), (5, 5), ([1.5], 1.5), ([True], True), ([None], None), ({3: 1}, 3)]
)
def test_what_is_no_list_of_categories(wanted, value):
    with raises(ValueError, "here", value):
        find_categories(wanted, NAMES, "here")


def test_who_decides():
    file = {"known": ["dog"], "distractor": [9]}
    groups = choose_groups(None, file, "f.json", NAMES)
    assert (groups.known, groups.distractor, groups.unknown) == ({3}, {9}, None)
    given = choose_groups({"known": ["car"]}, file, "f.json", NAMES)
    assert (given.known, given.distractor) == ({7, 8}, set())
    assert choose_groups(None, None, "f.json", NAMES) is None
    tao = {805: "baby", 382: "dog"}
    assert choose_groups(None, None, "f.json", tao) == tao_groups()
    assert choose_groups(None, None, "f.json", tao, tao_lists=False) is None


def test_names_that_are_missing():
    with raises(ValueError, "f.json", "open_world", "known", "'cow'", "'car'"):
        choose_groups(None, {"known": ["cow"]}, "f.json", NAMES)
    with raises(ValueError, "f.json", "'cow'"):
        choose_groups({"known": ["cow"]}, None, "f.json", NAMES)
    assert choose_groups({"known": ["cow", "dog"]}, None, "f.json", NAMES, partial=True).known == {3}
    for bad in ({"distractor": [1]}, {"known": [1], "others": [2]}, [1], {"known": [3], "distractor": ["dog"]}):
        with raises(ValueError, "f.json"):
            choose_groups(bad, None, "f.json", NAMES)


def test_which_files_are_tao():
    assert is_tao({805: "person"}) and is_tao({805: "baby", 2005: "mine", 211: "car_(automobile)"})
    assert is_tao({1132: "traffic light", 118: "boat"})
    # another name, or no evidence
    assert not is_tao({805: "person", 382: "cat"}) and not is_tao({1: "person", 2: "dog"}) and not is_tao({})
    assert not is_tao({category["id"]: category["name"] for category in own_data.CATEGORIES})


def test_names_of_coco_find_taos_categories():
    names = {805: "baby", 211: "car_(automobile)", 382: "dog"}
    assert find_categories(["person", "car", "dog"], names, "here") == ({805, 211, 382}, [])
    # in a file that isn't TAO's, car_(automobile) is another name
    assert find_categories(["car"], {211: "car_(automobile)", 382: "cat"}, "here") == (set(), ["car"])


def test_the_table_of_tao():
    names, groups = tao_names(), tao_groups()
    assert len(tao_vocabulary()) == 369 and groups.known <= names.keys() and len(names) == 391
    assert names[805] == ("person", "baby") and names[91] == ("bench",)


def test_davis_in_tao_format_gets_taos_lists():
    from effowt_d2.formats import read_dataset

    dataset = read_dataset(shared_data("davis_tao", "annotations", "validation.json"))
    assert choose_groups(None, None, dataset.file, dataset.category_names) == tao_groups()


def test_a_file_of_ones_own_is_not_scored_by_taos_lists():
    document = own_data.tao()
    with raises(ValueError, "known", "unknown", "open_world", "--known", "dog", "car", "camel"):
        evaluate_tao_ow(document, [])
    assert evaluate_tao_ow(document, [], ["all"])["all"]["objects"] == 3
    scores = evaluate_tao_ow(
        document, [], groups={"known": ["dog"], "distractor": [7]}, subsets=["known", "unknown", "distractor"]
    )
    assert [score["objects"] for score in scores.values()] == [1, 1, 1]


def test_groups_by_name_in_a_file_of_a_user():
    file = shared_data("..", "cases", "training", "sv_names.json")
    scores = evaluate_tao_ow(file, [])
    assert [scores[subset]["objects"] for subset in ("all", "known", "unknown")] == [1, 1, 0]
    with raises(ValueError, "own_val_tao_nogroups.json", "dog", "goat"):
        evaluate_tao_ow(shared_data("..", "cases", "training", "own_val_tao_nogroups.json"), [])


def test_distractors_of_groups_of_ones_own_are_not_unknown():
    groups = choose_groups({"known": ["dog"], "distractor": ["car"]}, None, "f.json", NAMES)
    members = {
        name: groups.members(name, np.array([3, 7, 8, 9])).tolist() for name in ("known", "distractor", "unknown")
    }
    assert members == {
        "known": [True, False, False, False],
        "distractor": [False, True, True, False],
        "unknown": [False, False, False, True],
    }

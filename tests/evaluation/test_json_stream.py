"""Reading a long list in pieces equals reading it at once."""

import json

from helpers.messages import raises
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from effowt_d2.evaluation.json_stream import read_json_list

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(alphabet='a}{],["\\é ', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=8),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
)
def test_equals_json_load(tmp_path, entries, chunk, indent):
    path = tmp_path / "list.json"
    path.write_text(json.dumps(entries, indent=indent, ensure_ascii=False), encoding="utf-8")
    pieces = list(read_json_list(str(path), dict, ValueError, chunk=chunk))
    assert [entry for piece in pieces for entry in piece] == entries


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 119), chunk=st.integers(1, 60))
def test_every_cut_off_file_is_an_error(tmp_path, cut, chunk):
    path = tmp_path / "list.json"
    text = json.dumps([{"image_id": i, "bbox": [1, 2, 3, 4]} for i in range(4)]) + "\n"
    assert len(text) > 120
    path.write_text(text[: -1 - cut])
    with raises(KeyError, path):
        list(read_json_list(str(path), dict, KeyError, chunk=chunk))


class Numbered(Struct):
    id: int


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=st.integers(0, 9), value=st.sampled_from(["7", 7.5, None, float("nan")]), chunk=st.integers(1, 90))
def test_an_entry_of_another_type_is_named_wherever_pieces_end(tmp_path, bad, value, chunk):
    path = tmp_path / "list.json"
    parts = [{"name": "} , {"}, {"name": "]"}]
    entries = [{"parts": parts, "id": value if number == bad else number} for number in range(10)]
    path.write_text(json.dumps(entries))
    with raises(KeyError, path, f"entry {bad}", "id", value):
        list(read_json_list(str(path), Numbered, KeyError, chunk=chunk))


def test_pieces_are_small(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"id": i} for i in range(1000)]))
    sizes = [len(piece) for piece in read_json_list(str(path), Numbered, ValueError, chunk=1000)]
    assert sum(sizes) == 1000 and max(sizes) < 120


def test_pieces_are_small_where_entries_hold_objects(tmp_path):
    path = tmp_path / "list.json"
    masks = [{"segmentation": {"size": [9, 9], "counts": "a" * 40}, "id": i} for i in range(1000)]
    path.write_text(json.dumps(masks))
    sizes = [len(piece) for piece in read_json_list(str(path), Numbered, ValueError, chunk=1000)]
    assert sum(sizes) == 1000 and max(sizes) < 20

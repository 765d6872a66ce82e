"""Compressed files of tensors."""

import torch

from effowt_d2.utils.tensor_files import read_tensors, save_compressed


def write(file, content):
    with open(file, "wb") as stream:
        save_compressed(content, stream)


def test_compressed_files_hold_the_same_in_less_room(tmp_path):
    content = {"model": {"a": torch.randn(100, 100).half(), "b": torch.zeros(200, 100)}, "note": "some text"}
    write(tmp_path / "compressed.pth", content)
    torch.save(content, tmp_path / "plain.pth")
    read = read_tensors(str(tmp_path / "compressed.pth"))
    assert read["note"] == "some text" and list(read) == list(content) and list(read["model"]) == ["a", "b"]
    assert all(read["model"][name].equal(tensor) for name, tensor in content["model"].items())
    assert (tmp_path / "compressed.pth").stat().st_size < (tmp_path / "plain.pth").stat().st_size - 80_000


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        write(tmp_path / name, {"a": torch.arange(10.0)})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()

"""``effowt://NAME`` as a path."""

from detectron2.utils.file_io import PathManager
from helpers.messages import raises

from effowt_d2.assets.paths import resolve_weights


def test_shipped_names_are_paths():
    path = "effowt://ShapesCLIP-S-16"
    assert PathManager.isfile(path) and PathManager.exists(path) and not PathManager.exists("effowt://gone")
    with PathManager.open(path, "rb") as stream, open(resolve_weights(path), "rb") as file:
        assert stream.read(64) == file.read(64)
    with raises(OSError, path):
        PathManager.open(path, "wb")
    with raises(FileNotFoundError, "effowt://gone", "ShapesCLIP-S-16"):
        resolve_weights("effowt://gone")
    assert resolve_weights("some/file.pth") == "some/file.pth"

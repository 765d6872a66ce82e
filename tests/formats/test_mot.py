"""MOTChallenge folders and text files."""

import shutil

import pytest
from helpers import own_data
from helpers.messages import raises

from effowt_d2.formats import DatasetError, read_dataset


@pytest.fixture
def folder(tmp_path):
    return own_data.write_mot(own_data.write_images(tmp_path / "train"))


def boxes(dataset):
    names = {image.id: image.file_name for image in dataset.images}
    return {(names[a.image_id], a.track_id): tuple(a.bbox) for a in dataset.annotations}


def expected():
    return {
        (own_data.file_name(v, f), t): tuple(own_data.box(t, f))
        for t, (v, _, _) in own_data.TRACKS.items()
        for f in range(own_data.FRAMES)
    }


@pytest.mark.parametrize("format", ["", "mot"])
def test_a_folder_of_sequences(folder, format):
    dataset = read_dataset(folder, folder, format)
    assert boxes(dataset) == expected()
    assert [(v.id, v.name, v.fps) for v in dataset.videos] == [(1, "a", 10), (2, "b", 10)]
    assert [(i.id, i.video_id, i.frame_index) for i in dataset.images] == [(n, n // 3 + 1, n % 3) for n in range(6)]
    assert {(i.width, i.height) for i in dataset.images} == {(64, 48)}
    assert dataset.category_names == {1: "pedestrian", 3: "car"}
    # nested, and one alone
    assert boxes(read_dataset(folder.parent, folder.parent)).keys() == {(f"train/{n}", t) for n, t in expected()}
    assert len(read_dataset(folder / "a", folder / "a").images) == 3


def test_without_an_info_file_the_images_tell(folder):
    for video in own_data.VIDEOS:
        (folder / video / "seqinfo.ini").unlink()
    dataset = read_dataset(folder, folder)
    assert boxes(dataset) == expected() and dataset.filled["images.width, height"] == 6
    # eight digits, as DanceTrack has them
    for image in (folder / "a" / "img1").iterdir():
        image.rename(image.with_name("00" + image.name))
    assert read_dataset(folder, folder).images[0].file_name == "a/img1/00000001.png"


def test_images_that_are_missing_keep_their_place(folder):
    (folder / "a" / "img1" / "000002.png").unlink()
    names = [image.file_name for image in read_dataset(folder, folder).images]
    assert names[1] == "a/img1/000002.png" and len(names) == 6


def test_labels_with_a_flag_of_0_are_omitted(folder):
    file = folder / "b" / "gt" / "gt.txt"
    file.write_text(file.read_text().replace(",1,3,1.0", ",0,3,1.0", 1))
    dataset = read_dataset(folder, folder)
    assert len(dataset.annotations) == 8 and dataset.left_out == {"flag 0": 1}


def test_what_the_demo_writes(folder):
    """One text file of ten columns; the frames are a folder's images."""
    text = folder.parent / "tracked.txt"
    lines = [f"{f + 1},{t + 1},{','.join(map(str, own_data.box(t, f)))},0.9,-1,-1,-1" for t in (1, 2) for f in range(3)]
    text.write_text("\n".join(lines) + "\n")
    dataset = read_dataset(text, folder / "a" / "img1")
    assert [video.name for video in dataset.videos] == ["tracked"] and dataset.category_names == {0: "object"}
    assert [image.file_name for image in dataset.images] == [f"00000{n}.png" for n in (1, 2, 3)]
    assert boxes(dataset)["000002.png", 3] == tuple(own_data.box(2, 1))
    shutil.rmtree(folder / "a" / "img1")
    (folder / "a" / "img1").mkdir()
    with raises(DatasetError, text, folder / "a" / "img1"):
        read_dataset(text, folder / "a" / "img1")


@pytest.mark.parametrize(
    "line, data",
    [
        ("1,2,3", ["'1,2,3'"]),
        ("1,2,3,4,5,x,1", ["'1,2,3,4,5,x,1'"]),
        ("1 2 3 4 5 6 7", ["'1 2 3 4 5 6 7'"]),
        ("1.5,2,3,4,5,6,1,1,1", ["'1.5,2,3,4,5,6,1,1,1'"]),
        ("nan,2,3,4,5,6,1,1,1", ["nan"]),
        ("4,2,3,4,5,6,1,1,1", ["frame 4", 3, "'a'"]),
        ("0,2,3,4,5,6,1,1,1", ["frame 0"]),
    ],
)
def test_lines_that_are_malformed(folder, line, data):
    file = folder / "a" / "gt" / "gt.txt"
    file.write_text(f"\n{line}\n")
    with raises(DatasetError, file, "line 2", *data):
        read_dataset(folder, folder)


def test_boxes_follow_the_rule_of_all_formats(folder):
    file = folder / "a" / "gt" / "gt.txt"
    file.write_text("2,1,5,5,-3,4,1,1,1\n")
    with raises(DatasetError, "annotations 0", "a/img1/000002.png", "-3.0"):
        read_dataset(folder, folder)


def test_folders_without_sequences(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with raises(DatasetError, tmp_path / "empty", "seqinfo.ini", "gt/gt.txt"):
        read_dataset(tmp_path / "empty")
    (folder / "a" / "seqinfo.ini").write_text("[Sequence]\nseqLength=three\n")
    with raises(DatasetError, folder / "a" / "seqinfo.ini", "three"):
        read_dataset(folder, folder)
    (folder / "a" / "seqinfo.ini").write_text("seqLength=3\n")
    with raises(DatasetError, folder / "a" / "seqinfo.ini"):
        read_dataset(folder, folder)

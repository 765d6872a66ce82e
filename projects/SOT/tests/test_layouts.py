"""Readers of dataset folders: every layout reads back as it was written, and what is wrong names the sequence."""

import shutil

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.configs import plugin_config
from sot.data.builtin import register_all
from sot.data.catalog import load_sequences
from sot.data.documents import read_document
from sot.data.frame_names import NumberedFiles, compact
from sot.data.layouts import LAYOUTS, read_layout
from sot.data.made_clips import make_clip

from effowt_d2.data.datasets.registration import register_datasets
from effowt_d2.formats import DatasetError


def read(layout, folders):
    root = folders[layout]
    if layout in LAYOUTS.names():
        return read_layout(layout, root)
    if layout == "mot":
        return read_document(root, root, "mot")
    return read_document(root / "annotations.json", root / "frames", layout)


@pytest.mark.parametrize("layout", [*LAYOUTS.names(), "tao", "mot"])
def test_every_layout_reads_back(layout, folders, clips):
    found = {
        sequence.name.removesuffix(f"-{number}") if layout == "tao" else sequence.name: sequence
        for number, sequence in enumerate(read(layout, folders), 1)
    }
    for clip in clips:
        sequence = found[f"{clip.name}-1"] if layout == "mot" else found[clip.name]
        assert len(sequence) == len(clip.frames) and sequence.visible.tolist() == clip.present.tolist()
        np.testing.assert_array_equal(sequence.boxes[clip.present], clip.boxes[clip.present])
        assert [file.rsplit("/", 1)[0] for file in sequence.files][0].count(clip.name)
    if layout in ("lasot", "lasot_ext", "got10k"):
        # flags say what is absent, and the boxes stay
        np.testing.assert_array_equal(found["rectangle-2"].boxes, clips[1].boxes)
    sized = {"got10k", "tao", "mot"}
    assert found[next(iter(found))].size == ((96, 128) if layout in sized else None)
    texts = {"lasot": "a rectangle on noise", "tnl2k": "a rectangle on noise"}
    assert next(iter(found.values())).text == texts.get(layout, texts["lasot"] if layout == "lasot_ext" else "")


def test_stills_are_sequences_of_one_frame(folders, clips):
    stills = read("coco", folders)
    assert len(stills) == sum(clip.present.sum() for clip in clips) == len({still.name for still in stills})
    assert all(still.still and len(still) == 1 for still in stills)
    np.testing.assert_array_equal(stills[3].boxes[0], clips[0].boxes[3])


def test_a_list_chooses_sequences(folders, tmp_path):
    (tmp_path / "some.txt").write_text("rectangle-3\n\nrectangle-1\n")
    for layout in LAYOUTS.names():
        chosen = read_layout(layout, folders[layout], tmp_path / "some.txt")
        assert [sequence.name for sequence in chosen] == ["rectangle-3", "rectangle-1"]


def test_made_clips_can_be_rendered_again():
    one, again, other = (make_clip("a", frames=4, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.frames, again.frames) and not np.array_equal(one.frames, other.frames)
    assert (one.boxes[:, 2:] - one.boxes[:, :2]).min() > 8
    x0, y0, x1, y1 = one.boxes[0].astype(int)
    hidden = make_clip("a", frames=4, seed=1, absent=range(0, 1)).frames[0]
    assert not np.array_equal(one.frames[0][y0:y1, x0:x1], hidden[y0:y1, x0:x1])


@pytest.fixture
def copied(folders, tmp_path):
    """``copied(layout)``: a copy to spoil."""

    def copy(layout):
        return shutil.copytree(folders[layout], tmp_path / layout)

    return copy


FAULTS = {
    "lasot": ("rectangle/rectangle-2/groundtruth.txt", "rectangle/rectangle-2/img"),
    "lasot_ext": ("rectangle/rectangle-2/groundtruth.txt", "rectangle/rectangle-2/img"),
    "got10k": ("rectangle-2/groundtruth.txt", None),
    "trackingnet": ("TRAIN_1/anno/rectangle-2.txt", "TRAIN_1/frames/rectangle-2"),
    "tnl2k": ("rectangle-2/groundtruth.txt", "rectangle-2/imgs"),
}


@pytest.mark.parametrize("layout", FAULTS)
def test_faults_name_the_sequence(layout, copied):
    root = copied(layout)
    truth, images = FAULTS[layout]
    lines = (root / truth).read_text().splitlines()
    (root / truth).write_text("\n".join(lines[:-2]))
    with pytest.raises(DatasetError, match="rectangle-2.*12.*10"):
        read_layout(layout, root)
    (root / truth).write_text("\n".join([*lines[:3], "1,2,three,4", *lines[4:]]))
    with pytest.raises(DatasetError, match="rectangle-2.*line 4.*three"):
        read_layout(layout, root)
    (root / truth).write_text("\n".join(lines))
    if images is not None:
        shutil.rmtree(root / images)
        with pytest.raises(FileNotFoundError, match="rectangle-2"):
            read_layout(layout, root)


@pytest.mark.parametrize(
    "layout, file, text",
    [
        ("lasot", "rectangle/rectangle-2/full_occlusion.txt", "0,1,0"),
        ("got10k", "rectangle-2/absence.label", "0\n1"),
        ("got10k", "rectangle-2/cover.label", "8\n8\n8"),
        ("got10k", "rectangle-2/absence.label", "no\nyes"),
        ("got10k", "rectangle-2/meta_info.ini", "[METAINFO]\nresolution: wide"),
    ],
)
def test_labels_that_do_not_fit_name_the_sequence(layout, file, text, copied):
    root = copied(layout)
    (root / file).write_text(text)
    with pytest.raises(DatasetError, match="rectangle-2"):
        read_layout(layout, root)


def test_a_test_sequence_has_one_box(copied):
    root = copied("got10k")
    for number in (1, 2, 3):
        truth = root / f"rectangle-{number}" / "groundtruth.txt"
        truth.write_text(truth.read_text().splitlines()[0])
    assert not any(sequence.annotated for sequence in read_layout("got10k", root))


def test_missing_folders_and_lists_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_layout("lasot", tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="got10k"):
        read_layout("got10k", tmp_path)
    with pytest.raises(FileNotFoundError, match="list.txt"):
        read_layout("tnl2k", tmp_path, tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("bird-1\n")
    with pytest.raises(FileNotFoundError, match="bird-1"):
        read_layout("trackingnet", tmp_path, tmp_path / "list.txt")
    with pytest.raises(ValueError, match="otb.*lasot"):
        read_layout("otb", tmp_path)


def test_millions_of_names_are_not_kept():
    names = [f"a/b-2/img/{n:08d}.jpg" for n in range(1, 2000)]
    kept = compact(names)
    assert isinstance(kept, NumberedFiles) and list(kept) == names and kept[5:7] == names[5:7] and kept[-1] == names[-1]
    assert compact(["0.jpg", "1.jpg", "10.jpg"]) == ("0.jpg", "1.jpg", "10.jpg")
    assert compact([f"{n}.jpg" for n in range(12)]) == [f"{n}.jpg" for n in range(12)]
    assert compact(["first.jpg", "second.jpg"]) == ("first.jpg", "second.jpg")


@pytest.fixture
def clean_catalogs():
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_a_config_registers_folders(folders, clips, clean_catalogs):
    root = str(folders["got10k"])
    document = folders["tao"]
    entries = [
        ["mine", root, root, "got10k"],
        ["mine_tao", str(document / "annotations.json"), str(document / "frames"), "sot_tao"],
    ]
    cfg = plugin_config()
    cfg.DATA.REGISTER = entries
    register_datasets(cfg)
    register_datasets(cfg)
    assert [sequence.name for sequence in load_sequences("mine")] == [clip.name for clip in clips]
    assert len(DatasetCatalog.get("mine_tao")) == 36 and MetadataCatalog.get("mine").convention == "got10k"
    with pytest.raises(ValueError, match="mine.*got10k|got10k"):
        cfg.DATA.REGISTER = [["other", root, root, "olympic"]]
        register_datasets(cfg)
    with pytest.raises(ValueError, match="coco_2017_val"):
        load_sequences("coco_2017_val")


def test_public_datasets_are_registered_where_they_are_unpacked(folders, tmp_path, clean_catalogs):
    names = ["lasot_test", "got10k_val", "trackingnet_train", "tnl2k_test"]
    for name in [*names, "lasot_train", "lasot_ext_test", "davis_tao_val", "sot_coco_2017_val"]:
        assert name in DatasetCatalog.list() and MetadataCatalog.get(name).evaluator_type == "one_pass"
    places = {"lasot": "lasot", "got10k/val": "got10k", "trackingnet": "trackingnet", "tnl2k/test": "tnl2k"}
    for place, layout in places.items():
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).symlink_to(folders[layout])
    for name in list(DatasetCatalog.list()):
        if MetadataCatalog.get(name).get("evaluator_type") == "one_pass":
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
    register_all(tmp_path)
    for name in names:
        assert len(load_sequences(name)) == 3
    with pytest.raises(FileNotFoundError, match="got10k_test.*got10k/test"):
        load_sequences("got10k_test")

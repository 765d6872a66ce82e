"""Layouts on disk, records, crops, and the training loader."""

import pickle

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.colour_images import COLOURS, draw
from helpers.messages import raises
from sparse_tuning.data.arrays import read_torchvision
from sparse_tuning.data.builtin import VTAB
from sparse_tuning.data.catalog import classes_of, register_images, same_classes
from sparse_tuning.data.images import ImageSet, Labelled, frames_of, records_of
from sparse_tuning.data.layouts import LAYOUTS
from sparse_tuning.data.loader import build_labelled_loader
from sparse_tuning.data.views import test_view as make_test_view
from sparse_tuning.data.views import training_view

from effowt_d2.data.images import read_record_image
from effowt_d2.engine import make_config
from effowt_d2.formats import DatasetError


def read(layout, source, folder=None):
    return LAYOUTS.get(layout)(source, folder or source)


def test_class_folders_are_classes(colours):
    images = read("image_folder", colours / "train")
    assert images.classes == tuple(COLOURS) and [item.label for item in images.items] == [0] * 4 + [1] * 4 + [2] * 4
    records = records_of(images, 0)
    assert records[5]["label"] == 1 and records[5]["file_name"].endswith("green/1.png") and "video_id" not in records[5]


def test_lists_as_vtab_has_them(tmp_path, colours):
    for name, lines in {"train800val200": ["green/0.png 1", "red/0.png 4"], "test": ["red/1.png 2"]}.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "notes.txt").write_text("no list\n")
    images = read("image_list", tmp_path / "test.txt", colours / "train")
    # as many classes as the largest label of any list
    assert len(images.classes) == 5 and [item.label for item in images.items] == [2]
    assert images.items[0].files == (str(colours / "train" / "red/1.png"),)
    (tmp_path / "test.txt").write_text("red/1.png 2\n\nred/1.png two\n")
    with raises(DatasetError, "test.txt", 3, "two"):
        read("image_list", tmp_path / "test.txt", colours / "train")


def test_tiny_imagenets_validation_images_are_in_one_folder(tmp_path):
    for wnid in ("n02", "n01"):
        draw(tmp_path / "train" / wnid / "images" / f"{wnid}_0.png", (9, 9, 9), 0)
    draw(tmp_path / "val" / "images" / "val_0.png", (9, 9, 9), 0)
    table = tmp_path / "val" / "val_annotations.txt"
    table.write_text("val_0.png\tn02\t0\t0\t62\t62\n")
    train, val = (read("tiny_imagenet", tmp_path / part, tmp_path) for part in ("train", "val"))
    assert train.classes == val.classes == ("n01", "n02") and val.items[0].label == 1
    assert val.items[0].files == (str(tmp_path / "val" / "images" / "val_0.png"),) and len(train.items) == 2
    table.write_text("val_0.png\tn03\t0\n")
    with raises(DatasetError, 1, "n03"):
        read("tiny_imagenet", tmp_path / "val", tmp_path)


def test_clips_are_folders_of_frames(tmp_path):
    for number in range(6):
        draw(tmp_path / "jump" / "a" / f"{number:02d}.png", (9, 9, 9), number)
    draw(tmp_path / "run" / "b" / "00.png", (9, 9, 9), 0)
    clips = read("frame_folder", tmp_path)
    records = records_of(clips, 3)
    assert [record["file_name"][-6:-4] for record in records] == ["01", "03", "05", "00", "00", "00"]
    assert [record["video_id"] for record in records] == [0, 0, 0, 1, 1, 1]
    assert [record["frame_index"] for record in records] == [0, 1, 2] * 2
    (tmp_path / "run" / "c").mkdir()
    with raises(DatasetError, "c"):
        read("frame_folder", tmp_path)


def test_frames_of_a_clip():
    files = list("abcdefgh")
    assert frames_of(files, 4) == list("bdfh") and frames_of(files, 0) == files
    assert frames_of(files, 2, [0.0, 0.999]) == ["a", "h"] and frames_of(["a"], 3) == ["a"] * 3


def write_cifar(root):
    """CIFAR-10's files with 2 images each, and their checksums."""
    import hashlib

    from torchvision.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    sums = {}
    for number, (name, _) in enumerate([*CIFAR10.train_list, *CIFAR10.test_list]):
        pixels = np.full((2, 3 * 1024), 10 * number, np.uint8)
        pixels[1, :1024] = 200
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [number, 9]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class{n}" for n in range(10)]}))
    for file in folder.iterdir():
        sums[file.name] = hashlib.md5(file.read_bytes()).hexdigest()
    return sums


def test_torchvisions_arrays_are_read_as_files(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    sums = write_cifar(tmp_path)
    for lists in ("train_list", "test_list"):
        monkeypatch.setattr(CIFAR10, lists, [[name, sums[name]] for name, _ in getattr(CIFAR10, lists)])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    train, test = (read_torchvision("cifar10", split, tmp_path) for split in ("train", "test"))
    assert len(train.items) == 10 and [item.label for item in test.items] == [5, 9] and test.classes[9] == "class9"
    image = read_record_image({"file_name": test.items[1].files[0]}, "RGB")
    assert image.shape == (32, 32, 3) and image[0, 0].tolist() == [200, 50, 50]
    assert read_record_image({"file_name": test.items[1].files[0]}, "BGR")[0, 0].tolist() == [50, 50, 200]
    with raises(FileNotFoundError, "cifar100", tmp_path):
        read_torchvision("cifar100", "test", tmp_path)


def test_builtin_sets_are_registered_and_read_when_used():
    names = [f"vtab_{name}_{part}" for name in VTAB for part in ("train", "tune", "val", "test")]
    assert len(VTAB) == 19 and set(names) <= set(DatasetCatalog.list())
    for name in ("cifar100_test", "svhn_train", "food101_test", "kinetics400_val", "ssv2_train", "tiny_imagenet_val"):
        assert MetadataCatalog.get(name).evaluator_type == "classification"
    assert MetadataCatalog.get("kinetics400_val").frames == 8
    with raises(FileNotFoundError, "vtab_dtd_train", "train800val200.txt"):
        classes_of("vtab_dtd_train")
    with raises(ValueError, "coco_2017_val", "vtab_dtd_train"):
        classes_of("coco_2017_val")


def test_sets_that_cannot_be(registered, colours, tmp_path):
    with raises(FileNotFoundError, tmp_path / "gone"):
        read("image_folder", tmp_path / "gone")
    with raises(DatasetError, tmp_path):
        read("image_folder", tmp_path)
    with raises(DatasetError, "no images"):
        ImageSet(("a",), ())
    with raises(DatasetError, "x.png", 3):
        ImageSet(("a",), (Labelled(("x.png",), 3),))
    registered[:] = ["st_all", "st_some"]
    images = read("image_folder", colours / "train")
    register_images("st_all", lambda: images)
    register_images("st_some", lambda: ImageSet(images.classes[:2], images.items[:8]))
    with raises(ValueError, "st_all", "st_some", 3, 2, "red"):
        same_classes(["st_all", "st_some"])


def test_training_views():
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    image[:, :, 30:] = 200
    torch.manual_seed(0)
    squashed = training_view(16, crop="squash", flip="none")(image)
    assert squashed.shape == (3, 16, 16) and squashed[0, 0, :6].max() == 0 and squashed[0, 0, 11:].min() == 200
    flipped = [training_view(16, crop="squash", flip="horizontal")(image)[0, 0, 0].item() for _ in range(20)]
    assert {value > 100 for value in flipped} == {True, False}
    parts = {int(training_view(16, scale=(0.1, 0.2))(image).float().mean()) for _ in range(20)}
    assert len(parts) > 2
    clip = training_view(16, scale=(0.1, 0.5))(image.expand(4, -1, -1, -1))
    assert clip.shape == (4, 3, 16, 16) and (clip == clip[:1]).all()
    with raises(ValueError, "scale", 0.9):
        training_view(16, scale=(0.9, 0.1))
    with raises(ValueError, "train_crop", "middle", "random"):
        training_view(16, crop="middle")


def test_evaluation_views():
    image = torch.zeros(3, 40, 80, dtype=torch.uint8)
    image[:, :, :20] = 200
    # the middle square of half the shorter side does not reach the bright quarter; the squashed image does
    assert make_test_view(20, fraction=0.5)(image).max() == 0
    assert make_test_view(20, crop="squash")(image)[0, 0, :3].tolist() == [200] * 3
    with raises(ValueError, "test_crop", "random", "center"):
        make_test_view(20, crop="random")


def test_batches_depend_on_seed_and_place_alone(config):
    cfg = config()
    first, second = (iter(build_labelled_loader(cfg)) for _ in range(2))
    one, other = next(first), next(second)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(one, other))
    assert {x["image"].shape for x in one} == {(3, 64, 64)} and one[0]["image"].dtype == torch.uint8
    later = build_labelled_loader(cfg)
    later.batches.start = 1
    again, resumed = next(first), next(iter(later))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(again, resumed))
    labels = [x["label"] for x in [*one, *again]]
    assert sorted(labels) == [0] * 4 + [1] * 4 + [2] * 4
    for x in one:
        assert x["image"].float().mean((1, 2)).argmax() == 2 - x["label"]


def test_clips_train_on_as_many_frames(config, registered, tmp_path):
    for number in range(5):
        draw(tmp_path / "a" / "clip" / f"{number}.png", (9, 9, 9), number)
        draw(tmp_path / "b" / "clip" / f"{number}.png", (9, 9, 9), number, (48, 40 if number else 44))
    cfg = config()
    entry = ["clips", str(tmp_path), str(tmp_path), "frame_folder_4"]
    registered += ["clips"]
    cfg = make_config("", ["IMPORTS", "('sparse_tuning',)", "DATA.REGISTER", [entry], "DATASETS.TRAIN", ["clips"]])
    cfg.DATALOADER.NUM_WORKERS, cfg.SOLVER.IMS_PER_BATCH, cfg.SEED, cfg.INPUT.CLASSIFICATION.SIZE = 0, 1, 0, 32
    loader = iter(build_labelled_loader(cfg))
    seen = {}
    with raises(OSError, "differ", "b"):
        for _ in range(50):
            (sample,) = next(loader)
            seen[sample["label"]] = sample["image"].shape
    assert seen[0] == (4, 3, 32, 32)


def test_sets_for_evaluation_are_not_trained_on(config, registered, colours):
    cfg = config()
    registered += ["st_held_out"]
    register_images("st_held_out", lambda: read("image_folder", colours / "test"), split="test")
    cfg.DATASETS.TRAIN = ("st_held_out",)
    with raises(ValueError, "st_held_out", "evaluation"):
        build_labelled_loader(cfg)

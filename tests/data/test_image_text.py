"""Words, class folders, captions and boxes as pairs of image and text; what is broken, missing or ambiguous."""

import csv
import json
import logging
import os

import numpy as np
import pytest
from PIL import Image

from effowt_d2.data.image_text import (
    PackedImages,
    Row,
    Sample,
    Vocabulary,
    box_samples,
    caption_samples,
    folder_samples,
    pack,
    read_vocabulary,
)
from effowt_d2.data.image_text.batches import PairBatches, random_crop
from effowt_d2.data.image_text.sources import read_square
from effowt_d2.data.image_text.texts import class_text
from effowt_d2.utils.files import DiskFullError

DOG, CAT, ANIMAL = (
    Row(("d", "dog1"), ("dog", "hound"), ("a",), "it barks"),
    Row(("c",), ("cat",), ("a",)),
    Row(("a",), ("animal",)),
)
COLOURS = {"d": (200, 30, 30), "c": (30, 200, 30)}


@pytest.fixture
def folders(tmp_path):
    """Two classes of eight images each, a table of captions and a manifest of boxes."""
    for label, colour in COLOURS.items():
        (tmp_path / "train" / label).mkdir(parents=True)
        for i in range(8):
            Image.new("RGB", (40 + i, 32), colour).save(tmp_path / "train" / label / f"{i}.png")
    (tmp_path / "train" / "d" / "notes.txt").write_text("no image")
    return tmp_path


# words


def test_a_vocabulary_file_is_read(tmp_path):
    file = tmp_path / "words.tsv"
    file.write_text("# animals\nd,dog1\tdog, hound\ta\tit barks\n\nc\tcat\ta\na\tanimal\n", encoding="utf-8")
    words = read_vocabulary(file)
    assert list(words) == [DOG, CAT, ANIMAL]
    assert words.index == {"d": 0, "dog1": 0, "c": 1, "a": 2} and words.kinds == [(2,), (2,), ()]


@pytest.mark.parametrize("other", ["Crane", "CRANE", "big  crane"])
def test_case_and_blanks_make_no_other_name(other):
    """The tokenizer ignores both."""
    words = Vocabulary([Row(("bird",), ("crane", "big crane", "wader")), Row(("machine",), (other, "derrick"))])
    assert words[1].names == ("derrick",) and len(words[0].names) == 2 and other in words.shared_names
    assert Vocabulary([Row(("a",), ("Apple", "apple"))])[0].names == ("Apple", "apple"), "of one class they may differ"


def test_a_name_of_two_classes_is_omitted_from_both(caplog):
    words = Vocabulary([Row(("bird",), ("crane", "wader")), Row(("machine",), ("crane", "derrick"))])
    assert [row.names for row in words] == [("wader",), ("derrick",)] and words.shared_names == ["crane"]
    assert "crane" in caplog.text


@pytest.mark.parametrize(
    "text, parts",
    [
        ("bird\tcrane\nmachine\tcrane, derrick\n", ["bird", "crane"]),
        ("x\tcat\nx\tdog\n", ["'x'", "cat", "dog"]),
        ("x\tcat\tmammal\n", ["mammal", "'x'"]),
        ("cat\n", ["line 1", "'cat'"]),
        ("# nothing\n", ["no lines"]),
        ("x\tb\xe4r\n", ["utf-8"]),
    ],
    ids=["no name left", "an id twice", "unknown kind", "no names", "empty", "latin-1"],
)
def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path, text, parts):
    (tmp_path / "words.tsv").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError) as error:
        read_vocabulary(tmp_path / "words.tsv")
    assert all(part in str(error.value) for part in [*parts, "words.tsv"])


def test_texts_use_all_names_and_the_description():
    random = np.random.default_rng(0)
    texts = {class_text(Vocabulary([DOG, CAT, ANIMAL]), 0, random) for _ in range(200)}
    for part in ("hound", "it barks", "dog, a animal", "a photo of a dog"):
        assert any(part in text for text in texts), part


# sources


def test_class_folders(folders):
    samples = folder_samples(folders / "train")
    assert [s.label for s in samples] == ["c"] * 8 + ["d"] * 8
    with pytest.raises(FileNotFoundError, match="nowhere"):
        folder_samples(folders / "nowhere")
    (folders / "empty" / "class").mkdir(parents=True)
    with pytest.raises(ValueError, match="empty"):
        folder_samples(folders / "empty")


def test_captions_of_an_image_are_gathered(folders):
    table = folders / "captions.csv"
    table.write_text("image,caption\ntrain/d/0.png,A dog .\ntrain/d/0.png,It barks\ntrain/c/1.png,\n")
    assert caption_samples(table) == [Sample(str(folders / "train/d/0.png"), "", None, ("A dog .", "It barks"))]


def test_rows_without_an_image_and_a_caption_are_named(folders, caplog):
    table = folders / "captions.csv"
    rows = [
        "image,caption",
        "a.png,a dog",
        "a.png,a dog, a cat",
        "b.png",
        "b.png, ",
        ",alone",
        '"b.png","two',
        'lines"',
        "c.png,",
    ]
    table.write_text("\n".join(rows))
    assert [sample.captions for sample in caption_samples(table)] == [("a dog",), ("two\nlines",)]
    for problem in (
        "1 rows with too many cells skipped, lines [3]",
        "1 rows with too few cells skipped, lines [4]",
        "2 rows with no caption skipped, lines [5, 9]",
        "1 rows with no image skipped, lines [6]",
    ):
        assert f"{table}: {problem}" in caplog.text


@pytest.mark.parametrize(
    "text, message",
    [
        ("file,caption\n", r"'image'.*'file'"),
        ("", r"missing, it has \[\]"),
        ("image,caption\na.png,\n", "no row with an image and a caption"),
        ('image,caption\na.png,x\na.png,"open\nb.png,y\n', "line 3 on: unexpected end of data"),
        (f"image,caption\na.png,{'x' * (csv.field_size_limit() + 1)}\n", "line 2 on: field larger"),
        ("image,caption\na.png,b\xe4r\n", "not utf-8 text"),
    ],
    ids=["no column", "empty", "no captions", "an open quote", "a long field", "latin-1"],
)
def test_a_table_that_is_none_is_refused(folders, text, message):
    table = folders / "captions.csv"
    table.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=message) as error:
        caption_samples(table)
    assert str(error.value).startswith(str(table)) and "\n" not in str(error.value)


def test_what_else_is_in_the_folders_is_counted(folders, caplog):
    (folders / "train" / "c" / "more.JPEG").mkdir()
    (folders / "train" / "c" / "inner").mkdir()
    (folders / "train" / "d" / "README").write_text("")
    (folders / "train" / "bare").mkdir()
    folder_samples(folders / "train")
    assert "3 files that are no images skipped: {'folder': 1, 'no extension': 1, '.txt': 1}" in caplog.text
    assert "1 folders without images: ['bare']" in caplog.text


def test_boxes_of_the_split_and_size_only(folders):
    records = [
        {"file": "d/0.png", "split": "train", "boxes": [[0, 0, 30, 30], [0, 0, 5, 9]], "cls": ["d", "d"]},
        {"file": "d/1.png", "split": "val", "boxes": [[0, 0, 30, 30]], "cls": ["d"]},
        {"file": "d/2.png", "split": "train", "boxes": [[0, 0, 30, 30], [2, 2, 30, 30]], "cls": ["d", "c"]},
    ]
    (folders / "boxes.json").write_text(json.dumps(records))
    samples = box_samples(folders / "boxes.json", images=folders / "train")
    assert [(s.label, s.file[-7:]) for s in samples] == [("c", "d/2.png"), ("d", "d/0.png"), ("d", "d/2.png")]
    assert len(box_samples(folders / "boxes.json", images=folders / "train", per_class=1)) == 2


def test_boxes_without_an_area_are_named(folders, caplog):
    boxes = [[30, 0, 0, 30], [0, 30, 30, 0], [5, 5, 5, 40], [float("nan"), 0, 30, 30], [0, 0, float("inf"), 9]]
    records = [
        {"file": "d/0.png", "boxes": [*boxes, [0, 0, 30, 30]], "cls": ["d"] * 6},
        {"file": "x.png", "boxes": [[1, 2, 3, 4]]},
    ]
    (folders / "boxes.json").write_text(json.dumps(records))
    assert [sample.box for sample in box_samples(folders / "boxes.json")] == [(0, 0, 30, 30)]
    assert "5 boxes without an area" in caplog.text and "[30, 0, 0, 30] of d/0.png" in caplog.text


GOOD = {"file": "d/0.png", "boxes": [[0, 0, 30, 30]], "cls": ["d"]}


@pytest.mark.parametrize(
    "content, message",
    [
        ({"images": [], "annotations": []}, "list of records.*'images', 'annotations'"),
        (7, "list of records.*7"),
        ([GOOD, "x"], "record 1: expected an object, got 'x'"),
        ([GOOD, {"boxes": [], "cls": []}], "record 1 has no file, it has .*'boxes'"),
        ([GOOD, {"file": "x.png"}], "record 1 has no boxes"),
        ([GOOD, GOOD | {"file": 7}], "record 1: file must be a text"),
        ([GOOD, GOOD | {"boxes": None}], "record 1: .*boxes and cls lists"),
        ([GOOD, GOOD | {"cls": "d"}], "record 1: .*boxes and cls lists"),
        ([GOOD, GOOD | {"cls": []}], r"record 1 \(d/0.png\): 1 boxes, but 0 labels"),
        ([GOOD, GOOD | {"boxes": [["0", "0", "9", "9"]]}], r"record 1 \(d/0.png\): a box is .*'0'"),
        ([GOOD, GOOD | {"boxes": [[0, 0, 9]]}], "record 1 .*four numbers"),
        ([GOOD, GOOD | {"boxes": [None]}], "record 1 .*got None"),
        ([GOOD, GOOD | {"cls": [3]}], "record 1 .*labels are texts.*got 3"),
        ([GOOD | {"split": "val"}], "no labelled box of 24 pixels .*'train'.*{'val': 1}"),
        ([GOOD | {"boxes": [[0, 0, 9, 9]]}], "no labelled box of 24 pixels"),
        ([], "no labelled box"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, content, message):
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as error:
        box_samples(file)
    assert str(error.value).startswith(str(file)) and "\n" not in str(error.value)


def test_a_manifest_that_is_cut_off_is_refused(tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps([GOOD])[:30])
    with pytest.raises(ValueError, match="boxes.json is not a complete JSON file"):
        box_samples(tmp_path / "boxes.json")


def test_the_part_of_a_box_inside_the_image_counts(folders):
    """The images are 40 to 47 pixels wide and 32 high."""
    file = str(folders / "train/d/0.png")
    inside, over = (read_square(Sample(file, "", box), 16) for box in ((20, 10, 40, 32), (20, 10, 400, 320)))
    assert np.array_equal(inside, over)
    records = [GOOD | {"boxes": [[0, 0, 30, 30], [40, 0, 80, 30], [-60, -60, -10, -10]], "cls": ["d"] * 3}]
    (folders / "boxes.json").write_text(json.dumps(records))
    with pytest.raises(ValueError, match=r"2 of 3 images.*\(40, 0, 80, 30\) is outside its 40 x 32 pixels"):
        pack(box_samples(folders / "boxes.json", images=folders / "train"), folders / "packed", side=16)


@pytest.mark.parametrize("kind", ["I;16", "F", "RGBA", "P", "CMYK"])
def test_images_of_every_kind_are_read(tmp_path, kind):
    """A ramp from black to white; deep images are scaled by the rule of ``effowt_d2.utils.pixels``."""
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))
    if kind == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 16)
    elif kind == "F":
        image = Image.fromarray(ramp / np.float32(255))
    else:
        image = Image.fromarray(ramp).convert(kind)
    file = tmp_path / ("x.tiff" if kind in ("F", "CMYK") else "x.png")
    image.save(file)
    found = read_square(Sample(str(file), ""), 64)
    assert np.abs(found.astype(int) - ramp[..., None]).max() <= 1


def test_images_are_turned_by_their_exif(tmp_path):
    image = Image.fromarray(np.concatenate([np.zeros((16, 32, 3), np.uint8), np.full((16, 32, 3), 255, np.uint8)]))
    exif = image.getexif()
    exif[0x0112] = 3
    image.save(tmp_path / "x.png", exif=exif)
    found = read_square(Sample(str(tmp_path / "x.png"), ""), 32)
    assert found[2].min() > 250 and found[-3].max() < 5


def test_squares_around_boxes_lie_in_the_image_where_they_fit(tmp_path):
    image = np.zeros((60, 100, 3), np.uint8)
    image[:, 50:] = 255
    Image.fromarray(image).save(tmp_path / "x.png")
    right = read_square(Sample(str(tmp_path / "x.png"), "", (80, 10, 100, 30)), 16)
    assert right.shape == (16, 16, 3) and right.min() == 255, "moved to the left, not filled up with black"
    whole = read_square(Sample(str(tmp_path / "x.png"), ""), 20)
    assert whole[:, :8].max() == 0 and whole[:, 12:].min() == 255, "the central square"
    wide = read_square(Sample(str(tmp_path / "x.png"), "", (0, 0, 100, 60)), 20)
    assert wide[0].max() == 0 and wide[10].max() == 255, "higher than the image"


# packed images


def test_broken_images_are_counted_named_and_omitted(folders, caplog):
    (folders / "train" / "d" / "3.png").write_bytes(b"no image")
    whole = (folders / "train" / "c" / "3.png").read_bytes()
    (folders / "train" / "c" / "3.png").write_bytes(whole[:50])
    packed = pack(folder_samples(folders / "train"), folders / "packed", side=16)
    assert len(packed) == 14 and packed.images.shape == (14, 16, 16, 3) and len(packed.broken) == 2
    assert "2 of 16" in caplog.text and "3.png" in caplog.text
    for image, label in zip(packed.images, packed.labels):
        assert tuple(image[5, 5]) == COLOURS[label]


def test_packed_images_are_used_again_until_something_changes(folders):
    samples = folder_samples(folders / "train")
    first = pack(samples, folders / "packed", side=16)
    time = (folders / "packed" / "images.npy").stat().st_mtime_ns
    assert pack(samples, folders / "packed", side=16).labels == first.labels
    assert (folders / "packed" / "images.npy").stat().st_mtime_ns == time
    assert pack(samples[1:], folders / "packed", side=8).images.shape == (15, 8, 8, 3)


def test_a_changed_file_is_packed_again(folders):
    samples, file = folder_samples(folders / "train"), folders / "train" / "c" / "0.png"
    pack(samples, folders / "packed", side=16)
    Image.new("RGB", (40, 32), (1, 2, 3)).save(file)
    assert tuple(pack(samples, folders / "packed", side=16).images[0, 5, 5]) == (1, 2, 3)
    state = file.stat()
    Image.new("RGB", (40, 32), (3, 2, 1)).save(file)
    assert file.stat().st_size == state.st_size, "the time alone says that it has changed"
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert tuple(pack(samples, folders / "packed", side=16).images[0, 5, 5]) == (3, 2, 1)


def test_broken_images_are_named_again_by_the_next_run(folders, caplog):
    (folders / "train" / "d" / "3.png").unlink()
    gone = str(folders / "train" / "d" / "3.png")
    samples = [*folder_samples(folders / "train"), Sample(gone, "d", (0, 0, 9, 9)), Sample(gone, "d", (9, 9, 30, 30))]
    for _ in range(2):
        caplog.clear()
        assert len(pack(samples, folders / "packed", side=16)) == 15
        assert "2 of 17 images can't be used" in caplog.text and caplog.text.count("3.png: no such file") == 1


def test_images_above_pillows_limit_are_skipped(folders, caplog, monkeypatch):
    Image.new("RGB", (200, 200)).save(folders / "train" / "d" / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15_000)
    assert len(pack(folder_samples(folders / "train"), folders / "packed", side=16)) == 16
    assert "1 of 17" in caplog.text and "huge.png" in caplog.text


@pytest.mark.parametrize("name", ["images.raw", "images.npy"])
def test_a_full_disk_is_no_unreadable_image(folders, name):
    (folders / "packed").mkdir()
    (folders / "packed" / name).symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="images.npy: No space left.* bytes, .* are free"):
        pack(folder_samples(folders / "train"), folders / "packed", side=64)
    assert not (folders / "packed" / "images.raw").is_symlink() and not (folders / "packed" / "index.json").exists()


def test_nothing_half_is_left_by_an_interrupted_run(folders, monkeypatch):
    def interrupted(sample, side):
        raise KeyboardInterrupt

    monkeypatch.setattr("effowt_d2.data.image_text.packed.read_square", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(folder_samples(folders / "train"), folders / "packed", side=16)
    assert list((folders / "packed").iterdir()) == []


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("index.json", lambda content: content[:50], "index.json is not a complete JSON file"),
        ("index.json", lambda content: b"7", "index.json is no index of packed images"),
        ("index.json", lambda content: b'{"labels": []}', "index.json is no index .*captions"),
        ("index.json", lambda content: content.replace(b'["c", ', b"["), "packed is damaged: 16 images .*15 labels"),
        ("images.npy", lambda content: content[:500], "images.npy is damaged"),
        ("images.npy", lambda content: b"", "images.npy is damaged"),
        ("images.npy", lambda content: content.replace(b"|u1", b"|i1"), "images.npy: expected .*int8"),
    ],
)
def test_damaged_packed_images_are_refused(folders, name, change, message):
    pack(folder_samples(folders / "train"), folders / "packed", side=16)
    file = folders / "packed" / name
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=message):
        PackedImages(folders / "packed")


def test_a_source_that_is_mostly_broken_is_refused(folders):
    for file in (folders / "train" / "d").glob("*.png"):
        file.write_bytes(b"")
    (folders / "train" / "c" / "0.png").write_bytes(b"")
    with pytest.raises(ValueError, match="9 of 16"):
        pack(folder_samples(folders / "train"), folders / "packed", side=16)


# batches


def batches(folders, rows=(DOG, CAT, ANIMAL), **settings):
    packed = pack(folder_samples(folders / "train"), folders / "packed", side=32)
    return PairBatches(Vocabulary(rows), [packed], **{"batch": 6, "texts": 3, **settings})


def test_a_batch_fits_together_and_repeats(folders):
    make = batches(folders)
    batch, again = make(3, size=16), make(3, size=16)
    assert batch.images.shape == (6, 16, 16, 3) and batch.images.equal(again.images) and batch.texts == again.texts
    assert not batch.images.equal(make(4, size=16).images)
    assert sorted(batch.text_classes.tolist()) == [0, 1, 2] and batch.kinds.tolist() == [2] * 6
    for image, number in zip(batch.images, batch.classes.tolist()):
        assert tuple(image[8, 8].tolist()) == COLOURS["dc"[number]]
    for text, number in zip(batch.texts, batch.text_classes.tolist()):
        assert any(name in text for name in make.vocabulary[number].names)


def test_captioned_images_come_last_with_their_captions_first(folders):
    (folders / "captions.csv").write_text("image,caption\ntrain/d/0.png,red\ntrain/c/0.png,green\n")
    packed = pack(folder_samples(folders / "train"), folders / "packed", side=32)
    captioned = pack(caption_samples(folders / "captions.csv"), folders / "packed2", side=32)
    make = PairBatches(Vocabulary([DOG, CAT, ANIMAL]), [packed, captioned], batch=6, captioned=0.2, captions=2)
    for step in range(4):
        batch = make(step, size=16)
        assert len(batch.classes) == 5 and len(batch.images) == 6 and sorted(batch.captions) == ["green", "red"]
        assert tuple(batch.images[5, 8, 8].tolist()) == COLOURS["d" if batch.captions[0] == "red" else "c"]


@pytest.mark.parametrize("batch, captioned", [(1, 0), (2, 1), (12, 1), (50, 2)])
def test_small_batches_have_captions_too(folders, batch, captioned):
    (folders / "captions.csv").write_text("image,caption\ntrain/d/0.png,red\ntrain/c/0.png,green\n")
    packed = pack(folder_samples(folders / "train"), folders / "packed", side=32)
    pairs = pack(caption_samples(folders / "captions.csv"), folders / "packed2", side=32)
    made = PairBatches(Vocabulary([DOG, CAT, ANIMAL]), [packed, pairs], batch=batch)(0, size=16)
    assert len(made.images) == batch and len(made.classes) == batch - captioned
    assert not batches(folders, batch=batch)(0, size=16).captions


def test_words_of_the_dictionary_come_with_their_meaning(folders):
    words = [Row((str(i),), (f"word {i}",), (), f"meaning {i}") for i in range(9)] + [Row(("x",), ("unexplained",))]
    batch = batches(folders, dictionary=words, words=5)(0, size=16)
    assert len(set(batch.names)) == 5 and [n.replace("word", "meaning") for n in batch.names] == batch.meanings
    assert len(batches(folders, dictionary=words)(0, size=16).names) == 9, "fewer words than asked for"
    assert batches(folders)(0, size=16).names == []


def test_what_is_missing_is_counted_and_named(folders, caplog):
    caplog.set_level(logging.INFO)
    (folders / "train" / "unknown").mkdir()
    Image.new("RGB", (32, 32)).save(folders / "train" / "unknown" / "0.png")
    make = batches(folders, (DOG, CAT, ANIMAL, Row(("n",), ("nothing",))))
    assert make.without_images == ["nothing"] and make.without_word == {"unknown": 1}
    assert "nothing" in caplog.text and "unknown" in caplog.text and "16 images of 2 classes" in caplog.text
    assert {n for step in range(5) for n in make(step, size=16).text_classes.tolist()} == {0, 1, 2}
    with pytest.raises(ValueError, match="two classes"):
        batches(folders, (DOG, ANIMAL))


def test_rare_classes_are_drawn_more_often_than_their_images(folders):
    for file in list((folders / "train" / "c").glob("*.png"))[2:]:
        file.unlink()
    classes = np.concatenate([batches(folders)(step, size=16).classes.numpy() for step in range(200)])
    assert abs((classes == 1).mean() - 2**0.5 / (2**0.5 + 8**0.5)) < 0.05


def test_crops_are_parts_of_the_image():
    image = np.arange(40 * 40, dtype=np.uint16).reshape(40, 40) // 7
    image = np.repeat(image[..., None], 3, axis=2).astype(np.uint8)
    random = np.random.default_rng(0)
    for size in (16, 64):
        crops = [random_crop(image, size, random) for _ in range(8)]
        assert all(c.shape == (size, size, 3) for c in crops) and len({c.tobytes() for c in crops}) == 8

"""Words, class folders, captions and boxes as pairs of image and text; what is broken, missing or ambiguous."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from effowt_d2.data.image_text import (
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
    ],
    ids=["no name left", "an id twice", "unknown kind", "no names"],
)
def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path, text, parts):
    (tmp_path / "words.tsv").write_text(text)
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
    table.write_text("file,caption\n")
    with pytest.raises(ValueError, match="image.*file"):
        caption_samples(table)


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

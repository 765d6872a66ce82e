"""ShapesOW: its words, shapes and images."""

import dataclasses

import numpy as np
import pytest
from helpers.messages import raises
from pycocotools import mask as coco_mask

from effowt_d2.data.shapes_ow import ImageSplit, VideoSplit, draw_image, draw_video
from effowt_d2.data.shapes_ow.labels import MIN_VISIBLE, open_world_groups
from effowt_d2.data.shapes_ow.outlines import outline
from effowt_d2.data.shapes_ow.render import Look, Pose, draw_object
from effowt_d2.data.shapes_ow.vocabulary import (
    KNOWN_COUNTS,
    NOVEL_SHAPES,
    SHAPES,
    all_categories,
    category_id,
    known_shapes,
    prompts,
    unlabelled_shapes,
)

IMAGES = ImageSplit(count=6, size=96, objects=(2, 4), radii=(10.0, 24.0))

VIDEOS = VideoSplit(videos=3, frames=8, size=96, objects=(3, 4), radii=(10.0, 20.0))


def test_ids_are_those_of_the_categories_and_every_category_has_a_prompt():
    categories = all_categories()
    assert [c.id for c in categories] == list(range(1, len(categories) + 1))
    assert all(category_id(shape=c.shape, texture=c.texture, colour=c.colour) == c.id for c in categories)
    texts = prompts("a {}!")
    assert texts[categories[77].id] == f"a {categories[77].name}!"
    assert len(set(texts.values())) == len(categories)


def test_groups_are_nested_and_novel_shapes_are_in_none():
    assert set(known_shapes(4)) < set(known_shapes(8)) < set(known_shapes(16))
    for known in KNOWN_COUNTS:
        parts = known_shapes(known) + unlabelled_shapes(known) + NOVEL_SHAPES
        assert sorted(parts) == sorted(SHAPES)
        entries = open_world_groups(known)
        assert len(entries["open_world"]["known"]) == known * 40
        assert not set(entries["open_world"]["known"]) & set(entries["novel_category_ids"])


def test_an_unknown_group_or_split_names_what_exists():
    with raises(ValueError, 5, 4, 8):
        known_shapes(5)
    with raises(ValueError, "clips", "train", "val", "test"):
        VideoSplit(name="clips")
    with raises(ValueError, 3, 4):
        VideoSplit(frames=3, changing=True)


def test_a_wrong_word_names_the_vocabulary():
    with raises(KeyError, "teapot", "disc"):
        category_id(shape="teapot", texture="plain", colour="red")
    with raises(KeyError, "teapot"):
        outline("teapot")


def silhouettes(size: int = 96) -> dict[str, np.ndarray]:
    masks = {}
    for shape in SHAPES:
        frame, owners = np.zeros((size, size, 3), np.float32), np.full((size, size), -1, np.int16)
        look = Look(shape, "plain", "red", (200, 0, 0), (90, 0, 0), 1.5, 0.0, 1.0)
        draw_object(frame, owners, 0, look, Pose(size / 2, size / 2, 0.4 * size, 0.0), light=(1.0, 0.0))
        masks[shape] = owners == 0
    return masks


def test_no_two_shapes_look_alike():
    masks = silhouettes()
    for first in SHAPES:
        for second in SHAPES[SHAPES.index(first) + 1 :]:
            union = np.count_nonzero(masks[first] | masks[second])
            assert np.count_nonzero(masks[first] & masks[second]) / union < 0.88, (first, second)


def test_outlines_fill_the_unit_circle():
    for shape in SHAPES:
        points = np.concatenate(outline(shape))
        assert np.linalg.norm(points, axis=1).max() == pytest.approx(1.0)


def test_an_image_depends_on_its_index_only():
    first, labels = draw_image(IMAGES, 3)
    draw_image(IMAGES, 0)
    again, same = draw_image(ImageSplit(count=100, size=96, objects=(2, 4), radii=(10.0, 24.0)), 3)
    assert np.array_equal(first, again) and labels == same
    assert not np.array_equal(first, draw_image(IMAGES, 4)[0])


def test_val_and_test_share_no_video():
    val = next(draw_video(VIDEOS, 0)[1])[0]
    test = next(draw_video(VideoSplit(name="test", videos=3, frames=8, size=96, objects=(3, 4)), 0)[1])[0]
    assert not np.array_equal(val, test)


def test_occlusion_moves_the_label_to_the_visible_part():
    frame, owners = np.zeros((64, 64, 3), np.float32), np.full((64, 64), -1, np.int16)
    look = Look("frame", "plain", "red", (200, 0, 0), (90, 0, 0), 1.5, 0.0, 1.0)
    disc = Look("disc", "plain", "blue", (0, 0, 200), (0, 0, 90), 1.5, 0.0, 1.0)
    whole = draw_object(frame, owners, 0, look, Pose(32, 32, 24, 0.0), light=(1.0, 0.0))
    assert np.count_nonzero(owners == 0) == whole
    assert owners[32, 32] == -1, "the hole of the frame is background"
    draw_object(frame, owners, 1, disc, Pose(32, 32, 8, 0.0), light=(1.0, 0.0))
    assert owners[32, 32] == 1
    hidden = draw_object(frame, owners, 2, disc, Pose(-100, 32, 8, 0.0), light=(1.0, 0.0))
    assert hidden > 150 and not np.any(owners == 2), "outside the frame an object keeps its area and hides nothing"


def test_unlabelled_objects_are_drawn_but_not_annotated():
    everything_hidden = ImageSplit(count=1, size=96, objects=(3, 3), radii=(20.0, 24.0), unlabelled=1.0)
    picture, labels = draw_image(everything_hidden, 0)
    labelled = ImageSplit(count=1, size=96, objects=(3, 3), radii=(20.0, 24.0), unlabelled=0.0)
    assert labels == []
    assert len(draw_image(labelled, 0)[1]) > 0
    saturation = np.ptp(picture.astype(int), axis=2)
    assert np.count_nonzero(saturation > 100) > 200, "bright objects are in the picture"


def test_motion_per_frame_is_at_most_a_third_of_the_object():
    tracks, _ = draw_video(VideoSplit(), 0)
    for track in tracks:
        for before, after in zip(track.poses, track.poses[1:]):
            assert np.hypot(after.x - before.x, after.y - before.y) <= 2 * before.radius / 3


def test_videos_have_what_makes_tracking_hard():
    gaps = occluded = twins = 0
    for index in range(8):
        tracks, frames = draw_video(VideoSplit(frames=24), index)
        seen = np.array([[number in parts for number in range(len(tracks))] for _, parts in frames])
        words = [track.look.category_id for track in tracks]
        twins += len(words) - len(set(words))
        for column in seen.T:
            visible = np.flatnonzero(column)
            gaps += len(visible) > 0 and not column[visible[0] : visible[-1]].all()
    for index in range(4):
        tracks, frames = draw_video(VideoSplit(frames=12), index)
        for _, parts in frames:
            boxes = [part["bbox"] for part in parts.values()]
            overlap = coco_mask.iou(boxes, boxes, [0] * len(boxes))
            occluded += int(np.count_nonzero(np.triu(overlap, 1) > 0.1))
    assert gaps >= 5 and occluded >= 10 and twins >= 3, (gaps, occluded, twins)


def test_looks_change_and_nothing_else_does():
    plain, changing = (draw_video(dataclasses.replace(VIDEOS, frames=24, changing=flag), 1) for flag in (False, True))
    for before, after in zip(plain[0], changing[0], strict=True):
        assert before.poses == after.poses and before.look == after.look == after.look_at(0)
        assert before.look_at(23) == before.look
        last = after.look_at(23)
        assert last.shape == before.look.shape and last.aspect == before.look.aspect
        assert last.texture != before.look.texture and last.colour != before.look.colour
        # halfway the colours are mixed, channel by channel
        between = [look for look in map(after.look_at, range(24)) if look.base not in (before.look.base, last.base)]
        assert len(between) >= 4
        for look in between:
            assert all(min(a, b) < c < max(a, b) for a, b, c in zip(before.look.base, last.base, look.base))
    pictures = []
    for (one, parts), (two, others) in zip(plain[1], changing[1], strict=True):
        assert parts == others, "places and masks are those of the video without changes"
        pictures.append((one == two).all())
    assert pictures[0] and not pictures[-1]


def test_least_visible_fraction_is_kept():
    split = VideoSplit(videos=1, frames=6, size=96, objects=(6, 6), radii=(18.0, 24.0))
    tracks, frames = draw_video(split, 0)
    whole = {number: np.pi * track.poses[0].radius ** 2 for number, track in enumerate(tracks)}
    for _, parts in frames:
        for number, part in parts.items():
            # no shape covers less than an eighth of its circle, nor does an object shrink below half its area
            assert part["area"] >= MIN_VISIBLE * whole[number] / 16

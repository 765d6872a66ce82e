"""Names are right where they must be, causal, pooled over a track, and nobody's order matters."""

import numpy as np
import pytest
from helpers.colour_clip import COLOURS
from helpers.messages import raises

from effowt_d2.naming import TrackNamer

WORDS = list(COLOURS)


def paint(frame, box, colour):
    """Fill a box of a copy of the frame."""
    frame, (x1, y1, x2, y2) = frame.copy(), box
    frame[max(y1, 0) : y2, max(x1, 0) : x2] = COLOURS[colour]
    return frame


def see(namer, noise, *objects, score=1.0):
    """A frame of objects (id, colour, box); their names."""
    frame = noise
    for _, colour, box in objects:
        frame = paint(frame, box, colour)
    boxes = np.array([box for _, _, box in objects], dtype=np.float64).reshape(-1, 4)
    ids = np.array([track_id for track_id, _, _ in objects], dtype=np.int64)
    return namer.update(frame, boxes, ids, np.full(len(ids), score))


def test_each_object_gets_the_word_of_its_colour(cfg, noise):
    boxes = [(4, 4, 30, 20), (40, 8, 60, 60), (70, 30, 120, 50), (4, 60, 44, 90)]
    objects = [(7 + number, colour, box) for number, (colour, box) in enumerate(zip(WORDS, boxes))]
    namer = TrackNamer(cfg, WORDS)
    names, confidences = see(namer, noise, *objects)
    assert names == WORDS and (confidences > 0.9).all() and (confidences <= 1).all()
    assert namer.names() == {7 + n: (word, c) for n, (word, c) in enumerate(zip(WORDS, confidences.tolist()))}


@pytest.mark.parametrize("box", [(-40, -40, 20, 20), (100, 70, 300, 300), (-9, -5, 400, 300), (50, 40, 51, 41)])
def test_over_the_edge_and_of_one_pixel(cfg, noise, box):
    # what is beyond the edge counts for nothing: no padding, no part of the crop
    names, confidences = see(TrackNamer(cfg, WORDS), noise, (0, "green", box))
    assert names == ["green"] and confidences[0] > 0.9


def test_nothing_to_see_is_given_no_name(cfg, noise):
    boxes = np.array([[200, 10, 220, 40], [10, 10, 10, 40], [10, 10, 60, 60], [30, 30, 60, 60]], dtype=np.float64)
    namer = TrackNamer(cfg, WORDS)
    names, confidences = namer.update(noise, boxes, np.array([0, 1, -1, 2]), np.array([1, 1, 1, 0.0]))
    assert names == [""] * 4 and not confidences.any()
    assert namer.names() == dict.fromkeys([0, 1, 2], ("", 0.0))  # outside, no area, no track, no score


def test_a_track_that_no_word_suits_well_enough_has_no_name(cfg, noise):
    sure, unsure = (5, "red", (5, 5, 40, 40)), (6, "red", (60, 5, 100, 40))
    frame = paint(noise, sure[2], "red")
    # half of the box is red, half of it blue
    frame[5:40, 60:80], frame[5:40, 80:100] = COLOURS["red"], COLOURS["blue"]
    boxes, ids = np.array([sure[2], unsure[2]], dtype=np.float64), np.array([5, 6])
    confidences = TrackNamer(cfg, WORDS).update(frame, boxes, ids, np.ones(2))[1]
    assert confidences[1] < confidences[0]
    cfg.NAMING.MIN_SCORE = float(confidences.mean())
    namer = TrackNamer(cfg, WORDS)
    names, kept = namer.update(frame, boxes, ids, np.ones(2))
    assert names == ["red", ""] and kept.tolist() == [confidences[0], 0]
    assert namer.names() == {5: ("red", confidences[0]), 6: ("", 0.0)}


def test_synonyms_add_up_and_bear_the_name_of_their_word(cfg, noise):
    objects = [(number, colour, (4 + 30 * number, 10, 28 + 30 * number, 40)) for number, colour in enumerate(WORDS)]
    _, alone = see(TrackNamer(cfg, WORDS), noise, *objects)
    first, second, *rest = WORDS
    namer = TrackNamer(cfg, [f"bright\t{first}\t{second}", *rest])
    names, together = see(namer, noise, *objects)
    assert namer.vocabulary == ["bright", *rest] and names == ["bright", "bright", *rest]
    assert (together[:2] > alone[:2] * 0.9).all()
    with raises(ValueError, first):
        TrackNamer(cfg, [f"bright\t{first}", first])


def test_a_track_that_a_background_word_suits_best_has_no_name(cfg, noise):
    objects = [(1, "red", (5, 5, 40, 40)), (2, "blue", (60, 5, 100, 40))]
    words = [word for word in WORDS if word != "blue"]
    assert see(TrackNamer(cfg, words), noise, *objects)[0][1] in words
    cfg.NAMING.BACKGROUND_WORDS = ["blue"]
    names, confidences = see(TrackNamer(cfg, words), noise, *objects)
    assert names == ["red", ""] and confidences[1] == 0
    with raises(ValueError, "NAMING.BACKGROUND_WORDS", "blue"):
        TrackNamer(cfg, WORDS)


def test_frames_without_objects(cfg, noise):
    namer = TrackNamer(cfg, WORDS)
    names, confidences = see(namer, noise)
    assert names == [] and confidences.shape == (0,) and namer.names() == {}
    see(namer, noise, (1, "red", (5, 5, 40, 40)))
    assert see(namer, noise)[0] == [] and namer.names()[1][0] == "red"


def test_frames_of_one_pixel_and_of_odd_sizes(cfg):
    for height, width in ((1, 1), (1, 300), (257, 3)):
        frame = np.full((height, width, 3), COLOURS["blue"], np.uint8)
        box = np.array([[0, 0, width, height]], dtype=np.float64)
        assert TrackNamer(cfg, WORDS).update(frame, box, np.array([3]), np.ones(1))[0] == ["blue"]


def test_a_name_is_pooled_over_the_views_by_their_area_and_score(cfg, noise):
    small, large = (10, 10, 20, 20), (10, 10, 30, 30)
    namer = TrackNamer(cfg, WORDS)
    assert see(namer, noise, (5, "red", small))[0] == ["red"]
    names, (confidence,) = see(namer, noise, (5, "blue", large))
    assert names == ["blue"] and confidence == pytest.approx(4 / 5, abs=0.02)
    # the same areas, but the larger one is seen with a tenth of the score
    namer.reset()
    see(namer, noise, (5, "red", small))
    names, (confidence,) = see(namer, noise, (5, "blue", large), score=0.1)
    assert names == ["red"] and confidence == pytest.approx(1 / 1.4, abs=0.02)


def test_tracks_do_not_mix(cfg, noise):
    namer = TrackNamer(cfg, WORDS)
    see(namer, noise, (1, "red", (0, 0, 30, 30)), (2, "green", (60, 0, 90, 30)))
    # they change places
    names, _ = see(namer, noise, (2, "green", (0, 0, 30, 30)), (1, "red", (60, 0, 90, 30)))
    assert names == ["green", "red"]
    assert see(namer, noise)[0] == [] and namer.names()[1][0] == "red" and namer.names()[2][0] == "green"


def random_video(frames=9, seed=1):
    """Frames of noise with boxes that come and go: (image, boxes, ids, scores) each."""
    rng = np.random.default_rng(seed)
    video = []
    for _ in range(frames):
        image = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
        ids = rng.permutation(12)[: rng.integers(0, 9)]
        low = rng.uniform(-20, 90, (len(ids), 2))
        boxes = np.concatenate([low, low + rng.uniform(1, 60, (len(ids), 2))], axis=1)
        video.append((image, boxes, ids, rng.uniform(0.1, 1, len(ids))))
    return video


def run(namer, video):
    namer.reset()
    return [namer.update(*frame) for frame in video]


def test_names_do_not_depend_on_later_frames(cfg):
    cfg.NAMING.BUDGET, cfg.NAMING.VIEWS = 3, 2
    namer, video = TrackNamer(cfg, WORDS), random_video()
    whole = run(namer, video)
    assert len({name for names, _ in whole for name in names}) > 2
    other_end = video[:4] + random_video(seed=2)[4:]
    for (names, confidences), (expected, expected_confidences) in zip(run(namer, other_end)[:4], whole):
        assert names == expected and np.array_equal(confidences, expected_confidences)


def test_the_order_of_the_boxes_plays_no_part(cfg):
    cfg.NAMING.BUDGET, cfg.NAMING.VIEWS = 2, 2
    namer, video = TrackNamer(cfg, WORDS), random_video()
    expected = run(namer, video)
    turned = [(image, boxes[::-1], ids[::-1], scores[::-1]) for image, boxes, ids, scores in video]
    for (names, confidences), (wanted, wanted_confidences) in zip(run(namer, turned), expected):
        assert names[::-1] == wanted and np.array_equal(confidences[::-1], wanted_confidences)


def test_after_a_reset_it_is_as_new(cfg):
    namer, video = TrackNamer(cfg, WORDS), random_video()
    first = run(namer, video)
    names = namer.names()
    second = run(namer, video)
    assert [n for n, _ in first] == [n for n, _ in second] and namer.names() == names
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second))
    namer.reset()
    assert namer.names() == {}


def test_the_budget_is_kept_and_all_get_their_turn(cfg, noise):
    cfg.NAMING.BUDGET = 2
    namer, pictures = TrackNamer(cfg, WORDS), []
    embed = namer._towers.embed_images
    namer._towers.embed_images = lambda crops: pictures.append(len(crops)) or embed(crops)
    objects = [(number, "red", (20 * number, 0, 20 * number + 16, 16)) for number in range(5)]
    named = [sum(name == "red" for name in see(namer, noise, *objects)[0]) for _ in range(4)]
    assert max(pictures) == 2 and named == [2, 4, 5, 5]


@pytest.mark.parametrize("background", ["keep", "blur"])
def test_context_and_zoom_of_the_crops(cfg, noise, background):
    cfg.NAMING.CONTEXT, cfg.NAMING.MAX_ZOOM, cfg.NAMING.BACKGROUND = 1.0, 1.0, background
    frame = np.full_like(noise, COLOURS["white"])
    for box in ((40, 40, 44, 44), (2, 2, 5, 90)):
        # little red on much white
        names, _ = see(TrackNamer(cfg, ["red", "white"]), frame, (0, "red", box))
        assert names == ["white"]


BAD = (
    (dict(boxes=np.zeros((2, 4))), ("(2, 4)", "(1,)")),
    (dict(boxes=np.array([[0, 0, np.nan, 5]])), ("boxes", "finite")),
    (dict(boxes=np.array([[9.0, 0, 3, 5]])), ("boxes", "x1 <= x2")),
    (dict(image_bgr=np.zeros((5, 5), np.uint8)), ("(H, W, 3)", "uint8", "(5, 5)")),
    (dict(image_bgr=np.zeros((5, 0, 3), np.uint8)), ("(H, W, 3)", "(5, 0, 3)")),
    (dict(image_bgr=np.zeros((5, 5, 3))), ("uint8", "float64")),
    (dict(boxes=np.zeros((2, 4)), ids=np.array([4, 4]), scores=np.ones(2)), ("[4, 4]",)),
)


@pytest.mark.parametrize("change, data", BAD)
def test_what_is_no_frame_is_refused_and_changes_nothing(cfg, noise, change, data):
    namer = TrackNamer(cfg, WORDS)
    good = dict(image_bgr=noise, boxes=np.array([[0.0, 0, 9, 9]]), ids=np.array([0]), scores=np.ones(1))
    with raises(ValueError, *data):
        namer.update(**{**good, **change})
    assert namer.names() == {}


@pytest.mark.parametrize(
    "key, value", [("TEMPLATES", ["a photo"]), ("TEMPLATES", []), ("CONTEXT", -0.1), ("MAX_ZOOM", -1.0),
                   ("BACKGROUND", "grey"), ("VIEWS", 0), ("BUDGET", 0)]
)  # fmt: skip
def test_settings_that_make_no_sense_are_reported_by_key(cfg, key, value):
    cfg.NAMING[key] = value
    with raises(ValueError, f"NAMING.{key}", value):
        TrackNamer(cfg, WORDS)


@pytest.mark.parametrize("words, data", [([], "empty"), (["a", "b", "a"], "['a']"), ("tao", "list")])
def test_vocabularies_that_make_no_sense_are_reported(cfg, words, data):
    with raises(ValueError, data):
        TrackNamer(cfg, words)

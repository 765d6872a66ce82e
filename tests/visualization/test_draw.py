"""Drawing: stable colours, visible on every background, nothing breaks on odd input."""

import time

import numpy as np
import pytest
from helpers.messages import raises

from effowt_d2.visualization import Trails, draw_tracks, track_color


def canvas(value=0, size=(120, 90)):
    return np.full((size[1], size[0], 3), value, dtype=np.uint8)


BOX = np.array([[30.0, 40, 80, 70]])


def test_the_colour_of_an_id_is_the_same_everywhere():
    assert track_color(7) == track_color(7)
    for other in (np.array([7]), np.array([7, 9])):
        boxes = np.array([[30.0, 40, 80, 70], [90, 5, 110, 20]])[: len(other)]
        frame = draw_tracks(canvas(), boxes, other)
        assert tuple(frame[60, 30].tolist()) == track_color(7)


def test_neighbouring_ids_have_far_colours_and_all_are_bright():
    colors = np.array([track_color(number) for number in range(200)], dtype=float)
    assert (colors.max(axis=1) == 255).all()
    distances = np.linalg.norm(colors[1:] - colors[:-1], axis=1)
    assert distances.min() > 80
    assert len({tuple(color) for color in colors}) > 190


@pytest.mark.parametrize("track_id", range(8))
@pytest.mark.parametrize("background", [0, 128, 255, "same"])
def test_a_line_stands_out_from_any_background(track_id, background):
    frame = canvas()
    frame[:] = track_color(track_id) if background == "same" else background
    drawn = draw_tracks(frame.copy(), BOX, np.array([track_id])).astype(int)
    across = np.abs(drawn[55, 25:36] - frame[55, 25:36].astype(int)).max(axis=1)
    assert across.max() > 100


def test_lines_scale_with_the_image():
    def width(size):
        box = np.array([[0.3, 0.3, 0.7, 0.7]]) * [*size, *size]
        frame = draw_tracks(canvas(size=size), box, np.array([1]))
        row = frame[size[1] // 2, : size[0] // 2]
        return int((row == track_color(1)).all(axis=1).sum())

    assert width((320, 240)) == 1
    assert 1 < width((1920, 1080)) < width((3840, 2160))


def test_negative_ids_and_no_tracks_draw_nothing():
    assert not draw_tracks(canvas(), BOX, np.array([-1]), np.array([0.9])).any()
    assert not draw_tracks(canvas(), np.empty((0, 4)), np.empty(0, int), np.empty(0)).any()


def test_the_surest_track_is_on_top():
    boxes, ids = np.repeat(BOX, 2, axis=0), np.array([1, 2])
    for scores, top in (([0.9, 0.5], 1), ([0.5, 0.9], 2)):
        frame = draw_tracks(canvas(), boxes, ids, np.array(scores))
        assert tuple(frame[60, 30].tolist()) == track_color(top)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (17, 13)])
@pytest.mark.parametrize("box", [[0, 0, 1, 1], [-1e9, -1e9, 1e9, 1e9], [5, 5, 5, 5], [1e6, 1e6, 2e6, 2e6]])
def test_odd_sizes_and_boxes_do_not_break(size, box):
    frame = canvas(50, size)
    trails = {4: np.array([[0.0, 0.0], [1e9, -1e9]])}
    out = draw_tracks(frame, np.array([box], float), np.array([4]), np.array([0.5]), ["name"], trails)
    assert out is frame and out.shape == (size[1], size[0], 3)


def test_labels_are_drawn_and_stay_in_the_frame():
    plain = draw_tracks(canvas(), BOX, np.array([1]))
    named = draw_tracks(canvas(), BOX, np.array([1]), labels=["striped ball"])
    assert (named != plain).any(axis=2).sum() > 50
    assert (draw_tracks(canvas(), BOX, np.array([1]), labels=[""]) == plain).all()
    corner = draw_tracks(canvas(), np.array([[100.0, 0, 119, 20]]), np.array([1]), labels=["ball"])
    assert corner[:, :95].any()  # pushed left to have room


@pytest.mark.parametrize("track_id", range(12))
def test_labels_are_readable_on_their_plate(track_id):
    frame = canvas(size=(300, 90))
    draw_tracks(frame, np.array([[10.0, 40, 290, 80]]), np.array([track_id]), labels=["mmmmmmmmm"])
    plate = frame[22:36, 14:60].reshape(-1, 3) @ np.array([0.114, 0.587, 0.299])
    assert plate.max() - plate.min() > 80


def test_fields_choose_what_a_label_shows():
    def draw(**choice):
        return draw_tracks(canvas(size=(300, 90)), BOX, np.array([8]), np.array([0.5]), ["ball"], **choice)

    def labels(frame):
        return int((frame[:38] != 0).any(axis=0).any(axis=1).sum())

    widths = [labels(draw(fields=fields)) for fields in ((), ("id",), ("id", "name"), ("id", "name", "score"))]
    assert widths[0] == 0 and widths == sorted(set(widths))
    assert (draw(fields=("score", "name", "id")) == draw()).all()


def test_trails_follow_forget_and_are_drawn():
    trails = Trails(seconds=3)
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    for index in range(5):
        paths = trails.update(np.array([5, 6]), boxes + 10 * index, index)
    np.testing.assert_array_equal(paths[5], [[25, 25], [35, 35], [45, 45]])
    assert trails.update(np.array([6]), np.array([[0.0, 0, 10, 10]]), 6).keys() == {6}
    again = trails.update(np.array([5]), np.array([[0.0, 0, 10, 10]]), 30)
    np.testing.assert_array_equal(again[5], [[5, 5]])
    assert len(trails._points) == 1  # what's gone is forgotten
    frame = draw_tracks(canvas(), BOX, np.array([5]), trails={5: np.array([[5.0, 5.0], [5.0, 60.0]])})
    assert frame[30, 5].tolist() == pytest.approx(track_color(5), abs=40)  # its edges are smooth


def test_trails_go_by_time_and_not_by_frames():
    trails, point = Trails(seconds=0.5), np.array([[0.0, 0, 10, 10]])
    lengths = [len(trails.update(np.array([1]), point, time)[1]) for time in (0.0, 0.1, 0.2, 0.65, 0.75, 5.0)]
    assert lengths == [1, 2, 3, 2, 2, 1]


def test_a_trail_has_a_length():
    with raises(ValueError, 0):
        Trails(0)


def test_fifty_tracks_take_milliseconds():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 600, size=(50, 2))
    boxes = np.concatenate([corners, corners + 80], axis=1)
    frame, times = canvas(size=(1280, 720)), []
    for _ in range(5):
        start = time.process_time()
        draw_tracks(frame, boxes, np.arange(50), rng.uniform(size=50))
        times.append(time.process_time() - start)
    assert min(times) < 0.05


@pytest.mark.parametrize("size, corner", [((200, 60), (180, 30)), ((60, 200), (30, 180))])
def test_boxes_are_cut_at_the_edges_of_images_that_are_not_square(size, corner):
    x, y = corner
    frame = draw_tracks(canvas(size=size), np.array([[5.0, 5, x, y]]), np.array([3]), fields=())
    assert tuple(frame[y, 20].tolist()) == tuple(frame[20, x].tolist()) == track_color(3)

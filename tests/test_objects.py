"""Objects of a mask, and how they are followed from frame to frame."""

from __future__ import annotations

import pickle
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from maskdepth import Prediction, Predictor
from maskdepth.inference.objects.objects import FrameObject, find_objects
from maskdepth.inference.objects.run_lengths import encode_mask
from maskdepth.inference.objects.tracks import MAX_GAP_S, Track, TrackState, follow_objects
from maskdepth.media.video import VideoSource

Mask = NDArray[np.bool_]
SIZE = (60, 80)
STEP_S = 0.1


def decode(counts: str, height: int, width: int) -> Mask:
    """COCO's decoder, written from ``rleFrString`` and ``rleDecode`` of its maskApi.c."""
    lengths: list[int] = []
    at = 0
    while at < len(counts):
        value, group, more = 0, 0, True
        while more:
            code = ord(counts[at]) - 48
            value |= (code & 0x1F) << (5 * group)
            more = bool(code & 0x20)
            at, group = at + 1, group + 1
            if not more and code & 0x10:
                value |= -1 << (5 * group)
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
    flat: list[bool] = []
    for index, length in enumerate(lengths):
        flat += [index % 2 == 1] * length
    return np.array(flat, bool).reshape(width, height).T


@given(
    arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.integers(0, 40), st.integers(0, 3)),
)
def test_a_mask_comes_back_from_its_run_lengths(
    part: Mask, corner: tuple[int, int], beyond: tuple[int, int]
) -> None:
    left, top = corner
    height, width = top + part.shape[0] + beyond[0], left + part.shape[1] + beyond[1]
    full = np.zeros((height, width), bool)
    full[top : top + part.shape[0], left : left + part.shape[1]] = part
    record = encode_mask(part, corner, (height, width))
    assert record["size"] == [height, width]
    np.testing.assert_array_equal(decode(record["counts"], height, width), full)


def test_run_lengths_are_those_of_pycocotools() -> None:
    """What pycocotools 2.0.11 makes of a block and of a full picture."""
    block = np.ones((3, 2), bool)
    assert encode_mask(block, (1, 1), (5, 4)) == {"size": [5, 4], "counts": "63204"}
    assert encode_mask(np.ones((2, 3), bool), (0, 0), (2, 3)) == {"size": [2, 3], "counts": "06"}


def predict(*boxes: tuple[int, int, int, int], colours: list[int] | None = None) -> Prediction:
    """A prediction whose objects are rectangles (left, top, width, height)."""
    alpha, disparity = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
    image = np.zeros((*SIZE, 3), np.uint8)
    for number, (left, top, width, height) in enumerate(boxes):
        window = slice(top, top + height), slice(left, left + width)
        alpha[window], disparity[window] = 1, 0.3
        image[window] = 100 if colours is None else colours[number]
    return Prediction(image, alpha, disparity)


def test_an_object_has_its_box_area_centroid_and_distance() -> None:
    prediction = predict((10, 20, 8, 4), (50, 5, 10, 20))
    depth_m = np.full(SIZE, 9, np.float32)
    prediction.disparity[20, 10:12] = 0.9
    depth_m[5:25, 50:60], depth_m[20:24, 10:18], depth_m[20, 10:12] = 4, 3, 1
    prediction = Prediction(prediction.image, prediction.alpha, prediction.disparity, None, depth_m)
    large, small = find_objects(prediction)
    assert (large.box, large.area, large.centroid) == ((50, 5, 10, 20), 200, (54.5, 14.5))
    assert (small.box, small.area, small.centroid) == ((10, 20, 8, 4), 32, (13.5, 21.5))
    assert small.disparity == pytest.approx((0.3, 0.9))
    assert small.distance is not None
    assert (small.distance.median_m, small.distance.nearest_m) == (3, 1)
    record = small.mask_record()
    full = decode(record["counts"], *SIZE)
    np.testing.assert_array_equal(np.argwhere(full)[[0, -1]], [[20, 10], [23, 17]])
    (only,) = find_objects(prediction, min_share=0.01)
    assert only.box == large.box


def test_specks_are_left_out_and_corners_connect() -> None:
    assert find_objects(predict((10, 20, 1, 1))) == ()
    (both,) = find_objects(predict((10, 10, 5, 5), (15, 15, 5, 5)))
    assert both.area == 50
    nothing = predict()
    assert find_objects(nothing) == ()
    invalid = predict((10, 10, 5, 5))
    invalid.disparity[:] = np.nan
    (item,) = find_objects(invalid)
    assert item.disparity is None
    assert item.distance is None


class Clip:
    """Follows rectangles frame by frame, through a pickled state."""

    def __init__(self) -> None:
        self.state, self.time_s = TrackState(), 0.0

    def show(
        self, *boxes: tuple[int, int, int, int], colours: list[int] | None = None
    ) -> list[Track]:
        """The tracks of the next frame, from left to right."""
        objects: tuple[FrameObject, ...] = find_objects(predict(*boxes, colours=colours))
        state = pickle.loads(pickle.dumps(self.state))
        tracks, self.state = follow_objects(objects, state, self.time_s)
        self.time_s += STEP_S
        return sorted(tracks, key=lambda track: track.object.box[0])

    def ids(self, *boxes: tuple[int, int, int, int], colours: list[int] | None = None) -> list[int]:
        return [track.id for track in self.show(*boxes, colours=colours)]


def test_an_object_keeps_its_id_while_it_moves_and_another_gets_one_of_its_own() -> None:
    clip = Clip()
    assert clip.ids((5, 10, 10, 20)) == [1]
    for left in range(8, 40, 3):
        (track,) = clip.show((left, 10, 10, 20))
        assert track.id == 1
    assert track.velocity[0] == pytest.approx(3 / STEP_S, rel=0.01)
    assert clip.ids((41, 10, 10, 20), (2, 10, 10, 20)) == [2, 1]


def test_an_object_faster_than_its_own_width_is_followed_by_its_velocity() -> None:
    clip = Clip()
    for left in (0, 6, 16, 27, 39, 51, 63):
        (track,) = clip.show((left, 10, 10, 20))
    assert track.id == 1


def test_objects_that_merge_get_their_ids_back_when_they_split() -> None:
    clip = Clip()
    for step in range(4):
        near = 5 * step
        ids = clip.ids((5 + near, 10, 10, 20), (55 - near, 10, 10, 20), colours=[200, 50])
    assert ids == [1, 2]
    (together,) = clip.show((28, 10, 18, 20), colours=[120])
    assert together.id in {1, 2}
    for _ in range(30):  # longer than a gap
        assert clip.ids((28, 10, 18, 20), colours=[120]) == [together.id]
    # They have passed each other: the colours say which is which.
    assert clip.ids((25, 10, 10, 20), (38, 10, 10, 20), colours=[50, 200]) == [2, 1]


def test_what_splits_from_an_object_is_new_and_says_from_which() -> None:
    clip = Clip()
    assert clip.ids((20, 10, 20, 20)) == [1]
    large, small = clip.show((20, 10, 14, 20), (36, 10, 4, 20))
    assert (large.id, large.split_from) == (1, None)
    assert (small.id, small.split_from) == (2, 1)
    assert clip.ids((20, 10, 20, 20)) == [1]
    assert clip.ids((20, 10, 14, 20), (36, 10, 4, 20)) == [1, 2]


def test_a_short_gap_is_survived_and_a_long_one_ends_the_id() -> None:
    clip = Clip()
    clip.ids((10, 10, 10, 20))
    for _ in range(round(0.7 * MAX_GAP_S / STEP_S)):
        assert clip.ids() == []
    assert clip.ids((14, 10, 10, 20)) == [1]
    for _ in range(round(1.5 * MAX_GAP_S / STEP_S)):
        clip.ids()
    assert clip.state.tracks == ()
    assert clip.ids((14, 10, 10, 20)) == [2]


def test_an_object_far_from_where_one_vanished_is_another() -> None:
    clip = Clip()
    clip.ids((5, 10, 10, 20))
    assert clip.ids((60, 10, 10, 20)) == [2]


@given(st.lists(st.lists(st.tuples(*[st.integers(0, 40)] * 2), max_size=4), max_size=12))
def test_ids_are_given_once_and_no_two_objects_share_one(
    frames: list[list[tuple[int, int]]],
) -> None:
    clip = Clip()
    newest, before = 0, set[int]()
    for corners in frames:
        ids = clip.ids(*((left, top, 9, 9) for left, top in corners))
        assert len(set(ids)) == len(ids)
        fresh = set(ids) - before
        assert fresh == set(range(newest + 1, newest + 1 + len(fresh)))
        newest, before = newest + len(fresh), before | fresh
    assert all(track.id < clip.state.next_id for track in clip.state.tracks)


def test_people_who_come_one_by_one_are_counted(shared_data: Path) -> None:
    """Two people, in a clip of Intel's sample-videos (CC BY 4.0); the first frames are empty."""
    folder = shared_data / "footage" / "intel_one-by-one-person-detection"
    if not folder.is_dir():
        pytest.skip("the footage lies beside the repository")
    source = VideoSource(folder / "one-by-one-person-detection.mp4")
    frames = islice(iter(source), 28, 480, 5)
    stream = Predictor.from_pretrained(threads=1).stream(next(frames).pixels)
    state = TrackState()
    times: dict[int, list[float]] = {}
    for frame in frames:
        objects = find_objects(stream.predict(frame.pixels, frame.time_s), min_share=0.02)
        tracks, state = follow_objects(objects, state, frame.time_s)
        for track in tracks:
            if track.split_from is None:
                times.setdefault(track.id, []).append(frame.time_s)
    assert sum(each[-1] - each[0] > 2 for each in times.values()) == 2

"""Objects followed from frame to frame by the pixels that they share.

The rules, in this order:

1. A track's mask is moved on by its velocity. It meets an object with which it then shares a tenth
   of the smaller one's pixels.
2. Pairs go together from the largest overlap to the smallest (intersection over union).
3. *Split*: where a track meets several objects, tracks that were merged into it take the others
   back, each the object whose colour is most like its own. What is left becomes a new track, which
   records the id that it was split from.
4. *Merge*: a track that meets an object which goes with another track is merged into that one. It
   is not reported, and keeps its id for as long as the other is followed.
5. *Gap*: a track that meets nothing is kept for `MAX_GAP_S`. Within that time it goes on with an
   object near its place and of a similar area that meets no other track.
6. All other objects become new tracks. An id is given once and never again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from maskdepth.inference.objects.objects import FrameObject

__all__ = ["MAX_GAP_S", "Track", "TrackState", "follow_objects"]

MAX_GAP_S: Final = 1.0
"""For so long a track without an object is kept."""

_MIN_OVERLAP: Final = 0.1  # of the smaller one's pixels
_VELOCITY_SHARE: Final = 0.5  # of the newest motion in a track's velocity
_REACH: Final = 0.75  # of the sum of both boxes' half diagonals: how far an object may have jumped
_MAX_GROWTH: Final = 2.0  # factor between the areas of before and after a gap


@dataclass(frozen=True, eq=False)
class Track:
    """One object over time.

    Attributes:
        id: from 1.
        object: as it was last, which is now unless it is in a gap or merged.
        first_s, last_s: times of the first and the last frame with it.
        velocity: of its centroid, px a second, smoothed.
        split_from: id of the track that it was a part of; None if it came by itself.
        merged_into: id of the track whose object it is a part of now; None if it is by itself.
    """

    id: int
    object: FrameObject
    first_s: float
    last_s: float
    velocity: tuple[float, float] = (0.0, 0.0)
    split_from: int | None = None
    merged_into: int | None = None

    def shift_to(self, time_s: float) -> tuple[int, int]:
        """How far it should have moved since its last frame, px."""
        passed = time_s - self.last_s
        return round(self.velocity[0] * passed), round(self.velocity[1] * passed)

    def with_object(self, item: FrameObject, time_s: float, *, jumped: bool = False) -> Track:
        """The track with its object of a later frame; a jump tells nothing of its velocity."""
        passed = time_s - self.last_s
        velocity = self.velocity
        if passed > 0 and not jumped:
            moved = np.subtract(item.centroid, self.object.centroid) / passed
            x, y = (1 - _VELOCITY_SHARE) * np.array(velocity) + _VELOCITY_SHARE * moved
            velocity = float(x), float(y)
        return replace(self, object=item, last_s=time_s, velocity=velocity, merged_into=None)


@dataclass(frozen=True, eq=False)
class TrackState:
    """The tracks after a frame. It can be pickled.

    Attributes:
        tracks: all that are followed, also those in a gap and those merged into another.
        next_id: of the next new track.
    """

    tracks: tuple[Track, ...] = ()
    next_id: int = 1


def follow_objects(
    objects: Sequence[FrameObject], state: TrackState, time_s: float
) -> tuple[tuple[Track, ...], TrackState]:
    """The tracks of a frame's objects, in the order of the objects, and the state after it.

    Args:
        objects: of the frame, from `maskdepth.inference.objects.objects.find_objects`.
        state: after the frame before; ``TrackState()`` at the start, and after a cut.
        time_s: of the frame, seconds from any start.
    """
    kept = {
        track.id: track
        for track in state.tracks
        if time_s - track.last_s <= MAX_GAP_S and _fits(track, objects)
    }
    overlaps = _overlaps(kept, objects, time_s)
    taken = _assign_largest(overlaps)
    _take_back_merged(kept, objects, overlaps, taken)
    jumped = _bridge_gaps(kept, objects, overlaps, taken, time_s)
    by_object = {index: kept[id_] for id_, index in taken.items()}
    tracks, next_id = [], state.next_id
    for index, item in enumerate(objects):
        if index in by_object:
            track = by_object[index]
            tracks.append(track.with_object(item, time_s, jumped=track.id in jumped))
            continue
        whence = [id_ for id_ in overlaps if index in overlaps[id_]]
        split_from = max(whence, key=lambda id_: overlaps[id_][index], default=None)
        tracks.append(Track(next_id, item, time_s, time_s, split_from=split_from))
        next_id += 1
    others = _rest(kept, taken, overlaps, tracks, time_s)
    return tuple(tracks), TrackState((*tracks, *others), next_id)


def _fits(track: Track, objects: Sequence[FrameObject]) -> bool:
    """Whether a track is of frames of the same size."""
    return not objects or track.object.frame_size == objects[0].frame_size


Overlaps = Mapping[int, Mapping[int, float]]
"""By a track's id and an object's index: intersection over union, of those that meet."""


def _overlaps(kept: Mapping[int, Track], objects: Sequence[FrameObject], time_s: float) -> Overlaps:
    overlaps: dict[int, dict[int, float]] = {}
    for track in kept.values():
        if track.merged_into is not None:
            continue
        shift = track.shift_to(time_s)
        for index, item in enumerate(objects):
            # A thing that stops at once is still where it was.
            shared = max(_shared(track.object, item, shift), _shared(track.object, item, (0, 0)))
            if shared >= _MIN_OVERLAP * min(track.object.area, item.area):
                union = track.object.area + item.area - shared
                overlaps.setdefault(track.id, {})[index] = shared / union
    return overlaps


def _shared(one: FrameObject, other: FrameObject, shift: tuple[int, int]) -> int:
    """How many pixels two objects share once the first is shifted."""
    x, y = one.box[0] + shift[0], one.box[1] + shift[1]
    left, right = max(x, other.box[0]), min(x + one.box[2], other.box[0] + other.box[2])
    top, bottom = max(y, other.box[1]), min(y + one.box[3], other.box[1] + other.box[3])
    if left >= right or top >= bottom:
        return 0
    first = one.pixels[top - y : bottom - y, left - x : right - x]
    x, y = other.box[:2]
    second = other.pixels[top - y : bottom - y, left - x : right - x]
    return int(np.count_nonzero(first & second))


def _assign_largest(overlaps: Overlaps) -> dict[int, int]:
    """The index of each track's object, from the largest overlap to the smallest."""
    pairs = [(share, id_, index) for id_, each in overlaps.items() for index, share in each.items()]
    taken: dict[int, int] = {}
    for _, id_, index in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if id_ not in taken and index not in taken.values():
            taken[id_] = index
    return taken


def _take_back_merged(
    kept: Mapping[int, Track],
    objects: Sequence[FrameObject],
    overlaps: Overlaps,
    taken: dict[int, int],
) -> None:
    """Give the parts of a split to the tracks that were merged, by colour."""
    for host in list(taken):
        merged = [track.id for track in kept.values() if track.merged_into == host]
        free = [index for index in overlaps[host] if index not in taken.values()]
        if not merged or not free:
            continue
        free.append(taken.pop(host))
        pairs = sorted(
            (float(np.linalg.norm(np.subtract(kept[id_].object.colour, objects[index].colour))),
             id_, index)
            for id_ in (host, *merged)
            for index in free
        )  # fmt: skip
        for _, id_, index in pairs:
            if id_ not in taken and index not in taken.values():
                taken[id_] = index


def _bridge_gaps(
    kept: Mapping[int, Track],
    objects: Sequence[FrameObject],
    overlaps: Overlaps,
    taken: dict[int, int],
    time_s: float,
) -> set[int]:
    """Give objects that meet no track to tracks that meet no object; the ids of these tracks."""
    pairs = []
    for track in kept.values():
        if track.id in taken or track.merged_into is not None or track.id in overlaps:
            continue
        place = np.add(track.object.centroid, track.shift_to(time_s))
        for index, item in enumerate(objects):
            if index in taken.values() or any(index in each for each in overlaps.values()):
                continue
            away = float(np.linalg.norm(place - item.centroid))
            reach = _REACH * (np.hypot(*track.object.box[2:]) + np.hypot(*item.box[2:])) / 2
            growth = item.area / track.object.area
            if away <= reach and 1 / _MAX_GROWTH <= growth <= _MAX_GROWTH:
                pairs.append((away, track.id, index))
    jumped = set()
    for _, id_, index in sorted(pairs):
        if id_ not in taken and index not in taken.values():
            taken[id_] = index
            jumped.add(id_)
    return jumped


def _rest(
    kept: Mapping[int, Track],
    taken: Mapping[int, int],
    overlaps: Overlaps,
    tracks: Sequence[Track],
    time_s: float,
) -> list[Track]:
    """The tracks without an object of their own in this frame: merged ones, and those in a gap."""
    rest = []
    followed = {track.id for track in tracks}
    for track in kept.values():
        if track.id in taken:
            continue
        host = track.merged_into
        if host is None and track.id in overlaps:
            index = max(overlaps[track.id], key=lambda each: overlaps[track.id][each])
            host = tracks[index].id
        # A merged track is kept for as long as the track that it was merged into.
        last_s = time_s if host in followed else track.last_s
        rest.append(replace(track, merged_into=host, last_s=last_s))
    return rest

"""The objects and events of a frame, as entries of its line of JSON."""

from __future__ import annotations

from maskdepth.inference.objects.events import EventState, SceneEvent, find_events
from maskdepth.inference.objects.objects import find_objects
from maskdepth.inference.objects.tracks import Track, TrackState, follow_objects
from maskdepth.inference.prediction import Prediction
from maskdepth.media.frames import Frame
from maskdepth.records import Json

__all__ = ["SceneFacts"]


class SceneFacts:
    """Follows the objects and events of a clip, and says for each frame what is there."""

    def __init__(self) -> None:
        self._tracks, self._events = TrackState(), EventState()

    def __call__(self, frame: Frame, prediction: Prediction) -> Json:
        """``objects`` and ``events`` of the next frame, see docs/objects.md."""
        objects = find_objects(prediction)
        tracks, self._tracks = follow_objects(objects, self._tracks, frame.time_s)
        events, self._events = find_events(prediction, self._events, frame.time_s)
        return {
            "objects": [_object_record(track) for track in tracks],
            "events": [_event_record(event) for event in events],
        }

    def take_over(self, line: Json) -> None:
        """Count the ids of a line that an interrupted run wrote, so that none is given again."""
        object_id, event_id = (
            max((item["id"] for item in line.get(kind, [])), default=0)
            for kind in ("objects", "events")
        )
        self._tracks = TrackState(next_id=max(self._tracks.next_id, object_id + 1))
        self._events = EventState(next_id=max(self._events.next_id, event_id + 1))


def _event_record(event: SceneEvent) -> Json:
    return {
        "id": event.id,
        "kind": event.kind,
        "start_s": round(event.start_s, 9),
        "end_s": None if event.end_s is None else round(event.end_s, 9),
        "box": None if event.box is None else list(event.box),
        "evidence": {name: round(value, 4) for name, value in event.evidence.items()},
    }


def _object_record(track: Track) -> Json:
    item = track.object
    return {
        "id": track.id,
        "first_s": round(track.first_s, 9),
        "split_from": track.split_from,
        "box": list(item.box),
        "area": item.area,
        "centroid": [round(each, 2) for each in item.centroid],
        "disparity": None
        if item.disparity is None
        else {
            "median": round(item.disparity[0], 5),
            "nearest": round(item.disparity[1], 5),
        },
        "distance_m": None
        if item.distance is None
        else {
            "median": round(item.distance.median_m, 4),
            "nearest": round(item.distance.nearest_m, 4),
        },
        "mask": item.mask_record(),
    }

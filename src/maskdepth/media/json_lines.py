"""A line of JSON for each frame: its time, what was found, and whether the plate still fits."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import cv2
import numpy as np

from maskdepth.errors import StorageError, UsageError, first_line
from maskdepth.inference.prediction import Prediction
from maskdepth.media.frames import Frame
from maskdepth.media.partial import PartialFile
from maskdepth.media.scene_facts import SceneFacts
from maskdepth.records import Json

__all__ = ["FrameFacts", "JsonLinesSink", "StdoutLinesSink", "frame_record"]

FrameFacts = Callable[[Frame, Prediction], Json]
"""Gives more entries for a frame's line."""

_DOUBTS: Final = frozenset({"another_scene", "another_tone", "exchanged", "nearly_all_found"})
_MOVES: Final = frozenset({"turned", "zoomed", "shifted"})


def frame_record(frame: Frame, prediction: Prediction) -> Json:
    """What a line says of a frame.

    ``frame`` is its number from 0, ``time_s`` its time stamp. ``mask_area`` is the number of the
    mask's pixels, ``box`` the smallest box about them as [left, top, width, height] in pixels, None
    without any. ``plate`` has the ``state`` (``none``: there is none; ``good``; ``moved``: the
    camera was; ``doubtful``: the mask may be wrong) and the codes of all ``notices``.
    ``distance_m`` has ``median`` and ``nearest``, or is None.
    """
    mask = prediction.mask
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    distance = prediction.distance
    return {
        "frame": frame.index,
        "time_s": round(frame.time_s, 9),
        "mask_area": int(np.count_nonzero(mask)),
        "box": [left, top, width, height] if width else None,
        "plate": _plate_record(prediction),
        "distance_m": None
        if distance is None
        else {"median": round(distance.median_m, 4), "nearest": round(distance.nearest_m, 4)},
    }


def _plate_record(prediction: Prediction) -> Json:
    codes = [notice.code for notice in prediction.notices]
    if prediction.plate is None:
        state = "none"
    elif _DOUBTS.intersection(codes):
        state = "doubtful"
    else:
        state = "moved" if _MOVES.intersection(codes) else "good"
    return {"state": state, "notices": codes}


class _LineMaker:
    """Makes the line of each frame.

    Args:
        more: each adds entries to every line, in this order, after those of `frame_record` and
            `SceneFacts`.
    """

    def __init__(self, more: Sequence[FrameFacts]) -> None:
        self.scene = SceneFacts()
        self._more: tuple[FrameFacts, ...] = (self.scene, *more)

    def make(self, frame: Frame, prediction: Prediction) -> bytes:
        record = frame_record(frame, prediction)
        for facts in self._more:
            record |= facts(frame, prediction)
        return (json.dumps(record, allow_nan=False) + "\n").encode("ascii")


class StdoutLinesSink:
    """JSON lines on stdout, each at once. Use it as a context, like a `VideoSink`.

    Args:
        more: as in `JsonLinesSink`.

    Attributes:
        is_closed: whether nobody reads them any more; the frames after that are left out.

    Raises:
        UsageError: stdout is closed.
    """

    frames_kept = 0

    def __init__(self, more: Sequence[FrameFacts] = ()) -> None:
        if sys.stdout is None:
            raise UsageError("an open stdout", "a closed one", "", "stdout is closed.")
        self.path, self.remarks, self.is_closed = Path("-"), list[str](), False
        self._lines = _LineMaker(more)

    def __enter__(self) -> Self:
        return self

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Write a line."""
        if self.is_closed:
            return
        try:
            sys.stdout.buffer.write(self._lines.make(frame, prediction))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            self.is_closed = True
            # Python flushes stdout once more when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def __exit__(self, *_: object) -> None:
        """Nothing: stdout belongs to the process."""


class JsonLinesSink:
    """A file of JSON lines. Use it as a context, like a `VideoSink`.

    Args:
        path: ends in .jsonl.
        more: each adds entries to every line, in this order, after those of `frame_record` and
            `SceneFacts`.
        settings, resume: as in `PartialFile`.

    Attributes:
        frames_kept: number of lines that are taken over from an interrupted run; without the last,
            since a frame has to follow.
    """

    def __init__(
        self,
        path: Path,
        *,
        more: Sequence[FrameFacts] = (),
        settings: Mapping[str, str] | None = None,
        resume: bool = False,
    ) -> None:
        self.path, self.remarks, self.frames_kept = path, list[str](), 0
        self._lines = _LineMaker(more)
        self._partial = PartialFile(path, settings or {}, resume=resume)
        self._file: IO[bytes] | None = None
        if self._partial.earlier is not None:
            with open(self._partial.earlier, "rb") as earlier:
                self.frames_kept = max(0, sum(line.endswith(b"\n") for line in earlier) - 1)

    def __enter__(self) -> Self:
        return self

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Add a line, which is in the file at once.

        Raises:
            StorageError: the file cannot be written; the lines before stay.
        """
        try:
            if self._file is None:
                self._file = open(self._partial.begin(), "wb", buffering=0)  # noqa: SIM115
                self._copy_earlier(self._file)
            self._file.write(self._lines.make(frame, prediction))
        except OSError as error:
            raise self._unwritten(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            if kind is None:
                self._partial.finish()

    def _copy_earlier(self, file: IO[bytes]) -> None:
        if self._partial.earlier is not None:
            with open(self._partial.earlier, "rb") as earlier:
                for line in islice(earlier, self.frames_kept):
                    file.write(line)
                    self._lines.scene.take_over(json.loads(line))
            self._partial.drop_earlier()

    def _unwritten(self, error: OSError) -> StorageError:
        reason = first_line(error)
        return StorageError(
            f"to write {self.path}",
            reason,
            "free some space, and add --resume to go on",
            f"{self.path} cannot be written: {reason}. The lines before are in "
            f"{self._partial.part}.",
        )

"""Writes layers of each frame's prediction as numbered PNGs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from maskdepth.files import make_folder, write_bytes, write_text
from maskdepth.images import encode_png
from maskdepth.inference.prediction import BackgroundSource, Prediction
from maskdepth.media.frames import Frame
from maskdepth.media.layers import render_layer
from maskdepth.media.partial import check_settings, interrupted_run
from maskdepth.records import Json, check_ownership, load_record

__all__ = ["SequenceSink"]

_FORMAT: Final = "maskdepth-sequence"
_VERSION: Final = 1


class SequenceSink:
    """A folder of PNGs, ``<stem>_<layer>_<frame>.png``. Use it as a context, like a `VideoSink`.

    ``<stem>_sequence.json`` beside them says which layers there are, and that the files may be
    replaced by a later run.

    Args:
        folder: made if it is missing.
        stem: the first part of the names.
        kinds: the layers, formats of `maskdepth.Prediction.save`.
        background: as in `maskdepth.Prediction.composite`.
        settings, resume: as in `PartialFile`.

    Attributes:
        frames_kept: number of frames that are taken over from an interrupted run; without the last,
            since a frame has to follow.

    Raises:
        StorageError: the folder has such files that are no earlier run's, or an interrupted run
            left some, and this one is not to resume it.
        UsageError: the interrupted run had other settings.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        kinds: Sequence[str] = ("cutout",),
        *,
        background: BackgroundSource | None = None,
        settings: Mapping[str, str] | None = None,
        resume: bool = False,
    ) -> None:
        self.path, self.remarks, self.frames_kept = folder, list[str](), 0
        self._stem, self._kinds, self._background = stem, tuple(kinds), background
        self._settings = {**(settings or {}), "layers": ", ".join(self._kinds)}
        self._record_file = folder / f"{stem}_sequence.json"
        earlier = load_record(self._record_file, _FORMAT)
        self._earlier = _files_of(earlier, folder, stem)
        names = (f"{stem}_{kind}_*.png" for kind in self._kinds)
        present = [path for name in names for path in sorted(folder.glob(name))]
        check_ownership(present, ours=earlier is not None)
        self._started = False
        self._frames = 0
        if earlier is None or earlier.get("complete") is True:
            return
        if not resume:
            raise interrupted_run(folder, self._record_file)
        check_settings(folder, earlier.get("settings"), self._settings)
        present_now = (all(self._file(kind, n).is_file() for kind in self._kinds) for n in count())
        self.frames_kept = max(0, sum(takewhile(bool, present_now)) - 1)
        self._earlier = []

    def __enter__(self) -> Self:
        return self

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Write the layers of one frame; each file is complete or not there.

        Raises:
            StorageError: a file cannot be written; those before stay.
        """
        if not self._started:
            make_folder(self.path)
            self._write_record(complete=False)
            # Otherwise a run that resumes this one could take them for its own.
            for path in self._earlier:
                path.unlink(missing_ok=True)
            self._started = True
        for kind in self._kinds:
            layer = render_layer(kind, prediction, self._background)
            write_bytes(self._file(kind, frame.index), encode_png(layer))
        self._frames = frame.index + 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None or not self._started:
            return
        self._write_record(complete=True)

    def _file(self, kind: str, index: int) -> Path:
        return self.path / f"{self._stem}_{kind}_{index:06d}.png"

    def _write_record(self, *, complete: bool) -> None:
        record = {
            "format": _FORMAT,
            "version": _VERSION,
            "complete": complete,
            "layers": list(self._kinds),
            "frames": self._frames,
            "settings": self._settings,
        }
        write_text(self._record_file, json.dumps(record, indent=2) + "\n")


def _files_of(record: Json | None, folder: Path, stem: str) -> list[Path]:
    """The files of an earlier run of this name; none without its record."""
    layers = record.get("layers") if record is not None else None
    if not isinstance(layers, list):
        return []
    return [path for kind in layers for path in folder.glob(f"{stem}_{kind}_[0-9]*.png")]

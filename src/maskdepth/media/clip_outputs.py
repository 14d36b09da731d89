"""The outputs of a clip: what each holds by its ending and by what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from maskdepth.errors import UsageError
from maskdepth.inference.output_files import check_formats, names_file
from maskdepth.inference.prediction import BackgroundSource
from maskdepth.media.encodings import VIDEO_SUFFIXES
from maskdepth.media.json_lines import JsonLinesSink, StdoutLinesSink
from maskdepth.media.live import LiveSource
from maskdepth.media.sequence_sink import SequenceSink
from maskdepth.media.video import VideoSource
from maskdepth.media.video_sink import VideoSink

__all__ = ["STDOUT", "FileSink", "check_outputs", "open_sinks"]

FileSink = VideoSink | SequenceSink | JsonLinesSink | StdoutLinesSink

_LINES: Final = ".jsonl"
STDOUT: Final = Path("-")
"""The output that stands for lines on stdout."""


def open_sinks(
    outputs: Sequence[Path],
    source: VideoSource | LiveSource,
    *,
    only: Sequence[str] | None = None,
    background: BackgroundSource | None = None,
    settings: Mapping[str, str] | None = None,
    resume: bool = False,
) -> list[FileSink]:
    """A sink for each output of a clip or a live source. Nothing is written yet.

    Where an interrupted run left more frames in one than in another, all keep the smaller number,
    and go on with the frame after them.

    Args:
        outputs: videos (.mov, .webm, .mkv, .mp4), .jsonl files, - for such lines on stdout, and
            folders for PNGs.
        source: its times and sound are the videos'; a live source has no sound, and adds the age
            of the frames to the lines.
        only: formats of `maskdepth.Prediction.save`. One is for all outputs; of several, a folder
            gets all, and videos one each, in their order.
        background: as in `maskdepth.Prediction.composite`.
        settings, resume: as in `maskdepth.media.partial.PartialFile`.

    Raises:
        UsageError: an output that a clip does not have, the same one twice, or formats that do not
            fit the outputs.
        StorageError: see `PartialFile` and `SequenceSink`.
        DependencyError: PyAV is not installed.
    """
    kinds = None if only is None else _checked(only, background)
    check_outputs(outputs)
    videos = [path for path in outputs if names_file(path) and path.suffix.lower() != _LINES]
    clip = source.path if isinstance(source, VideoSource) else None
    more = [source.frame_facts] if isinstance(source, LiveSource) else []
    if kinds is not None and len(kinds) > 1 and videos and len(videos) != len(kinds):
        raise UsageError(
            "as many formats in --only as videos, or one for all",
            f"{len(kinds)} formats and {len(videos)} videos",
            "give each format a video of its own with -o, in the same order",
            f"--only names {', '.join(kinds)}, but a video holds one of them.",
        )
    sinks: list[FileSink] = []
    for path in outputs:
        if path.suffix.lower() == _LINES:
            sinks.append(JsonLinesSink(path, more=more, settings=settings, resume=resume))
        elif path == STDOUT:
            sinks.append(StdoutLinesSink(more))
        elif path in videos:
            kind = None
            if kinds is not None:
                kind = kinds[videos.index(path)] if len(kinds) > 1 else kinds[0]
            sinks.append(
                VideoSink(
                    path,
                    source.timing,
                    kind=kind,
                    background=background,
                    sound=clip,
                    settings=settings,
                    resume=resume,
                )
            )
        else:
            layers = kinds or ["cutout" if background is None else "composite"]
            sinks.append(
                SequenceSink(
                    path,
                    "live" if clip is None else clip.stem,
                    layers,
                    background=background,
                    settings=settings,
                    resume=resume,
                )
            )
    for sink in sinks:
        sink.frames_kept = min(each.frames_kept for each in sinks)
    return sinks


def _checked(only: Sequence[str], background: BackgroundSource | None) -> list[str]:
    check_formats(only)
    kinds = list(dict.fromkeys(only))
    if "json" in kinds:
        raise UsageError(
            "layers in --only",
            "json",
            "add -o FILE.jsonl",
            "A clip's JSON is a file of lines.",
        )
    if "composite" in kinds and background is None:
        raise UsageError(
            "a background",
            "none",
            "give --background COLOUR or PICTURE",
            "A composite needs a background for the cutout.",
        )
    return kinds


def check_outputs(outputs: Sequence[Path]) -> None:
    """Check what a clip or a live source is to be written as.

    Raises:
        UsageError: an output that a clip does not have, or the same one twice.
    """
    for path in outputs:
        suffix = path.suffix.lower()
        if names_file(path) and suffix not in {*VIDEO_SUFFIXES, _LINES}:
            raise UsageError(
                "a .mov, .webm, .mkv, .mp4 or .jsonl, a folder, or - for lines on stdout",
                str(path),
                "name one of these with -o",
                f"A clip is not written as {suffix}.",
            )
        if outputs.count(path) > 1:
            raise UsageError("different outputs", str(path), "", f"{path} is named twice.")

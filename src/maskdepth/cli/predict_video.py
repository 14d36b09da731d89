"""``maskdepth predict CLIP``: a clip in, clips, pictures and lines out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from glob import has_magic
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from maskdepth.cli.options import is_quiet, print_json, say, write_stderr
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    from maskdepth.inference.predictor import Predictor
    from maskdepth.media.clip_outputs import FileSink
    from maskdepth.media.run_stream import RunSummary
    from maskdepth.media.video import VideoSource


def find_clip(sources: Sequence[str]) -> Path | None:
    """The clip among the sources; None where they are pictures.

    Raises:
        UsageError: a clip beside other sources, or one that is not there.
    """
    from maskdepth.files import explain_unopened, open_file
    from maskdepth.picture_formats import HEAD_BYTES, VIDEO_SUFFIXES, is_video

    for source in sources:
        path = Path(source)
        try:
            with open_file(path) as file:
                found = is_video(file.read(HEAD_BYTES), path.suffix)
        except FileNotFoundError as error:
            if path.suffix.lower() in VIDEO_SUFFIXES and not has_magic(source):
                problem, remedy = explain_unopened(path, error)
                raise UsageError("a clip", f"no {path}", remedy, problem) from None
            continue
        except (OSError, ValueError):
            continue  # a folder, or nothing that can be opened
        if found and len(sources) > 1:
            raise UsageError(
                "one clip, or pictures",
                f"{len(sources)} sources",
                "predict each clip in a call of its own",
                f"{source} is a clip, which has to be the only source.",
            )
        if found:
            return path
    return None


def check_single_output(outputs: Sequence[Path], *, resume: bool) -> Path:
    """The one output of pictures.

    Raises:
        UsageError: several, or --resume, which are for clips.
    """
    if resume:
        raise UsageError("a clip with --resume", "pictures", "", "--resume is for a video alone.")
    if len(outputs) > 1:
        raise UsageError(
            "one output for pictures",
            ", ".join(map(str, outputs)),
            "give one folder with -o",
            "Several outputs with -o are for a video alone.",
        )
    return outputs[0]


def check_depth_format(depth_format: str) -> None:
    """Raises UsageError for a format of depth that videos do not have."""
    if depth_format != "png":
        raise UsageError(
            "16-bit millimetres",
            f"--depth-format {depth_format}",
            "leave --depth-format out",
            "The depth of a video is written in 16-bit millimetres.",
        )


def check_json(outputs: Sequence[Path], *, as_json: bool) -> None:
    """Raises UsageError where both the lines of the frames and --json are to go to stdout."""
    if as_json and Path("-") in outputs:
        raise UsageError(
            "one kind of JSON on stdout",
            "-o - and --json",
            "leave one of them out",
            "-o - writes a line for each frame to stdout, where --json writes the result.",
        )


def predict_video(
    clip: Path,
    outputs: Sequence[Path],
    *,
    load_predictor: Callable[[], Predictor],
    plate: str | None,
    only: Sequence[str] | None,
    background: str | None,
    depth_format: str,
    settings: Mapping[str, str],
    resume: bool,
    as_json: bool,
) -> None:
    """Predict all frames of a clip.

    Args:
        load_predictor: called once the other arguments are found to be right.
        settings: what the outputs depend on beside the files, by words.
        only, background, depth_format: as the command's options.
    """
    from maskdepth.inference.prediction import load_background
    from maskdepth.media.clip_outputs import open_sinks
    from maskdepth.media.plate_files import Plates
    from maskdepth.media.run_stream import run_stream
    from maskdepth.media.video import VideoSource
    from maskdepth.records import check_not_inputs, file_identities

    check_depth_format(depth_format)
    check_json(outputs, as_json=as_json)
    plate_file = Plates(plate).find(clip)
    inputs = [clip, *(Path(each) for each in (plate_file, background) if each is not None)]
    check_not_inputs(outputs, file_identities(inputs))
    source = VideoSource(clip)
    behind = None if background is None else load_background(background)
    sinks = open_sinks(
        outputs,
        source,
        only=only,
        background=behind,
        settings={**settings, **_describe_files(clip, plate_file, background)},
        resume=resume,
    )
    stream = load_predictor().stream(plate_file)
    for line in source.remarks:
        say(line)
    early = len(source.remarks)
    first = sinks[0].frames_kept
    try:
        with contextlib.ExitStack() as stack:
            for sink in sinks:
                stack.enter_context(sink)
            frames = islice(iter(source), first, None)
            summary = run_stream(stream, frames, sinks, _show_frames(source.frame_count, first))
    except KeyboardInterrupt:
        say(f"interrupted; --resume goes on with what is in {sink_names(sinks)}")
        raise
    for line in [*source.remarks[early:], *(line for sink in sinks for line in sink.remarks)]:
        say(line)
    _report(source, sinks, summary, first, as_json=as_json)


def _report(
    source: VideoSource,
    sinks: Sequence[FileSink],
    summary: RunSummary,
    first: int,
    *,
    as_json: bool,
) -> None:
    say_outcome(summary)
    speed = summary.frames / max(summary.seconds, 1e-6)
    total = f"{first + summary.frames} frames" + (f", {first} of them earlier" if first else "")
    say(f"{total} -> {sink_names(sinks)} ({speed:.1f} frames/s)")
    if as_json:
        problem = summary.problem
        failures = {} if problem is None else {str(source.path): str(problem)}
        written = [str(sink.path) for sink in sinks]
        print_json({"written": written, "frames": summary.frames, "failures": failures})
    if summary.problem is not None:
        raise typer.Exit(1)


def say_outcome(summary: RunSummary) -> None:
    """A line for each kind of notice, and one for what ended the run too early."""
    for each in summary.notices:
        of_all = summary.frames
        say(f"{each.frames} of {of_all} frames, the first {each.first_index}: {each.notice.text}")
    if summary.problem is not None:
        write_stderr(str(summary.problem))


def sink_names(sinks: Sequence[FileSink]) -> str:
    """The outputs in a message."""
    return ", ".join("stdout" if str(sink.path) == "-" else str(sink.path) for sink in sinks)


def _describe_files(*files: Path | str | None) -> dict[str, str]:
    """Name, size and time of change of each input; a background may be a colour."""
    described = {}
    for word, file in zip(("clip", "plate", "background"), files, strict=True):
        try:
            status = Path(file).stat() if file is not None else None
        except OSError:
            status = None
        name = str(file) if status is None else Path(str(file)).name
        described[word] = (
            name if status is None else f"{name}, {status.st_size} bytes, {status.st_mtime_ns}"
        )
    return described


def _show_frames(total: int | None, first: int) -> Callable[[int], None]:
    """Progress on one line of a terminal; nothing elsewhere."""
    from maskdepth.progress import progress_words

    if is_quiet() or sys.stderr is None or not sys.stderr.isatty():
        return lambda _: None
    expected = None if total is None else max(1, total - first)
    words = progress_words("predicted {done} of {total} frames")

    def show(done: int) -> None:
        text = f"predicted {done} frames" if expected is None else words(done, max(done, expected))
        sys.stderr.write(f"\r\x1b[K{text}" if expected is None or done < expected else "\r\x1b[K")
        sys.stderr.flush()

    return show

"""``maskdepth predict`` of a camera, a stream of the network, or raw frames on stdin."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from maskdepth.cli.options import INTERRUPTED, check_idle, print_json, say
from maskdepth.cli.predict_video import check_depth_format, check_json, say_outcome, sink_names
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    from maskdepth.inference.predictor import Predictor
    from maskdepth.media.clip_outputs import FileSink
    from maskdepth.media.live import AgeSink, Connection, LiveSource
    from maskdepth.media.run_stream import RunSummary


def is_live(
    sources: Sequence[str], raw: str | None, give_up_s: float | None, mjpeg_port: int | None
) -> bool:
    """Whether the source is live, and not pictures or a clip.

    Args:
        raw: as given with --raw.
        give_up_s: as given with --give-up.
        mjpeg_port: as given with --mjpeg.

    Raises:
        UsageError: a live source beside others, or options without one that need it.
    """
    from maskdepth.media.connections import is_camera, is_url

    if raw is not None and list(sources) != ["-"]:
        raise UsageError(
            "- as the only source with --raw",
            " ".join(sources),
            "write `predict - --raw 640x480`",
            "--raw is for frames on stdin.",
        )
    live = [each for each in sources if is_camera(each) or is_url(each)]
    if live and len(sources) > 1:
        raise UsageError(
            "one live source",
            f"{len(sources)} sources",
            "predict each in a call of its own",
            f"{live[0]} is a live source, which has to be the only one.",
        )
    if not live and raw is None:
        check_idle("a live source", {"--give-up": give_up_s, "--mjpeg": mjpeg_port})
    return bool(live) or raw is not None


def predict_live(
    source: str,
    outputs: Sequence[Path] | None,
    *,
    raw: str | None,
    give_up_s: float | None,
    mjpeg_port: int | None,
    load_predictor: Callable[[], Predictor],
    plate: str | None,
    only: Sequence[str] | None,
    background: str | None,
    depth_format: str,
    resume: bool,
    as_json: bool,
) -> None:
    """Predict a live source until it ends, gives up, or somebody presses Ctrl-C.

    Args:
        source: a camera or an address, or - for the frames that --raw describes.
        outputs, raw, give_up_s, mjpeg_port, only, background, depth_format: as the command's
            options.
        load_predictor: called once the other arguments are found to be right.
    """
    from maskdepth.inference.prediction import load_background
    from maskdepth.media.clip_outputs import open_sinks
    from maskdepth.media.live import AgeSink, LiveSource
    from maskdepth.media.mjpeg import MjpegSink
    from maskdepth.media.run_stream import run_stream
    from maskdepth.stopping import stop_on_signals

    if resume:
        remedy = "rename or remove what an interrupted run left, and leave --resume out"
        text = "A live source cannot be resumed."
        raise UsageError("a clip with --resume", source, remedy, text)
    check_depth_format(depth_format)
    check_json(outputs or (), as_json=as_json)
    outputs = _checked_outputs(outputs, mjpeg_port, plate, background)
    behind = None if background is None else load_background(background)
    name, connect = _connector(source, raw)
    page = None if mjpeg_port is None else MjpegSink(mjpeg_port, behind)
    stream = load_predictor().stream(plate)
    ages = AgeSink()
    with (
        LiveSource(
            name, connect, reconnects=raw is None, give_up_s=give_up_s, notify=say
        ) as frames,
        stop_on_signals() as stop,
        contextlib.ExitStack() as stack,
    ):
        sinks = open_sinks(outputs, frames, only=only, background=behind)
        for sink in sinks:
            stack.enter_context(sink)
        shown = [] if page is None else [stack.enter_context(page)]
        for each in shown:
            say(f"the newest prediction is at {each.url}")

        def is_stopped() -> bool:
            return stop.requested or any(getattr(sink, "is_closed", False) for sink in sinks)

        every = [*sinks, *shown, ages]
        summary = run_stream(stream, frames.until(is_stopped), every, read_ahead=False)
    for line in (line for sink in sinks for line in sink.remarks):
        say(line)
    _report(frames, sinks, summary, ages, as_json=as_json)
    if stop.requested:
        raise typer.Exit(INTERRUPTED)
    if summary.problem is not None:
        raise typer.Exit(1)


def _checked_outputs(
    outputs: Sequence[Path] | None,
    mjpeg_port: int | None,
    plate: str | None,
    background: str | None,
) -> Sequence[Path]:
    """The outputs, if they are right, and there is one plate at most."""
    from maskdepth.media.clip_outputs import STDOUT, check_outputs
    from maskdepth.media.plate_files import Plates
    from maskdepth.records import check_not_inputs, file_identities

    if not outputs and mjpeg_port is None:
        raise UsageError(
            "an output",
            "none",
            "name a file such as -o out.mp4, -o - for a line of JSON for each frame, or --mjpeg",
            "A live source needs an output.",
        )
    outputs = outputs or []
    check_outputs(outputs)
    if Plates(plate).folder is not None:
        text = f"{plate} is a folder; a live source has one plate."
        raise UsageError("one plate", str(plate), "name one of the files", text)
    inputs = [Path(each) for each in (plate, background) if each is not None]
    check_not_inputs([path for path in outputs if path != STDOUT], file_identities(inputs))
    return outputs


def _connector(source: str, raw: str | None) -> tuple[str, Callable[[], Connection]]:
    """The name of a source in messages, and what opens it."""
    from maskdepth.media.connections import (
        CameraConnection,
        PipeConnection,
        UrlConnection,
        is_url,
        parse_size,
        safe_url,
    )

    if raw is not None:
        size, pipe = parse_size(raw), sys.stdin.buffer
        return "stdin", lambda: PipeConnection(pipe, size)
    if is_url(source):
        return safe_url(source), lambda: UrlConnection(source)
    return source, lambda: CameraConnection(source)


def _report(
    source: LiveSource,
    sinks: Sequence[FileSink],
    summary: RunSummary,
    ages: AgeSink,
    *,
    as_json: bool,
) -> None:
    say_outcome(summary)
    speed = summary.frames / max(summary.seconds, 1e-6)
    written = f" -> {sink_names(sinks)}" if sinks else ""
    say(
        f"{summary.frames} frames{written} ({speed:.1f} frames/s); "
        f"{source.dropped} dropped; age {ages.mean_ms:.0f} ms on average, at most "
        f"{ages.max_ms:.0f} ms; opened again {source.reconnections} times"
    )
    if as_json:
        print_json(
            {
                "written": [str(sink.path) for sink in sinks],
                "frames": summary.frames,
                "dropped": source.dropped,
                "age_ms": {"mean": round(ages.mean_ms, 1), "max": round(ages.max_ms, 1)},
                "reconnections": source.reconnections,
                "failures": {} if summary.problem is None else {source.name: str(summary.problem)},
            }
        )

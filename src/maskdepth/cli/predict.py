"""``maskdepth predict``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskdepth.cli import options as opt
from maskdepth.cli import scene_files
from maskdepth.cli.options import print_json, report_failures, report_notices, say
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    from maskdepth.media.pictures import Summary


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Pictures, folders, globs, or - for stdin; or one video; or one live source: "
            "camera:0, /dev/video0, or an rtsp:// or http:// address.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Model folder, as `fit` makes it, or a hub id owner/name. Default: the shipped "
            "model.",
        ),
    ] = None,
    plate: Annotated[
        str | None,
        typer.Option(
            metavar="PLATE",
            help="Clean plate or SCENE.plate for all pictures, or a folder of them by stem.",
        ),
    ] = None,
    outputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write to. For one picture also a file, e.g. cutout.png, or - for "
            "stdout: it gets the cutout, or what --only or --background says. For a video a .mov, "
            ".webm or .mkv with alpha, an opaque .mp4, a .jsonl, or a folder of PNGs; -o may be "
            "given several times. For a video or a live source, - writes a line of JSON for each "
            "frame to stdout. Default: maskdepth-output.",
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Write only these of alpha, disparity, depth, cutout, composite, preview and "
            "json, with commas. A folder also gets the json, which lists the files.",
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="COLOUR|PICTURE",
            help="Also write a composite: the cutout on this colour, such as white or #20a040, or "
            "on this picture.",
        ),
    ] = None,
    depth_format: Annotated[
        str,
        typer.Option(
            help="Format of depth in metres, which a calibrated .plate gives: png (16-bit mm) or "
            "npy."
        ),
    ] = "png",
    points: scene_files.Points = None,
    mesh: scene_files.Mesh = None,
    focal_px: scene_files.SceneFocalPx = None,
    max_points: scene_files.MaxPoints = None,
    register: Annotated[
        bool,
        typer.Option(
            "--register/--no-register",
            help="First fit the plate's place and light to the picture's.",
        ),
    ] = True,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine/--no-refine",
            help="Measure outlines by comparing the picture with its plate.",
        ),
    ] = True,
    close_up: Annotated[
        bool,
        typer.Option(
            "--close-up/--no-close-up",
            help="Predict foreground of large pictures a second time, from a close-up.",
        ),
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a video that was interrupted.")
    ] = False,
    raw: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="The source - is live raw frames of this size, such as 640x480: three bytes a "
            "pixel, red, green, blue.",
        ),
    ] = None,
    give_up: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="Stop when a live source has given no frame for so long. Default: never.",
        ),
    ] = None,
    mjpeg: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=1,
            max=65535,
            help="Show the predictions of a live source to browsers on this machine, at "
            "http://127.0.0.1:PORT.",
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, or int8 where the model has such a network: faster.")
    ] = "fp32",
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    download: opt.Download = False,
    as_json: opt.AsJson = False,
) -> None:
    """Predict alpha, disparity and cutout of pictures or video, given the clean plate."""
    from maskdepth.cli.predict_live import is_live, predict_live
    from maskdepth.cli.predict_video import check_single_output, find_clip, predict_video
    from maskdepth.inference.output_files import check_file
    from maskdepth.inference.prediction import load_background
    from maskdepth.inference.predictor import Predictor
    from maskdepth.media.pictures import find_jobs, predict_all, predict_file

    _check_stdin(sources)
    formats = _parse_formats(only, background, depth_format)
    load_predictor = partial(
        Predictor.from_pretrained,
        model,
        precision=precision,
        device=device,
        threads=threads,
        register=register,
        refine=refine,
        close_up=close_up,
        download=download,
    )
    live = is_live(sources, raw, give_up, mjpeg)
    clip = None if live else find_clip(sources)
    scene = scene_files.SceneFiles(points, mesh, focal_px, max_points)
    scene.check(is_clip=live or clip is not None)
    if live:
        predict_live(
            sources[0],
            outputs,
            raw=raw,
            give_up_s=give_up,
            mjpeg_port=mjpeg,
            load_predictor=load_predictor,
            plate=plate,
            only=formats,
            background=background,
            depth_format=depth_format,
            resume=resume,
            as_json=as_json,
        )
        return
    outputs = outputs or [Path("maskdepth-output")]
    if clip is not None:
        predict_video(
            clip,
            outputs,
            load_predictor=load_predictor,
            plate=plate,
            only=formats,
            background=background,
            depth_format=depth_format,
            settings={
                "model": f"{model or 'shipped'}, {precision}",
                "choice of --register, --refine and --close-up": f"{register, refine, close_up}",
            },
            resume=resume,
            as_json=as_json,
        )
        return
    output = check_single_output(outputs, resume=resume)
    single = _single_file(output)
    if single is not None:
        kind = check_file(single, formats, background=background is not None)
        formats = [kind]
    stdin = sys.stdin.buffer.read() if "-" in sources else None
    if background is not None:
        load_background(background)
    lines: list[str] = []  # to be said once the call is found to be right
    jobs = find_jobs(sources, plate, stdin=stdin, notify=lines.append)
    if single is not None and (len(jobs) > 1 or as_json):
        raise UsageError(
            "one picture for one file, without --json",
            f"{len(jobs)} pictures" + (" and --json" if as_json else ""),
            "give a folder with -o",
            f"{output} is one file, which holds one layer of one picture.",
        )
    scene.check_jobs(jobs)
    predictor = load_predictor()
    for line in lines:
        say(line)
    if single is not None:
        content, prediction = predict_file(
            predictor, jobs[0], single, only=formats, background=background
        )
        scene.write(prediction)
        _write_single(output, content)
        report_notices([(jobs[0].name, notice) for notice in prediction.notices])
        return
    summary = predict_all(
        predictor,
        jobs,
        output,
        only=formats,
        depth_format=depth_format,
        background=background,
        on_progress=opt.show_progress("predicted {done} of {total} pictures"),
        on_prediction=scene.write,
    )
    _report(summary)
    done = f"{len(jobs) - len(summary.failures)} of {len(jobs)} pictures"
    say(f"{done} -> {output}" if summary.written else f"{done}, so nothing was written")
    if as_json:
        written = [str(path) for path in (*summary.written, *scene.written)]
        result = {"written": written, "failures": dict(summary.failures)}
        print_json(result | scene.as_json())
    if summary.failures:
        raise typer.Exit(1)


def _check_stdin(sources: list[str]) -> None:
    if "-" in sources and sys.stdin is None:
        remedy = "pass the path of a picture"
        raise UsageError("a picture on stdin", "a closed one", remedy, "stdin is closed.")


def _parse_formats(only: str | None, background: str | None, depth_format: str) -> list[str] | None:
    """The formats that --only lists; None without it."""
    from maskdepth.inference.output_files import check_formats

    formats = None if only is None else [each.strip() for each in only.split(",")]
    check_formats(formats or (), depth_format)
    if background is not None and formats is not None and "composite" not in formats:
        raise UsageError(
            "composite in --only",
            only or "nothing",
            "add composite to --only, or leave --only out",
            "--background makes a composite, which --only leaves out.",
        )
    return formats


def _report(summary: Summary) -> None:
    """What went wrong, what is to be noticed, and how far the foreground is, on stderr."""
    report_failures(summary.failures)
    report_notices(summary.notices)
    for name, distance in summary.distances:
        say(f"{name}: {distance.median_m:.2f} m away, nearest {distance.nearest_m:.2f} m")


def _single_file(output: Path) -> Path | None:
    """The file that an output names by its ending, or ``-`` as a PNG; None for a folder."""
    if str(output) == "-":
        return Path("stdout.png")
    from maskdepth.inference.output_files import names_file

    return output if names_file(output) else None


def _write_single(output: Path, content: bytes) -> None:
    from maskdepth.files import write_bytes

    if str(output) != "-":
        write_bytes(output, content)
        say(f"1 picture -> {output}")
        return
    if sys.stdout is None or sys.stdout.isatty():
        got = "closed" if sys.stdout is None else "a terminal"
        raise UsageError("a pipe or a file on stdout", got, "add > cutout.png", f"stdout is {got}.")
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()

"""``maskdepth predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from maskdepth.cli import options as opt
from maskdepth.cli.options import print_json, report_failures, say
from maskdepth.errors import UsageError


def predict(
    source: Annotated[str, typer.Argument(help="Picture, folder, glob, or - for stdin.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Model folder, as `fit` makes it, or a hub id owner/name. Default: the shipped "
            "model.",
        ),
    ] = None,
    plate: Annotated[
        str | None,
        typer.Option(
            help="Clean plate or SCENE.plate for all pictures, or a folder of them by stem."
        ),
    ] = None,
    output: opt.Output = Path("maskdepth-output"),
    depth_format: Annotated[
        str,
        typer.Option(
            help="Format of depth in metres, which a calibrated .plate gives: png (16-bit mm) or "
            "npy."
        ),
    ] = "png",
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
    precision: Annotated[
        str, typer.Option(help="fp32, or int8 where the model has such a network: faster.")
    ] = "fp32",
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    download: opt.Download = False,
    as_json: opt.AsJson = False,
) -> None:
    """Predict alpha, disparity and cutout of pictures, given their clean plates."""
    from maskdepth.inference.predictor import Predictor
    from maskdepth.media.pictures import find_jobs, predict_all

    if source == "-" and sys.stdin is None:
        remedy = "pass the path of a picture"
        raise UsageError("a picture on stdin", "a closed one", remedy, "stdin is closed.")
    stdin = sys.stdin.buffer.read() if source == "-" else None
    jobs = find_jobs(source, plate, stdin=stdin)
    predictor = Predictor.from_pretrained(
        model,
        precision=precision,
        device=device,
        threads=threads,
        register=register,
        refine=refine,
        close_up=close_up,
        download=download,
    )
    summary = predict_all(predictor, jobs, output, depth_format=depth_format)
    report_failures(summary.failures)
    say(f"{len(jobs) - len(summary.failures)} of {len(jobs)} pictures -> {output}")
    if as_json:
        written = [str(path) for path in summary.written]
        print_json({"written": written, "failures": dict(summary.failures)})
    if summary.failures:
        raise typer.Exit(1)

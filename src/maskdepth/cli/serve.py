"""``maskdepth serve``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from maskdepth.cli import options as opt

_MEGA = 1_000_000


def _count_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serve(
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. Other than this machine's own: --token-file."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="File with a long random token a line; clients send one of them. Each has plates "
            "of its own.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name under which clients call this server; may be given several times.",
        ),
    ] = None,
    store: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the uploaded plates.")
    ] = Path("maskdepth-plates"),
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Model folder or hub id owner/name. Default: the shipped model.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Predictions at a time. Default: one a core.")
    ] = None,
    queue: Annotated[
        int, typer.Option(min=1, help="Predictions that may wait; more are turned away.")
    ] = 64,
    time_limit: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a prediction may wait and compute.")
    ] = 30.0,
    max_megabytes: Annotated[
        float, typer.Option(min=0.1, help="Size of a picture's file, in megabytes.")
    ] = 32.0,
    max_megapixels: Annotated[
        float, typer.Option(min=0.1, max=100, help="Size of a picture, in millions of pixels.")
    ] = 25.0,
    max_plates: Annotated[int, typer.Option(min=1, help="Stored plates of one token.")] = 100,
    plate_days: Annotated[
        float, typer.Option(min=0.001, help="Days that a plate is kept after its last use.")
    ] = 30.0,
    max_streams: Annotated[int, typer.Option(min=1, help="Streams at a time.")] = 16,
    precision: Annotated[
        str, typer.Option(help="fp32, or int8 where the model has such a network: faster.")
    ] = "fp32",
    device: opt.Device = "auto",
    download: opt.Download = False,
) -> None:
    """Serve predictions over HTTP and WebSocket, by default to this machine alone."""
    from maskdepth.inference.predictor import Predictor
    from maskdepth.server.log import start_log
    from maskdepth.server.run import run_server
    from maskdepth.server.settings import ServerSettings, read_tokens

    settings = ServerSettings(
        host=host,
        port=port,
        store=store,
        tokens={} if token_file is None else read_tokens(token_file),
        model=model,
        names=frozenset(name.lower() for name in allow_host or ()),
        workers=workers or _count_cores(),
        queue=queue,
        time_limit_s=time_limit,
        max_bytes=int(max_megabytes * _MEGA),
        body_memory=max(256 * _MEGA, int(8 * max_megabytes * _MEGA)),
        max_pixels=int(max_megapixels * _MEGA),
        max_plates=max_plates,
        plate_seconds=plate_days * 86400,
        max_streams=max_streams,
    )
    start_log(quiet=opt.is_quiet())
    predictor = Predictor.from_pretrained(
        model,
        precision=precision,
        device=device,
        threads=1,
        download=download,
        keep_memory=False,  # clients choose the sizes of their pictures
    )
    if run_server(predictor, settings):
        sys.exit(opt.INTERRUPTED)

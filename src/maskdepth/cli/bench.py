"""The commands of ``maskdepth bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from maskdepth.cli import options as opt
from maskdepth.cli.options import print_json, say

bench_app = typer.Typer(help="Measure speed here, on this machine.", no_args_is_help=True)


@bench_app.command("train")
def bench_training(
    preset: opt.Preset = None,
    seconds: Annotated[float, typer.Option(help="Seconds to measure for, after a warm-up.")] = 20.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = 16,
    device: opt.Device = "auto",
) -> None:
    """Images per second of the training loop, the loader's share, and the share of peak FLOP/s."""
    from maskdepth.bench import bench_train

    print_json(
        bench_train(preset or "small", batch_size=batch_size, seconds=seconds, device=device)
    )


@bench_app.command("predict")
def bench_prediction(
    model: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Model folders. Default: the shipped model."),
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, help="Timed runs of each method; slow methods have fewer.")
    ] = 50,
    threads: opt.Threads = None,
    memory: Annotated[
        bool,
        typer.Option(
            "--memory/--no-memory",
            help="Measure peak memory too, of each method in its own process.",
        ),
    ] = True,
) -> None:
    """Latency and memory of networks and of predictions, on all engines there are, in turn.

    Whole predictions with a prepared plate are given in multiples of the network's time.
    """
    from maskdepth.bench import bench_predict

    print_json(bench_predict(model or [], runs=runs, threads=threads, memory=memory))


@bench_app.command("stream")
def bench_clip(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Model folder. Default: the shipped model."),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Frames of the clip that is drawn.")] = 90,
    threads: opt.Threads = None,
    only: Annotated[
        str, typer.Option(metavar="LAYER", help="What the .mp4 holds: preview or alpha.")
    ] = "preview",
) -> None:
    """Frames a second of a 720p clip before a prepared plate, and what bounds them.

    Processor time of decoding, predicting and encoding, each alone, beside the speed of all three
    at once. It needs PyAV.
    """
    from maskdepth.bench import bench_stream, stream_table

    result = bench_stream(model, frames=frames, threads=threads, layer=only)
    say(stream_table(result))
    print_json(result)

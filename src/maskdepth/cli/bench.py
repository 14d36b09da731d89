"""The commands of ``maskdepth bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from maskdepth.cli.options import Device, Preset, Workers, print_json

bench_app = typer.Typer(help="Measure speed here, on this machine.", no_args_is_help=True)


@bench_app.command("train")
def bench_training(
    preset: Preset = None,
    seconds: Annotated[float, typer.Option(help="To measure, after a warm-up.")] = 20.0,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    device: Device = "auto",
) -> None:
    """Images per second of the training loop, the loader's share, and the share of peak FLOP/s."""
    from maskdepth.bench import bench_train

    print_json(
        bench_train(preset or "small", batch_size=batch_size, seconds=seconds, device=device)
    )


@bench_app.command("worlds")
def bench_drawing(
    size: Annotated[int, typer.Option(min=16, max=4096, help="Side of the scenes, px.")] = 256,
    seconds: Annotated[float, typer.Option(help="To measure, after all have started.")] = 20.0,
    processes: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Scenes of the sample pack per second, and each family's time."""
    from maskdepth.bench import bench_worlds

    print_json(bench_worlds(size=size, seconds=seconds, processes=processes))


@bench_app.command("predict")
def bench_prediction(
    model: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL...]", help="Model folders; else the shipped model."),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Of each; fewer of the slow ones.")] = 50,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; else all.")] = None,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Peak memory, each in its own process.")
    ] = True,
) -> None:
    """Latency and memory of networks and whole predictions, on all engines there are, in turn."""
    from maskdepth.bench import bench_predict

    print_json(bench_predict(model or [], runs=runs, threads=threads, memory=memory))


@bench_app.command("compose")
def bench_composing(
    count: Annotated[int, typer.Option(min=8, help="Composites to render.")] = 4000,
    processes: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Composites per second of the renderer, and of Pillow with the same recipes."""
    from maskdepth.bench import bench_compose

    print_json(bench_compose(count, processes=processes))


@bench_app.command("materialise")
def bench_materialising(
    samples: Annotated[int, typer.Option(min=1, help="Of each encoding.")] = 1000,
    size: Annotated[int, typer.Option(min=32, max=2048, help="Side of the composites, px.")] = 224,
    workers: Workers = None,
) -> None:
    """Samples a second and bytes a sample of shards in several encodings, with ratios."""
    from maskdepth.bench import bench_materialise

    print_json(bench_materialise(samples=samples, size=size, workers=workers))


@bench_app.command("engines")
def bench_building(
    samples: Annotated[int, typer.Option(min=1, help="Of each engine.")] = 20_000,
    shard_size: Annotated[int, typer.Option(min=1, help="Samples a shard.")] = 1000,
    size: Annotated[int, typer.Option(min=32, max=2048, help="Side of the composites, px.")] = 224,
    workers: Workers = None,
) -> None:
    """Samples a second of shards, written by processes and by Ray, and what a cluster must plan."""
    from maskdepth.bench import bench_engines

    print_json(bench_engines(samples=samples, shard_size=shard_size, size=size, workers=workers))

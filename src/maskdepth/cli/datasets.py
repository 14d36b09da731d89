"""Making datasets: ``maskdepth worlds``, ``compose`` and ``inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskdepth.cli import options as opt
from maskdepth.cli.options import check_idle, print_json, say
from maskdepth.errors import UsageError


def worlds(
    output: opt.Output,
    scenes: Annotated[
        int, typer.Option(min=0, help="Number of backgrounds, which have exact disparity.")
    ] = 40,
    cutouts: Annotated[
        int, typer.Option(min=0, help="Number of cutouts: animals and objects.")
    ] = 40,
    seed: opt.PackSeed = 0,
    families: Annotated[
        str | None,
        typer.Option(help="Families of scenes, with commas. Default: all but the withheld one."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that draw side by side.")] = 2,
) -> None:
    """Draw the sample pack: scenes with exact depth, and cutouts, free of any licence."""
    from maskdepth.synthesis.worlds import FAMILIES, write_sample_pack

    pack = write_sample_pack(
        output,
        scenes=scenes,
        cutouts=cutouts,
        seed=seed,
        families=FAMILIES if families is None else tuple(families.split(",")),
        processes=processes,
    )
    say(f"{scenes} scenes -> {pack.backgrounds}, {cutouts} cutouts -> {pack.cutouts}")


def compose(
    cutouts: opt.Cutouts,
    backgrounds: opt.Backgrounds,
    output: opt.Output,
    size: opt.Size = None,
    seed: opt.Seed = 0,
    plan: opt.Plan = None,
    rules: opt.Rules = None,
    small: opt.Small = False,
    strict: opt.Strict = False,
    depth_scenes: opt.DepthScenes = 60,
    layout: Annotated[
        str | None, typer.Option(help="folders: also write files as the prior work did.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Composites that --layout writes. Default: 100.")
    ] = None,
    materialise: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Write N training samples as tar shards, or continue to write them.",
        ),
    ] = None,
    shard_size: opt.ShardSize = None,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Store pictures as PNG rather than JPEG in shards.")
    ] = False,
    workers: opt.Workers = None,
    engine: opt.Engine = "local",
    as_json: opt.AsJson = False,
) -> None:
    """Check, split and freeze two folders of assets as a dataset."""
    from maskdepth.datasets.build import SHARD_SIZE, compose_dataset, write_folders
    from maskdepth.datasets.build import materialise as write_shards
    from maskdepth.datasets.shards import Encoding
    from maskdepth.datasets.shards.engines import find_engine
    from maskdepth.synthesis.rules import plan_rules

    find_engine(engine)  # before anything is written
    if layout not in (None, "folders"):
        raise UsageError(
            "--layout folders", repr(layout), "", f"--layout is folders or nothing, not {layout}."
        )
    if not layout:
        check_idle("--layout folders", {"--count": count})
    if not materialise:
        remote = engine != "local"
        check_idle(
            "--materialise N",
            {"--shard-size": shard_size, "--lossless": lossless, "--workers": workers}
            | {"--engine": remote},
        )
    dataset = compose_dataset(
        cutouts,
        backgrounds,
        output,
        rules=plan_rules(plan or "free", rules, size),
        seed=seed,
        small=small,
        strict=strict,
        depth_scenes=depth_scenes,
        notify=say,
    )
    for line in dataset.describe():
        say(line)
    if layout:
        count = count or 100
        write_folders(dataset, count)
        say(f"{count} composites -> {', '.join(map(str, sorted(output.glob('output_*'))))}")
    if materialise:
        manifest = write_shards(
            dataset,
            materialise,
            shard_size=shard_size or SHARD_SIZE,
            encoding=Encoding(picture="png" if lossless else "jpeg"),
            workers=workers,
            engine=engine,
            notify=say,
        )
        say(f"{materialise} samples in {manifest.shards} shards -> {output}/shards")
    if as_json:
        findings = [str(finding) for finding in dataset.findings]
        splits = dataset.spec.split_sizes
        print_json({"splits": splits, "samples": dataset.samples, "findings": findings})


def inspect(
    dataset: opt.DatasetFolder,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Also write a contact sheet of some samples (.png, .jpg)."
        ),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Say what a dataset holds, and check its shards against their checksums."""
    from maskdepth.datasets.build import open_dataset
    from maskdepth.datasets.inspection import check_sheet, inspect_dataset, save_sheet

    opened = open_dataset(dataset)
    if sheet:
        check_sheet(opened, sheet)
    found = inspect_dataset(opened)
    if as_json:
        print_json(found.as_json())
    else:
        typer.echo("\n".join(found.describe()))
    if sheet:
        save_sheet(opened, sheet, stored=found.shards is not None and not found.faults)
        say(f"contact sheet -> {sheet}")
    if found.faults:
        raise typer.Exit(1)

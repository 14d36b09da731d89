"""Making datasets: ``maskdepth worlds``, ``compose`` and ``inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskdepth.cli import options as opt
from maskdepth.cli.options import (
    TEACHERS,
    TeacherOptions,
    check_idle,
    open_network,
    print_json,
    say,
    show_progress,
)
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    from maskdepth.datasets.build import Dataset


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
        typer.Option(
            metavar="LIST",
            help="Families of scenes, with commas. Default: all but the withheld one.",
        ),
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
        on_progress=show_progress("drew {done} of {total} pictures"),
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
    split: opt.Split = None,
    small: opt.Small = False,
    strict: opt.Strict = False,
    views: opt.Views = 8,
    depth_scenes: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of drawn scenes to learn depth from where no background has a label. "
            "Default: 60, and none with --split none.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="folders: also write composites as the prior work did, as numbered files in "
            "output_image, output_bg, output_mask and output_depth."
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Composites that --layout writes. Default: 100.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="TEACHER",
            help=f"Depth network to ask for each composite's depth, for output_depth: {TEACHERS}. "
            "Default: the labels of the backgrounds.",
        ),
    ] = None,
    kind: opt.Kind = None,
    units: opt.Units = None,
    licence: opt.Licence = None,
    download: opt.Download = False,
    device: opt.Device = "auto",
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
    from maskdepth.datasets.build import SHARD_SIZE, compose_dataset
    from maskdepth.datasets.build import materialise as write_shards
    from maskdepth.datasets.picture_folders import write_folders
    from maskdepth.datasets.shards.engines import check_engine, find_engine
    from maskdepth.datasets.shards.layout import Encoding
    from maskdepth.synthesis.rules import plan_rules

    find_engine(engine)  # before anything is written
    asked = TeacherOptions(kind, units, licence, download, device)
    _check_split(split, small)
    _check_layout(layout, count, teacher, asked)
    if not materialise:
        remote = engine != "local"
        check_idle(
            "--materialise N",
            {"--shard-size": shard_size, "--lossless": lossless, "--workers": workers}
            | {"--engine": remote},
        )
    else:
        check_engine(engine)
    # Opened before anything is written: a teacher that is not there ends the run.
    network = open_network(teacher, asked, "composites have no depth files") if teacher else None
    dataset = compose_dataset(
        cutouts,
        backgrounds,
        output,
        rules=plan_rules(plan or "free", rules, size),
        seed=seed,
        small=small,
        strict=strict,
        hold_out=split is None,
        depth_scenes=(60 if split is None else 0) if depth_scenes is None else depth_scenes,
        views=views,
        notify=say,
    )
    for line in dataset.describe():
        say(line)
    if layout:
        count = count or 100
        write_folders(dataset, count, teacher=network, notify=say)
        folders = sorted(path for path in output.glob("output_*") if path.is_dir())
        say(f"{count} composites -> {', '.join(map(str, folders))}")
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


def _check_split(split: str | None, small: bool) -> None:
    if split not in (None, "none"):
        raise UsageError(
            "--split none", repr(split), "", f"--split is none or nothing, not {split}."
        )
    if split and small:
        raise UsageError(
            "--split none or --small", "both", "leave one of them out",
            "--small is a way to split, and --split none does not split.",
        )  # fmt: skip


def _check_layout(
    layout: str | None, count: int | None, teacher: str | None, asked: TeacherOptions
) -> None:
    if layout not in (None, "folders"):
        raise UsageError(
            "--layout folders", repr(layout), "", f"--layout is folders or nothing, not {layout}."
        )
    if not layout:
        check_idle("--layout folders", {"--count": count, "--teacher": teacher})
    if teacher is None:
        given = {f"--{name}": value for name, value in vars(asked).items()}
        check_idle("--teacher", given | {"--device": asked.device != "auto"})


def inspect(
    dataset: opt.DatasetFolder,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Also write a contact sheet of some samples (.png, .jpg); with --clip, the folder "
            "of the clip.",
        ),
    ] = None,
    clip: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Write drawn clip N of training assets instead: frames, alpha and plate as PNG, "
            "events as JSON.",
        ),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Say what a dataset holds, and check its shards against their checksums."""
    from maskdepth.datasets.build import open_dataset
    from maskdepth.datasets.inspection import check_sheet, inspect_dataset, save_sheet

    opened = open_dataset(dataset)
    if clip is not None:
        _write_clip(opened, clip, output, as_json)
        return
    sheet = output
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


def _write_clip(dataset: Dataset, number: int, folder: Path | None, as_json: bool) -> None:
    """Write a drawn clip for a person to view."""
    from dataclasses import asdict

    from maskdepth.synthesis.clips import draw_clip, write_clip

    if folder is None:
        raise UsageError(
            "-o FOLDER with --clip", "none", "add -o FOLDER", "--clip needs a folder to write: -o."
        )
    clip = draw_clip(dataset.spec, dataset.folder, number)
    write_clip(clip, folder, show_progress("drew {done} of {total} frames"))
    events = [asdict(event) for event in clip.events]
    if as_json:
        print_json({"clip": str(folder), "frames": len(clip), "events": events})
    for event in clip.events:
        say(f"{event.kind}: frames {event.start} to {event.end}")
    say(f"{len(clip)} frames -> {folder}")

"""``maskdepth label``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskdepth.cli import options as opt
from maskdepth.cli.options import (
    TEACHERS,
    TeacherOptions,
    check_idle,
    open_source,
    prepare_source,
    print_json,
    report_failures,
    say,
)
from maskdepth.errors import UsageError


def label(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET", help="Dataset, made by `compose`, or a folder of pictures."
        ),
    ],
    teacher: Annotated[
        str,
        typer.Option(
            metavar="TEACHER",
            help=f"{TEACHERS}; sensor: depth files beside the pictures; exact: those of a sample "
            "pack.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder to write to. Default: the dataset's own labels."
        ),
    ] = None,
    per_composite: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Write N composites as shards, each labelled by itself."
        ),
    ] = None,
    shard_size: opt.ShardSize = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes of --engine ray. Default: one a GPU or a node."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="Engine of --per-composite. local: this process. ray: processes or GPUs, on the "
            "cluster at RAY_ADDRESS if that is set."
        ),
    ] = "local",
    everything: Annotated[
        bool,
        typer.Option("--all", help="Label also backgrounds that have exact or measured labels."),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the labels of another teacher.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make labels again that are there already.")
    ] = False,
    kind: opt.Kind = None,
    units: opt.Units = None,
    licence: opt.Licence = None,
    download: opt.Download = False,
    device: opt.Device = "auto",
    as_json: opt.AsJson = False,
) -> None:
    """Label each background's depth once, by a teacher, a sensor's files or exact geometry."""
    from maskdepth.datasets.build import SHARD_SIZE, open_dataset
    from maskdepth.datasets.label_dataset import label_composites, label_dataset
    from maskdepth.labelling.label_pictures import label_folder
    from maskdepth.synthesis.spec import SPEC_FILE

    is_dataset = (source / SPEC_FILE).is_file()
    if not is_dataset:
        _check_folder(source, output, {"--all": everything, "--per-composite": per_composite})
    if per_composite:
        _check_composites({"--all": everything, "--replace": replace, "--force": force})
    else:
        check_idle(
            "--per-composite N",
            {"--engine": engine != "local", "--shard-size": shard_size, "--workers": workers},
        )
    options = TeacherOptions(kind, units, licence, download, device)
    if per_composite:
        opened = open_dataset(source)
        find = open_source if engine == "local" else prepare_source
        manifest = label_composites(
            opened,
            find(teacher, options),
            per_composite,
            output=output,
            shard_size=shard_size or SHARD_SIZE,
            workers=workers,
            engine=engine,
            notify=say,
        )
        say(f"{per_composite} samples in {manifest.shards} shards -> {output or source}/shards")
        if as_json:
            print_json({"samples": manifest.count, "shards": manifest.shards})
        return
    chosen = open_source(teacher, options)
    if is_dataset:
        run = label_dataset(
            open_dataset(source),
            chosen,
            output=output,
            everything=everything,
            replace=replace,
            force=force,
            notify=say,
        )
    else:
        assert output is not None
        run = label_folder(source, chosen, output, replace=replace, force=force, notify=say)
    report_failures(run.failures.items())
    for line in run.describe():
        say(line)
    say(f"labels -> {run.folder}")
    if as_json:
        print_json(run.as_json())
    if run.failures:
        raise typer.Exit(1)


def _check_folder(source: Path, output: Path | None, options: dict[str, object]) -> None:
    """A folder of pictures needs a place for its labels, and has no composites or other labels."""
    if output is None:
        raise UsageError(
            f"a dataset at {source}, or -o LABELS for a folder of pictures",
            "neither",
            "compose a dataset first, or say with -o where the labels go",
            f"{source} is no dataset.",
        )
    for option in (option for option, value in options.items() if value):
        raise UsageError(
            f"{option} with a dataset",
            f"{source}, a folder",
            "",
            f"{option} needs a dataset, and {source} is a folder of pictures.",
        )


def _check_composites(options: dict[str, bool]) -> None:
    for option in (option for option, value in options.items() if value):
        raise UsageError(
            f"{option} with labels of backgrounds",
            "--per-composite too",
            "",
            f"{option} is for labels of backgrounds and does not go with --per-composite.",
        )

"""``maskdepth label`` and ``maskdepth evaluate-labels``: a teacher's labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from maskdepth.cli.options import (
    TEACHERS,
    DatasetFolder,
    Device,
    Download,
    Json,
    Kind,
    Licence,
    ShardSize,
    Units,
    open_network,
    open_source,
    prepare_source,
    print_json,
    refuse_idle,
    say,
    tell_every,
)
from maskdepth.errors import UsageError


def label(
    source: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Made by `compose`; or a folder of pictures.")
    ],
    teacher: Annotated[
        str,
        typer.Option(
            help=f"{TEACHERS}sensor: depth files beside the pictures; exact: a sample pack's."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder to write to; a dataset is labelled in its own without."
        ),
    ] = None,
    per_composite: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Write N composites as shards, each labelled by itself."
        ),
    ] = None,
    shard_size: ShardSize = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Of --engine ray: processes; else one a GPU or a node."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="Of --per-composite. local: this process. ray: processes or GPUs, on the cluster "
            "at RAY_ADDRESS if it is set."
        ),
    ] = "local",
    everything: Annotated[
        bool, typer.Option("--all", help="Backgrounds with exact or measured labels too.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let labels of another teacher go.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make labels anew that are there already.")
    ] = False,
    kind: Kind = None,
    units: Units = None,
    licence: Licence = None,
    download: Download = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Label each background's depth once, by a teacher, a sensor's files or exact geometry."""
    from maskdepth.datasets.build import SHARD_SIZE, open_dataset
    from maskdepth.datasets.label_dataset import label_composites, label_dataset
    from maskdepth.labelling.label_folder import label_folder
    from maskdepth.synthesis.spec import SPEC_FILE

    is_dataset = (source / SPEC_FILE).is_file()
    if not is_dataset and output is None:
        raise UsageError(
            f"a dataset at {source}, or -o LABELS for a folder of pictures",
            "neither",
            "compose a dataset first, or say where the labels go",
        )
    if not is_dataset and (everything or per_composite):
        option = "--all" if everything else "--per-composite"
        raise UsageError(f"{option} with a dataset", f"{source}, a folder", "leave it out")
    if not per_composite:
        refuse_idle(
            "--per-composite N",
            {"--engine": engine != "local", "--shard-size": shard_size, "--workers": workers},
        )
    if per_composite and (everything or replace or force):
        option = "--all" if everything else "--replace" if replace else "--force"
        raise UsageError(
            f"{option} with labels of backgrounds", "--per-composite too", "leave it out"
        )
    told: dict[str, Any] = {"kind": kind, "units": units, "licence": licence, "download": download}
    if per_composite:
        opened = open_dataset(source)
        find = open_source if engine == "local" else prepare_source
        manifest = label_composites(
            opened,
            find(teacher, device=device, **told),
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
    chosen = open_source(teacher, device=device, **told)
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
    for name, reason in run.failures.items():
        typer.echo(f"{name}: {reason}", err=True)
    for line in run.describe():
        say(line)
    say(f"labels -> {run.folder}")
    if as_json:
        print_json(run.as_json())
    if run.failures:
        raise typer.Exit(1)


def evaluate_labels(
    dataset: DatasetFolder,
    teacher: Annotated[str, typer.Option(help=f"{TEACHERS}asked of each composite.")],
    count: Annotated[int, typer.Option(min=1, help="Of the training composites.")] = 500,
    kind: Kind = None,
    units: Units = None,
    licence: Licence = None,
    download: Download = False,
    device: Device = "auto",
) -> None:
    """Say which pasted objects a teacher misses, and where its labels differ from layers."""
    from maskdepth.datasets.build import open_dataset
    from maskdepth.evaluation import judge_labels

    source = open_network(
        teacher,
        "composites have no depth files",
        kind=kind,
        units=units,
        licence=licence,
        device=device,
        download=download,
    )
    opened = open_dataset(dataset)
    advance = tell_every(100, count, "composites")
    print_json(judge_labels(source, opened.spec, opened.folder, count=count, advance=advance))

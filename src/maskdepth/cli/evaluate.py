"""Judging models: on the benchmark and on more, on real frames, on measured depth, in metres."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from maskdepth.cli.options import (
    Count,
    DatasetFolder,
    Json,
    Kind,
    Licence,
    ModelFolder,
    Seed,
    Units,
    open_network,
    print_json,
    say,
    tell_every,
)

_NO_FILES = "name a network: what is judged has no depth files"


def show_scores(evaluation: dict[str, Any], report: Path) -> None:
    """The main figures on stderr, and where the rest is."""
    from maskdepth.report import left_out_lines, score_table

    say(score_table(evaluation))
    for name, found in (evaluation["frames"] or {}).items():
        for line in left_out_lines(found):
            say(f"{name}: {line}")
    say(f"report -> {report}")


def evaluate(
    model: ModelFolder,
    dataset: DatasetFolder,
    report: Annotated[
        Path | None,
        typer.Option(
            help="HTML report, else report.html in MODEL; a JSON of the same name lies beside it. "
            "An earlier report is replaced."
        ),
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option(help="Another model folder for the same table.")
    ] = None,
    count: Count = 500,
    robustness: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Also draw curves against shift, light, shadow, noise, ... with N composites a "
            "point (150 are plenty).",
        ),
    ] = 0,
    frames: Annotated[
        list[Path] | None,
        typer.Option(help="Real frames too: in*.jpg, gt*.png and plate.png, as in CDnet."),
    ] = None,
    depth: Annotated[
        list[Path] | None,
        typer.Option(help="Real depth too: pictures with <stem>_depth_mm.png."),
    ] = None,
    withheld: Annotated[
        Path | None,
        typer.Option(help="Depth in a withheld world too, drawn with `worlds --families shop`."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="A depth network beside the model, as in `label`, such as FILE.onnx."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a model on the frozen benchmark and more, with baselines and error bars."""
    from maskdepth.datasets.build import open_dataset
    from maskdepth.evaluation import Evidence
    from maskdepth.pipeline import judge_model

    report = report or model / "report.html"
    evaluation = judge_model(
        model,
        open_dataset(dataset),
        report=report,
        against=against or [],
        count=count,
        evidence=Evidence(
            robustness=robustness,
            frames=frames or [],
            depth=depth or [],
            withheld=withheld,
            teacher=None if teacher is None else open_network(teacher, _NO_FILES),
        ),
        notify=say,
    )
    show_scores(evaluation, report)
    if as_json:
        print_json(evaluation)


def evaluate_frames(
    model: ModelFolder,
    frames: Annotated[Path, typer.Argument(help="in*.jpg, gt*.png and plate.png, as in CDnet.")],
    tune: Annotated[int, typer.Option(min=1, help="First frames that tune the baseline.")] = 20,
) -> None:
    """Judge a model's masks on real frames of a fixed camera, beside two baselines.

    Frames without ground truth, or with none that is judged, are left out and counted.
    """
    from maskdepth.evaluation import judge_frames
    from maskdepth.inference.predictor import Predictor
    from maskdepth.report import left_out_lines

    found = judge_frames(Predictor.from_pretrained(model), frames, tune=tune)
    for line in left_out_lines(found):
        say(line)
    print_json(found)


def evaluate_depth(
    model: ModelFolder,
    pictures: Annotated[
        Path, typer.Argument(help="Pictures with <stem>_depth_mm.png or <stem>_disparity.png.")
    ],
) -> None:
    """Judge a model's disparity on real pictures with measured depth, without a plate."""
    from maskdepth.evaluation import judge_sensor_depth
    from maskdepth.inference.predictor import Predictor

    print_json(judge_sensor_depth(Predictor.from_pretrained(model), pictures))


def evaluate_distance(
    model: ModelFolder,
    count: Annotated[int, typer.Option(min=1, help="Scenes, over all families in turn.")] = 48,
    families: Annotated[
        str | None, typer.Option(help="Of drawn scenes, with commas; all if left out.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Labels the plates, as in `plate`; else exact with noise.")
    ] = None,
    kind: Kind = None,
    units: Units = None,
    licence: Licence = None,
    seed: Seed = 0,
) -> None:
    """Judge distances in metres: objects in unseen drawn scenes, plates that points calibrate."""
    from maskdepth.evaluation import judge_distance
    from maskdepth.inference.predictor import Predictor
    from maskdepth.synthesis.worlds import SCENES

    source = None
    if teacher is not None:
        source = open_network(teacher, _NO_FILES, kind=kind, units=units, licence=licence)
    print_json(
        judge_distance(
            Predictor.from_pretrained(model),
            count=count,
            families=tuple(SCENES) if families is None else tuple(families.split(",")),
            seed=seed,
            teacher=source,
            advance=tell_every(10, count, "scenes"),
        )
    )

"""Judging models: on the benchmark and on more, on real frames, on measured depth, in metres."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from maskdepth.cli import options as opt
from maskdepth.cli.options import (
    TEACHERS,
    TeacherOptions,
    check_idle,
    open_network,
    print_json,
    say,
)
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    from maskdepth.evaluation import Evaluation

_NO_FILES = "there are no depth files of what is judged"


class _EvaluateGroup(TyperGroup):
    """The group answers a call without one of its words with the words there are."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        words = self.list_commands(ctx)
        if args[0] in words:
            return super().resolve_command(ctx, args)
        listed = f"{', '.join(words[:-1])} or {words[-1]}"
        raise UsageError(
            f"one of {listed}",
            args[0],
            f"you may mean: `{shlex.join(['maskdepth', 'evaluate', words[0], *args])}`",
            f"evaluate needs a word: {listed}.",
        )


evaluate_app = typer.Typer(
    cls=_EvaluateGroup,
    help="Judge a model, or a teacher's labels, on data of one kind.",
    no_args_is_help=True,
)


def show_scores(evaluation: Evaluation, report: Path) -> None:
    """The main figures on stderr, and where the rest is."""
    from maskdepth.report import score_table

    say(score_table(evaluation))
    for name, result in (evaluation.frames or {}).items():
        for left_out in result.left_out:
            say(f"{name}: {left_out}")
    say(f"report -> {report}")


@evaluate_app.command("composites")
def evaluate_composites(
    model: opt.ModelFolder,
    dataset: opt.DatasetFolder,
    report: Annotated[
        Path | None,
        typer.Option(
            help="HTML report to write, with a JSON of the same name beside it; an earlier report "
            "is replaced. Default: report.html in MODEL."
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Judge another model in the same table: its folder, or shipped."),
    ] = None,
    count: opt.Count = 500,
    slices: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Slices to judge, with commas: clean, jpeg, hard (the default) and the challenges "
            "large, large_hard, cast, tone.",
        ),
    ] = None,
    robustness: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Also draw curves against shift, light, shadow, noise and more, with N composites "
            "a point (150 are plenty).",
        ),
    ] = 0,
    frames: Annotated[
        list[Path] | None,
        typer.Option(help="Judge real frames too: in*.jpg, gt*.png and plate.png, as in CDnet."),
    ] = None,
    depth: Annotated[
        list[Path] | None,
        typer.Option(help="Judge measured depth too: pictures with <stem>_depth_mm.png."),
    ] = None,
    withheld: Annotated[
        Path | None,
        typer.Option(
            help="Judge depth in a withheld world too, drawn with `worlds --families shop`."
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="TEACHER", help="Judge a depth network beside the model, named as in `label`."
        ),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Judge a model on the frozen benchmark and more, with baselines and error bars."""
    from maskdepth.datasets.build import open_dataset
    from maskdepth.evaluation import Extras, to_json
    from maskdepth.inference.model.locate import SHIPPED
    from maskdepth.pipeline import judge_model
    from maskdepth.synthesis.rules import BENCHMARK_V1

    if report is None and str(model) == SHIPPED and not model.exists():
        raise UsageError(
            "--report with the shipped model",
            "none",
            "add --report report.html",
            "The shipped model's folder takes no report.",
        )
    report = report or model / "report.html"
    evaluation = judge_model(
        model,
        open_dataset(dataset),
        report=report,
        against=against or [],
        count=count,
        slices=tuple(BENCHMARK_V1) if slices is None else tuple(slices.split(",")),
        extras=Extras(
            robustness=robustness,
            frames=frames or [],
            depth=depth or [],
            withheld=withheld,
            teacher=None if teacher is None else open_network(teacher, TeacherOptions(), _NO_FILES),
        ),
        notify=say,
    )
    show_scores(evaluation, report)
    if as_json:
        print_json(to_json(evaluation))


@evaluate_app.command("frames")
def evaluate_frames(
    model: opt.ModelFolder,
    frames: Annotated[
        Path,
        typer.Argument(
            metavar="FRAMES",
            help="Folder of frames in1.jpg, in2.jpg and so on, masks gt1.png, gt2.png and so on, "
            "and plate.png, as in CDnet.",
        ),
    ],
    tune: Annotated[
        int, typer.Option(min=1, help="Number of first frames, which tune the baseline.")
    ] = 20,
) -> None:
    """Judge a model's masks on real frames of a fixed camera, beside two baselines.

    Frames without ground truth, or with none that is judged, are left out and counted.
    """
    from maskdepth import evaluation
    from maskdepth.inference.predictor import Predictor

    on_progress = opt.notify_progress("judged {done} of {total} frames")
    result = evaluation.evaluate_frames(
        Predictor.from_pretrained(model), frames, tune=tune, on_progress=on_progress
    )
    for left_out in result.left_out:
        say(str(left_out))
    print_json(evaluation.to_json(result))


@evaluate_app.command("clips")
def evaluate_clips(
    model: opt.ModelFolder,
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER",
            help="Folders of clip.mp4, plate.png and gt/FRAME.png, masks named by frame number.",
        ),
    ] = None,
    drawn: opt.DrawnDataset = None,
    count: opt.DrawnCount = 12,
    as_json: opt.AsJson = False,
) -> None:
    """Judge a model's masks and depth in clips of fixed cameras, beside thresholds.

    Its depth is judged by how steady the background is from frame to frame, and by how much of
    the foreground is nearer than the plate. In drawn clips alpha is judged over time, for flicker
    and lag, as a table or with --json; of other clips the result is JSON.
    """
    from maskdepth import evaluation
    from maskdepth.datasets.build import open_dataset
    from maskdepth.inference.predictor import Predictor

    _check_clips("clips", folders, drawn)
    predictor = Predictor.from_pretrained(model)
    if drawn is None:
        print_json(evaluation.to_json(evaluation.evaluate_clips(predictor, folders or [])))
        return
    dataset = open_dataset(drawn)
    on_progress = opt.notify_progress("judged {done} of {total} clips")
    result = evaluation.evaluate_drawn_clips(
        predictor, dataset.spec, dataset.folder, count, on_progress=on_progress
    )
    if as_json:
        print_json(evaluation.to_json(result))
        return
    typer.echo(f"{'':16}{'MAD':>8}{'dtSSD':>8}{'still':>8}{'Dice':>8}  Dice after a step")
    for name, each in result.mean.items():
        figures = "".join(f"{value:8.2f}" for value in (each.mad, each.dtssd, each.still_std))
        dice, *steps = (
            "    none" if value is None else f"{value:8.4f}"
            for value in (each.dice, *each.step_dice)
        )
        typer.echo(f"{name.replace('_', ' '):16}{figures}{dice} {''.join(steps)}")


def _check_clips(word: str, folders: list[Path] | None, drawn: Path | None) -> None:
    """Check that there are folders or a dataset to draw from, and not both."""
    if (drawn is None) == (not folders):
        raise UsageError(
            "folders of clips, or --drawn DATASET",
            "neither" if drawn is None else "both",
            "pass one of them",
            f"evaluate {word} takes folders of clips or --drawn DATASET, one of them.",
        )


@evaluate_app.command("plates")
def evaluate_plates(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER",
            help="Folders of clip.mp4, plate.png and gt/FRAME.png, masks named by frame number.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Also judge this model's masks with the estimated plate and with plate.png: its "
            "folder, or shipped."
        ),
    ] = None,
    drawn: opt.DrawnDataset = None,
    count: opt.DrawnCount = 12,
) -> None:
    """Judge plates estimated from clips, beside the temporal median and OpenCV's MOG2."""
    from maskdepth import evaluation
    from maskdepth.datasets.build import open_dataset
    from maskdepth.inference.predictor import Predictor

    on_progress = opt.notify_progress("judged the plates of {done} of {total} clips")
    _check_clips("plates", folders, drawn)
    if drawn is not None:
        check_idle("FOLDER", {"--model": model})
        dataset = open_dataset(drawn)
        result = evaluation.evaluate_drawn_plates(dataset.spec, dataset.folder, count, on_progress)
    else:
        predictor = None if model is None else Predictor.from_pretrained(model)
        result = evaluation.evaluate_plates(folders or [], predictor, on_progress)
    for name, plates in (*result.clips.items(), ("mean", result.mean)):
        figures = [
            f"{kind} {errors.age:.2f} {errors.peps:.2%}"
            for kind, errors in (
                ("estimate", plates.estimate),
                ("median", plates.median),
                ("MOG2", plates.mog2),
            )
        ]
        say(f"{name}: AGE, pEPs: {', '.join(figures)}")
    print_json(evaluation.to_json(result))


@evaluate_app.command("depth")
def evaluate_depth(
    model: opt.ModelFolder,
    pictures: Annotated[
        Path,
        typer.Argument(
            metavar="PICTURES",
            help="Folder of pictures with <stem>_depth_mm.png or <stem>_disparity.png.",
        ),
    ],
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="TEACHER", help="Judge a depth network beside the model, named as in `label`."
        ),
    ] = None,
) -> None:
    """Judge a model's disparity on real pictures with measured depth, without a plate."""
    from maskdepth import evaluation
    from maskdepth.inference.predictor import Predictor

    source = None if teacher is None else open_network(teacher, TeacherOptions(), _NO_FILES)
    result = evaluation.evaluate_depth(Predictor.from_pretrained(model), pictures, teacher=source)
    print_json(evaluation.to_json(result))


@evaluate_app.command("distance")
def evaluate_distance(
    model: opt.ModelFolder,
    count: Annotated[
        int, typer.Option(min=1, help="Number of scenes, over all families in turn.")
    ] = 48,
    families: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Families of drawn scenes, with commas. Default: all."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="TEACHER",
            help="Teacher that labels the plates, named as in `plate`. Default: exact labels with "
            "noise.",
        ),
    ] = None,
    kind: opt.Kind = None,
    units: opt.Units = None,
    licence: opt.Licence = None,
    seed: opt.Seed = 0,
) -> None:
    """Judge distances in metres: objects in unseen drawn scenes, plates that points calibrate."""
    from maskdepth import evaluation
    from maskdepth.inference.predictor import Predictor
    from maskdepth.synthesis.worlds import SCENES

    source = None
    if teacher is not None:
        source = open_network(teacher, TeacherOptions(kind, units, licence), _NO_FILES)
    result = evaluation.evaluate_distance(
        Predictor.from_pretrained(model),
        count=count,
        families=tuple(SCENES) if families is None else tuple(families.split(",")),
        seed=seed,
        teacher=source,
        on_progress=opt.notify_progress("judged {done} of {total} scenes"),
    )
    print_json(evaluation.to_json(result))


@evaluate_app.command("labels")
def evaluate_labels(
    dataset: opt.DatasetFolder,
    teacher: Annotated[str, typer.Option(metavar="TEACHER", help=f"Teacher to judge: {TEACHERS}.")],
    count: Annotated[int, typer.Option(min=1, help="Number of training composites.")] = 500,
    kind: opt.Kind = None,
    units: opt.Units = None,
    licence: opt.Licence = None,
    download: opt.Download = False,
    device: opt.Device = "auto",
) -> None:
    """Say which pasted objects a teacher misses, and where its labels differ from layers."""
    from maskdepth import evaluation
    from maskdepth.datasets.build import open_dataset

    options = TeacherOptions(kind, units, licence, download, device)
    source = open_network(teacher, options, "composites have no depth files")
    opened = open_dataset(dataset)
    on_progress = opt.notify_progress("judged {done} of {total} composites")
    result = evaluation.evaluate_labels(
        source, opened.spec, opened.folder, count=count, on_progress=on_progress
    )
    print_json(evaluation.to_json(result))

"""The commands, in the order of a user's work."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from maskdepth._version import __version__
from maskdepth.cli.evaluate import (
    evaluate,
    evaluate_depth,
    evaluate_distance,
    evaluate_frames,
    show_scores,
)
from maskdepth.cli.label import evaluate_labels, label
from maskdepth.cli.models import export, push
from maskdepth.cli.options import (
    Backgrounds,
    Config,
    Count,
    Cutouts,
    DatasetFolder,
    DepthScenes,
    Device,
    Download,
    Engine,
    Epochs,
    Json,
    Lossless,
    Minutes,
    Output,
    PackSeed,
    Plan,
    Preset,
    Renderer,
    Resume,
    Rules,
    RunSeed,
    Seed,
    ShardSize,
    Size,
    Small,
    Start,
    Steps,
    Strict,
    TensorBoard,
    Workers,
    is_quiet,
    print_json,
    refuse_idle,
    say,
)
from maskdepth.cli.plate import plate
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    from maskdepth.learning.settings import TrainingConfig

INTERRUPTED = 130

app = typer.Typer(
    name="maskdepth",
    help="Predict a foreground matte and dense depth from a picture and its clean plate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"maskdepth {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notices.")] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    if quiet and not is_quiet():
        # The environment, so that loader workers and child processes are quiet too.
        os.environ["MASKDEPTH_QUIET"] = "1"
        context.call_on_close(lambda: os.environ.pop("MASKDEPTH_QUIET", None))


@app.command()
def predict(
    source: Annotated[str, typer.Argument(help="Picture, folder, glob, or - for stdin.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Model folder, as `fit` makes it, or a hub id owner/name; else the shipped model.",
        ),
    ] = None,
    plate: Annotated[
        str | None,
        typer.Option(
            help="Clean plate or SCENE.plate for all pictures, or a folder of them by stem."
        ),
    ] = None,
    output: Output = Path("maskdepth-output"),
    depth_format: Annotated[
        str,
        typer.Option(
            help="Of depth in metres, which a calibrated .plate gives: png (16-bit mm) or npy."
        ),
    ] = "png",
    register: Annotated[
        bool,
        typer.Option(
            "--register/--no-register",
            help="First bring the plate onto the picture: its place and its light.",
        ),
    ] = True,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine/--no-refine",
            help="Read outlines from the picture and its plate.",
        ),
    ] = True,
    second_look: Annotated[
        bool,
        typer.Option(
            "--second-look/--no-second-look",
            help="See foreground in large pictures again from closer.",
        ),
    ] = True,
    precision: Annotated[
        str, typer.Option(help="fp32, or int8 where the model has such a network: faster.")
    ] = "fp32",
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; else all.")] = None,
    download: Download = False,
    as_json: Json = False,
) -> None:
    """Predict alpha, disparity and cutout of pictures, given their clean plates."""
    from maskdepth.inference.predictor import Predictor
    from maskdepth.media.pictures import find_jobs, predict_all

    if source == "-" and sys.stdin is None:
        raise UsageError("a picture on stdin", "a closed one", "pass the path of a picture")
    stdin = sys.stdin.buffer.read() if source == "-" else None
    jobs = find_jobs(source, plate, stdin=stdin)
    predictor = Predictor.from_pretrained(
        model,
        precision=precision,
        device=device,
        threads=threads,
        register=register,
        refine=refine,
        second_look=second_look,
        download=download,
    )
    summary = predict_all(predictor, jobs, output, depth_format=depth_format)
    for name, message in summary.failures:
        typer.echo(f"{name}: {message}", err=True)
    say(f"{len(jobs) - len(summary.failures)} of {len(jobs)} pictures -> {output}")
    if as_json:
        written = [str(path) for path in summary.written]
        print_json({"written": written, "failures": dict(summary.failures)})
    if summary.failures:
        raise typer.Exit(1)


@app.command()
def worlds(
    output: Output,
    scenes: Annotated[int, typer.Option(min=0, help="Backgrounds with exact disparity.")] = 40,
    cutouts: Annotated[int, typer.Option(min=0, help="Animals and objects with alpha.")] = 40,
    seed: PackSeed = 0,
    families: Annotated[
        str | None, typer.Option(help="Of the scenes, with commas; all but the withheld one.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="That draw side by side.")] = 2,
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


@app.command()
def compose(
    cutouts: Cutouts,
    backgrounds: Backgrounds,
    output: Output,
    size: Size = None,
    seed: Seed = 0,
    plan: Plan = None,
    rules: Rules = None,
    small: Small = False,
    strict: Strict = False,
    depth_scenes: DepthScenes = 60,
    layout: Annotated[
        str | None, typer.Option(help="folders: also write files as the prior work did.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Composites that --layout writes; else 100.")
    ] = None,
    materialise: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Write N training samples as tar shards; resumes."),
    ] = None,
    shard_size: ShardSize = None,
    lossless: Lossless = False,
    workers: Workers = None,
    engine: Engine = "local",
    as_json: Json = False,
) -> None:
    """Check, split and freeze two folders of assets as a dataset."""
    from maskdepth.datasets.build import SHARD_SIZE, compose_dataset, write_folders
    from maskdepth.datasets.build import materialise as write_shards
    from maskdepth.datasets.shards import Encoding
    from maskdepth.datasets.shards.engines import find_engine
    from maskdepth.synthesis.rules import plan_rules

    find_engine(engine)  # before anything is written
    if layout not in (None, "folders"):
        raise UsageError("--layout folders", repr(layout), "use that, or leave it out")
    if not layout:
        refuse_idle("--layout folders", {"--count": count})
    if not materialise:
        refuse_idle(
            "--materialise N",
            {
                "--shard-size": shard_size,
                "--lossless": lossless,
                "--workers": workers,
                "--engine": engine != "local",
            },
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


app.command()(label)
app.command()(plate)


@app.command()
def inspect(
    dataset: DatasetFolder,
    sheet: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Contact sheet of some samples (.png, .jpg)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a dataset holds, and check its shards against their checksums."""
    from maskdepth.datasets.build import open_dataset
    from maskdepth.datasets.inspection import check_sheet, describe, inspect_dataset, save_sheet

    opened = open_dataset(dataset)
    if sheet:
        check_sheet(opened, sheet)
    found = inspect_dataset(opened)
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(describe(found)))
    if sheet:
        whole = found["shards"] is not None and not found["faults"]
        save_sheet(opened, sheet, stored=whole)
        say(f"contact sheet -> {sheet}")
    if found["faults"]:
        raise typer.Exit(1)


@app.command()
def train(
    dataset: DatasetFolder,
    output: Output,
    preset: Preset = None,
    steps: Steps = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    config: Config = None,
    seed: RunSeed = None,
    per_composite: Annotated[
        bool,
        typer.Option(
            "--per-composite", help="Learn depth from shards that `label --per-composite` wrote."
        ),
    ] = False,
    start: Start = None,
    resume: Resume = False,
    device: Device = "auto",
    renderer: Renderer = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train a network on a dataset and export it: the output is a model folder."""
    from maskdepth.datasets.build import open_dataset
    from maskdepth.pipeline import train_model

    settings = _settings(preset, config, steps, epochs, minutes, seed, renderer)
    interrupted = train_model(
        open_dataset(dataset),
        output,
        settings,
        start=start,
        per_composite=per_composite,
        resume=resume,
        device=device,
        tensorboard=tensorboard,
        quiet=is_quiet(),
    )
    if interrupted:
        _stop("--resume")
    say(f"model -> {output}")


def _settings(
    preset: str | None,
    config: Path | None,
    steps: int | None,
    epochs: int | None,
    minutes: float | None,
    seed: int | None,
    renderer: str | None = None,
) -> TrainingConfig:
    """The preset's settings, or those of a file, with what the command line says over them."""
    from maskdepth.learning.settings import TrainingConfig, preset_config

    lasting = [steps, epochs, minutes].count(None) < 3
    # A file may leave the duration to the command line, which has the last word in any case.
    given: dict[str, Any] = {"steps": 1, "epochs": None, "minutes": None} if lasting else {}
    settings = TrainingConfig.load(config, **given) if config else preset_config(preset or "small")
    if preset not in (None, settings.preset):
        raise UsageError(
            f"--preset as in {config}", f"{preset} and {settings.preset}", "leave one of them out"
        )
    if lasting:
        settings = settings.lasting(steps=steps, epochs=epochs, minutes=minutes)
    return settings.with_(seed=seed, renderer=renderer)


def _stop(*more: str) -> NoReturn:
    """Say how to go on with this very call; ``more`` is what it lacks."""
    arguments = _without(sys.argv[1:], "--from")  # a run that has started knows it
    arguments += [option for option in more if option not in arguments]
    say(f"interrupted; go on with: {shlex.join(['maskdepth', *arguments])}")
    raise typer.Exit(INTERRUPTED)


def _without(arguments: list[str], option: str) -> list[str]:
    """Arguments but for an option and its value, in either way of writing them."""
    kept: list[str] = []
    values = iter(arguments)
    for argument in values:
        if argument == option:
            next(values, None)
        elif not argument.startswith(f"{option}="):
            kept.append(argument)
    return kept


app.command()(evaluate)
app.command()(evaluate_frames)
app.command()(evaluate_depth)
app.command()(evaluate_distance)
app.command()(evaluate_labels)


app.command()(export)
app.command()(push)


@app.command()
def fit(
    cutouts: Cutouts,
    backgrounds: Backgrounds,
    output: Output,
    preset: Preset = None,
    steps: Steps = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    config: Config = None,
    seed: RunSeed = None,
    size: Size = None,
    plan: Plan = None,
    rules: Rules = None,
    small: Small = False,
    strict: Strict = False,
    depth_scenes: DepthScenes = 60,
    count: Count = 500,
    start: Start = None,
    resume: Resume = False,
    device: Device = "auto",
    renderer: Renderer = None,
    tensorboard: TensorBoard = False,
    as_json: Json = False,
) -> None:
    """Compose, train, export and evaluate in one: two folders in, a model folder out."""
    from maskdepth import pipeline

    evaluation = pipeline.fit(
        cutouts,
        backgrounds,
        output,
        _settings(preset, config, steps, epochs, minutes, seed, renderer),
        size=size,
        plan=plan,
        rules=rules,
        small=small,
        strict=strict,
        depth_scenes=depth_scenes,
        count=count,
        start=start,
        resume=resume,
        device=device,
        tensorboard=tensorboard,
        quiet=is_quiet(),
        notify=say,
    )
    if evaluation is None:
        _stop("--resume")
    show_scores(evaluation, output / "report.html")
    say(f"model -> {output}")
    if as_json:
        print_json(evaluation)


@app.command()
def demo(
    output: Output = Path("demo"),
    minutes: Minutes = 4.0,
    seed: PackSeed = 0,
) -> None:
    """Draw a sample pack, fit a network on it, and predict on pairs it has never seen."""
    from maskdepth import pipeline

    settings = _settings("small", None, None, None, minutes, seed)
    evaluation = pipeline.demo(output, settings, quiet=is_quiet(), notify=say)
    if evaluation is None:
        _stop()
    show_scores(evaluation, output / "model" / "report.html")

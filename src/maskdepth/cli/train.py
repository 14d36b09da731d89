"""Making models: ``maskdepth train``, ``fit`` and ``demo``."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from maskdepth.cli import options as opt
from maskdepth.cli.evaluate import show_scores
from maskdepth.cli.options import INTERRUPTED, is_quiet, print_json, say
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    from maskdepth.learning.settings import TrainingConfig


def train(
    dataset: opt.DatasetFolder,
    output: opt.Output,
    preset: opt.Preset = None,
    steps: opt.Steps = None,
    epochs: opt.Epochs = None,
    minutes: opt.Minutes = None,
    config: opt.Config = None,
    seed: opt.RunSeed = None,
    per_composite: Annotated[
        bool,
        typer.Option(
            "--per-composite", help="Learn depth from shards that `label --per-composite` wrote."
        ),
    ] = False,
    start: opt.Start = None,
    resume: opt.Resume = False,
    device: opt.Device = "auto",
    tensorboard: opt.TensorBoard = False,
) -> None:
    """Train a network on a dataset and export it: the output is a model folder."""
    say_if_busy = _share_processor()
    from maskdepth.datasets.build import open_dataset
    from maskdepth.pipeline import RunOptions, train_model

    settings = load_settings(preset, config, steps, epochs, minutes, seed)
    options = RunOptions(start, resume, device, tensorboard, is_quiet(), say_if_busy)
    if train_model(open_dataset(dataset), output, settings, options, per_composite=per_composite):
        stop_interrupted("--resume")
    say(f"model -> {output}")


def fit(
    cutouts: opt.Cutouts,
    backgrounds: opt.Backgrounds,
    output: opt.Output,
    preset: opt.Preset = None,
    steps: opt.Steps = None,
    epochs: opt.Epochs = None,
    minutes: opt.Minutes = None,
    config: opt.Config = None,
    seed: opt.RunSeed = None,
    size: opt.Size = None,
    plan: opt.Plan = None,
    rules: opt.Rules = None,
    small: opt.Small = False,
    strict: opt.Strict = False,
    depth_scenes: opt.DepthScenes = 60,
    views: opt.Views = 8,
    count: opt.FitCount = None,
    start: opt.Start = None,
    resume: opt.Resume = False,
    device: opt.Device = "auto",
    tensorboard: opt.TensorBoard = False,
    as_json: opt.AsJson = False,
) -> None:
    """Compose, train, export and evaluate in one: two folders in, a model folder out."""
    say_if_busy = _share_processor()
    from maskdepth import pipeline
    from maskdepth.evaluation import to_json

    settings = load_settings(preset, config, steps, epochs, minutes, seed)

    def announce() -> None:
        say(_describe_parts(settings, count))
        say_if_busy()

    with _resumable(output, "--resume"):
        evaluation = pipeline.fit(
            pipeline.DatasetOptions(
                cutouts, backgrounds, size, plan, rules, small, strict, depth_scenes, views
            ),
            output,
            settings,
            pipeline.RunOptions(start, resume, device, tensorboard, is_quiet(), announce),
            count=count,
            notify=say,
        )
    if evaluation is None:
        stop_interrupted("--resume")
    show_scores(evaluation, output / "report.html")
    say(f"model -> {output}")
    if as_json:
        print_json(to_json(evaluation))


def _describe_parts(settings: TrainingConfig, count: int | None) -> str:
    """What a fit does once its dataset is there, and which part takes long."""
    from maskdepth.pipeline import MIN_COUNT

    training = f"{settings.total_steps} steps"
    if settings.minutes is not None:
        training = f"{settings.minutes:g} minutes"
    composites = f"at least {MIN_COUNT}" if count is None else str(count)
    return (
        f"Two parts follow: training ({training}), then judging on {composites} composites a "
        "slice, which takes longer than a short training; a lower --count shortens it."
    )


def demo(
    output: opt.Output = Path("demo"),
    training: Annotated[
        bool,
        typer.Option("--fit/--no-fit", help="Also train, which needs pip install '.[train]'."),
    ] = True,
    steps: Annotated[int, typer.Option(min=1, help="Train for this many steps.")] = 300,
    seed: opt.PackSeed = 0,
) -> None:
    """Show the shipped model on drawn pairs, then fit it to drawn scenes and say what that adds."""
    say_if_busy = _share_processor() if training else None
    from maskdepth import pipeline

    shown = pipeline.show_shipped(output, seed, say)
    if say_if_busy is None:
        return
    say_if_busy()
    settings = load_settings("small", steps=steps, seed=seed)
    with _resumable(output / "model"):
        done = pipeline.fit_shipped(output, shown, settings, quiet=is_quiet(), notify=say)
    if not done:
        stop_interrupted()
    say(f"report -> {output / 'model' / 'report.html'}")


@contextlib.contextmanager
def _resumable(run: Path, *more: str) -> Iterator[None]:
    """Ctrl-C outside the training itself says how to go on, where the run has saved its state."""
    from maskdepth.inference.model.folder import STATE_FILE

    try:
        yield
    except KeyboardInterrupt:
        if (run / STATE_FILE).exists():
            stop_interrupted(*more)
        raise


def _share_processor() -> Callable[[], None]:
    """Prepare training for a busy machine, once and before torch is imported.

    Returns:
        Says so where the machine is busy; to be called once the user's arguments are checked.
    """
    from maskdepth.processes import let_threads_sleep, measure_load

    load = measure_load()
    if not let_threads_sleep(load):
        return lambda: None
    return lambda: say(
        f"Other programs use {load:.0%} of the processor, so training is slower than usual. "
        "Its threads sleep while they wait (OMP_WAIT_POLICY=PASSIVE)."
    )


def load_settings(
    preset: str | None,
    config: Path | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    seed: int | None = None,
) -> TrainingConfig:
    """The preset's settings, or those of a file; the command line's own take precedence."""
    from maskdepth.inference.model.card import present_preset
    from maskdepth.learning.settings import load_config, preset_config

    if preset is not None and present_preset(preset) != preset:
        say(f"The preset {preset!r} is called {present_preset(preset)!r} now.")
        preset = present_preset(preset)
    if config is None:
        settings = preset_config(preset or "small")
    else:
        settings = load_config(config, preset, say)
    if settings.renderer is not None:
        say(f"The setting 'renderer' in {config} has no effect any more.")
    if preset not in (None, settings.preset):
        raise UsageError(
            f"--preset as in {config}",
            f"{preset} and {settings.preset}",
            "leave one of them out",
            f"--preset says {preset}, and {config} says {settings.preset}.",
        )
    if [steps, epochs, minutes].count(None) < 3:
        settings = settings.with_duration(steps=steps, epochs=epochs, minutes=minutes)
    return settings.with_(seed=seed)


def stop_interrupted(*more: str) -> NoReturn:
    """Exit, and print the command that continues: this call, with ``more`` where it lacks that."""
    arguments = _without(sys.argv[1:], "--from")  # the run has started already
    arguments += [option for option in more if option not in arguments]
    say(f"interrupted; go on with: {shlex.join(['maskdepth', *arguments])}")
    raise typer.Exit(INTERRUPTED)


def _without(arguments: list[str], option: str) -> list[str]:
    """Arguments but for an option and its value, as one word or as two."""
    kept: list[str] = []
    values = iter(arguments)
    for argument in values:
        if argument == option:
            next(values, None)
        elif not argument.startswith(f"{option}="):
            kept.append(argument)
    return kept

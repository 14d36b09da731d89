"""The application: options of all commands, and the commands in the order of a user's work."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

from maskdepth._version import __version__
from maskdepth.cli.bench import bench_app
from maskdepth.cli.datasets import compose, inspect, worlds
from maskdepth.cli.evaluate import evaluate_app
from maskdepth.cli.help_text import word_help
from maskdepth.cli.label import label
from maskdepth.cli.missing_paths import check_missing_paths
from maskdepth.cli.models import export, push
from maskdepth.cli.options import is_quiet
from maskdepth.cli.page import page
from maskdepth.cli.plate import plate
from maskdepth.cli.predict import predict
from maskdepth.cli.serve import serve
from maskdepth.cli.train import demo, fit, train

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
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Show no progress and no notices; it may follow COMMAND."
        ),
    ] = False,
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


_COMMANDS: tuple[Callable[..., None], ...] = (
    *(predict, worlds, compose, label, plate, inspect, train),
    *(export, push, fit, page, serve, demo),
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(bench_app, name="bench")
for each in (app, evaluate_app, bench_app):
    word_help(each)
    for registered in each.registered_commands:
        assert registered.callback is not None
        registered.callback = check_missing_paths(registered.callback)

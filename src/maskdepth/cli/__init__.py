"""The command line: parse, call one function, print. Heavy imports wait inside the commands.

stdout carries data (``--json``); progress and notices go to stderr. Exit codes: 0 done, 1 a
failure or a partial one, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import sys

import typer

from maskdepth.cli.bench import bench_app
from maskdepth.cli.commands import INTERRUPTED, app
from maskdepth.errors import DependencyError, MaskdepthError, StorageError, UsageError

__all__ = ["app", "main"]

app.add_typer(bench_app, name="bench")


def main() -> None:
    """The console script: errors become one line on stderr and an exit code."""
    try:
        _refuse_empty(sys.argv[1:])
        app()
    except MaskdepthError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        names = [
            "torch",
            "accelerate",
            "safetensors",
            "torchmetrics",
            "onnx",
            "onnxscript",
            "psutil",
        ]
        extras = dict.fromkeys(names, "train")
        extra = extras.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        _fail(DependencyError(error.name or "", extra))
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _fail(StorageError("files that can be read and written", named, "free or permit them"))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _refuse_empty(arguments: list[str]) -> None:
    """An empty path would be the current folder, as a variable of a script that is not set."""
    before = ""
    for argument in arguments:
        name, sign, value = argument.partition("=")
        joined = name.startswith("--") and sign and not value
        if joined or not argument:
            option = name if joined else before if before.startswith("-") else "each argument"
            raise UsageError(f"a value for {option}", "an empty one", "give it, or leave it out")
        before = argument


def _fail(error: MaskdepthError) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(error.exit_code)

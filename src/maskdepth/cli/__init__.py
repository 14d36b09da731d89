"""The command line: parse, call one function, print. Heavy imports wait inside the commands.

stdout carries data (``--json``); progress and notices go to stderr. Exit codes: 0 done, 1 a
failure or a partial one, 2 usage (a path to read that leads nowhere too), 130 interrupted.
"""

from __future__ import annotations

import sys

from maskdepth.cli.app import app
from maskdepth.cli.options import INTERRUPTED, write_stderr
from maskdepth.errors import DependencyError, MaskdepthError, StorageError, UsageError, first_line

__all__ = ["app", "main"]

_OF_TRAIN = frozenset(
    {"torch", "accelerate", "safetensors", "torchmetrics", "onnx", "onnxscript", "psutil"}
)
_OF_SERVE = frozenset(
    {"fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client", "websockets"}
)

_RENAMED = {
    **{
        f"evaluate-{word}": f"evaluate {word}" for word in ("frames", "depth", "distance", "labels")
    },
    "--second-look": "--close-up",
    "--no-second-look": "--no-close-up",
}


def main() -> None:
    """The console script: errors become one line on stderr and an exit code."""
    try:
        _check_names(sys.argv[1:])
        _check_values(sys.argv[1:])
        app(_quiet_first(sys.argv[1:]))
    except MaskdepthError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _OF_TRAIN | _OF_SERVE:
            raise
        _fail(DependencyError(error.name or "", "train" if package in _OF_TRAIN else "serve"))
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}" if error.filename else first_line(error)
        remedy = "free some space, or choose another folder"
        if isinstance(error, PermissionError):
            problem = f"{error.filename} cannot be read or written: {error.strerror}"
            remedy = "check its permissions and its folder's"
        _fail(StorageError("files that can be read and written", problem, remedy, f"{problem}."))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _quiet_first(arguments: list[str]) -> list[str]:
    """``-q`` and ``--quiet``, which belong to no single command, may also follow one."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    quiet = [word for word in arguments[:end] if word in ("-q", "--quiet")]
    others = [word for word in arguments[:end] if word not in quiet]
    return quiet[:1] + others + arguments[end:]


def _check_names(arguments: list[str]) -> None:
    """An earlier name of a command or an option is answered with the present one."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    for word in arguments:
        if word in _RENAMED and (word == command or word.startswith("-")):
            new = _RENAMED[word]
            raise UsageError(new, word, "", f"{word} is called {new} now.")


def _check_values(arguments: list[str]) -> None:
    """An empty path would be the current folder, as a variable of a script that is not set."""
    before = ""
    for argument in arguments:
        name, sign, value = argument.partition("=")
        joined = name.startswith("--") and sign and not value
        if joined or not argument:
            option = name if joined else before if before.startswith("-") else "an argument"
            raise UsageError(
                f"a value for {option}",
                "an empty one",
                "give one, or leave it out",
                f"The value of {option} is empty.",
            )
        before = argument


def _fail(error: MaskdepthError) -> None:
    write_stderr(f"error: {error}")
    sys.exit(error.exit_code)

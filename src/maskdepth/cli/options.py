"""What commands share: their options, and how they speak."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskdepth.errors import UsageError

if TYPE_CHECKING:
    from maskdepth.inference.prediction import Notice
    from maskdepth.labelling.teachers import RecordedDepth, Teacher, TeacherOpener

INTERRUPTED = 130  # the exit code

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]
Cutouts = Annotated[
    Path,
    typer.Argument(metavar="CUTOUTS", help="Folder of transparent cutouts (PNG, WebP, TIFF)."),
]
Backgrounds = Annotated[
    Path, typer.Argument(metavar="BACKGROUNDS", help="Folder of background photos.")
]
DatasetFolder = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Dataset, made by `compose`.")
]
ModelFolder = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="Model folder, made by `fit` or `train`, or the word shipped."
    ),
]
Plan = Annotated[
    str | None,
    typer.Option(
        help="Plan of the composites. free: plain ones. field: light, shadows, motion, noise and "
        "objects on the ground too. prior: the prior work's grid, cutouts x backgrounds x 2 flips "
        "x 20 places."
    ),
]
Rules = Annotated[
    Path | None, typer.Option(help="YAML file of rules that differ from those of the plan.")
]
Small = Annotated[
    bool, typer.Option("--small", help="Split by rank, so that a handful of assets is enough.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first unusable asset.")]
Views = Annotated[
    int,
    typer.Option(
        min=1,
        max=999,
        help="Views of each panorama (a picture in a folder called panoramas) that become "
        "backgrounds.",
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="none: train on all assets and hold none out, as the prior work did. The last tenth "
        "of the composites is then held out instead."
    ),
]
DepthScenes = Annotated[
    int,
    typer.Option(
        min=0, help="Number of drawn scenes to learn depth from where no background has a label."
    ),
]
# Copies of the constants in `config` and `synthesis.worlds`: importing those loads pydantic and
# NumPy, which --help must not wait for.
LARGEST_SEED = 2**63 - 1
LARGEST_PACK_SEED = 2**40 - 1
_SEED_HELP = "Seed of every random choice."
Size = Annotated[
    int | None,
    typer.Option(min=32, max=2048, help="Side of the composites, px. Default: the rules', or 224."),
]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help=_SEED_HELP)]
PackSeed = Annotated[int, typer.Option(min=0, max=LARGEST_PACK_SEED, help=_SEED_HELP)]
RunSeed = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=LARGEST_SEED,
        help="Seed of composites and first weights. Default: the configured one, or 0.",
    ),
]
Preset = Annotated[
    str | None, typer.Option(help="Network: small (the default), or prior (the prior work's).")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Train for this many steps.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Train for this many epochs.")]
Minutes = Annotated[float | None, typer.Option(help="Train for this many minutes.")]
Config = Annotated[Path | None, typer.Option(help="YAML file of training settings.")]
Start = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="MODEL",
        help="Start from the weights of a model folder, or of the shipped model: shipped.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run that stopped in OUTPUT.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also log for TensorBoard.")]
Device = Annotated[str, typer.Option(help="Device to compute on: auto, cpu, cuda or mps.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Number of CPU threads. Default: one a core.")
]
Count = Annotated[int, typer.Option(min=1, help="Composites a slice to judge on.")]
FitCount = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Composites a slice to judge on; fewer take less time. Default: what takes about a "
        "third of the training's time, from 60 to 500.",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes. Default: one a core.")]
ShardSize = Annotated[int | None, typer.Option(min=1, help="Samples a shard. Default: 1000.")]
Engine = Annotated[
    str,
    typer.Option(
        help="Engine that writes shards. local: processes. ray: Ray, on the cluster "
        "at RAY_ADDRESS if that is set."
    ),
]
TEACHERS = (
    "shipped, the package's own model; FILE.onnx with a JSON beside it; a JSON that mixes two such "
    "files; a hub id or folder of the transformers library; "
    "densedepth:FILE.h5 or densedepth-kitti:FILE.h5 in Keras' format"
)
Kind = Annotated[
    str | None,
    typer.Option(
        help="What a network without a description predicts: depth, inverse depth or disparity."
    ),
]
Units = Annotated[
    str | None,
    typer.Option(help="Units of a network without a description: metres or relative."),
]
Licence = Annotated[
    str | None, typer.Option(help="Licence of the weights of a network without a description.")
]
FocalPx = Annotated[
    float | None,
    typer.Option(
        metavar="PX",
        help="Focal length in pixels of the picture. Default: by EXIF, if that says the 35 mm "
        "equivalent.",
    ),
]
Download = Annotated[
    bool, typer.Option("--download", help="Download files that the Hugging Face cache lacks.")
]
DrawnDataset = Annotated[
    Path | None,
    typer.Option(
        "--drawn",
        metavar="DATASET",
        help="Judge clips drawn from this dataset's test assets instead.",
    ),
]
DrawnCount = Annotated[int, typer.Option("--count", min=1, help="Number of drawn clips.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


@dataclass(frozen=True)
class TeacherOptions:
    """How a teacher is opened; see ``labelling.teachers.open_teacher``."""

    kind: str | None = None
    units: str | None = None
    licence: str | None = None
    download: bool = False
    device: str = "auto"


def open_source(name: str, options: TeacherOptions) -> Teacher | RecordedDepth:
    """Open the teacher that a user names, and show its description."""
    from maskdepth.labelling.teachers import describe, open_teacher

    source = open_teacher(name, **vars(options))
    say(describe(source))
    return source


def prepare_source(name: str, options: TeacherOptions) -> TeacherOpener | RecordedDepth:
    """As ``open_source``, for other processes to open."""
    from maskdepth.labelling.teachers import describe, teacher_opener

    source = teacher_opener(name, **vars(options))
    say(describe(source))
    return source


def open_network(name: str, options: TeacherOptions, reason: str) -> Teacher:
    """As ``open_source``, where only a network will do: files will not, for a ``reason``."""
    from maskdepth.labelling.teachers import RecordedDepth

    source = open_source(name, options)
    if isinstance(source, RecordedDepth):
        raise UsageError(
            "a network as the teacher", name, "", f"The teacher must be a network here: {reason}."
        )
    return source


def notify_progress(what: str) -> Callable[[int, int], None]:
    """Progress in lines: one soon, and one at least every half minute.

    Args:
        what: as in ``maskdepth.progress.progress_words``.
    """
    from maskdepth.progress import notify_quarters

    return notify_quarters(say, what)


def show_progress(what: str) -> Callable[[int, int], None]:
    """Progress on one line of a terminal, with the time left; nothing elsewhere.

    Args:
        what: as in ``maskdepth.progress.progress_words``.
    """
    from maskdepth.progress import progress_words

    if is_quiet() or sys.stderr is None or not sys.stderr.isatty():
        return lambda *_: None
    words = progress_words(what)

    def show(done: int, total: int) -> None:
        sys.stderr.write(f"\r\x1b[K{words(done, total)}" if done < total else "\r\x1b[K")
        sys.stderr.flush()

    return show


def say(message: str) -> None:
    """One line for the user on stderr, unless --quiet."""
    if not is_quiet():
        write_stderr(message)


def write_stderr(message: str) -> None:
    """A line on stderr; work goes on where nobody can read it, as after ``2>&1 | head``."""
    with contextlib.suppress(OSError):
        typer.echo(message, err=True)


def report_failures(failures: Iterable[tuple[str, str]]) -> None:
    """A line on stderr for each file that failed, with its name where the message lacks that."""
    for name, message in failures:
        write_stderr(message if name in message else f"{name}: {message}")


def report_notices(notices: Iterable[tuple[str, Notice]]) -> None:
    """A line on stderr for each kind of notice: of the first picture, with the number of others."""
    by_code: dict[str, list[tuple[str, Notice]]] = {}
    for name, notice in notices:
        by_code.setdefault(notice.code, []).append((name, notice))
    for (name, notice), *others in by_code.values():
        more = f" and {len(others)} more" if others else ""
        say(f"{name}{more}: {notice.text}")


def is_quiet() -> bool:
    """Whether --quiet was given, here or to the process that started this one."""
    return os.environ.get("MASKDEPTH_QUIET") == "1"


def check_idle(needed: str, options: Mapping[str, object]) -> None:
    """Check that no option is given which does nothing without another.

    Args:
        needed: the other option.
        options: the values given by their options; false or None where there is none.

    Raises:
        UsageError: naming the first that was given.
    """
    for option, value in options.items():
        if value:
            raise UsageError(
                f"{needed} with {option}",
                "none",
                "",
                f"{option} does nothing without {needed}: add that, or leave {option} out.",
            )


def print_json(value: object) -> None:
    """Data for stdout."""
    typer.echo(json.dumps(value, indent=2))

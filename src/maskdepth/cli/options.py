"""What commands share: their options, and how they speak."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskdepth.errors import UsageError

if TYPE_CHECKING:
    from maskdepth.labelling.teachers import RecordedDepth, Teacher, TeacherOpener

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]
Cutouts = Annotated[Path, typer.Argument(help="Folder of transparent cutouts (PNG, WebP, TIFF).")]
Backgrounds = Annotated[Path, typer.Argument(help="Folder of background photos.")]
DatasetFolder = Annotated[Path, typer.Argument(metavar="DATASET", help="Made by `compose`.")]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Made by `fit` or `train`.")]
Plan = Annotated[
    str | None,
    typer.Option(
        help="free: plain composites. field: light, shadows, motion, noise and objects on the "
        "ground too. prior: the prior work's grid, cutouts x backgrounds x 2 flips x 20 places."
    ),
]
Rules = Annotated[
    Path | None,
    typer.Option(help="YAML file of what is to be otherwise than in the plan."),
]
Small = Annotated[
    bool, typer.Option("--small", help="Split by rank, so that a handful of assets is enough.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first unusable asset.")]
DepthScenes = Annotated[
    int,
    typer.Option(min=0, help="Drawn scenes to learn depth from where no background has a label."),
]
LARGEST_SEED = 2**63 - 1  # that of `config`, which would load pydantic for every --help
LARGEST_PACK_SEED = 2**40 - 1  # that of `synthesis.worlds`, likewise
Size = Annotated[
    int | None,
    typer.Option(min=32, max=2048, help="Side of the composites, px; else the rules', or 224."),
]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of everything random.")]
PackSeed = Annotated[int, typer.Option(min=0, max=LARGEST_PACK_SEED, help="Of everything random.")]
RunSeed = Annotated[
    int | None,
    typer.Option(
        min=0, max=LARGEST_SEED, help="Of composites and first weights; 0 unless configured."
    ),
]
Preset = Annotated[
    str | None, typer.Option(help="Network: small (the default), or seed (the prior work's).")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Train for this many steps.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Train for this many epochs.")]
Minutes = Annotated[float | None, typer.Option(help="Train for this many minutes.")]
Config = Annotated[Path | None, typer.Option(help="YAML file of training settings.")]
Start = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="MODEL", help="Start from a model folder's weights, or from: shipped."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where the run in MODEL stopped.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also log for TensorBoard.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Renderer = Annotated[
    str | None,
    typer.Option(help="Who renders composites: cpu, device, or auto: a GPU beside few cores."),
]
Count = Annotated[int, typer.Option(min=1, help="Composites a slice to judge on.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; else one a core.")]
ShardSize = Annotated[int | None, typer.Option(min=1, help="Samples a shard; else 1000.")]
Engine = Annotated[
    str,
    typer.Option(
        help="local: processes. ray: tasks of Ray Data, on the cluster at RAY_ADDRESS if it is set."
    ),
]
Lossless = Annotated[
    bool, typer.Option("--lossless", help="Pictures as PNG rather than JPEG in the shards.")
]
TEACHERS = (
    "FILE.onnx with a JSON beside it; a hub id or folder of the transformers library; "
    "densedepth:FILE.h5 or densedepth-kitti:FILE.h5 in Keras' format; "
)
Kind = Annotated[
    str | None, typer.Option(help="Of an unknown network: depth, inverse depth or disparity.")
]
Units = Annotated[str | None, typer.Option(help="Of an unknown network: metres or relative.")]
Licence = Annotated[str | None, typer.Option(help="Of an unknown network's weights.")]
Download = Annotated[
    bool, typer.Option("--download", help="Get what the Hugging Face cache lacks.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def open_source(
    name: str,
    *,
    kind: str | None = None,
    units: str | None = None,
    licence: str | None = None,
    device: str = "auto",
    download: bool = False,
) -> Teacher | RecordedDepth:
    """The teacher that a user names; what is known of it is shown."""
    from maskdepth.labelling.teachers import describe, open_teacher

    source = open_teacher(
        name, kind=kind, units=units, licence=licence, device=device, download=download
    )
    say(describe(source))
    return source


def prepare_source(name: str, **told: Any) -> TeacherOpener | RecordedDepth:
    """The same, to be opened by other processes."""
    from maskdepth.labelling.teachers import describe, teacher_opener

    source = teacher_opener(name, **told)
    say(describe(source))
    return source


def open_network(name: str, why: str, **told: Any) -> Teacher:
    """The same where only a network will do, and ``why`` files will not."""
    from maskdepth.labelling.teachers import RecordedDepth

    source = open_source(name, **told)
    if isinstance(source, RecordedDepth):
        raise UsageError("a network as the teacher", name, why)
    return source


def tell_every(step: int, total: int, what: str) -> Callable[..., None]:
    """A function to call as things get done, one or several at a time: it says so now and then."""
    done = 0

    def advance(more: int = 1) -> None:
        nonlocal done
        if (done + more) // step > done // step:
            say(f"{done + more} of {total} {what}")
        done += more

    return advance


def say(message: str) -> None:
    """One line for the user on stderr, unless --quiet."""
    if not is_quiet():
        typer.echo(message, err=True)


def is_quiet() -> bool:
    """Whether --quiet was given, here or to the process that started this one."""
    return os.environ.get("MASKDEPTH_QUIET") == "1"


def refuse_idle(needed: str, options: Mapping[str, object]) -> None:
    """Refuse options that would do nothing, for want of the one that they belong to.

    Args:
        options: what was given for each; nothing where it is false or None.

    Raises:
        UsageError: naming the first that was given.
    """
    for option, given in options.items():
        if given:
            raise UsageError(f"{needed} with {option}", "none", f"leave {option} out, or add it")


def print_json(value: Any) -> None:
    """Data for stdout."""
    typer.echo(json.dumps(value, indent=2))

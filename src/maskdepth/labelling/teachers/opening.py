"""From what a user names to a teacher."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from maskdepth.errors import TeacherError, UsageError
from maskdepth.labelling.teachers.densedepth import DENSEDEPTHS, DenseDepth
from maskdepth.labelling.teachers.known import KNOWN, UNKNOWN, Facts
from maskdepth.labelling.teachers.recorded import ExactDepth, RecordedDepth, SensorDepth
from maskdepth.labelling.teachers.teacher import KINDS, UNITS, Teacher, TeacherOpener

if TYPE_CHECKING:
    from maskdepth.labelling.teachers.teacher import Kind, Units

_RECORDED: Final[dict[str, type[SensorDepth | ExactDepth]]] = {
    "sensor": SensorDepth,
    "exact": ExactDepth,
}


def open_teacher(
    name: str,
    *,
    kind: str | None = None,
    units: str | None = None,
    licence: str | None = None,
    device: str = "auto",
    download: bool = False,
) -> Teacher | RecordedDepth:
    """The teacher that a user names.

    Args:
        name: ``sensor`` or ``exact``; the path of an ONNX file; ``densedepth:`` or
            ``densedepth-kitti:`` and the path of a Keras file; the folder of a network of the
            transformers library, or its hub id.
        kind, units, licence: what the network's maps are and how they may be used, where we do
            not know it ourselves.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        download: get a hub id's files, where the cache lacks them.

    Raises:
        UsageError: nothing of that name, something is left to be said of it, or an unknown device.
        TeacherError: its files are missing, damaged, or do not fit each other.
        DependencyError: what it needs is not installed.
    """
    told = {"kind": kind, "units": units, "licence": licence}
    path = Path(name)
    if name in _RECORDED or path.suffix.lower() == ".onnx":
        if any(told.values()):
            raise UsageError(
                f"no --kind, --units or --licence for {name}",
                ", ".join(f"--{key}" for key, value in told.items() if value),
                "leave them out: the files say it themselves",
            )
        if name in _RECORDED:
            return _RECORDED[name]()
        from maskdepth.labelling.teachers.onnx_file import OnnxTeacher

        return OnnxTeacher(path, device)
    network, _, weights = name.partition(":")
    if network in DENSEDEPTHS:
        return _open_densedepth(network, weights, told, device)
    from maskdepth.labelling.teachers.hub import TransformersTeacher, find_folder

    if path.is_dir():
        return TransformersTeacher(path, path.resolve().name, _facts(name, None, told), device)
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UsageError(
            "sensor, exact, FILE.onnx, densedepth:FILE.h5, a folder of the transformers library "
            "or a hub id",
            repr(name),
            "check the path; hub ids look like depth-anything/Depth-Anything-V2-Small-hf",
        )
    facts = _facts(name, KNOWN.get(name), told)
    return TransformersTeacher(find_folder(name, download=download), name, facts, device)


def teacher_opener(
    name: str, *, device: str = "auto", **told: Any
) -> TeacherOpener | RecordedDepth:
    """The same, for other processes to open; see ``open_teacher``.

    It is opened here as well, for what it says of itself, and on the CPU: here need not be a GPU.
    """
    found = open_teacher(name, device="cpu", **told)
    if isinstance(found, RecordedDepth):
        return found
    make = partial(_open_network, _absolute(name), device=device, **told)
    return TeacherOpener(found.info, device, make)


def _open_network(name: str, **told: Any) -> Teacher:
    teacher = open_teacher(name, **told)
    assert not isinstance(teacher, RecordedDepth)
    return teacher


def _absolute(name: str) -> str:
    """A teacher's name that means the same in any folder."""
    network, colon, weights = name.partition(":")
    if network in DENSEDEPTHS:
        return f"{network}{colon}{Path(weights).absolute()}"
    return str(Path(name).absolute()) if Path(name).exists() else name


def describe(teacher: Teacher | TeacherOpener | RecordedDepth) -> str:
    """What is shown of a teacher when it is chosen."""
    if isinstance(teacher, RecordedDepth):
        return f"{teacher.name} depth: {teacher.files}"
    info = teacher.info
    if info.units == "relative":
        what = f"relative {info.kind}"
    else:
        what = "depth in metres" if info.kind == "depth" else "inverse depth in 1/metres"
    return f"teacher {info.name} ({info.version}): {what}; licence: {info.licence}"


def _open_densedepth(
    network: str, weights: str, told: dict[str, str | None], device: str
) -> DenseDepth:
    if not weights:
        raise UsageError(
            f"{network}:FILE.h5", repr(network), "name the Keras file that holds the weights"
        )
    facts = _facts(network, Facts("depth", "metres", UNKNOWN), told)
    return DenseDepth(weights, DENSEDEPTHS[network], licence=facts.licence, device=device)


def _facts(name: str, known: Facts | None, told: dict[str, str | None]) -> Facts:
    """What is known of a network, completed by its user; nobody guesses."""
    for key, choices in (("kind", KINDS), ("units", UNITS)):
        if told[key] is not None and told[key] not in choices:
            raise UsageError(f"--{key} of {', '.join(choices)}", repr(told[key]), "use one of them")
    if known is not None:
        same = {"kind": known.kind, "units": known.units}
        wrong = [key for key, value in same.items() if told[key] not in (None, value)]
        if wrong:
            raise UsageError(
                f"--{wrong[0]} {same[wrong[0]]!r}, which {name} gives",
                repr(told[wrong[0]]),
                f"leave --{wrong[0]} out",
            )
        if known.settled and told["licence"] not in (None, known.licence):
            raise UsageError(
                f"the licence {known.licence!r} of {name}", repr(told["licence"]),
                "leave --licence out",
            )  # fmt: skip
        facts = replace(known, licence=told["licence"] or known.licence)
        missing = ["--licence"] if facts.licence == UNKNOWN else []
    else:
        missing = [f"--{key}" for key, value in told.items() if value is None]
        facts = Facts(
            cast("Kind", told["kind"] or KINDS[0]),
            cast("Units", told["units"] or UNITS[0]),
            told["licence"] or UNKNOWN,
        )
    if missing:
        raise UsageError(
            f"{' '.join(missing)} for {name}, of which we do not know it",
            "nothing",
            "read its model card, and say what it says",
        )
    if facts.kind == "disparity" and facts.units == "metres":
        raise TeacherError("--units relative for disparity", "metres", "read the model card again")
    return facts

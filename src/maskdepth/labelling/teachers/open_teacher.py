"""Opens the teacher that a user names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from maskdepth.errors import TeacherError, UsageError
from maskdepth.inference.model.locate import SHIPPED
from maskdepth.labelling.teachers.densedepth import DENSEDEPTHS, DenseDepth
from maskdepth.labelling.teachers.published import PUBLISHED, UNKNOWN, NetworkFacts
from maskdepth.labelling.teachers.recorded import (
    DepthSource,
    ExactDepth,
    RecordedDepth,
    SensorDepth,
)
from maskdepth.labelling.teachers.teacher import KINDS, UNITS, Kind, Teacher, TeacherOpener, Units

_RECORDED: Final[dict[str, Callable[[], RecordedDepth]]] = {
    "sensor": SensorDepth,
    "exact": ExactDepth,
}


@dataclass(frozen=True)
class _Options:
    """What the user says of a network; each is None where the user says nothing."""

    kind: str | None
    units: str | None
    licence: str | None

    def given(self) -> dict[str, str]:
        """The options that are given, by name."""
        return {key: value for key, value in vars(self).items() if value is not None}


def open_teacher(
    name: str,
    *,
    kind: str | None = None,
    units: str | None = None,
    licence: str | None = None,
    device: str = "auto",
    download: bool = False,
) -> DepthSource:
    """The teacher that a user names.

    Args:
        name: ``shipped``, the model that comes with the package; ``sensor`` or ``exact``; the path
            of an ONNX file, or of a JSON that mixes two; ``densedepth:`` or ``densedepth-kitti:``
            and the path of a Keras file; the folder of a network of the transformers library, or
            its hub id.
        kind, units, licence: what the network's maps mean and how they may be used, where it is
            not one of ours, nor ``PUBLISHED``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        download: get a hub id's files, where the cache lacks them.

    Raises:
        UsageError: nothing has that name, an option is missing, or the device is unknown.
        TeacherError: its files are missing, damaged, or do not fit each other.
        DependencyError: a package that the teacher needs is not installed.
    """
    options = _Options(kind, units, licence)
    path = Path(name)
    suffix = path.suffix.lower()
    if name in (*_RECORDED, SHIPPED) or suffix in (".onnx", ".json"):
        if given := options.given():
            expected, got = f"no --kind, --units or --licence for {name}", f"--{', --'.join(given)}"
            problem = f"{name} takes no --kind, --units or --licence: its files name them."
            raise UsageError(expected, got, "leave them out", problem)
        if name in _RECORDED:
            return _RECORDED[name]()
        if name == SHIPPED:
            from maskdepth.labelling.teachers.model_teacher import ModelTeacher

            return ModelTeacher(device)
        if suffix == ".json":
            from maskdepth.labelling.teachers.mixture import MixedTeacher

            return MixedTeacher(path, device)
        from maskdepth.labelling.teachers.onnx_file import OnnxTeacher

        return OnnxTeacher(path, device)
    network, _, weights = name.partition(":")
    if network in DENSEDEPTHS:
        if not weights:
            raise UsageError(
                f"{network}:FILE.h5", network, "",
                f"Name the Keras file that holds the weights: {network}:FILE.h5.",
            )  # fmt: skip
        facts = _complete(network, NetworkFacts("depth", "metres", UNKNOWN), options)
        return DenseDepth(weights, DENSEDEPTHS[network], licence=facts.licence, device=device)
    from maskdepth.labelling.teachers.hub import TransformersTeacher, find_folder

    if path.is_dir():
        facts = _complete(name, None, options)
        return TransformersTeacher(path, path.resolve().name, facts, device)
    if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        expected = (
            "shipped, sensor, exact, FILE.onnx, MIXTURE.json, densedepth:FILE.h5, a folder of the "
            "transformers library or a hub id such as depth-anything/Depth-Anything-V2-Small-hf"
        )
        raise UsageError(expected, name, f"name {expected}", f"There is no teacher {name!r}.")
    facts = _complete(name, PUBLISHED.get(name), options)
    return TransformersTeacher(find_folder(name, download=download), name, facts, device)


def teacher_opener(
    name: str, *, device: str = "auto", **options: Any
) -> TeacherOpener | RecordedDepth:
    """The teacher that a user names, for other processes to open; see ``open_teacher``.

    It is opened in this process as well, to read its info, and on the CPU, since this machine may
    have no GPU.
    """
    opened = open_teacher(name, device="cpu", **options)
    if isinstance(opened, RecordedDepth):
        return opened
    make = partial(open_teacher, _absolute(name), device=device, **options)
    return TeacherOpener(opened.info, device, cast("Callable[[], Teacher]", make))


def _absolute(name: str) -> str:
    """A teacher's name that means the same in any folder."""
    network, colon, weights = name.partition(":")
    if network in DENSEDEPTHS:
        return f"{network}{colon}{Path(weights).absolute()}"
    return str(Path(name).absolute()) if name != SHIPPED and Path(name).exists() else name


def describe(teacher: DepthSource | TeacherOpener) -> str:
    """A teacher in one line, as it is shown when it is chosen."""
    if isinstance(teacher, RecordedDepth):
        return f"{teacher.name} depth: {teacher.files}"
    info = teacher.info
    if info.units == "relative":
        maps = f"relative {info.kind}"
    else:
        maps = "depth in metres" if info.kind == "depth" else "inverse depth in 1/metres"
    named = f"{info.name} ({info.version})"
    return f"teacher, the network that gives the depth: {named}, {maps}; licence: {info.licence}"


def _complete(name: str, published: NetworkFacts | None, options: _Options) -> NetworkFacts:
    """The facts of a network, completed by its user; nothing is guessed."""
    for key, value in options.given().items():
        choices = {"kind": KINDS, "units": UNITS}.get(key)
        if choices is not None and value not in choices:
            raise UsageError(
                f"--{key} of {', '.join(choices)}", repr(value), f"use {' or '.join(choices)}",
                f"--{key} cannot be {value!r}.",
            )  # fmt: skip
    if published is not None:
        fixed: dict[str, str] = {"kind": published.kind, "units": published.units}
        if published.settled:
            fixed["licence"] = published.licence
        for key, value in options.given().items():
            if value != fixed.get(key, value):
                raise UsageError(
                    f"--{key} {fixed[key]!r} for {name}", repr(value), f"leave --{key} out",
                    f"{name} has the {key} {fixed[key]!r}, not {value!r}.",
                )  # fmt: skip
        facts = replace(published, licence=options.licence or published.licence)
        missing = ["--licence"] if facts.licence == UNKNOWN else []
    else:
        missing = [f"--{key}" for key, value in vars(options).items() if value is None]
        facts = NetworkFacts(
            cast("Kind", options.kind or KINDS[0]),
            cast("Units", options.units or UNITS[0]),
            options.licence or UNKNOWN,
        )
    if missing:
        raise UsageError(
            f"{' '.join(missing)} for {name}", "nothing", "its model card has the answer",
            f"Give {' '.join(missing)} for {name}: maskdepth has no record of it.",
        )  # fmt: skip
    if facts.kind == "disparity" and facts.units == "metres":
        raise TeacherError(
            "--units relative for disparity", "metres", "read the model card again",
            "Disparity has no metres: its units are relative.",
        )  # fmt: skip
    return facts

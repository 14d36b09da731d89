"""Every error a user can meet, as one tree.

    MaskdepthError             exit code 1
    ├── UsageError             exit code 2: a wrong argument or setting
    │   └── ConfigError        an unknown key, a value out of range
    ├── PictureError           a picture that cannot be read or does not fit
    ├── VideoError             a clip without video, or one that cannot be decoded
    ├── AssetError             cutouts, backgrounds, their folders and splits
    ├── DatasetError           a dataset spec: another version, edited, damaged
    ├── ModelError             a model: another version, a missing file, not to be had
    │   └── WeightsNotShippedError
    ├── TeacherError           a teacher that does not fit its description, or cannot be read
    ├── PlateError             a plate profile: damaged, another version, points that do not fit
    ├── StorageError           a full disk, a folder that cannot be written
    ├── DependencyError        an optional dependency that is not installed
    ├── PageNotBuiltError      an installation without the browser page
    └── TrainingError
        └── NonFiniteLossError names the recipe indices of the batch

The text of each is a sentence or two: the problem, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

_MAX_REASON = 300  # characters; a message may quote all of a damaged file


class MaskdepthError(Exception):
    """Base of all errors that come from the input or the machine, not from a defect.

    ``str(error)`` is the problem and the remedy as sentences. Programs read the fields.

    Args:
        expected: what the operation needs, e.g. ``"a plate of the picture's size 640x480"``.
        got: what it found instead, e.g. ``"480x640"``.
        remedy: what the user can do, e.g. ``"resize the plate or leave --plate out"``, which
            becomes a sentence; empty if the problem already says it.
        problem: the problem in a sentence, e.g. ``"The plate is 480x640, the picture 640x480."``;
            "Expected ..., but got ..." if left out.
    """

    exit_code = 1

    def __init__(self, expected: str, got: str, remedy: str, problem: str | None = None) -> None:
        self.expected = expected
        self.got = got
        self.remedy = remedy
        self.problem = problem or f"Expected {expected}, but got {got}."
        super().__init__(" ".join(filter(None, [self.problem, _sentence(remedy)])))

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker's error is sent to its parent process. The subclasses' constructors take other
        # arguments than `args`, so a copy is made without calling them.
        return _rebuild, (type(self), self.args), self.__dict__


def first_line(error: BaseException) -> str:
    """Why another library or the system failed, in one line.

    That is the system's reason, else the first line of the message, without its full stop and cut
    where it is very long, else the exception's type.
    """
    message = (error.strerror if isinstance(error, OSError) else None) or str(error)
    line = next(iter(message.strip().splitlines()), type(error).__name__).rstrip(".")
    return line if len(line) <= _MAX_REASON else f"{line[:_MAX_REASON]} ..."


def _sentence(words: str) -> str:
    """The words with a capital and a full stop; empty if there are none."""
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?" else ".")


def _rebuild(kind: type[MaskdepthError], args: tuple[Any, ...]) -> MaskdepthError:
    return kind.__new__(kind, *args)


class UsageError(MaskdepthError):
    """A wrong argument: the command line's exit code 2."""

    exit_code = 2


class ConfigError(UsageError):
    """A settings file or value: unknown key, wrong type, out of range."""


def check_name(kind: str, name: str, names: Collection[str], error: type[UsageError]) -> None:
    """Raise an error unless a name is one of those of its kind, such as "family of scenes"."""
    if name not in names:
        choices = ", ".join(names)
        problem = f"There is no {kind} {name!r}."
        raise error(f"a {kind} among {choices}", repr(name), f"choose one of {choices}", problem)


class PictureError(MaskdepthError):
    """A picture that cannot be decoded, is too large, or does not fit its partner."""


class VideoError(MaskdepthError):
    """A clip that cannot be opened or decoded, or only in part."""


class AssetError(MaskdepthError):
    """Cutouts and backgrounds: folders, checks, splits."""


class DatasetError(MaskdepthError):
    """A dataset spec of another version, or one whose files have changed."""


class ModelError(MaskdepthError):
    """A model folder of another version, or with a missing or damaged file."""


class WeightsNotShippedError(ModelError):
    """This installation lacks the files of the model that comes with maskdepth."""

    def __init__(self) -> None:
        super().__init__(
            "the model that comes with maskdepth",
            "an installation without it",
            "install maskdepth from its wheel, or make a model with "
            "`maskdepth fit CUTOUTS BACKGROUNDS -o MODEL` and pass MODEL",
            "This installation lacks the model that comes with maskdepth.",
        )


class TeacherError(MaskdepthError):
    """A teacher: its files, its description, or maps that do not fit its description."""


class PlateError(MaskdepthError):
    """A plate profile: its file, or the points that calibrate it."""


class StorageError(MaskdepthError):
    """Output that cannot be written; nothing is left half-written."""


class DependencyError(MaskdepthError):
    """An optional dependency is missing.

    Args:
        module: the import that failed, e.g. ``"torch"``.
        extra: the extra that brings it, e.g. ``"train"``.
    """

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(
            f"the package {module!r}",
            "it is not installed",
            f"run: pip install '.[{extra}]' in a clone of maskdepth",
            f"The package {module!r} is not installed.",
        )


class PageNotBuiltError(MaskdepthError):
    """This installation lacks the browser page, which is built from TypeScript."""

    def __init__(self) -> None:
        super().__init__(
            "the built page",
            "an installation without it",
            "in a clone of maskdepth, run `make web`, which needs npm, and install it again",
            "This installation lacks the browser page.",
        )


class TrainingError(MaskdepthError):
    """Training cannot start or continue."""


class NonFiniteLossError(TrainingError):
    """A loss, or a weight that it led to, became NaN or infinite.

    Args:
        losses: the named losses of the step, or some of the weights.
        step: the step at which it happened.
        indices: recipe indices of the batch, so that the samples can be rendered again.
    """

    def __init__(self, losses: dict[str, float], step: int, indices: Sequence[int]) -> None:
        self.indices = list(indices)
        named = ", ".join(f"{name}={value:g}" for name, value in losses.items())
        super().__init__(
            "finite losses and weights",
            f"{named} at step {step}, recipe indices {self.indices}",
            "lower the learning rate, or inspect these samples of the dataset",
            f"The training became unstable: {named} at step {step}, with the recipes "
            f"{self.indices}.",
        )

"""What a teacher says of itself, and the one place where its output becomes disparity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import (
    disparity_from_depth,
    disparity_from_inverse_depth,
    disparity_from_relative,
)
from maskdepth.errors import TeacherError

Kind = Literal["depth", "inverse depth", "disparity"]
Units = Literal["metres", "relative"]

KINDS: tuple[Kind, ...] = get_args(Kind)
UNITS: tuple[Units, ...] = get_args(Units)


@dataclass(frozen=True)
class TeacherInfo:
    """What is known of a teacher; nothing downstream guesses.

    Attributes:
        name: short, for people and folders, e.g. ``"fastdepth_224_int8"``.
        version: changes whenever the output could: of files, the start of a SHA-256 over the
            weights and what else decides the output.
        kind: of the maps. ``depth`` grows with the distance; ``inverse depth`` is proportional to
            1 / depth; ``disparity`` is inverse depth up to an unknown scale and shift. Near is
            large in the last two.
        units: ``metres`` (of inverse depth 1/metres), or ``relative``: up to an unknown scale.
            Disparity is always relative.
        range: least and greatest value that the teacher can mean, in ``kind`` and ``units``; None
            where unknown.
        size: height and width, px, that the network itself works at; None where it takes any.
        licence: SPDX where there is one, else in words; never empty.
    """

    name: str
    version: str
    kind: Kind
    units: Units
    range: tuple[float, float] | None
    size: tuple[int, int] | None
    licence: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.units not in UNITS:
            raise TeacherError(
                f"a kind of {', '.join(KINDS)} and units of {', '.join(UNITS)}",
                f"{self.kind!r} and {self.units!r}",
                "mend what describes the teacher",
            )
        if self.kind == "disparity" and self.units == "metres":
            raise TeacherError(
                "relative units for disparity, whose scale and shift are unknown",
                "metres",
                "say 'inverse depth' if the values are 1/metres, or 'relative'",
            )
        if not (self.name and self.version and self.licence):
            raise TeacherError(
                "a name, a version and a licence",
                f"{self.name!r}, {self.version!r} and {self.licence!r}",
                "say 'unknown' for a licence that nobody knows",
            )

    @property
    def proportional(self) -> bool:
        """Whether disparity made of the maps is proportional to inverse depth, without a shift."""
        return self.kind != "disparity"


class Teacher(Protocol):
    """Something that tells the depth of pictures."""

    @property
    def info(self) -> TeacherInfo:
        """What it is; known before anything is predicted."""
        ...

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The map of each picture, in the kind and units of ``info``.

        Args:
            pictures: uint8 (H, W, 3) RGB, of any sizes.

        Returns:
            float32 (H, W) each, of the picture's own size; NaN where invalid. Of depth, infinity
            is sky; of the others, 0 is.

        Raises:
            TeacherError: the network gave something else than its description says.
        """
        ...


@dataclass(frozen=True)
class TeacherOpener:
    """A teacher that is opened where it is needed: in another process, or on another machine.

    Attributes:
        info: what it says of itself.
        device: that it is opened on: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        make: opens it; can be pickled.
    """

    info: TeacherInfo
    device: str
    make: Callable[[], Teacher] = field(compare=False)

    def open(self) -> Teacher:
        """The teacher, in this process.

        Raises:
            TeacherError: another one is found here, or none.
        """
        teacher = self.make()
        if teacher.info != self.info:
            raise TeacherError(
                f"the teacher {self.info.name} {self.info.version} wherever it is opened",
                f"{teacher.info.name} {teacher.info.version}",
                "put the same files under the same path on all machines",
            )
        return teacher


def within_range(values: NDArray[np.float32], info: TeacherInfo) -> NDArray[np.float32]:
    """The map with NaN where it is beyond what the teacher can mean, by a factor of two.

    Networks give 0 where they have nothing to say, and one pixel of hardly any depth would take
    all of disparity's range. To be done before a map is resized, or it spoils its neighbours.

    Args:
        values: (..., H, W) in the kind and units of ``info``.
    """
    if info.range is None or info.kind == "disparity":
        return values
    low, high = info.range
    # A NaN is not inside; infinitely far is sky, and remains.
    inside = (values >= low / 2) & (values <= 2 * high)
    if info.kind == "depth":
        inside |= np.isposinf(values)
    return np.where(inside, values, np.float32(np.nan))


def checked_maps(
    teacher: Teacher, pictures: Sequence[NDArray[np.uint8]]
) -> list[NDArray[np.float32]]:
    """What a teacher predicts, held against what it promises: number, rank, sizes, type.

    Raises:
        TeacherError: it breaks a promise.
    """
    maps: Sequence[Any] = teacher.predict(pictures)
    name, remedy = teacher.info.name, "mend the teacher or its description"
    if len(maps) != len(pictures):
        raise TeacherError(f"{len(pictures)} maps from {name}", str(len(maps)), remedy)
    checked = []
    for picture, found in zip(pictures, maps, strict=True):
        values = np.asarray(found)
        if values.shape != picture.shape[:2] or values.dtype.kind != "f":
            raise TeacherError(
                f"a float map of shape {picture.shape[:2]} from {name}",
                f"{values.dtype} of shape {values.shape}",
                remedy,
            )
        checked.append(within_range(np.asarray(values, np.float32), teacher.info))
    return checked


def disparity_map(values: NDArray[Any], info: TeacherInfo) -> NDArray[np.float32]:
    """A teacher's map as disparity, float32 (H, W) in [0, 1], near = 1, NaN where invalid.

    Depth and inverse depth become proportional to inverse depth with the nearest pixel at 1;
    disparity, whose shift is unknown, is stretched so that its farthest pixel is 0.
    """
    if info.kind == "depth":
        return disparity_from_depth(values)
    if info.kind == "inverse depth":
        return disparity_from_inverse_depth(values)
    return disparity_from_relative(values)

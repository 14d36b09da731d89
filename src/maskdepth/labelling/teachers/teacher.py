"""What every teacher promises, and the one place where its maps become disparity."""

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
    """What a teacher's maps mean; no other module guesses.

    Attributes:
        name: short, for people and folders, e.g. ``"fastdepth_224_int8"``.
        version: changes whenever the output could: of files, the start of a SHA-256 over the
            weights and what else decides the output.
        kind: of the maps. ``depth`` grows with the distance; ``inverse depth`` is proportional to
            1 / depth; ``disparity`` is inverse depth up to an unknown scale and shift. Near is
            large in the last two.
        units: ``metres`` (of inverse depth 1/metres), or ``relative``: up to an unknown scale.
            Disparity is always relative.
        range: least and greatest valid value, in ``kind`` and ``units``; None where unknown.
        size: the network's own height and width, px; None where it takes any.
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
                "correct the teacher's description",
            )
        if self.kind == "disparity" and self.units == "metres":
            raise TeacherError(
                "relative units for disparity, whose scale and shift are unknown",
                "metres",
                "say 'inverse depth' if the values are 1/metres, or 'relative'",
                "Disparity has relative units, since its scale and shift are unknown, not metres.",
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
    """A network that estimates the depth of pictures."""

    @property
    def info(self) -> TeacherInfo:
        """What the maps mean, available before the first prediction."""
        ...

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The map of each picture, in the kind and units of ``info``.

        Args:
            pictures: uint8 (H, W, 3) RGB, of any sizes.

        Returns:
            float32 (H, W) each, of the picture's own size; NaN where invalid. Of depth, infinity
            is sky; of the others, 0 is.

        Raises:
            TeacherError: the network's output is not as its description says.
        """
        ...


@dataclass(frozen=True)
class TeacherOpener:
    """A teacher that is opened where it is needed: in another process, or on another machine.

    Attributes:
        info: of the teacher.
        device: where the teacher is opened: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        make: opens the teacher; can be pickled.
    """

    info: TeacherInfo
    device: str
    make: Callable[[], Teacher] = field(compare=False)

    def open(self) -> Teacher:
        """The teacher, in this process."""
        teacher = self.make()
        if teacher.info != self.info:
            raise TeacherError(
                f"the teacher {self.info.name} {self.info.version} wherever it is opened",
                f"{teacher.info.name} {teacher.info.version}",
                "put the same files under the same path on all machines",
            )
        return teacher


def within_range(values: NDArray[np.float32], info: TeacherInfo) -> NDArray[np.float32]:
    """The map with NaN where it leaves the teacher's range by more than a factor of two.

    Networks give 0 where they find no depth, and one pixel of hardly any depth would take all of
    disparity's range. It is done before a map is resized, since such a pixel spoils its neighbours.

    Args:
        values: (..., H, W) in the kind and units of ``info``.
    """
    if info.range is None or info.kind == "disparity":
        return values
    low, high = info.range
    # Comparisons with NaN are false. Infinite depth is sky, and remains.
    inside = (values >= low / 2) & (values <= 2 * high)
    if info.kind == "depth":
        inside |= np.isposinf(values)
    return np.where(inside, values, np.float32(np.nan))


def checked_maps(
    teacher: Teacher, pictures: Sequence[NDArray[np.uint8]]
) -> list[NDArray[np.float32]]:
    """A teacher's maps, after a check of their number, rank, sizes and type.

    Raises:
        TeacherError: the maps are not as ``Teacher.predict`` promises.
    """
    maps: Sequence[Any] = teacher.predict(pictures)
    name, remedy = teacher.info.name, "correct the teacher or its description"
    if len(maps) != len(pictures):
        raise TeacherError(f"{len(pictures)} maps from {name}", str(len(maps)), remedy)
    checked = []
    for picture, predicted in zip(pictures, maps, strict=True):
        values = np.asarray(predicted)
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

"""Paths over the ground: where an object stands in each frame, and how large it is there.

A spot on the ground is an array of four numbers: x and y in the rendered square, px; the disparity
there; and the size of one camera height there, px. On a plane all four are affine in each other
(see `maskdepth.synthesis.ground`). So a curve that mixes spots stays on the ground that they lie
on, and an object that follows it has the size and the disparity of its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from maskdepth.synthesis.assets import BackgroundAsset, CutoutAsset
from maskdepth.synthesis.draws import Array
from maskdepth.synthesis.placement import GroundColumns, Placement, Standing, upright_tilt

_LATTICE: Final = (8, 4)  # spots of a ground that is made up
_NEAR_ROWS: Final = (0.5, 0.95)  # of the square: the rows of these spots
_INSIDE: Final = (0.1, 0.9)  # of the square: spots in its outer tenth are left out


@dataclass(frozen=True, eq=False)
class GroundView:
    """The ground of a plate, as its camera shows it.

    Attributes:
        spots: float64 (K, 4), K > 0; the disparity is NaN where the background has no ground.
        axis_row: row of the optical axis, px.
        focal_px: focal length, px.
    """

    spots: Array
    axis_row: float
    focal_px: float

    @classmethod
    def of(
        cls,
        background: BackgroundAsset,
        crop: tuple[float, float, float],
        size: int,
        horizon: float,
    ) -> GroundView:
        """The ground of a background's square crop.

        Args:
            crop: left, top and side, px of the background.
            size: side of the rendered square, px.
            horizon: row of the horizon, as a share of the size, where no ground is labelled.
        """
        left, top, side = crop
        columns, scale = GroundColumns.from_assets((background,)), size / side
        x, y, disparity, unit = np.array(background.ground, np.float64).reshape(-1, 4).T
        x, y = (x * background.width - left) * scale, (y * background.height - top) * scale
        spots = np.stack([x, y, disparity, unit * background.height * scale], axis=1)
        low, high = _INSIDE[0] * size, _INSIDE[1] * size
        spots = spots[(x > low) & (x < high) & (y > low)]
        if len(spots) == 0:
            spots = _level_ground(size, horizon)
        return cls(
            spots,
            axis_row=(background.height / 2 - top) * scale,
            focal_px=float(columns.focal[0]) * scale,
        )


def _level_ground(size: int, horizon: float) -> Array:
    """Spots of level ground up to a horizon, whose disparity is unknown."""
    across, down = _LATTICE
    x = np.linspace(*_INSIDE, across) * size
    y = np.linspace(*_NEAR_ROWS, down) * size
    x, y = (each.ravel() for each in np.meshgrid(x, y))
    return np.stack([x, y, np.full_like(x, np.nan), y - horizon * size], axis=1)


@dataclass(frozen=True, eq=False)
class Path:
    """A way over the ground with one pause: a cubic Bezier curve through the frame.

    Attributes:
        corners: float64 (4, 4): the curve's control points, each a spot.
        start, pause, resume, end: frames, which need not be whole numbers: when the way begins,
            when it pauses and goes on, and when it ends.
    """

    corners: Array
    start: float
    pause: float
    resume: float
    end: float

    def at(self, frame: float) -> Array | None:
        """The spot (4,) in a frame; None before the start and after the end."""
        if not self.start <= frame <= self.end:
            return None
        # Half of the curve lies on either side of the pause. Speed falls to 0 towards it.
        if frame <= self.pause:
            share = (frame - self.start) / max(self.pause - self.start, 1e-9)
            way = 0.5 * np.sin(np.pi / 2 * share)
        elif frame <= self.resume:
            way = 0.5
        else:
            share = (frame - self.resume) / max(self.end - self.resume, 1e-9)
            way = 1 - 0.5 * np.cos(np.pi / 2 * share)
        back = 1 - way
        weights = np.array([back**3, 3 * back**2 * way, 3 * back * way**2, way**3])
        return np.asarray(weights @ self.corners)


@dataclass(frozen=True, eq=False)
class Actor:
    """A cutout that follows a path, for all of its time or a part.

    Attributes:
        height: of the cutout, in camera heights.
        nearness: as of ``Placement``.
        aside: how far to the right of the path it stands, in camera heights.
        first, last: frames before and after which it stands where it is in them; None where it
            comes and goes with the path.
        taken_from: first frame in which it is no longer part of the plate; None if it never is.
    """

    cutout: CutoutAsset
    flip: bool
    height: float
    nearness: float
    path: Path
    aside: float = 0.0
    first: float | None = None
    last: float | None = None
    taken_from: int | None = None

    def is_fixture(self, frame: int) -> bool:
        """Whether it belongs to the plate in a frame."""
        return self.taken_from is not None and frame < self.taken_from

    def place(self, ground: GroundView, frame: int) -> Placement | None:
        """Its box in a frame, in the rendered square; None where it is not there."""
        moment = float(frame)
        if self.first is not None:
            moment = max(moment, self.first)
        if self.last is not None:
            moment = min(moment, self.last)
        spot = self.path.at(moment)
        if spot is None:
            return None
        x, y, disparity, unit = spot.tolist()
        x += self.aside * unit
        aspect = self.cutout.width / self.cutout.height
        height = max(round(self.height * unit), 1)
        width = max(round(self.height * unit * aspect), 1)
        foot_x, foot_y = self.cutout.foot
        foot_x = 1 - foot_x if self.flip else foot_x
        standing = None
        if np.isfinite(disparity):
            below_axis = np.asarray(y - ground.axis_row)
            tilt = float(upright_tilt(np.asarray(unit), below_axis, np.asarray(ground.focal_px)))
            standing = Standing(disparity, y, tilt, max(width, height) / ground.focal_px)
        return Placement(
            self.cutout.id, self.flip, width, height,
            round(x - foot_x * width), round(y - foot_y * height), self.nearness, standing,
        )  # fmt: skip

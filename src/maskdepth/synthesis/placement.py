"""Where an object is placed: anywhere in the frame, or on the ground of its background.

For many samples at a time: arrays have a row for each of n samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.assets import BackgroundAsset, CutoutAsset
from maskdepth.synthesis.draws import ATTEMPTS, Array, Indices, between, pick_index
from maskdepth.synthesis.rules import RecipeRules

_ORDINARY_FOCAL: Final = 0.9  # of the long side: about 58 degrees, as phones have it
_MIN_FORESHORTENING: Final = 0.2


@dataclass(frozen=True, slots=True)
class Standing:
    """How an object stands on its plate's ground.

    The disparity of the object at a pixel in row y, where its relief is r, is::

        disparity * (1 + tilt * (row - y)) / (1 - bulge * r)

    The numerator is an upright plane through the point where the object touches the ground, seen
    by a pinhole camera that looks down. The denominator brings parts of the object nearer by their
    relief, which counts from that point in long sides of the cutout.

    Attributes:
        disparity: disparity of the ground where the object touches it.
        row: row of that point in the composite, px; rows are counted downwards.
        tilt: change of the plane's disparity a row upwards, as a share of ``disparity``, 1/px.
        bulge: the object's long side divided by its distance.
    """

    disparity: float
    row: float
    tilt: float
    bulge: float


@dataclass(frozen=True, slots=True)
class Placement:
    """One object of a composite.

    Attributes:
        cutout: asset id.
        flip: whether it is mirrored left to right.
        width, height: size of its box in the composite, px.
        x, y: left and top edge of that box, px; may be negative.
        nearness: where its disparity lies between that of the plate beneath it (0) and 1 (1), if
            it does not stand on the ground.
        standing: how it stands on the ground; None where it is placed anywhere.
    """

    cutout: str
    flip: bool
    width: int
    height: int
    x: int
    y: int
    nearness: float
    standing: Standing | None = None

    def shows(self, size: int) -> bool:
        """Whether any part of its box lies in a square frame of side ``size``."""
        return -self.width < self.x < size and -self.height < self.y < size


@dataclass(frozen=True)
class CutoutColumns:
    """What placing has to know about cutouts: arrays with an element for each."""

    width: Array
    height: Array
    alpha_share: Array
    foot: Array  # (n, 2): where it touches the ground, shares of the box's width and height

    @classmethod
    def from_assets(cls, assets: tuple[CutoutAsset, ...]) -> CutoutColumns:
        """The columns of a pool's cutouts."""
        return cls(
            np.array([asset.width for asset in assets], np.float64),
            np.array([asset.height for asset in assets], np.float64),
            np.array([asset.alpha_share for asset in assets], np.float64),
            np.array([asset.foot for asset in assets], np.float64),
        )


@dataclass(frozen=True)
class GroundColumns:
    """The ground points of backgrounds: arrays with an element for each background."""

    size: Array  # (n, 2): width and height, px
    focal: Array  # (n,): px
    count: Indices  # (n,): of points
    points: Array  # (n, largest count, 4): see ``ground.GroundPoint``; the rest is 0

    @classmethod
    def from_assets(cls, assets: tuple[BackgroundAsset, ...]) -> GroundColumns:
        """The columns of a pool's backgrounds."""
        size = np.array([(asset.width, asset.height) for asset in assets], np.float64)
        focal = np.array([asset.focal or _ORDINARY_FOCAL for asset in assets], np.float64)
        count = np.array([len(asset.ground) for asset in assets], np.intp)
        points = np.zeros((len(assets), max(1, int(count.max())), 4))
        for row, asset in enumerate(assets):
            points[row, : len(asset.ground)] = np.array(asset.ground).reshape(-1, 4)
        return cls(size, focal * size.max(axis=1), count, points)


@dataclass(frozen=True)
class Boxes:
    """Boxes of n objects.

    Attributes:
        box: (n, 4) whole numbers: width, height, x, y, px.
        standing: (n, 4): the fields of ``Standing``; NaN where the object is placed anywhere.
    """

    box: NDArray[np.int64]
    standing: Array

    @property
    def stands(self) -> NDArray[np.bool_]:
        """(n,): whether the object stands on the ground."""
        return ~np.isnan(self.standing[:, 0])

    def replace(self, rows: Indices, others: Boxes) -> None:
        """Replace the boxes of some rows, in place, by those of ``others`` that stand."""
        stands = others.stands
        self.box[rows[stands]] = others.box[stands]
        self.standing[rows[stands]] = others.standing[stands]


def place_anywhere(
    rules: RecipeRules, cutouts: CutoutColumns, cutout: Indices, attempts: Array
) -> Boxes:
    """Place objects anywhere in the frame: the first admissible of sixteen attempts each.

    An attempt is a size and a position. It is admissible if at most ``off_frame`` of the box lies
    outside the frame, and if the foreground (the cutout's mask share times the visible box) is
    within ``coverage``. A cutout for which no attempt is admissible (a thread, say) is placed
    inside the frame at the size that comes nearest.

    Args:
        cutout: (n,) indices into ``cutouts``.
        attempts: (n, 48) uniform numbers.
    """
    u_long, u_x, u_y = attempts.reshape(len(cutout), ATTEMPTS, 3).transpose(2, 0, 1)
    aspect = (cutouts.width / cutouts.height)[cutout][:, None]  # (n, 1)
    share = cutouts.alpha_share[cutout][:, None]
    frame = rules.size
    # The foreground of a box of long side L is about share * L^2 * min(aspect, 1 / aspect).
    per_square = share * np.minimum(aspect, 1 / aspect) / frame**2
    fitting = np.sqrt(np.array(rules.coverage) / per_square)  # (n, 2): long side at the limits
    low = np.clip(fitting[:, :1], *rules.long_side_px)
    high = np.clip(fitting[:, 1:], *rules.long_side_px)
    long_side = between(u_long, rules.long_side_px)  # (n, attempts)
    # The last attempt counts whatever comes of it: inside the frame, at a fitting size.
    last = (low + u_long[:, -1:] * (high - low))[:, 0]
    long_side[:, -1] = np.minimum(last, frame)
    width = np.maximum(np.rint(long_side * np.minimum(aspect, 1)), 1)
    height = np.maximum(np.rint(long_side * np.minimum(1 / aspect, 1)), 1)
    x = _positions(u_x, width, frame, rules.off_frame)
    y = _positions(u_y, height, frame, rules.off_frame)
    admissible = _admissible(rules, share, width, height, x, y)
    admissible[:, -1] = True
    first = admissible.argmax(axis=1)[:, None]
    chosen = [np.take_along_axis(value, first, axis=1) for value in (width, height, x, y)]
    box = np.concatenate(chosen, axis=1).astype(np.int64)
    return Boxes(box, np.full((len(cutout), 4), np.nan))


def place_on_ground(
    rules: RecipeRules,
    cutouts: CutoutColumns,
    cutout: Indices,
    flip: NDArray[np.bool_],
    grounds: GroundColumns,
    background: Indices,
    crop: Array,
    attempts: Array,
) -> Boxes:
    """Place objects on the ground: the first admissible of sixteen attempts each.

    An attempt is a ground point and the object's height. Heights are drawn as multiples of the
    camera's height above that ground, so neither metres nor a focal length are needed. An attempt
    is admissible as in ``place_anywhere``, if also the object touches the ground inside the frame
    and its long side is within ``long_side_px``.

    Args:
        cutout, background: (n,) indices into ``cutouts`` and ``grounds``.
        flip: (n,) whether the cutout is mirrored.
        crop: (n, 3): the plate's square in the background: left, top, side, px.
        attempts: (n, 48) uniform numbers.

    Returns:
        Boxes whose ``standing`` is NaN where no attempt was admissible.
    """
    u_point, u_height, _ = attempts.reshape(len(cutout), ATTEMPTS, 3).transpose(2, 0, 1)
    number = pick_index(u_point, grounds.count[background][:, None])  # (n, attempts)
    px, py, disparity, unit = grounds.points[background[:, None], number].transpose(2, 0, 1)
    across, along = grounds.size[background].T[..., None]  # (n, 1) each
    left, top, side = crop.T[..., None]
    scale = rules.size / side  # composite px per background px
    contact_x, contact_y = (px * across - left) * scale, (py * along - top) * scale
    tall = unit * along * scale * between(u_height, rules.ground.height)
    aspect = (cutouts.width / cutouts.height)[cutout][:, None]
    foot_x, foot_y = cutouts.foot[cutout].T[..., None]
    foot_x = np.where(flip[:, None], 1 - foot_x, foot_x)
    height = np.maximum(np.rint(tall), 1)
    width = np.maximum(np.rint(tall * aspect), 1)
    x, y = np.rint(contact_x - foot_x * width), np.rint(contact_y - foot_y * height)
    long_side = np.maximum(width, height)
    share = cutouts.alpha_share[cutout][:, None]
    admissible = (
        _admissible(rules, share, width, height, x, y)
        & (long_side >= rules.long_side_px[0])
        & (long_side <= rules.long_side_px[1])
        & (contact_x >= 0) & (contact_x < rules.size)
        & (contact_y >= 0) & (contact_y < rules.size)
        & (grounds.count[background] > 0)[:, None]
    )  # fmt: skip
    focal = grounds.focal[background][:, None] * scale  # composite px
    below_axis = (py - 0.5) * along * scale  # of the point of contact, composite px
    tilt = upright_tilt(unit * along * scale, below_axis, focal)
    fields = (width, height, x, y, disparity, contact_y, tilt, long_side / focal)
    first = admissible.argmax(axis=1)[:, None]
    every = np.stack([np.broadcast_to(value, admissible.shape) for value in fields], axis=2)
    chosen = np.take_along_axis(every, first[:, :, None], axis=1)[:, 0]  # (n, 8)
    chosen[~admissible.any(axis=1), 4:] = np.nan
    return Boxes(chosen[:, :4].astype(np.int64), chosen[:, 4:])


def upright_tilt(below_horizon: Array, below_axis: Array, focal: Array) -> Array:
    """How the disparity of an upright plane changes from row to row; see ``Standing.tilt``.

    The distance of the horizon from the optical axis gives the camera's pitch p. Seen by that
    camera, an upright plane has, v rows below the axis, an inverse depth proportional to
    1 - v tan(p) / focal.

    Args:
        below_horizon, below_axis: rows of the plane's foot below the horizon and the axis, px.
        focal: focal length, px.

    Returns:
        Change a row upwards, as a share of the disparity at the foot, 1/px.
    """
    slope = (below_horizon - below_axis) / focal
    foot = np.maximum(1 - below_axis * slope / focal, _MIN_FORESHORTENING)
    return np.asarray(slope / focal / foot)


def _admissible(
    rules: RecipeRules, share: Array, width: Array, height: Array, x: Array, y: Array
) -> NDArray[np.bool_]:
    """Which boxes are visible enough, and cover neither too little nor too much of the frame."""
    visible = _overlap(x, width, rules.size) * _overlap(y, height, rules.size)
    covered = share * visible / rules.size**2
    return np.asarray(
        (visible >= (1 - rules.off_frame) * width * height)
        & (covered >= rules.coverage[0])
        & (covered <= rules.coverage[1])
    )


def _positions(uniform: Array, length: Array, frame: int, off_frame: float) -> Array:
    """Whole positions along one axis, from off the low edge to off the high one, px."""
    # Where the box is longer than the frame, sliding it means moving from edge to edge.
    margin = np.minimum(off_frame * length, np.maximum(frame - 1, 0))
    low = np.minimum(-margin, frame - length)
    high = np.maximum(frame - length + margin, 0)
    # The last attempt keeps the whole box in the frame: no position off either edge.
    low[:, -1], high[:, -1] = 0, np.maximum(frame - length[:, -1], 0)
    return np.asarray(np.rint(low + uniform * (high - low)))


def _overlap(position: Array, length: Array, frame: int) -> Array:
    """The length of the part of [position, position + length) that lies in [0, frame)."""
    return np.asarray(np.minimum(position + length, frame) - np.maximum(position, 0)).clip(0)

"""Cutouts that stand on the ground, held against the same objects as solid geometry."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from maskdepth.depth import disparity_from_depth
from maskdepth.synthesis.effects import NO_EFFECTS
from maskdepth.synthesis.ground import find_ground
from maskdepth.synthesis.placement import Placement, Standing, upright_tilt
from maskdepth.synthesis.recipes import Recipe
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.worlds import standing
from pictures import InMemory

SIZE = 224


def ground_pixel(family: str, seed: int, across: float) -> tuple[int, int]:
    """A pixel that shows ground a third of the way up it, at a share of its width there."""
    ground = np.isfinite(standing.ground_depth(family, seed, SIZE, SIZE))
    rows = np.flatnonzero(ground.sum(axis=1) > SIZE // 8)
    row = int(rows[-1 - len(rows) // 3])
    columns = np.flatnonzero(ground[row])
    return row, int(columns[int(across * len(columns))])


# A third of the last one is hidden. Where an object's own depth is large beside its distance, or
# it stands within a few per cent of what hides it, the agreement is less (research log 6).
SCENES = [
    ("outdoor", 1, "person", 0.5),
    ("outdoor", 3, "chair", 0.5),
    ("outdoor", 4, "animal", 0.4),
    ("street", 2, "person", 0.6),
    ("corridor", 0, "bag", 0.5),
    ("yard", 3, "animal", 0.7),
]


def upright_relief(
    made: standing.StandingScene, contact: Standing, top: int
) -> NDArray[np.float32]:
    """The object's relief over an upright plane, as cutouts bring it: long sides, mean 0.

    The rig's own is along the axis of a camera that looks down, which tilts it once already.
    """
    depth_m = made.cutout_depth_m
    rows = top + np.arange(len(depth_m))[:, None]
    foot_m = float(made.plate.depth_m.min()) / contact.disparity
    upright_m = foot_m / (1 + contact.tilt * (contact.row - rows))
    relief = (upright_m - depth_m) / (contact.bulge * foot_m)
    finite = np.isfinite(depth_m)
    return np.where(finite, np.clip(relief - relief[finite].mean(), -0.5, 0.5), 0).astype(
        np.float32
    )


@pytest.mark.parametrize(("family", "seed", "kind", "across"), SCENES)
def test_a_grounded_cutout_is_where_the_solid_object_is(
    family: str, seed: int, kind: str, across: float
) -> None:
    """Disparity within 3 %, what is hidden within an IoU of 0.95, from the label's ground alone."""
    made = standing.render_standing(
        family, seed, kind, 1, ground_pixel(family, seed, across), height=SIZE, width=SIZE
    )
    disparity = disparity_from_depth(made.plate.depth_m)
    points = np.array(find_ground(disparity))
    horizon = float(np.median(points[:, 1] - points[:, 3])) * SIZE
    height, width = made.cutout.image.shape[:2]
    top, left = made.corner
    # As placing does it: the lowest opaque row touches the ground.
    row = top + float(np.flatnonzero((made.cutout.image[..., 3] > 127).any(axis=1))[-1] + 1)
    nearest_m = float(made.plate.depth_m.min())
    focal = np.array(made.plate.focal_px)
    tilt = upright_tilt(np.array(row - horizon), np.array(row - SIZE / 2), focal)
    # Tables share the floor's horizon, so the label itself says which of them this ground is.
    at_contact = float(disparity[round(top + made.contact[0]), round(left + made.contact[1])])
    contact = Standing(
        disparity=at_contact * (row - horizon) / (top + made.contact[0] - horizon),
        row=row,
        tilt=float(tilt),
        bulge=float(max(height, width) / focal),
    )
    placed = Placement("c", False, width, height, left, top, 0.5, contact)
    recipe = Recipe(
        index=0, background="b", crop_side=1.0, crop_x=0.0, crop_y=0.0, objects=(placed,),
        stale=None, effects=NO_EFFECTS, jpeg_picture=None, jpeg_plate=None, noise_sigma=0.0,
        noise_seed=0,
    )  # fmt: skip
    composite = render(
        recipe,
        SIZE,
        InMemory(
            made.cutout.image, made.plate.image, disparity, upright_relief(made, contact, top)
        ),
    )
    # Whether a pixel is hidden is asked where the cutout has one: thin tubes are partly coverage.
    own = np.zeros((SIZE, SIZE), bool)
    rows, columns = np.nonzero(made.cutout.image[..., 3] > 127)
    inside = (
        (rows + top >= 0) & (rows + top < SIZE) & (columns + left >= 0) & (columns + left < SIZE)
    )
    own[rows[inside] + top, columns[inside] + left] = True
    mask, truth = (composite.alpha > 0.5) & own, made.mask & own
    iou = (mask & truth).sum() / (mask | truth).sum()
    exact = nearest_m / made.picture.depth_m
    both = mask & truth
    assert composite.disparity is not None
    error = np.abs(composite.disparity - np.clip(exact, 0, 1))[both] / exact[both]
    assert both.sum() > 30
    assert iou >= 0.95
    assert error.mean() <= 0.03

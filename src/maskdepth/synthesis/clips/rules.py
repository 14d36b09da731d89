"""The rules of drawn clips: ranges and probabilities."""

from __future__ import annotations

import math
from typing import Annotated, Final

from pydantic import Field

from maskdepth.config import Settings
from maskdepth.synthesis.rules import (
    FIELD,
    Distances,
    Heights,
    Levels,
    RecipeRules,
    Shares,
    Stops,
    within,
)

MAX_FRAMES: Final = 1_000_000
_SPARE_PX: Final = 2  # of the margin, for the interpolation at the frame's edge

Counts = Annotated[tuple[int, int], within(0, 8)]
Angles = Annotated[tuple[float, float], within(0, 10)]


class ClipRules(Settings):
    """The rules that drawn clips follow; both ends belong to a range.

    Attributes:
        scene: rules of the plate, of what objects do to their surroundings, of focus and encoding.
            Differences between picture and plate are not taken from them: they are the clip's own.
    """

    scene: RecipeRules = FIELD
    frames: int = Field(120, ge=2, le=MAX_FRAMES)
    rate: float = Field(25.0, gt=0, le=1000, description="frames a second")
    walkers: Counts = Field((1, 3), description="objects that cross the frame")
    stay: Shares = Field((0.4, 0.9), description="share of the clip that an object takes to cross")
    pause: Shares = Field((0.0, 0.7), description="share of that time in which it stands still")
    height: Heights = Field((0.3, 1.1), description="object's height / camera's above ground")
    thing_height: Heights = Field((0.15, 0.45), description="the same of what is left or taken")
    left_probability: float = Field(0.4, ge=0, le=1, description="an object leaves something")
    taken_probability: float = Field(0.3, ge=0, le=1, description="takes something of the plate")
    shake_px: Distances = Field((0.0, 1.0), description="amplitude of the camera's shake")
    shake_deg: Angles = (0.0, 0.06)
    moved_probability: float = Field(0.2, ge=0, le=1, description="the camera is pushed, and stays")
    moved_px: Distances = Field((2.5, 6.0), description="along each axis")
    moved_deg: Angles = (0.0, 0.5)
    drift_stops: Stops = Field((0.0, 0.12), description="amplitude of a slow drift of exposure")
    light_probability: float = Field(0.3, ge=0, le=1, description="the light changes, and stays")
    light_stops: Stops = Field((0.25, 0.7), description="brighter or darker by this")
    noise_sigma: Levels = Field((0.5, 4.0), description="of 255")

    @property
    def margin(self) -> int:
        """Pixels around the frame that are rendered too, since the camera moves."""
        # The scaled amplitudes of a shake are within 1 in each axis, see `script`.
        turn = math.radians(self.shake_deg[1] + self.moved_deg[1]) * self.scene.size / math.sqrt(2)
        return math.ceil(self.shake_px[1] + self.moved_px[1] + turn) + _SPARE_PX

    @property
    def rendered_size(self) -> int:
        """Side of the square that is rendered: the frame and the margin on each side."""
        return self.scene.size + 2 * self.margin

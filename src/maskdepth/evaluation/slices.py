"""What masks are judged on: the slices of the frozen benchmark, and challenges beside them.

The benchmark's three slices hold one small object each, in ordinary light. The challenges hold what
masks are worse at. Both are frozen: a model is judged by them, and they change for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from maskdepth.synthesis.rules import (
    BENCHMARK_V1,
    CrowdRules,
    GreyPlateRules,
    LongShadowRules,
    Range,
    RecipeRules,
    ShadeRules,
    SkylightRules,
    ToneCurveRules,
)


@dataclass(frozen=True)
class Slice:
    """Composites of one kind.

    Attributes:
        rules: what their recipes are drawn from.
        foreground: share of the pixels in the mask, both ends included; recipes that show more or
            less are left out, since rules only estimate it from an object's box.
    """

    rules: RecipeRules
    foreground: Range = (0.0, 1.0)


_CLEAN: Final = BENCHMARK_V1["clean"]
_HARD: Final = BENCHMARK_V1["hard"]
_LARGE: Final = _CLEAN.with_(
    name="large",
    long_side_px=(180.0, 700.0),
    off_frame=0.9,
    coverage=(0.2, 1.0),
    crowd=CrowdRules(probability=0.3, further=1),
)
_LARGE_HARD: Final = _LARGE.with_(
    name="large_hard",
    noise_probability=_HARD.noise_probability,
    noise_sigma=_HARD.noise_sigma,
    shadow=_HARD.shadow,
    light=_HARD.light,
    plate_motion=_HARD.plate_motion,
)
_CAST: Final = _CLEAN.with_(
    name="cast",
    long_shadow=LongShadowRules(
        probability=1.0,
        strength=(0.5, 0.85),
        sigma_px=(0.5, 2.0),
        height=(-1.2, 1.2),
        lean=(-2.5, 2.5),
    ),
    shade=ShadeRules(
        probability=0.6,
        leaves=0.5,
        strength=(0.3, 0.8),
        plate_strength=(0.0, 1.0),
        sigma_px=(0.5, 2.5),
        size_px=(20.0, 250.0),
        share=(0.25, 0.75),
        moved_px=(4.0, 40.0),
    ),
    skylight=SkylightRules(probability=0.5, blueness=(0.0, 0.2)),
)
_TONE: Final = _CLEAN.with_(
    name="tone",
    tone_curve=ToneCurveRules(probability=1.0, gamma=(0.6, 1.7), contrast=(-0.6, 0.9)),
    grey_plate=GreyPlateRules(probability=0.4),
)
CHALLENGES: Final = {
    "large": Slice(_LARGE, foreground=(0.40, 0.95)),
    "large_hard": Slice(_LARGE_HARD, foreground=(0.40, 0.95)),
    "cast": Slice(_CAST),
    "tone": Slice(_TONE),
}
"""Objects that fill the frame or are larger than it, as they are and with the effects of ``hard``;
hard and dark shadows, also of things outside the frame, which have moved since the plate was taken;
another tone curve, or a grey plate."""

SLICES: Final = {name: Slice(rules) for name, rules in BENCHMARK_V1.items()} | CHALLENGES
"""All that masks can be judged on, by name."""

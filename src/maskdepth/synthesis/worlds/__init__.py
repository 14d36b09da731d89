"""The sample pack: scenes and cutouts that are drawn, with exact geometry.

A function in ``scenes.SCENES`` is a family of scenes, a function in ``cutouts.CUTOUTS`` a kind of
cutout. A new entry there is all that a new family or kind needs.
"""

from __future__ import annotations

from maskdepth.synthesis.worlds.cutouts import CUTOUT_KINDS, CutoutPicture, render_cutout
from maskdepth.synthesis.worlds.pack import (
    SEEDS,
    SamplePack,
    decode_relief,
    encode_relief,
    scene_pool,
    write_sample_pack,
)
from maskdepth.synthesis.worlds.scenes import FAMILIES, SCENES, WITHHELD_FAMILY, Scene, render_scene
from maskdepth.synthesis.worlds.standing import (
    STANDING,
    StandingScene,
    ground_depth,
    render_standing,
)

__all__ = [
    "CUTOUT_KINDS",
    "FAMILIES",
    "SCENES",
    "SEEDS",
    "STANDING",
    "WITHHELD_FAMILY",
    "CutoutPicture",
    "SamplePack",
    "Scene",
    "StandingScene",
    "decode_relief",
    "encode_relief",
    "ground_depth",
    "render_cutout",
    "render_scene",
    "render_standing",
    "scene_pool",
    "write_sample_pack",
]

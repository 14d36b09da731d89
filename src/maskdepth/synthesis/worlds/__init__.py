"""The built-in sample pack: procedural scenes and cutouts with exact geometry.

A new family of scenes is one function in ``scenes.SCENES``, a new kind of cutout one in
``cutouts.CUTOUTS``; the names, the pack and its tests follow.
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
from maskdepth.synthesis.worlds.scenes import (
    FAMILIES,
    SCENES,
    WITHHELD_FAMILY,
    Scene,
    render_scene,
)
from maskdepth.synthesis.worlds.standing import (
    STANDING,
    Standing,
    find_ground,
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
    "Standing",
    "decode_relief",
    "encode_relief",
    "find_ground",
    "render_cutout",
    "render_scene",
    "render_standing",
    "scene_pool",
    "write_sample_pack",
]

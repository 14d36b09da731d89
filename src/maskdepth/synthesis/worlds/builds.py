"""Proportions of four-legged animals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Range = tuple[float, float]
_T = TypeVar("_T", float, Range)


@dataclass(frozen=True)
class Proportions(Generic[_T]):
    """One animal's measures or the ranges of a kind's, in trunk lengths; the angle in degrees."""

    stand: _T  # height of the shoulder joint
    chest: _T  # radius
    waist: _T  # radius
    neck: _T  # length
    neck_radius: _T
    neck_angle: _T  # above the level
    head: _T  # radius of the skull
    snout: _T  # length beyond the skull
    snout_radius: _T
    ear: _T  # length
    tail: _T
    tail_radius: _T
    leg_radius: _T


@dataclass(frozen=True)
class Build:
    """What animals of one kind have in common."""

    body: Proportions[Range]
    fur: Range  # length of hair, trunk lengths
    ears: tuple[str, ...]  # shapes to choose from
    horns: float = 0.0  # probability
    hoofs: bool = False
    sits: bool = True
    mane: bool = False


BUILDS: dict[str, Build] = {
    # stand, chest, waist, neck, its radius and angle,
    # head, snout, its radius, ear, tail, its radius,
    # the legs' radius; fur, ears
    "dog": Build(Proportions(
        (0.5, 0.85), (0.19, 0.26), (0.13, 0.2), (0.22, 0.34), (0.1, 0.145), (25, 65),
        (0.125, 0.165), (0.1, 0.25), (0.055, 0.08), (0.12, 0.22), (0.25, 0.6), (0.025, 0.06),
        (0.05, 0.075)), (0.012, 0.09), ("pointed", "floppy", "floppy")),
    "short dog": Build(Proportions(
        (0.32, 0.45), (0.17, 0.21), (0.14, 0.18), (0.2, 0.26), (0.1, 0.13), (30, 60),
        (0.13, 0.16), (0.08, 0.2), (0.05, 0.07), (0.14, 0.24), (0.2, 0.45), (0.02, 0.05),
        (0.05, 0.065)), (0.012, 0.1), ("pointed", "floppy")),
    "cat": Build(Proportions(
        (0.46, 0.6), (0.14, 0.18), (0.135, 0.19), (0.12, 0.2), (0.09, 0.11), (15, 55),
        (0.125, 0.15), (0.03, 0.06), (0.06, 0.075), (0.11, 0.15), (0.5, 0.85), (0.025, 0.05),
        (0.042, 0.055)), (0.015, 0.07), ("pointed",)),
    "fox": Build(Proportions(
        (0.45, 0.6), (0.14, 0.17), (0.11, 0.14), (0.16, 0.24), (0.085, 0.11), (15, 50),
        (0.1, 0.125), (0.14, 0.2), (0.035, 0.045), (0.13, 0.18), (0.5, 0.7), (0.06, 0.09),
        (0.035, 0.045)), (0.03, 0.07), ("pointed",)),
    "horse": Build(Proportions(
        (0.82, 0.95), (0.23, 0.28), (0.2, 0.26), (0.45, 0.55), (0.115, 0.14), (20, 60),
        (0.11, 0.125), (0.3, 0.38), (0.065, 0.08), (0.08, 0.12), (0.55, 0.75), (0.04, 0.07),
        (0.05, 0.065)), (0.005, 0.015), ("pointed",), hoofs=True, sits=False, mane=True),
    "cow": Build(Proportions(
        (0.58, 0.7), (0.26, 0.31), (0.27, 0.33), (0.24, 0.32), (0.14, 0.18), (-10, 30),
        (0.125, 0.145), (0.22, 0.28), (0.08, 0.1), (0.12, 0.16), (0.5, 0.6), (0.018, 0.025),
        (0.06, 0.075)), (0.006, 0.03), ("sideways",), horns=0.5, hoofs=True, sits=False),
    "sheep": Build(Proportions(
        (0.45, 0.6), (0.23, 0.3), (0.25, 0.33), (0.18, 0.26), (0.11, 0.15), (15, 50),
        (0.1, 0.12), (0.13, 0.18), (0.055, 0.065), (0.1, 0.15), (0.1, 0.2), (0.04, 0.05),
        (0.04, 0.05)), (0.03, 0.07), ("sideways", "floppy"), horns=0.3, hoofs=True, sits=False),
    "pig": Build(Proportions(
        (0.34, 0.44), (0.21, 0.26), (0.22, 0.29), (0.14, 0.2), (0.16, 0.19), (-10, 15),
        (0.14, 0.165), (0.13, 0.2), (0.065, 0.08), (0.12, 0.18), (0.12, 0.2), (0.015, 0.02),
        (0.05, 0.06)), (0.004, 0.02), ("pointed", "floppy"), hoofs=True, sits=False),
    "deer": Build(Proportions(
        (0.8, 0.95), (0.18, 0.22), (0.165, 0.2), (0.38, 0.48), (0.075, 0.1), (35, 70),
        (0.09, 0.1), (0.17, 0.22), (0.04, 0.05), (0.14, 0.19), (0.1, 0.16), (0.03, 0.04),
        (0.035, 0.045)), (0.01, 0.025), ("sideways", "pointed"), horns=0.5, hoofs=True, sits=False),
    "bear": Build(Proportions(
        (0.42, 0.56), (0.26, 0.31), (0.26, 0.33), (0.18, 0.26), (0.17, 0.2), (-5, 30),
        (0.16, 0.19), (0.12, 0.17), (0.07, 0.085), (0.07, 0.09), (0.05, 0.08), (0.03, 0.04),
        (0.085, 0.11)), (0.03, 0.07), ("round",)),
}  # fmt: skip

"""Proportions of four-legged animals."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Build:
    """Ranges of proportions, in trunk lengths; angles in degrees."""

    stand: Range  # height of the shoulder joint
    chest: Range  # radius
    waist: Range  # radius
    neck: Range  # length
    neck_radius: Range
    neck_angle: Range  # above the level
    head: Range  # radius of the skull
    snout: Range  # length beyond the skull
    snout_radius: Range
    ear: Range  # length
    ears: tuple[str, ...]  # shapes to choose from
    tail: Range
    tail_radius: Range
    leg_radius: Range
    fur: Range  # length of hair
    horns: float = 0.0  # probability
    hoofs: bool = False
    sits: bool = True
    mane: bool = False


BUILDS: dict[str, Build] = {
    "dog": Build(
        stand=(0.5, 0.85), chest=(0.19, 0.26), waist=(0.13, 0.2), leg_radius=(0.05, 0.075),
        neck=(0.22, 0.34), neck_radius=(0.1, 0.145), neck_angle=(25, 65),
        head=(0.125, 0.165), snout=(0.1, 0.25), snout_radius=(0.055, 0.08),
        ear=(0.12, 0.22), ears=("pointed", "floppy", "floppy"),
        tail=(0.25, 0.6), tail_radius=(0.025, 0.06), fur=(0.012, 0.09),
    ),
    "short dog": Build(
        stand=(0.32, 0.45), chest=(0.17, 0.21), waist=(0.14, 0.18), leg_radius=(0.05, 0.065),
        neck=(0.2, 0.26), neck_radius=(0.1, 0.13), neck_angle=(30, 60),
        head=(0.13, 0.16), snout=(0.08, 0.2), snout_radius=(0.05, 0.07),
        ear=(0.14, 0.24), ears=("pointed", "floppy"),
        tail=(0.2, 0.45), tail_radius=(0.02, 0.05), fur=(0.012, 0.1),
    ),
    "cat": Build(
        stand=(0.46, 0.6), chest=(0.14, 0.18), waist=(0.135, 0.19), leg_radius=(0.042, 0.055),
        neck=(0.12, 0.2), neck_radius=(0.09, 0.11), neck_angle=(15, 55),
        head=(0.125, 0.15), snout=(0.03, 0.06), snout_radius=(0.06, 0.075),
        ear=(0.11, 0.15), ears=("pointed",),
        tail=(0.5, 0.85), tail_radius=(0.025, 0.05), fur=(0.015, 0.07),
    ),
    "fox": Build(
        stand=(0.45, 0.6), chest=(0.14, 0.17), waist=(0.11, 0.14), leg_radius=(0.035, 0.045),
        neck=(0.16, 0.24), neck_radius=(0.085, 0.11), neck_angle=(15, 50),
        head=(0.1, 0.125), snout=(0.14, 0.2), snout_radius=(0.035, 0.045),
        ear=(0.13, 0.18), ears=("pointed",),
        tail=(0.5, 0.7), tail_radius=(0.06, 0.09), fur=(0.03, 0.07),
    ),
    "horse": Build(
        stand=(0.82, 0.95), chest=(0.23, 0.28), waist=(0.2, 0.26), leg_radius=(0.05, 0.065),
        neck=(0.45, 0.55), neck_radius=(0.115, 0.14), neck_angle=(20, 60),
        head=(0.11, 0.125), snout=(0.3, 0.38), snout_radius=(0.065, 0.08),
        ear=(0.08, 0.12), ears=("pointed",),
        tail=(0.55, 0.75), tail_radius=(0.04, 0.07), fur=(0.005, 0.015),
        hoofs=True, sits=False, mane=True,
    ),
    "cow": Build(
        stand=(0.58, 0.7), chest=(0.26, 0.31), waist=(0.27, 0.33), leg_radius=(0.06, 0.075),
        neck=(0.24, 0.32), neck_radius=(0.14, 0.18), neck_angle=(-10, 30),
        head=(0.125, 0.145), snout=(0.22, 0.28), snout_radius=(0.08, 0.1),
        ear=(0.12, 0.16), ears=("sideways",),
        tail=(0.5, 0.6), tail_radius=(0.018, 0.025), fur=(0.006, 0.03),
        horns=0.5, hoofs=True, sits=False,
    ),
    "sheep": Build(
        stand=(0.45, 0.6), chest=(0.23, 0.3), waist=(0.25, 0.33), leg_radius=(0.04, 0.05),
        neck=(0.18, 0.26), neck_radius=(0.11, 0.15), neck_angle=(15, 50),
        head=(0.1, 0.12), snout=(0.13, 0.18), snout_radius=(0.055, 0.065),
        ear=(0.1, 0.15), ears=("sideways", "floppy"),
        tail=(0.1, 0.2), tail_radius=(0.04, 0.05), fur=(0.03, 0.07),
        horns=0.3, hoofs=True, sits=False,
    ),
    "pig": Build(
        stand=(0.34, 0.44), chest=(0.21, 0.26), waist=(0.22, 0.29), leg_radius=(0.05, 0.06),
        neck=(0.14, 0.2), neck_radius=(0.16, 0.19), neck_angle=(-10, 15),
        head=(0.14, 0.165), snout=(0.13, 0.2), snout_radius=(0.065, 0.08),
        ear=(0.12, 0.18), ears=("pointed", "floppy"),
        tail=(0.12, 0.2), tail_radius=(0.015, 0.02), fur=(0.004, 0.02),
        hoofs=True, sits=False,
    ),
    "deer": Build(
        stand=(0.8, 0.95), chest=(0.18, 0.22), waist=(0.165, 0.2), leg_radius=(0.035, 0.045),
        neck=(0.38, 0.48), neck_radius=(0.075, 0.1), neck_angle=(35, 70),
        head=(0.09, 0.1), snout=(0.17, 0.22), snout_radius=(0.04, 0.05),
        ear=(0.14, 0.19), ears=("sideways", "pointed"),
        tail=(0.1, 0.16), tail_radius=(0.03, 0.04), fur=(0.01, 0.025),
        horns=0.5, hoofs=True, sits=False,
    ),
    "bear": Build(
        stand=(0.42, 0.56), chest=(0.26, 0.31), waist=(0.26, 0.33), leg_radius=(0.085, 0.11),
        neck=(0.18, 0.26), neck_radius=(0.17, 0.2), neck_angle=(-5, 30),
        head=(0.16, 0.19), snout=(0.12, 0.17), snout_radius=(0.07, 0.085),
        ear=(0.07, 0.09), ears=("round",),
        tail=(0.05, 0.08), tail_radius=(0.03, 0.04), fur=(0.03, 0.07),
    ),
}  # fmt: skip

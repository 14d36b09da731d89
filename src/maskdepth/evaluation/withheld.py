"""Depth in a kind of world that no network was trained on: drawn scenes, and cutouts in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from maskdepth.errors import AssetError
from maskdepth.evaluation.composite_depth import DepthTable, NoDepthTable, evaluate_composite_depth
from maskdepth.inference.predictor import Predictor
from maskdepth.labelling.teachers import Teacher
from maskdepth.synthesis.assets import scan_backgrounds
from maskdepth.synthesis.rules import BENCHMARK_V1, GroundRules
from maskdepth.synthesis.spec import DatasetSpec

PLACEMENTS: Final = {
    "standing": BENCHMARK_V1["clean"].with_(name="standing", ground=GroundRules(share=1.0)),
    "anywhere": BENCHMARK_V1["clean"],
}
"""Rules of the two placements: on the ground, where the distance is visible, and as in the clean
slice, where the distance is random."""


@dataclass(frozen=True)
class Withheld:
    """Depth in drawn scenes of a family that was not trained on, by placement."""

    scenes: int
    placements: Mapping[str, DepthTable | NoDepthTable]


def evaluate_withheld(
    predictor: Predictor,
    spec: DatasetSpec,
    folder: Path,
    scenes: Path,
    count: int,
    *,
    others: Mapping[str, Predictor] | None = None,
    teacher: Teacher | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Withheld:
    """Depth of composites of unseen cutouts on scenes of a withheld family.

    Args:
        spec, folder: the dataset whose cutouts of test are pasted, and where its spec lies.
        scenes: pictures with ``<stem>_disparity.png`` beside them, as `maskdepth worlds` writes
            them.
        count: composites of each of `PLACEMENTS`.
        others, teacher: see `evaluate_composite_depth`.
        advance: called with the number of predictions that are done with.

    Raises:
        AssetError: there are no labelled scenes, or the dataset holds some of them.
    """
    found, _ = scan_backgrounds(scenes, origin="sample")
    labelled = [asset for asset in found if asset.disparity is not None]
    if not labelled:
        raise AssetError(
            f"scenes with exact disparity in {scenes}",
            "no label beside any",
            "draw scenes with `maskdepth worlds --families shop`",
        )
    in_dataset = {asset.sha256 for asset in spec.backgrounds}
    shared = [asset.id for asset in labelled if asset.sha256 in in_dataset]
    if shared:
        raise AssetError(
            f"scenes in {scenes} that the dataset does not hold",
            f"{len(shared)} that it holds, such as {shared[0]}",
            "take a family of scenes that was not trained on",
        )
    unseen = tuple(asset.model_copy(update={"split": "test"}) for asset in labelled)
    apart = spec.model_copy(update={"backgrounds": unseen})
    tables = {
        name: evaluate_composite_depth(
            predictor, apart, apart.catalogue(folder, rules.size), rules, count, advance,
            others=others, teacher=teacher,
        )
        for name, rules in PLACEMENTS.items()
    }  # fmt: skip
    return Withheld(len(labelled), tables)

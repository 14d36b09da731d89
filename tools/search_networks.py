"""Cells of the search for a small network: one change each, a few thousand images, one line.

    python tools/search_networks.py DATASET OUT --cells as_it_is six_channels --steps 500

``DATASET`` is a folder of ``maskdepth compose``; every cell trains on its train split into
``OUT/CELL`` and is judged on composites of val. ``--scenes FOLDER`` adds the depth of labelled
scenes that the dataset lacks, picture alone. A line of JSON a cell goes to ``OUT/cells.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskdepth import Predictor
from maskdepth.datasets.build import Dataset, open_dataset
from maskdepth.depth import decode_disparity, depth_from_disparity, depth_from_disparity_aligned
from maskdepth.evaluation.depths import FARTHEST, NEAREST
from maskdepth.evaluation.tally import render_benchmark
from maskdepth.images import load_grey16
from maskdepth.inference.model.card import ModelCard
from maskdepth.learning import small
from maskdepth.learning.backend import TorchBackend
from maskdepth.learning.dataset import CompositeDataset
from maskdepth.learning.losses import LossWeights
from maskdepth.learning.model import count_weights
from maskdepth.learning.settings import TrainingConfig
from maskdepth.learning.training import train
from maskdepth.metrics import depth_metrics, mask_metrics
from maskdepth.synthesis.rules import BENCHMARK_V1


class SixChannels(small.SmallNetwork):
    """Picture and plate alone: what they differ by is left for the network to find."""

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        return _with_differences(super().forward, lambda x: (x * 0, x * 0), *inputs)


class OneScale(small.SmallNetwork):
    """The plain difference in place of those on two scales where small ones count."""

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        return _with_differences(super().forward, lambda x: (x, x * 0), *inputs)


def _with_differences(
    forward: Callable[..., dict[str, Tensor]],
    instead: Callable[[Tensor], tuple[Tensor, Tensor]],
    *inputs: Tensor,
) -> dict[str, Tensor]:
    usual = small.visible_differences
    small.visible_differences = instead
    try:
        return forward(*inputs)
    finally:
        small.visible_differences = usual


class _Siamese(nn.Module):
    """One stem for the picture and the plate; both and what they differ by go on."""

    def __init__(self) -> None:
        super().__init__()
        half = small.WIDTHS[0]
        self.shared = small.ConvBlock(7, half, stride=2)
        self.join = small.ConvBlock(3 * half, half)

    def forward(self, x: Tensor) -> Tensor:
        rest = x[:, 12:]  # plate disparity, flags, row
        first, second = (
            self.shared(torch.cat([own, rest], dim=1)) for own in (x[:, :3], x[:, 3:6])
        )
        joined: Tensor = self.join(torch.cat([first, second, (first - second).abs()], dim=1))
        return joined


class Siamese(small.SmallNetwork):
    """A shared stem, compared at half the size; the alpha head keeps its pixels' differences."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Siamese()


class TwoDecoders(small.SmallNetwork):
    """A decoder each for alpha and disparity."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth, bottom = small.WIDTHS
        sizes = (bottom, sixteenth, eighth, quarter, half)
        self.second = nn.ModuleList(map(small.Up, sizes[:-1], sizes[1:]))
        self._skips: list[Tensor] = []
        for name in ("up16", "up8", "up4", "up2"):
            getattr(self, name).register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, inputs: tuple[Tensor, Tensor], __: Tensor) -> None:
        # What the first decoder is given is all that the second one needs.
        self._skips += inputs if not self._skips else inputs[1:]

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        self._skips = []
        outputs = super().forward(*inputs)
        x, *skips = self._skips
        for up, skip in zip(self.second, skips, strict=True):
            x = up(x, skip)
        height, width = inputs[0].shape[-2:]
        return outputs | {"disparity": self.disparity(x, height, width)}


class _SharpHead(nn.Module):
    """The alpha head's logits, mended by two small convolutions at the full size."""

    def __init__(self, usual: nn.Module) -> None:
        super().__init__()
        self.usual = usual
        self.mend = nn.Sequential(
            nn.Conv2d(13, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 1, 3, padding=1)
        )
        nn.init.zeros_(self.mend[2].weight)
        nn.init.zeros_(self.mend[2].bias)

    def forward(self, x: Tensor, seen: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.usual(x, seen)
        mended: Tensor = logits + self.mend(torch.cat([logits / 4, *seen], dim=1))
        return mended


class Sharp(small.SmallNetwork):
    """Convolutions at the full size behind the alpha head."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = _SharpHead(self.alpha)


def _of_widths(*widths: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        usual, small.WIDTHS = small.WIDTHS, widths
        try:
            return small.SmallNetwork()
        finally:
            small.WIDTHS = usual

    return build


@dataclass(frozen=True)
class Cell:
    """One change: the network, how it is trained, or the size of what it sees, px."""

    build: Callable[[], nn.Module] = small.SmallNetwork
    config: dict[str, Any] = field(default_factory=dict)
    size: int = 224


_LOSSES = {"disparity_l1": 0.3, "disparity_log": 0.5}
CELLS = {
    "as_it_is": Cell(),
    "second_seed": Cell(config={"seed": 1}),
    "six_channels": Cell(SixChannels),
    "one_scale": Cell(OneScale),
    "siamese": Cell(Siamese),
    "two_decoders": Cell(TwoDecoders),
    "sharp": Cell(Sharp),
    "narrow": Cell(_of_widths(12, 24, 48, 72, 96)),
    "wide": Cell(_of_widths(24, 48, 80, 112, 144)),
    "loss_without_log": Cell(config={"losses": LossWeights(disparity_l1=0.3)}),
    "plate_half": Cell(config={"drop_plate": 0.5}),
    "size_160": Cell(size=160),
    "size_320": Cell(size=320),
}


def run_cell(
    name: str, dataset: Dataset, scenes: Path | None, output: Path, steps: int
) -> dict[str, Any]:
    """Train and judge one cell."""
    cell = CELLS[name]
    given = {"steps": steps, "losses": LossWeights(**_LOSSES), "workers": 0, "drop_plate": 0.15}
    config = TrainingConfig(**(given | cell.config))
    spec = dataset.spec
    samples = CompositeDataset(
        spec.rules.at_size(cell.size),
        spec.pool(),
        spec.seed,
        spec.catalogue(dataset.folder, cell.size),
        2**40,
        drop_plate=config.drop_plate,
        drop_plate_disparity=config.drop_plate_disparity,
        mirror=config.mirror,
    )
    torch.manual_seed(config.seed)
    model = cell.build()
    started = time.process_time()
    result = train(config, samples, None, output / name, model=model)
    if result.interrupted:
        raise SystemExit(f"{name} was interrupted, and is not judged")
    card = ModelCard("small", None, cell.size, "synthetic only", "0", {}, 0)
    predictor = Predictor(TorchBackend(result.model), card, refine=False)
    outlined = Predictor(TorchBackend(result.model), card, close_up=False)
    figures = {
        "cell": name,
        "weights": count_weights(model),
        "images": result.images,
        "processor_s": round(time.process_time() - started),
        "network_ms": _time_network(result.model, cell.size),
    }
    figures |= _judge_masks(predictor, dataset, 224) | _judge_masks(outlined, dataset, 448)
    figures |= _judge_depth(predictor, dataset)
    if scenes is not None:
        figures |= _judge_scenes(predictor, scenes)
    return figures


def _time_network(model: nn.Module, size: int) -> float:
    """Milliseconds of processor time, the least of 20: others share the machine."""
    backend = TorchBackend(model)
    pair = np.zeros((2, 1, 3, size, size), np.float32)
    times = []
    for _ in range(20):
        started = time.process_time()
        backend.run(pair[0], pair[1], pair[0][:, :1], np.ones((1, 2), np.float32))
        times.append(time.process_time() - started)
    return round(1000 * min(times), 1)


def _judge_masks(
    predictor: Predictor, dataset: Dataset, size: int, count: int = 80
) -> dict[str, float]:
    """Mean Dice on pictures of ``size``, which the network may see smaller."""
    pool = dataset.spec.pool("val", "val", origin="user")
    catalogue = dataset.spec.catalogue(dataset.folder, size)
    found = {}
    for name in ("clean", "hard"):
        rules = BENCHMARK_V1[name].at_size(size)
        dice = [
            mask_metrics(predictor.predict(each.image, each.plate).alpha, each.alpha)["dice"]
            for each in render_benchmark(rules, pool, catalogue, count)
        ]
        found[f"dice_{name}_{size}"] = float(np.mean(dice))
    return found


def _judge_depth(predictor: Predictor, dataset: Dataset, count: int = 80) -> dict[str, float]:
    pool = dataset.spec.pool("val", "val", labelled=True)
    catalogue = dataset.spec.catalogue(dataset.folder, 224)
    composites = list(render_benchmark(BENCHMARK_V1["clean"], pool, catalogue, count))
    with_plate = (
        (predictor.predict(each.image, each.plate), each.disparity) for each in composites
    )
    alone = ((predictor.predict(each.image), each.disparity) for each in composites)
    return {"abs_rel_plate": _abs_rel(with_plate), "abs_rel_alone": _abs_rel(alone)}


def _judge_scenes(predictor: Predictor, folder: Path) -> dict[str, float]:
    def pairs() -> Iterable[tuple[Any, Any]]:
        for label in sorted(folder.rglob("*_disparity.png")):
            picture = next(label.parent.glob(label.name.replace("_disparity.png", ".[jp]*g")))
            yield predictor.predict(picture), decode_disparity(load_grey16(label))

    return {"abs_rel_scenes": _abs_rel(pairs())}


def _abs_rel(pairs: Iterable[tuple[Any, Any]]) -> float:
    errors = []
    for prediction, target in pairs:
        valid = np.isfinite(target) & (target >= 1 / FARTHEST)
        truth = depth_from_disparity(target)
        depth = depth_from_disparity_aligned(prediction.disparity, truth, valid, NEAREST, FARTHEST)
        errors.append(depth_metrics(depth, truth, valid)["abs_rel"])
    return float(np.mean(errors))


def main() -> None:
    """Run the cells in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--scenes", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(args.dataset)
    for name in args.cells:
        figures = run_cell(name, dataset, args.scenes, args.output, args.steps)
        with (args.output / "cells.jsonl").open("a") as log:
            log.write(json.dumps(figures) + "\n")
        print(figures, flush=True)


if __name__ == "__main__":
    main()

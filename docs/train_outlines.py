"""Train the function that reads outlines, `maskdepth.inference.outline`, on composites.

    python docs/train_outlines.py DATASET MODEL... -o src/maskdepth/inference/outlines.npz

Composites of the dataset's train split are shown to the models in turn, just as prediction would
show them; what is known of their outlines' pixels is learned from against the exact alpha. Val
composites of the benchmark tell what it is worth, beside the average that it starts from.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from maskdepth import Predictor
from maskdepth.evaluation.tally import render_benchmark
from maskdepth.inference.outline import (
    AVERAGED,
    FEATURES,
    MAP_RADII,
    Neighbourhood,
    Reader,
    describe_outline,
    logit_of,
)
from maskdepth.inference.refinement import find_outline, look_about
from maskdepth.labelling.build import Dataset, open_dataset
from maskdepth.metrics import mask_metrics
from maskdepth.processes import WorkerPool, end_at_ctrl_c
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.rules import BENCHMARK_V1

Floats = NDArray[np.float32]

_SEED = 991  # of the composites; no training uses it
_CHUNK = 500  # composites at a time
_MOST_PIXELS = 700  # of a composite: most have more, and neighbours tell the same
_HIDDEN = (96, 48)
_BATCH = 4096
_RATE = 3e-3


def main() -> None:
    """Collect, train, save, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="a folder of `maskdepth compose`")
    parser.add_argument("models", type=Path, nargs="+", help="model folders, that take turns")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=15000, help="composites to learn from")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--val", type=int, default=50, help="val composites of each slice")
    parser.add_argument("--processes", type=int, default=1, help="that show composites to models")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    jobs = [
        (options.dataset, options.models, start, min(start + _CHUNK, options.count))
        for start in range(0, options.count, _CHUNK)
    ]
    with WorkerPool(options.processes, end_at_ctrl_c) as pool:
        told = list(pool.map(collect, *zip(*jobs, strict=True)))
    features, alpha, weight = (
        torch.from_numpy(np.concatenate(each)) for each in zip(*told, strict=True)
    )
    del told
    weight = 0.5 + 0.5 * (weight / weight.mean()).clamp(max=5)
    print(f"{len(alpha)} pixels of {options.count} composites")
    reader = fit(features, alpha, weight, options.steps)
    reader.save(options.out)
    judge(open_dataset(options.dataset), open_models(options.models)[0], reader, options.val)


def open_models(folders: list[Path]) -> list[Predictor]:
    """What predicts as the package does, but for outlines."""
    return [Predictor.from_pretrained(each, refine=False, threads=1) for each in folders]


def known_of(composite: Composite, predictor: Predictor) -> Neighbourhood:
    """What prediction knows of a composite when it comes to the outlines."""
    prediction = predictor.predict(composite.image, composite.plate)
    assert prediction.plate is not None
    return look_about(prediction.image, prediction.plate, prediction.alpha)


def collect(
    folder: Path, models: list[Path], start: int, stop: int
) -> tuple[NDArray[np.float16], Floats, Floats]:
    """Features (N, FEATURES), alpha (N,) and weight (N,) of pixels at outlines of composites."""
    cv2.setNumThreads(1)
    dataset = open_dataset(folder)
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder, spec.rules.size, 1000)
    recipes = sample_recipes(spec.rules, spec.pool("train", "train"), _SEED, start, stop)
    random = np.random.default_rng([_SEED, start])
    rows = []
    for recipe, predictor in zip(recipes, itertools.cycle(open_models(models))):
        composite = render(recipe, spec.rules.size, catalogue)
        known = known_of(composite, predictor)
        places = np.argwhere(find_outline(known.alpha, 1))
        taken = random.permutation(places)[:_MOST_PIXELS]
        if not len(taken):
            continue
        y, x = taken.T
        # A Dice counts errors by the object's size.
        share = len(places) / len(taken) / ((composite.alpha > 0.5).sum() + 300)
        rows.append(
            (
                describe_outline(known, y, x).astype(np.float16),
                composite.alpha[y, x],
                np.full(len(taken), share, np.float32),
            )
        )
    features, alpha, weight = (np.concatenate(each) for each in zip(*rows, strict=True))
    return features, alpha, weight


def fit(features: Tensor, alpha: Tensor, weight: Tensor, steps: int) -> Reader:
    """Train a perceptron to correct the average's logit; every map is shown in eight turns."""
    sample = features[::17].float()
    mean, scale = sample.mean(dim=0), sample.std(dim=0) + 0.05
    sizes = (FEATURES, *_HIDDEN, 1)
    linear = [nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
    nn.init.zeros_(linear[-1].weight)
    net = nn.Sequential(linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
    optimiser = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps + 1)
    turns = list(turned_columns())
    total = 0.0
    for step in range(steps):
        batch = torch.randint(0, len(alpha), (_BATCH,))
        x = features[batch].float()[:, turns[step % len(turns)]]
        start = torch.from_numpy(logit_of(x[:, AVERAGED].numpy()))
        logits = start + net((x - mean) / scale)[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logits, alpha[batch], weight[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        total += loss.item()
        if (step + 1) % 1000 == 0:
            print(f"step {step + 1}: loss {total / 1000:.4f}", flush=True)
            total = 0.0
    layers = [(each.weight.detach().T, each.bias.detach()) for each in linear]
    first = layers[0][0] / scale[:, None]
    layers[0] = first, layers[0][1] - mean @ first
    return Reader([(w.contiguous().numpy(), b.numpy()) for w, b in layers])


def turned_columns() -> Iterator[Tensor]:
    """The order of features as the picture's eight turns and mirrors give it."""
    for turn, flip in itertools.product(range(4), (False, True)):
        columns, first = [], 0
        for radius in MAP_RADII:
            side = 2 * radius + 1
            square = np.arange(first, first + side * side).reshape(side, side)
            square = np.rot90(square[::-1] if flip else square, turn)
            columns.append(square.ravel())
            first += side * side
        yield torch.from_numpy(np.concatenate([*columns, np.arange(first, FEATURES)]))


def judge(dataset: Dataset, predictor: Predictor, reader: Reader, count: int) -> None:
    """Mean Dice and boundary F on the benchmark's val composites, averaged and read."""
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder, spec.rules.size, 3000)
    pool = spec.pool("val", "val")
    for name, rules in BENCHMARK_V1.items():
        figures = []
        for composite in render_benchmark(rules, pool, catalogue, count):
            known = known_of(composite, predictor)
            outline = find_outline(known.alpha, 1)
            averaged = np.where(outline, known.averaged, known.alpha)
            for alpha in (known.alpha, averaged, reader.read(known, outline)):
                got = mask_metrics(alpha, composite.alpha)
                figures.append((got["dice"], got["boundary_f"]))
        dice, boundary = np.reshape(figures, (-1, 3, 2)).mean(axis=0).T
        print(
            f"{name}: network, averaged, read: Dice {dice.round(4)}, boundary F {boundary.round(4)}"
        )


if __name__ == "__main__":
    main()

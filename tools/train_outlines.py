"""Train the two functions that read outlines, `maskdepth.inference.matting.outline`, on composites.

    python tools/train_outlines.py DATASET MODEL... -o src/maskdepth/inference/matting

The models take turns to predict composites of the dataset's train split. The first function learns
from the features of pixels at outlines, against the exact alpha. The second function learns on the
same composites, and has the first one's alpha besides. Both are judged on val composites of the
benchmark, beside the average that the first one starts from.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from maskdepth import Predictor
from maskdepth.datasets.build import Dataset, open_dataset
from maskdepth.evaluation.composites import render_benchmark
from maskdepth.inference.matting.colour_samples import (
    SAMPLE_FEATURES,
    SAMPLE_SQUARES,
    SampleMaps,
)
from maskdepth.inference.matting.evidence import Evidence, measure_evidence
from maskdepth.inference.matting.outline import (
    FEATURES,
    OUTLINE_FILES,
    SQUARES,
    OutlineMaps,
    OutlineNetwork,
)
from maskdepth.inference.matting.perceptron import Perceptron, logit_of
from maskdepth.inference.matting.refinement import find_outline
from maskdepth.metrics import mask_metrics
from maskdepth.processes import WorkerPool, end_at_ctrl_c
from maskdepth.synthesis.recipes import sample_recipes
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.rules import BENCHMARK_V1

Floats = NDArray[np.float32]

_SEED = 991  # of the composites; no training uses it
_CHUNK = 500  # composites at a time
_MAX_PIXELS = 700  # of a composite: most have more, and neighbours hardly differ
_HIDDEN = (96, 48)
_BATCH = 4096
_RATE = 3e-3


def main() -> None:
    """Collect, train, save, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="a folder of `maskdepth compose`")
    parser.add_argument("models", type=Path, nargs="+", help="model folders, that take turns")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of both files")
    parser.add_argument("--count", type=int, default=15000, help="composites to learn from")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--first", type=Path, help="take the first function of this file")
    parser.add_argument("--val", type=int, default=50, help="val composites of each slice")
    parser.add_argument("--processes", type=int, default=1, help="that show composites to models")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    widths = (FEATURES,), (FEATURES, SAMPLE_FEATURES)
    with WorkerPool(options.processes, end_at_ctrl_c) as pool:
        if options.first is None:
            first = fit(gather(pool, options, None), options.steps, widths[0])
        else:
            first = options.first.read_bytes()
        second = fit(gather(pool, options, first), options.steps, widths[1])
    files = first, second
    for name, content in zip(OUTLINE_FILES, files, strict=True):
        (options.out / name).write_bytes(content)
    reader = OutlineNetwork(*map(Perceptron, files, widths))
    judge(open_dataset(options.dataset), open_models(options.models)[0], reader, options.val)


class Pixels(NamedTuple):
    """N pixels at outlines of composites.

    Attributes:
        features: float16 (N, F).
        start: (N,) alpha that is corrected.
        alpha: (N,) the exact one.
        weight: (N,) how much each counts.
    """

    features: NDArray[np.float16]
    start: Floats
    alpha: Floats
    weight: Floats


def gather(pool: WorkerPool, options: argparse.Namespace, first: bytes | None) -> Pixels:
    """Pixels of as many composites as wanted, for the first function or for the second."""
    jobs = [
        (options.dataset, options.models, first, start, min(start + _CHUNK, options.count))
        for start in range(0, options.count, _CHUNK)
    ]
    chunks = pool.map(collect, *zip(*jobs, strict=True))
    pixels = Pixels(*(np.concatenate(each) for each in zip(*chunks, strict=True)))
    print(f"{len(pixels.alpha)} pixels of {options.count} composites", flush=True)
    return pixels


def open_models(folders: list[Path]) -> list[Predictor]:
    """Predictors that leave outlines as the network has them."""
    return [Predictor.from_pretrained(each, refine=False, threads=1) for each in folders]


def measure_composite(composite: Composite, predictor: Predictor) -> Evidence:
    """The evidence that prediction has when it comes to the outlines."""
    prediction = predictor.predict(composite.image, composite.plate)
    assert prediction.plate is not None
    return measure_evidence(prediction.image, prediction.plate, prediction.alpha)


def collect(folder: Path, models: list[Path], first: bytes | None, start: int, stop: int) -> Pixels:
    """Pixels of composites ``start`` to ``stop - 1``, as the next function is shown them."""
    cv2.setNumThreads(1)
    dataset = open_dataset(folder)
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder, spec.rules.size, 1000)
    recipes = sample_recipes(spec.rules, spec.pool("train", "train"), _SEED, start, stop)
    random = np.random.default_rng([_SEED, start])
    perceptron = None if first is None else Perceptron(first, (FEATURES,))
    rows = []
    for recipe, predictor in zip(recipes, itertools.cycle(open_models(models))):
        composite = render(recipe, spec.rules.size, catalogue)
        evidence = measure_composite(composite, predictor)
        outline = find_outline(evidence.alpha, 1)
        places = np.argwhere(outline)
        taken = random.permutation(places)[:_MAX_PIXELS]
        if not len(taken):
            continue
        place = taken[:, 0], taken[:, 1]
        maps = OutlineMaps(evidence)
        features = maps.describe(place)
        corrected = evidence.averaged[place]
        if perceptron is not None:
            alpha, every = evidence.alpha.copy(), np.nonzero(outline)
            alpha[every] = perceptron.correct(evidence.averaged[every], maps.describe(every))
            corrected = alpha[place]
            more = SampleMaps(evidence, alpha, every).describe(place)
            features = np.concatenate([features, more], axis=1)
        # A Dice counts errors by the object's size.
        share = len(places) / len(taken) / ((composite.alpha > 0.5).sum() + 300)
        weight = np.full(len(taken), share, np.float32)
        rows.append((features.astype(np.float16), corrected, composite.alpha[place], weight))
    return Pixels(*(np.concatenate(each) for each in zip(*rows, strict=True)))


def fit(pixels: Pixels, steps: int, widths: tuple[int, ...]) -> bytes:
    """Train a perceptron to correct alpha's logit; every square is shown in eight turns.

    Args:
        widths: how many features each input of the perceptron's ONNX file, the answer, takes.
    """
    features = torch.from_numpy(pixels.features)
    alpha, logits_before = (
        torch.from_numpy(each) for each in (pixels.alpha, logit_of(pixels.start))
    )
    weight = torch.from_numpy(pixels.weight)
    weight = 0.5 + 0.5 * (weight / weight.mean()).clamp(max=5)
    sample = features[::17].float()
    mean, scale = sample.mean(dim=0), sample.std(dim=0) + 0.05
    sizes = (features.shape[1], *_HIDDEN, 1)
    linear = [nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
    nn.init.zeros_(linear[-1].weight)
    nn.init.zeros_(linear[-1].bias)
    net = nn.Sequential(linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
    optimiser = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps + 1)
    turns = list(turned_columns(features.shape[1]))
    total = 0.0
    for step in range(steps):
        batch = torch.randint(0, len(alpha), (_BATCH,))
        x = features[batch].float()[:, turns[step % len(turns)]]
        logits = logits_before[batch] + net((x - mean) / scale)[:, 0]
        loss = outline_loss(logits, alpha[batch], weight[batch])
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
    return pack([(w.contiguous().numpy(), b.numpy()) for w, b in layers], widths)


def pack(layers: Sequence[tuple[Floats, Floats]], widths: tuple[int, ...]) -> bytes:
    """The ONNX file of linear layers, (inputs, outputs) and (outputs,), with rectifiers between.

    Args:
        widths: the first layer's inputs come in so many parts of these widths.
    """
    nodes, arrays, sums, first = [], [], "offset0", 0
    inputs = [f"features{number}" for number in range(len(widths))]
    for name, width in zip(inputs, widths, strict=True):
        arrays.append((f"weight_{name}", layers[0][0][first : first + width]))
        nodes.append(helper.make_node("Gemm", [name, arrays[-1][0], sums], [f"sum_{name}"]))
        first, sums = first + width, f"sum_{name}"
    for number, (weight, offset) in enumerate(layers):
        arrays.append((f"offset{number}", offset))
        if number:
            arrays.append((f"weight{number}", weight))
            nodes.append(helper.make_node("Relu", [sums], [f"relu{number}"]))
            product = [f"relu{number}", f"weight{number}", f"offset{number}"]
            sums = f"sum{number}"
            nodes.append(helper.make_node("Gemm", product, [sums]))
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["pixels", width])
        for name, width in zip((*inputs, sums), (*widths, 1), strict=True)
    ]
    constants = [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in arrays]
    graph = helper.make_graph(nodes, "perceptron", values[:-1], values[-1:], constants)
    opset = helper.make_opsetid("", 17)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return model.SerializeToString()


def outline_loss(logits: Tensor, alpha: Tensor, weight: Tensor) -> Tensor:
    """What alpha errs by, absolutely: its best answer is the median of what alpha may be.

    A little cross-entropy keeps gradients where alpha is sure and wrong.
    """
    error = (weight * (logits.sigmoid() - alpha).abs()).mean()
    entropy = functional.binary_cross_entropy_with_logits(logits, alpha, weight)
    return 2 * error + 0.2 * entropy


def turned_columns(count: int) -> Iterator[Tensor]:
    """The order of features as the picture's eight turns and mirrors give it."""
    blocks = [(SQUARES, FEATURES), (SAMPLE_SQUARES, FEATURES + SAMPLE_FEATURES)]
    for turn, flip in itertools.product(range(4), (False, True)):
        columns, first = [], 0
        for squares, end in blocks:
            if first == count:
                break
            for radius, maps in squares:
                side = 2 * radius + 1
                square = np.arange(first, first + side * side * maps).reshape(side, side, maps)
                square = np.rot90(square[::-1] if flip else square, turn)
                columns.append(square.ravel())
                first += square.size
            columns.append(np.arange(first, end))
            first = end
        yield torch.from_numpy(np.concatenate(columns))


def judge(dataset: Dataset, predictor: Predictor, reader: OutlineNetwork, count: int) -> None:
    """Mean Dice and boundary F on the benchmark's val composites, averaged and read."""
    spec = dataset.spec
    catalogue = spec.catalogue(dataset.folder, spec.rules.size, 3000)
    pool = spec.pool("val", "val")
    for name, rules in BENCHMARK_V1.items():
        figures = []
        for composite in render_benchmark(rules, pool, catalogue, count):
            evidence = measure_composite(composite, predictor)
            outline = find_outline(evidence.alpha, 1)
            averaged = np.where(outline, evidence.averaged, evidence.alpha)
            for alpha in (evidence.alpha, averaged, reader.correct(evidence, outline)):
                got = mask_metrics(alpha, composite.alpha)
                figures.append((got["dice"], got["boundary_f"]))
        dice, boundary = np.reshape(figures, (-1, 3, 2)).mean(axis=0).T
        print(
            f"{name}: network, averaged, read: Dice {dice.round(4)}, boundary F {boundary.round(4)}"
        )


if __name__ == "__main__":
    main()

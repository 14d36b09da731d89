"""Composites as tensors, rendered on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdepth.learning.settings import TrainingConfig
from maskdepth.synthesis.assets import Split
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.recipes import Pool, Recipe, sample_recipes
from maskdepth.synthesis.renderer import render
from maskdepth.synthesis.rules import BENCHMARK_SEED, RecipeRules
from maskdepth.synthesis.spec import DatasetSpec

_BLOCK = 128  # recipes drawn together
_THREADS = 2  # more threads only wait for Python's lock
_OPTIONS_STREAM = 1  # recipes are drawn from stream 0 of the same generator
_ENDLESS = 2**40  # samples


class CompositeDataset(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Composites of a pool, rendered when they are asked for; each index is an independent draw.

    Args:
        rules, pool, seed: of the recipes.
        catalogue: the pool's pictures.
        count: length; larger indices are valid too, for runs without an end.
        drop_plate: share of samples without their plate.
        drop_plate_disparity: share of samples without their plate's disparity.
        mirror: share of samples shown as in a mirror.
        labels: disparity to learn from instead of the composites' own, float32 (S, S) with NaN
            where it is not valid, by recipe index.
        indices: of the recipes to show, again and again; those with labels, or else all, if left
            out.
    """

    def __init__(
        self,
        rules: RecipeRules,
        pool: Pool,
        seed: int,
        catalogue: Catalogue,
        count: int,
        *,
        drop_plate: float = 0.1,
        drop_plate_disparity: float = 0.5,
        mirror: float = 0.0,
        labels: Sequence[NDArray[np.float32]] | None = None,
        indices: range | None = None,
    ) -> None:
        self.rules = rules
        self.pool = pool
        self.seed = seed
        self.catalogue = catalogue
        self.count = count
        self.drop_plate = drop_plate
        self.drop_plate_disparity = drop_plate_disparity
        self.mirror = mirror
        self.labels = labels
        self.indices = range(len(labels)) if indices is None and labels is not None else indices
        self._block: tuple[int, list[Recipe]] | None = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One sample of side S, in types that are quick to send; ``feed.place`` makes them float32.

        Returns:
            picture, plate (3, S, S) uint8, for 0..1; plate_disparity (1, S, S) float16, 0 where it
            is not valid; validity (2,) float32: whether there are a plate and a plate disparity;
            alpha (1, S, S) float16; disparity (1, S, S) float16, disparity_valid (1, S, S) bool;
            has_disparity () float32; index () int64.
        """
        return self._sample(index, self._recipe(index))

    def __getitems__(self, indices: list[int]) -> list[dict[str, Tensor]]:
        """The samples of a batch.

        Without worker processes the training waits for them, so two threads render.
        """
        recipes = [self._recipe(index) for index in indices]
        if torch.utils.data.get_worker_info() is not None:
            return [self._sample(*pair) for pair in zip(indices, recipes, strict=True)]
        with ThreadPoolExecutor(_THREADS) as threads:
            return list(threads.map(self._sample, indices, recipes))

    def _sample(self, index: int, recipe: Recipe) -> dict[str, Tensor]:
        composite = render(recipe, self.rules.size, self.catalogue)
        has_plate, has_plate_disparity, mirrored = self._draw_options(index)
        has_plate_disparity &= has_plate and composite.plate_disparity is not None
        plate = composite.plate if has_plate else np.zeros_like(composite.plate)
        label = composite.disparity
        if self.labels is not None:
            label = self.labels[recipe.index]
            label = label if np.isfinite(label).any() else None
        disparity, valid = self._planes(label)
        sample = {
            "picture": _colour(composite.image),
            "plate": _colour(plate),
            "plate_disparity": self._planes(
                composite.plate_disparity if has_plate_disparity else None
            )[0],
            "validity": torch.tensor([has_plate, has_plate_disparity], dtype=torch.float32),
            "alpha": _plane(composite.alpha),
            "disparity": disparity,
            "disparity_valid": valid,
            "has_disparity": torch.tensor(float(label is not None)),
            "index": torch.tensor(index, dtype=torch.int64),
        }
        if not mirrored:
            return sample
        return {name: value.flip(2) if value.ndim == 3 else value for name, value in sample.items()}

    def _recipe(self, index: int) -> Recipe:
        """A sample's recipe, drawn in blocks: one by one takes ten times as long."""
        if self.indices is not None:
            index = self.indices[index % len(self.indices)]
        number, position = divmod(index, _BLOCK)
        if self._block is None or self._block[0] != number:
            start = number * _BLOCK
            recipes = sample_recipes(self.rules, self.pool, self.seed, start, start + _BLOCK)
            self._block = number, list(recipes)
        return self._block[1][position]

    def _planes(self, disparity: NDArray[np.float32] | None) -> tuple[Tensor, Tensor]:
        """Disparity, 0 where it is not valid, and where it is: (1, S, S) each."""
        if disparity is None:
            shape = (1, self.rules.size, self.rules.size)
            return torch.zeros(shape, dtype=torch.float16), torch.zeros(shape, dtype=torch.bool)
        valid = np.isfinite(disparity)
        return _plane(np.where(valid, disparity, np.float32(0))), torch.from_numpy(valid)[None]

    def _draw_options(self, index: int) -> tuple[bool, bool, bool]:
        """Whether a sample has its plate and the plate's disparity, and whether it is mirrored."""
        key = np.array([self.seed, _OPTIONS_STREAM], np.uint64)
        bits = np.random.Philox(key=key, counter=np.array([index, 0, 0, 0], np.uint64))
        u_plate, u_disparity, u_mirror = np.random.Generator(bits).random(3)
        return (
            bool(u_plate >= self.drop_plate),
            bool(u_disparity >= self.drop_plate_disparity),
            bool(u_mirror < self.mirror),
        )


def training_samples(
    spec: DatasetSpec,
    catalogue: Catalogue,
    config: TrainingConfig,
    labels: Sequence[NDArray[np.float32]] | None = None,
    indices: range | None = None,
) -> CompositeDataset:
    """Composites of a dataset's train split, without end; see ``CompositeDataset``."""
    return CompositeDataset(
        spec.rules,
        spec.pool(),
        spec.seed,
        catalogue,
        _ENDLESS,
        drop_plate=config.drop_plate,
        drop_plate_disparity=config.drop_plate_disparity,
        mirror=config.mirror,
        labels=labels,
        indices=indices,
    )


def held_out_samples(
    spec: DatasetSpec,
    catalogue: Catalogue,
    labels: Sequence[NDArray[np.float32]] | None,
    indices: range,
) -> CompositeDataset:
    """Composites of the train split that are kept from training, with their plates alone."""
    return CompositeDataset(
        spec.rules,
        spec.pool(),
        spec.seed,
        catalogue,
        len(indices),
        drop_plate=0.0,
        drop_plate_disparity=1.0,
        labels=labels,
        indices=indices,
    )


def benchmark_samples(
    spec: DatasetSpec, catalogue: Catalogue, rules: RecipeRules, count: int
) -> CompositeDataset:
    """Composites of a dataset's val split at its size, with their plates alone.

    Where no asset is held out they show those of the train split.
    """
    split: Split = "val" if spec.holds_out else "train"
    return CompositeDataset(
        rules.at_size(spec.rules.size),
        spec.pool(split, split),
        BENCHMARK_SEED,
        catalogue,
        count,
        drop_plate=0.0,
        drop_plate_disparity=1.0,
    )


def _colour(picture: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) to (3, H, W), still uint8: a quarter of the bytes to collate and to send."""
    return torch.from_numpy(np.asarray(cv2.split(picture)))


def _plane(values: NDArray[np.float32]) -> Tensor:
    """(H, W) in [0, 1] to (1, H, W) float16, which is exact to 0.0003: half of the bytes."""
    return torch.from_numpy(np.ascontiguousarray(values))[None].half()

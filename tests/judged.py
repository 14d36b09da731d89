"""Predictors that are functions, and a small dataset: what judges are tested on."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from maskdepth.depth import encode_disparity
from maskdepth.images import save_png
from maskdepth.inference.model.card import ModelCard
from maskdepth.inference.prediction import Prediction
from maskdepth.synthesis.assets import BackgroundAsset, CutoutAsset
from maskdepth.synthesis.spec import DatasetSpec

SPLITS = ("train", "val", "test")


def make_card(depth="exact"):
    return ModelCard("fake", None, 224, depth, "0", {"model.onnx": "0" * 64}, 1)


class Fake:
    """A predictor made of two functions of (picture, plate, plate disparity)."""

    def __init__(self, alpha, disparity=None, depth="exact"):
        self.card = self.depth_card = make_card(depth)
        self._alpha, self._disparity = alpha, disparity

    def predict(self, image, plate=None, plate_disparity=None):
        alpha = np.asarray(self._alpha(image, plate, plate_disparity), np.float32)
        if self._disparity is None:
            disparity = alpha
        else:
            disparity = np.asarray(self._disparity(image, plate, plate_disparity), np.float32)
        return Prediction(image=image, alpha=alpha, disparity=disparity, plate=plate)


def everywhere(image, plate=None, plate_disparity=None):
    return np.ones(image.shape[:2])


def nowhere(image, plate=None, plate_disparity=None):
    return np.zeros(image.shape[:2])


def asset_values(path, name, split, array):
    """The fields that all assets share."""
    save_png(path, array)
    return {
        "id": name,
        "file": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "width": array.shape[1],
        "height": array.shape[0],
        "licence": None,
        "source": None,
        "split": split,
        "group": name,
    }


def make_cutout(folder, name, split, seed):
    """A textured disc or ellipse with a hard edge."""
    rows, columns = np.mgrid[:90, :70]
    inside = np.hypot((rows - 45) / 40, (columns - 35) / (20 + 3 * seed)) < 1
    rgba = np.random.default_rng(seed).integers(120, 255, (90, 70, 4), np.uint8)
    rgba[..., 3] = 255 * inside
    values = asset_values(folder / f"{name}.png", name, split, rgba)
    return CutoutAsset(**values, alpha_share=float(inside.mean()), relief=None)


def make_background(folder, name, split, seed, *, labelled=False, origin="user"):
    """A dark smooth picture; with a label, a ramp with sky in its upper tenth."""
    noise = np.random.default_rng(seed).integers(0, 90, (12, 14, 3), np.uint8)
    picture = cv2.resize(noise, (280, 240), interpolation=cv2.INTER_CUBIC)
    values = asset_values(folder / f"{name}.png", name, split, picture)
    label = None
    if labelled:
        ramp = np.linspace(-0.06, 0.6, 240)[:, None] + np.linspace(0, 0.1, 280)[None]
        label = folder / f"{name}_disparity.png"
        save_png(label, encode_disparity(np.maximum(ramp, 0)))
    return BackgroundAsset(
        **values,
        disparity=None if label is None else str(label),
        label="exact" if labelled else None,
        origin=origin,
    )


def make_dataset(folder):
    """Two cutouts, two user backgrounds and one labelled sample scene in every split."""
    cutouts, backgrounds = [], []
    for number, split in enumerate(SPLITS):
        for part in range(2):
            seed = 2 * number + part
            cutouts.append(make_cutout(folder, f"cutout{seed}", split, seed))
            backgrounds.append(make_background(folder, f"background{seed}", split, seed))
        name = f"scene{number}"
        backgrounds.append(
            make_background(folder, name, split, 50 + number, labelled=True, origin="sample")
        )
    return DatasetSpec(cutouts=tuple(cutouts), backgrounds=tuple(backgrounds))

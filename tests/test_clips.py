"""Clips of a fixed camera: masks of some frames, a steady background, and what is nearer."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from judged import Fake, everywhere
from maskdepth.errors import MaskdepthError
from maskdepth.evaluation import evaluate_clips
from maskdepth.images import save_png
from maskdepth.testing import FakeBackend

Floats = NDArray[np.float32]

HEIGHT, WIDTH, FRAMES = 48, 64, 11
PLATE = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
SQUARE = np.s_[10:26]


def is_bright(image: np.ndarray, plate: object = None, plate_disparity: object = None):
    return image.max(axis=2) > 150


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A bright square that moves to the right; every fifth frame has a mask."""
    folder = tmp_path / "square"
    (folder / "gt").mkdir(parents=True)
    save_png(folder / "plate.png", PLATE)
    writer = cv2.VideoWriter(
        str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (WIDTH, HEIGHT)
    )
    for number in range(FRAMES):
        frame, levels = PLATE.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        columns = slice(4 + 3 * number, 20 + 3 * number)
        frame[SQUARE, columns] = 230
        levels[SQUARE, columns] = 255
        levels[40:] = 170
        writer.write(frame)
        if number % 5 == 0:
            save_png(folder / "gt" / f"{number:06d}.png", levels)
    writer.release()
    return folder


def test_masks_of_the_right_frames_are_compared(clip: Path) -> None:
    """What is marked as unknown counts neither way, and a blind mask gets the square's share."""
    result = evaluate_clips(Fake(is_bright), [clip])
    assert result.clips["square"].frames == 3
    assert result.clips["square"].model.f1 > 0.95
    assert result.clips["square"].difference.f1 > 0.95
    assert result.mean["f1"] == result.clips["square"].model.f1
    blind = evaluate_clips(Fake(everywhere), [clip]).clips["square"].model
    assert blind.recall == 1
    assert blind.precision == pytest.approx(16 * 16 / (40 * WIDTH))


def test_a_background_that_flickers_has_the_deviation_that_it_has(clip: Path) -> None:
    levels = iter([0.5, 0.2, 0.4, 0.6])  # the plate, then three frames

    def flickering(image: np.ndarray, plate: object, plate_disparity: object) -> np.ndarray:
        rows = np.linspace(0, 0.1, HEIGHT)[:, None]
        return np.repeat(next(levels) + rows, WIDTH, axis=1)

    depth = evaluate_clips(Fake(is_bright, flickering), [clip]).clips["square"].depth
    assert depth is not None
    assert depth.background_std == pytest.approx(np.std([0.2, 0.4, 0.6]), abs=1e-4)
    assert 0.05 < depth.background_spread < 0.1
    # Not what any frame covers (the square's 16 rows, at columns 4 to 49), and nothing unknown.
    assert depth.background_pixels == 40 * WIDTH - 16 * 46
    assert depth.nearer == pytest.approx(1 / 3, abs=0.02)


def test_only_what_is_nearer_than_the_plate_by_a_hundredth_counts(clip: Path) -> None:
    """The square is nearer by 0.02 on its upper half and by 0.005 on its lower one."""
    plate = np.full((HEIGHT, WIDTH), 0.3)
    step = np.where(np.arange(HEIGHT) < 18, 0.02, 0.005)[:, None]

    def layered(image: np.ndarray, plate_picture: object, plate_disparity: object) -> np.ndarray:
        return plate + step * is_bright(image)

    depth = evaluate_clips(Fake(is_bright, layered), [clip]).clips["square"].depth
    assert depth is not None
    assert depth.nearer == pytest.approx(0.5, abs=0.03)
    assert depth.background_std == 0


def test_a_model_of_masks_alone_has_no_depth_figures(clip: Path) -> None:
    result = evaluate_clips(Fake(is_bright, depth="none"), [clip])
    assert result.clips["square"].depth is None
    assert result.mean["nearer"] is None
    assert result.mean["own_nearer"] is None


class Brightness(FakeBackend):
    """A network to which bright things are near, or far."""

    def __init__(self, sign: int) -> None:
        super().__init__()
        self.sign = sign

    def run(
        self, picture: Floats, plate: Floats, plate_disparity: Floats, validity: Floats
    ) -> tuple[Floats, Floats]:
        alpha, _ = super().run(picture, plate, plate_disparity, validity)
        return alpha, 0.5 + self.sign * 0.4 * picture.mean(axis=1, keepdims=True)


@pytest.mark.parametrize(("sign", "share"), [(1, 1.0), (-1, 0.0)])
def test_the_networks_own_layer_is_judged_before_it_is_put_before_the_plate(
    clip: Path, sign: int, share: float
) -> None:
    predictor = Brightness(sign).predictor(refine=False, register=False)
    depth = evaluate_clips(predictor, [clip]).clips["square"].depth
    assert depth is not None
    assert depth.own_nearer == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "clip.mp4").unlink(), "clip.mp4"),
        (lambda folder: (folder / "clip.mp4").write_bytes(b"no film"), "no frame that OpenCV"),
        (lambda folder: (folder / "gt/000010.png").rename(folder / "gt/30.png"), "has 11 frames"),
        (lambda folder: [each.unlink() for each in (folder / "gt").iterdir()], "no masks"),
        (lambda folder: save_png(folder / "plate.png", PLATE[:-1]), "64x47"),
        (lambda folder: [save_png(each, PLATE * 0) for each in (folder / "gt").iterdir()], "255"),
        (lambda folder: (folder / "plate.png").unlink(), "plate"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_one_sentence(clip: Path, damage, problem: str) -> None:
    damage(clip)
    with pytest.raises(MaskdepthError, match=problem):
        evaluate_clips(Fake(is_bright), [clip])

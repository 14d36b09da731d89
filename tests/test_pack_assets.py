"""Packing pictures for a training on another machine."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools/pack_assets.py"
RANDOM = np.random.default_rng(5)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A cutout, a photo of 900 x 600 with its licence, and a panorama."""
    for name, size in (("cutouts/cat.png", (60, 80, 4)), ("photos/park.png", (600, 900, 3)),
                       ("panoramas/hall.jpg", (300, 600, 3))):  # fmt: skip
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True)
        levels = cv2.GaussianBlur(RANDOM.integers(0, 256, size, np.uint8), (0, 0), 9)
        assert cv2.imwrite(str(path), levels)
    (tmp_path / "data/photos/licences.csv").write_text("file,licence\npark.png,CC0\n")
    return tmp_path / "data"


def pack(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, TOOL, *arguments]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def test_pictures_are_shrunk_and_cutouts_keep_their_size_and_alpha(data: Path) -> None:
    output = data.parent / "packed"
    assert pack(data, output, "--mib", 1).returncode == 0
    photo = cv2.imread(str(output / "backgrounds/photos/park.jpg"))
    assert photo is not None
    assert photo.shape == (480, 720, 3)
    panorama = cv2.imread(str(output / "backgrounds/panoramas/hall.jpg"))
    assert panorama is not None
    assert panorama.shape == (300, 600, 3)
    cutout = cv2.imread(str(output / "cutouts/cat.webp"), cv2.IMREAD_UNCHANGED)
    original = cv2.imread(str(data / "cutouts/cat.png"), cv2.IMREAD_UNCHANGED)
    assert cutout is not None
    assert original is not None
    assert np.array_equal(cutout[..., 3], original[..., 3])
    with (output / "backgrounds/photos/licences.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["file", "licence"], ["park.jpg", "CC0"]]


def test_pictures_that_do_not_fit_leave_nothing_behind(data: Path) -> None:
    result = pack(data, data.parent / "packed", "--mib", 0.001)
    assert result.returncode == 1
    assert "need more than 0.001 MiB" in result.stderr
    assert list(data.parent.iterdir()) == [data]


def test_an_existing_folder_and_one_without_pictures_are_errors(data: Path) -> None:
    assert "is there already" in pack(data, data).stderr
    assert "lacks cutouts" in pack(data / "photos", data.parent / "packed").stderr

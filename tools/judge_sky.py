"""Judge how near a model puts the sky, alone and with a plate: ``judge_sky.py MODEL DATA``.

Sky is far: its disparity should be 0, and a plate should not bring it nearer. ``sky_photos.txt``
lists photos whose upper rows are sky, with the first digits of their SHA-256, below the folder
DATA. The list was made by eye before anything was trained to be judged by it, and stays as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.images import load_picture, resize
from maskdepth.inference.predictor import Predictor

LIST: Final = Path(__file__).with_name("sky_photos.txt")
ROWS: Final = 0.15  # share of a photo's rows, from the top, that are sky
LONG_SIDE: Final = 640  # px, to which photos are reduced, for speed


def listed_photos() -> list[tuple[str, str]]:
    """The first digits of the checksum and the path of each photo."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [(digits, name) for digits, _, name in (line.partition(" ") for line in lines)]


def judge_photo(predictor: Predictor, photo: NDArray[np.uint8]) -> dict[str, float]:
    """Mean disparity of the sky of the photo alone, and with itself as its plate."""
    height, width = photo.shape[:2]
    factor = min(1.0, LONG_SIDE / max(height, width))
    photo = resize(photo, round(factor * height), round(factor * width))
    sky = slice(round(ROWS * len(photo)))
    alone = float(predictor.predict(photo).disparity[sky].mean())
    with_plate = float(predictor.predict(photo, photo).disparity[sky].mean())
    return {"alone": alone, "with_plate": with_plate, "difference": with_plate - alone}


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def judge_sky(predictor: Predictor, data: Path) -> dict[str, Any]:
    """Means over all photos and over each folder, and the five photos that lose most by a plate."""
    figures = {}
    for digits, name in listed_photos():
        content = (data / name).read_bytes()
        if not hashlib.sha256(content).hexdigest().startswith(digits):
            raise SystemExit(f"{data / name} is another picture than the one that was listed.")
        figures[name] = judge_photo(predictor, load_picture(content))
    folders = sorted({name.partition("/")[0] for name in figures})
    worst = sorted(figures, key=lambda name: -figures[name]["difference"])[:5]
    return {
        "count": len(figures),
        "mean": mean(list(figures.values())),
        "folders": {
            folder: mean([row for name, row in figures.items() if name.startswith(f"{folder}/")])
            for folder in folders
        },
        "worst": {name: figures[name] for name in worst},
    }


def main() -> int:
    """Print the figures as JSON; the return value is the exit code."""
    parser = argparse.ArgumentParser(description="Judge how near a model puts the sky.")
    parser.add_argument("model", help="model folder, or shipped")
    parser.add_argument("data", type=Path, help="folder that the list's paths are in")
    given = parser.parse_args()
    print(json.dumps(judge_sky(Predictor.from_pretrained(given.model), given.data), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Draw docs/images/worlds.jpg: scenes of every family with their depth beside them.

Run it from the repository after a change of the worlds: ``python tools/make_sheets.py``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.synthesis.worlds import SCENES, render_scene

SCENES_A_ROW = 4
SIZE = (108, 144)  # height, width
FIRST_SEED = 60
QUALITY = 70


def render_pair(family: str, seed: int) -> NDArray[np.uint8]:
    """A scene and its inverse depth, near = bright, side by side: RGB (H, 2 W, 3)."""
    scene = render_scene(family, seed, 2 * SIZE[0], 2 * SIZE[1])
    inverse = 1.0 / scene.depth_m
    near = np.clip(inverse / np.quantile(inverse, 0.99), 0.0, 1.0)
    shown = cv2.applyColorMap(np.asarray(near * 255, np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    pair = np.hstack([scene.image, shown])
    small = cv2.resize(pair, (2 * SIZE[1], SIZE[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def render_sheet() -> NDArray[np.uint8]:
    """One row a family, its name written on the first picture."""
    rows = []
    for family in SCENES:
        pairs = [render_pair(family, FIRST_SEED + number) for number in range(SCENES_A_ROW)]
        row = np.ascontiguousarray(np.hstack(pairs))
        for thick, grey in ((3, 0.0), (1, 255.0)):
            place = (4, SIZE[0] - 6)
            cv2.putText(row, family, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (grey,) * 3, thick)
        rows.append(row)
    return np.vstack(rows)


if __name__ == "__main__":
    path = Path(__file__).parents[1] / "docs" / "images" / "worlds.jpg"
    cv2.imwrite(str(path), render_sheet()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    print(path, path.stat().st_size, "bytes")

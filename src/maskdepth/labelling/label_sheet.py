"""A contact sheet of labels: picture and disparity side by side, with what was flagged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import colourise, decode_disparity
from maskdepth.images import grid, load_grey16, load_picture, resize, resize_disparity, save_jpeg
from maskdepth.labelling.labels import LabelResult

_MOST: Final = 36
_COLUMNS: Final = 3
_HEIGHT, _WIDTH, _CAPTION = 120, 160, 18  # px, of a panel and of the line under two


def save_label_sheet(results: Sequence[LabelResult], path: Path) -> Path | None:
    """Save a sheet of up to 36 labels, the flagged ones first, the others evenly spread.

    Returns:
        The path; None where there is no label to show.

    Raises:
        StorageError: it cannot be written.
    """
    made = [result for result in results if result.record is not None]
    flagged = [result for result in made if result.flags][:_MOST]
    others = [result for result in made if not result.flags]
    room = min(_MOST - len(flagged), len(others))
    shown = flagged + [others[number * len(others) // room] for number in range(room)]
    if not shown:
        return None
    save_jpeg(path, grid([_cell(result) for result in shown], _COLUMNS))
    return path


def _cell(result: LabelResult) -> NDArray[np.uint8]:
    """Picture and label, with a line under them."""
    picture = resize(load_picture(result.job.picture), _HEIGHT, _WIDTH)
    disparity = decode_disparity(load_grey16(result.job.label))
    colours = colourise(resize_disparity(disparity, _HEIGHT, _WIDTH))
    line = np.full((_CAPTION, 2 * _WIDTH, 3), 255, np.uint8)
    text = f"{Path(result.job.name).stem[:24]}  {', '.join(result.flags)}"
    # OpenCV's letters are ASCII.
    text = text.encode("ascii", "replace").decode()
    colour = (200, 0, 0) if result.flags else (60, 60, 60)
    cv2.putText(line, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)
    return np.vstack([np.hstack([picture, colours]), line])

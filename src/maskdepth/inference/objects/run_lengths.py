"""Masks as COCO's compressed run lengths, which pycocotools and most annotation tools read.

The pixels of a mask are taken column by column, and the lengths of the runs of background and
foreground alternate, background first. Each length but the first three is written as its difference
from the length two before it, in groups of five bits, lowest first: bit 5 says that another group
follows, 48 is added, and the sum is an ASCII character (``rleToString`` of cocodataset/cocoapi,
common/maskApi.c).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.records import Json

__all__ = ["encode_mask"]

_GROUP_BITS: Final = 5
_MORE: Final = 1 << _GROUP_BITS
_SIGN: Final = 1 << (_GROUP_BITS - 1)
_FIRST_CHARACTER: Final = 48


def encode_mask(mask: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, int]) -> Json:
    """A mask as COCO's record: ``{"size": [height, width], "counts": "..."}``.

    Args:
        mask: bool (h, w), a part of a picture.
        corner: column and row of its upper left pixel in the picture.
        size: height and width of the picture, which has no foreground beside the part.
    """
    left, top = corner
    height, width = size
    columns = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)  # (w, 1 + h + 1)
    columns[:, 1:-1] = mask.T
    steps = np.diff(columns, axis=1)
    first_column, first_row = np.nonzero(steps == 1)
    _, last_row = np.nonzero(steps == -1)
    offsets = (left + first_column) * height + top
    starts, ends = offsets + first_row, offsets + last_row
    # A run that reaches the last row goes on in the first row of the next column.
    apart = np.concatenate([[True], starts[1:] != ends[:-1]])[: len(starts)]
    starts, ends = starts[apart], ends[np.roll(apart, -1)]
    bounds = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(np.concatenate([[0], bounds, [height * width]]))
    if counts[-1] == 0:
        counts = counts[:-1]
    return {"size": [height, width], "counts": _to_text(counts.tolist())}


def _to_text(counts: list[int]) -> str:
    characters = bytearray()
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            group = rest & (_MORE - 1)
            rest >>= _GROUP_BITS
            more = rest != (-1 if group & _SIGN else 0)
            characters.append((group | _MORE if more else group) + _FIRST_CHARACTER)
    return characters.decode("ascii")

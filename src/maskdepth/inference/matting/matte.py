"""Alpha of one picture: the network's, from closer where that shows more, and refined."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from maskdepth.images import resize, resize_mask, shrink
from maskdepth.inference.matting.close_up import find_close_up, loses_foreground
from maskdepth.inference.matting.refinement import (
    MeasuredOutline,
    measure_outline,
    refine_alpha,
)
from maskdepth.inference.matting.uncovered import judge_uncovered
from maskdepth.inference.model.backend import Backend, run_network
from maskdepth.inference.plate.prepared import (
    Floats,
    Mask,
    Picture,
    PreparedPlate,
    RegisteredPlate,
)

__all__ = ["Matte", "NetworkRun"]

Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class NetworkRun:
    """One run of the network at its input size (h, w): what it read, and what it answered."""

    picture: Picture  # (h, w, 3)
    plate: Picture | None  # (h, w, 3)
    alpha: Floats  # (h, w)
    disparity: Floats  # (h, w)
    outline: MeasuredOutline | None = None  # of this alpha; None before it is measured

    @classmethod
    def make(
        cls,
        backend: Backend,
        picture: Picture,
        plate: Picture | None = None,
        disparity: Floats | None = None,
        covered: Mask | None = None,
    ) -> NetworkRun:
        """Run the network on a picture, or on a part of one, at its input size.

        Args:
            covered: of any size, where the plate shows what its camera saw.
        """
        alpha, answer = run_network(backend, picture, plate, disparity)
        if plate is not None and covered is not None:
            small_covered = resize_mask(covered, *alpha.shape)
            alpha = judge_uncovered(alpha, picture, plate, small_covered)
        return cls(picture, plate, alpha, answer)

    @classmethod
    def of_plate(cls, plate: PreparedPlate) -> NetworkRun:
        """What the network would answer to a picture of the plate alone."""
        nothing = np.zeros(plate.small_picture.shape[:2], np.float32)
        disparity = nothing if plate.small_disparity is None else plate.small_disparity
        return cls(plate.small_picture, plate.small_picture, nothing, disparity)


@dataclass(frozen=True)
class Matte:
    """How alpha is predicted.

    Attributes:
        backend: runs the network.
        refine, close_up: see `maskdepth.Predictor`.
    """

    backend: Backend
    refine: bool
    close_up: bool

    def predict(
        self, picture: Picture, small_picture: Picture, plate: RegisteredPlate | None
    ) -> tuple[Floats, NetworkRun]:
        """Alpha (H, W) of a picture, and the network's run on the picture as a whole."""
        size = picture.shape[:2]
        if plate is None:
            run = NetworkRun.make(self.backend, small_picture)
            return _clipped(resize(run.alpha, *size)), run
        run = NetworkRun.make(
            self.backend, small_picture, plate.small_picture, plate.small_disparity, plate.covered
        )
        close_up = self._run_close_up(run, picture, plate) if self.close_up else None
        if close_up is None:
            return _clipped(self._refine_run(run, picture, plate.picture)), run
        close_up_run, window = close_up
        close_alpha = self._refine_run(close_up_run, picture[window], plate.picture[window])
        alpha = np.zeros(size, np.float32)
        np.clip(close_alpha, 0, 1, out=alpha[window])
        return alpha, run

    def _run_close_up(
        self, run: NetworkRun, picture: Picture, plate: RegisteredPlate
    ) -> tuple[NetworkRun, Window] | None:
        """A second run on the part of the picture that holds the foreground, and that part.

        None where a close-up would enlarge too little, or loses foreground.
        """
        window = find_close_up(run.alpha, picture.shape[:2])
        if window is None:
            return None
        size = run.alpha.shape
        small_picture, small_plate = (
            shrink(each[window], *size) for each in (picture, plate.picture)
        )
        covered = None if plate.covered is None else plate.covered[window]
        disparity = plate.disparity_in(window, size)
        close_up = NetworkRun.make(self.backend, small_picture, small_plate, disparity, covered)
        outline = measure_outline(small_picture, small_plate, close_up.alpha)
        if outline is None or loses_foreground(outline.evidence):
            return None
        return replace(close_up, outline=outline), window

    def _refine_run(self, run: NetworkRun, picture: Picture, plate: Picture) -> Floats:
        """Alpha (H, W) of a run, refined at its picture's size."""
        size = picture.shape[:2]
        if run.plate is None or not self.refine:
            return resize(run.alpha, *size)
        small_picture, small_plate, outline = run.picture, run.plate, run.outline
        # The input may be an enlarged picture. Outlines are measured in the picture's own pixels.
        height, width = (min(pair) for pair in zip(size, run.alpha.shape, strict=True))
        if run.alpha.shape != (height, width):
            small_picture, small_plate = (resize(each, height, width) for each in (picture, plate))
            outline = None
        alpha = resize(run.alpha, height, width)
        if outline is None:
            outline = measure_outline(small_picture, small_plate, alpha)
        return refine_alpha(picture, plate, alpha, outline)


def _clipped(alpha: Floats) -> Floats:
    """Alpha in [0, 1], in place: resizing rounds."""
    return np.clip(alpha, 0, 1, out=alpha)

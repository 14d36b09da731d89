"""A plate made ready for pictures of one size, and that plate as one picture shows it.

Much of the work on a plate does not depend on the picture: the plate is resized, its corners are
found, its profile's depth is resized. `PreparedPlate` holds the results, so that a camera's plate
is worked on once. `RegisteredPlate` holds what has to be done for each picture: the plate is moved
and relit to match it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize, resize_disparity, shrink, to_grey
from maskdepth.inference.plate.colour import is_grey, lend_colour
from maskdepth.inference.plate.empty import shows_plate_alone
from maskdepth.inference.plate.profile import PlateProfile
from maskdepth.inference.plate.registration import PlateFeatures, Registration, register_plate

__all__ = ["PreparedPlate", "RegisteredPlate", "shrink_disparity"]

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PreparedPlate:
    """A plate made ready for pictures of one size. `Predictor.prepare` makes it.

    Attributes:
        picture: uint8 (H, W, 3) RGB, of the pictures' size.
        small_picture: uint8 (h, w, 3) RGB, of the network's input size.
        disparity: float32 in [0, 1], near = 1, NaN where invalid. (H, W) where the plate came with
            it; (h, w) where it is ``estimated``; None of a model that never learned depth.
        estimated: whether the model itself estimated the disparity, from the plate alone.
        profile: the plate profile at the pictures' size; None where the plate is a picture alone.
        file, disparity_file: the files that the plate and its disparity were read from, if any.
    """

    picture: Picture
    small_picture: Picture
    disparity: Floats | None = None
    estimated: bool = False
    profile: PlateProfile | None = None
    file: Path | None = None
    disparity_file: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures that the plate is for."""
        return self.picture.shape[0], self.picture.shape[1]

    @cached_property
    def features(self) -> PlateFeatures:
        """What registration reads from the plate."""
        return PlateFeatures.measure(self.small_picture)

    @cached_property
    def small_disparity(self) -> Floats | None:
        """float32 (h, w) in [0, 1]: the disparity at the network's input size, which it reads."""
        return shrink_disparity(self.disparity, self.small_picture.shape[:2])

    @cached_property
    def full_disparity(self) -> Floats | None:
        """float32 (H, W) in [0, 1], NaN where invalid: the disparity at the pictures' size."""
        return _at_size(self.disparity, self.size, estimated=self.estimated)

    def with_estimate(self, disparity: Floats) -> PreparedPlate:
        """The plate with the model's disparity of it, of any size, at the network's input size."""
        small = resize(disparity, *self.small_picture.shape[:2])
        return replace(self, disparity=small, estimated=True)

    @cached_property
    def is_grey(self) -> bool:
        """Whether the plate has no colour anywhere."""
        return is_grey(self.small_picture)

    @cached_property
    def in_grey(self) -> PreparedPlate:
        """The plate for pictures that have no colour."""
        grey, small_grey = to_grey(self.picture), to_grey(self.small_picture)
        return replace(self, picture=grey, small_picture=small_grey)

    def register(self, small_picture: Picture) -> RegisteredPlate:
        """The plate moved and relit to match a picture.

        Args:
            small_picture: the picture, uint8 (h, w, 3) RGB, at the network's input size.
        """
        registration = register_plate(small_picture, self.features)
        picture = registration.apply(self.picture)
        small_size = self.small_picture.shape[:2]
        small = shrink(picture, *small_size) if registration.changes else self.small_picture
        if registration.matrix is None:
            return replace(
                self.unregistered(), picture=picture, small_picture=small, registration=registration
            )
        profile = None if self.profile is None else self.profile.moved(registration, picture)
        disparity = self.disparity
        if disparity is not None:
            disparity = registration.move_map(disparity, extend=True, smooth=self.estimated)
        small_disparity = shrink_disparity(disparity, small_size)
        covered = registration.covered(self.size)
        return RegisteredPlate(
            picture,
            small,
            disparity,
            small_disparity,
            self.estimated,
            profile,
            registration,
            covered,
        )

    def is_alone_in(self, small_picture: Picture) -> bool:
        """Whether a picture (h, w, 3) shows the plate and nothing else."""
        return shows_plate_alone(small_picture, self.small_picture)

    def still(self, register: bool) -> RegisteredPlate:
        """The plate as it is; where it may be moved and relit, it is found to need neither."""
        if not register:
            return self.unregistered()
        corners = self.features.texture.corners
        count, size = 0 if corners is None else len(corners), self.small_picture.shape
        found = Registration(None, None, count, count, (size[0], size[1]))
        return replace(self.unregistered(), registration=found)

    def unregistered(self) -> RegisteredPlate:
        """The plate as it is, for a camera that stands still under steady light."""
        return RegisteredPlate(
            self.picture,
            self.small_picture,
            self.disparity,
            self.small_disparity,
            self.estimated,
            self.profile,
            registration=None,
            unmoved=self,
        )


@dataclass(frozen=True, eq=False)
class RegisteredPlate:
    """A plate as one picture shows it.

    Attributes:
        registration: how the plate was moved and relit; None where registration is switched off.
        covered: bool (H, W), where the moved plate shows what its camera saw: beyond its edges its
            outermost pixels and their disparity repeat, and its profile is invalid. None for
            everywhere.
        compared_in_grey: whether only one of plate and picture has colour.
        unmoved: the prepared plate, where it was not moved.

    All others are as in `PreparedPlate`, moved and relit.
    """

    picture: Picture
    small_picture: Picture
    disparity: Floats | None
    small_disparity: Floats | None
    estimated: bool
    profile: PlateProfile | None
    registration: Registration | None
    covered: Mask | None = None
    compared_in_grey: bool = False
    unmoved: PreparedPlate | None = None

    def coloured_like(self, picture: Picture) -> RegisteredPlate:
        """A grey plate with the colour of the picture (H, W, 3) that it is compared with."""
        coloured = lend_colour(self.picture, picture)
        small = shrink(coloured, *self.small_picture.shape[:2])
        return replace(self, picture=coloured, small_picture=small)

    def disparity_in(self, window: tuple[slice, slice], size: tuple[int, ...]) -> Floats | None:
        """float32 (h, w) in [0, 1], of ``size``: the disparity in a part of the pictures."""
        if self.disparity is None:
            return None
        scale = self.disparity.shape[0] / self.picture.shape[0]
        rows, columns = (
            slice(
                int(part.start * scale), max(int(part.start * scale) + 1, round(part.stop * scale))
            )
            for part in window
        )
        part = self.disparity[rows, columns]
        return (
            np.clip(resize(part, *size), 0, 1) if self.estimated else shrink_disparity(part, size)
        )

    def picture_or(self, picture: Picture) -> Picture:
        """The plate (H, W, 3), and ``picture`` where the plate's camera never saw."""
        if self.covered is None:
            return self.picture
        visible = self.picture.copy()
        cv2.copyTo(picture, (~self.covered).view(np.uint8), visible)
        return visible

    @property
    def shows_another_scene(self) -> bool:
        """Whether the picture shows another scene than the plate."""
        return self.registration is not None and self.registration.another_scene

    def small_disparity_or_nan(self) -> Floats | None:
        """float32 (h, w) in [0, 1], NaN where invalid: a copy at the network's input size."""
        if self.disparity is None:
            return None
        return resize_disparity(self.disparity, *self.small_picture.shape[:2]).copy()

    def full_disparity(self) -> Floats | None:
        """float32 (H, W) in [0, 1], NaN where invalid: a copy at the pictures' size."""
        if self.unmoved is not None:
            full = self.unmoved.full_disparity
        else:
            full = _at_size(self.disparity, self.picture.shape, estimated=self.estimated)
        return None if full is None else full.copy()


def _at_size(disparity: Floats | None, size: tuple[int, ...], *, estimated: bool) -> Floats | None:
    """A plate's disparity in [0, 1]; one that is estimated has to be enlarged to (H, W) first."""
    if disparity is None:
        return None
    return np.clip(resize(disparity, *size[:2]) if estimated else disparity, 0, 1)


def shrink_disparity(disparity: Floats | None, size: tuple[int, ...]) -> Floats | None:
    """A plate's disparity as the network reads it: of size (h, w), in [0, 1], 0 where invalid."""
    if disparity is None:
        return None
    return np.nan_to_num(np.clip(resize_disparity(disparity, *size), 0, 1), nan=0.0)

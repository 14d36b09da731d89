"""A plate made ready for pictures of one size, and that plate as one picture shows it.

Much of the work on a plate does not depend on the picture: resizing, finding its corners, the depth
of its profile at the picture's size. `PreparedPlate` holds that work, so that a camera's plate
costs it once. `RegisteredPlate` is what is left for each picture: the plate moved and lit like it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskdepth.images import resize, resize_disparity
from maskdepth.inference.plate.profile import PlateProfile
from maskdepth.inference.plate.registration import PlateFeatures, Registration, register_plate

__all__ = ["PreparedPlate", "RegisteredPlate"]

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PreparedPlate:
    """All that depends on a plate alone, at one picture size. `Predictor.prepare` makes it.

    Attributes:
        picture: uint8 (H, W, 3) RGB, of the pictures' size.
        small: uint8 (h, w, 3), of the network's input size.
        disparity: float32 (H, W) in [0, 1], near = 1: what the network reads; None without one.
        profile: the plate profile at the pictures' size; None where the plate is a mere picture.
        file, disparity_file: the files that the plate and its disparity were read from, if any.
    """

    picture: Picture
    small: Picture
    disparity: Floats | None = None
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
        return PlateFeatures.measure(self.small)

    @cached_property
    def small_disparity(self) -> Floats | None:
        """float32 (h, w): the disparity at the network's input size."""
        return _shrink_disparity(self.disparity, self.small)

    def register(self, small_picture: Picture) -> RegisteredPlate:
        """The plate as a picture shows it: moved by the camera, in the picture's light.

        Args:
            small_picture: uint8 (h, w, 3) RGB, of the network's input size.
        """
        registration = register_plate(small_picture, self.features)
        picture = registration.move_picture(self.picture)
        small = resize(picture, *self.small.shape[:2]) if registration.changes else self.small
        if registration.matrix is None:
            return RegisteredPlate(
                picture, small, self.disparity, self.small_disparity, self.profile, registration
            )
        profile = None if self.profile is None else self.profile.moved(registration, picture)
        if profile is not None:
            disparity: Floats | None = profile.proportional_disparity
        else:
            disparity = None if self.disparity is None else registration.move_map(self.disparity)
        small_disparity = _shrink_disparity(disparity, small)
        return RegisteredPlate(picture, small, disparity, small_disparity, profile, registration)

    def unregistered(self) -> RegisteredPlate:
        """The plate as it is, for a camera that stands still under steady light."""
        return RegisteredPlate(
            self.picture, self.small, self.disparity, self.small_disparity, self.profile, None
        )


@dataclass(frozen=True, eq=False)
class RegisteredPlate:
    """A plate as one picture shows it.

    Attributes:
        picture, small, disparity, small_disparity, profile: as in `PreparedPlate`, moved and lit.
        registration: how the plate came onto the picture; None where that was not tried.
    """

    picture: Picture
    small: Picture
    disparity: Floats | None
    small_disparity: Floats | None
    profile: PlateProfile | None
    registration: Registration | None


def _shrink_disparity(disparity: Floats | None, small: Picture) -> Floats | None:
    if disparity is None:
        return None
    return np.clip(resize_disparity(disparity, *small.shape[:2]), 0, 1)

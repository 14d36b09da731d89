"""Load a plate and its disparity, and check that they fit the pictures and the model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import decode_disparity, stretch_disparity
from maskdepth.errors import PictureError, UsageError
from maskdepth.images import (
    PictureSource,
    load_grey16,
    load_picture,
    resize,
    resize_disparity,
    shrink,
)
from maskdepth.inference.plate.prepared import Floats, Picture, PreparedPlate
from maskdepth.inference.plate.profile import PlateProfile, is_profile, load_profile

__all__ = [
    "DisparitySource",
    "PlateSource",
    "check_has_plate",
    "load_copy",
    "load_plate",
    "path_of",
    "prepare_plate",
]

PlateSource = PictureSource | PlateProfile | PreparedPlate
DisparitySource = str | os.PathLike[str] | NDArray[np.floating]

_ASPECT_TOLERANCE = 0.01


def prepare_plate(
    plate: PlateSource,
    size: tuple[int, int],
    input_size: tuple[int, int],
    disparity: DisparitySource | None,
) -> PreparedPlate:
    """Load a plate at the pictures' size and at the network's, or check one that is prepared.

    Arguments and errors are those of `Predictor.prepare`.
    """
    if isinstance(plate, PreparedPlate):
        _check_prepared(plate, size, input_size, disparity)
        return plate
    if is_profile(plate):
        plate = load_profile(cast(Path, plate))
    if isinstance(plate, PlateProfile):
        _check_profile_alone(disparity)
        _check_aspect(plate.disparity.shape, size, "plate profile")
        profile = plate.at_size(*size)
        return PreparedPlate(
            picture=profile.picture,
            small_picture=shrink(profile.picture, *input_size),
            disparity=profile.proportional_disparity,
            profile=profile,
            file=plate.file,
        )
    picture = load_copy(plate)
    _check_aspect(picture.shape, size, "plate")
    picture = resize(picture, *size)
    return PreparedPlate(
        picture=picture,
        small_picture=shrink(picture, *input_size),
        disparity=None if disparity is None else _load_disparity(disparity, size),
        file=path_of(plate),
        disparity_file=path_of(disparity),
    )


def load_plate(
    plate: PlateSource | None, disparity: DisparitySource | None
) -> tuple[PlateSource | None, DisparitySource | None]:
    """Check that a plate and its disparity can be read, before the first picture comes.

    Returns:
        Both. The path of a profile has become the profile. Other paths stay, for predictions name
        them. Arrays are copies, since their owner may reuse them.

    Raises:
        PictureError, PlateError, UsageError: as for `Predictor.prepare`, or there is a disparity
            without a plate.
    """
    check_has_plate(plate, disparity)
    if is_profile(plate):
        plate = load_profile(cast(Path, plate))
    if isinstance(plate, PlateProfile):
        _check_profile_alone(disparity)
    elif plate is not None and not isinstance(plate, PreparedPlate):
        pixels = load_copy(plate)
        if disparity is not None:
            _load_disparity(disparity, (pixels.shape[0], pixels.shape[1]))
        plate = plate if path_of(plate) else pixels
    return plate, disparity.copy() if isinstance(disparity, np.ndarray) else disparity


def load_copy(source: PictureSource) -> Picture:
    """Load a picture; an array is copied, since its owner may reuse it, as a camera loop does."""
    pixels = load_picture(source)
    return pixels.copy() if pixels is source else pixels


def path_of(source: object) -> Path | None:
    """The path of an input that is a file; None for any other."""
    return Path(source) if isinstance(source, (str, os.PathLike)) else None


def check_has_plate(plate: PlateSource | None, disparity: DisparitySource | None) -> None:
    """Check that a disparity comes with its plate.

    Raises:
        UsageError: there is no plate.
    """
    if plate is None and disparity is not None:
        raise UsageError(
            "a plate with its disparity",
            "no plate",
            "pass the plate as well",
            "A plate's disparity needs its plate.",
        )


def _check_profile_alone(disparity: DisparitySource | None) -> None:
    if disparity is not None:
        raise UsageError(
            "a plate profile alone",
            "a plate disparity too",
            "leave the disparity out",
            "A plate profile has its own disparity.",
        )


def _check_prepared(
    plate: PreparedPlate,
    size: tuple[int, int],
    input_size: tuple[int, int],
    disparity: DisparitySource | None,
) -> None:
    if disparity is not None:
        raise UsageError(
            "a prepared plate alone",
            "a plate disparity too",
            "pass the disparity to `prepare`",
            "A prepared plate has its disparity already.",
        )
    if plate.size != size or plate.small_picture.shape[:2] != input_size:
        given, wanted = ("{1}x{0}".format(*each) for each in (plate.size, size))
        raise UsageError(
            f"a plate prepared for {wanted} and this model",
            f"one prepared for {given}",
            "prepare it again with this predictor and size",
            f"The plate was prepared for pictures of {given}, this one is {wanted}."
            if given != wanted
            else "The plate was prepared for a model of another input size.",
        )


def _check_aspect(shape: tuple[int, ...], size: tuple[int, int], name: str) -> None:
    height, width = size
    rows, columns = shape[:2]
    if abs((columns * height) / (rows * width) - 1) > _ASPECT_TOLERANCE:
        raise PictureError(
            f"a {name} of the picture's aspect ratio, {width}x{height}",
            f"{columns}x{rows}",
            f"take the {name} with the same camera and framing, or leave it out",
            f"The {name} is {columns}x{rows}, which is another shape than the picture's "
            f"{width}x{height}.",
        )


def _load_disparity(source: DisparitySource, size: tuple[int, int]) -> Floats:
    """float32 (H, W) in [0,1] at the picture's size; NaN where invalid."""
    if not isinstance(source, np.ndarray):
        values = decode_disparity(load_grey16(source))
    else:
        if source.ndim != 2 or source.size == 0 or source.dtype.kind != "f":
            raise PictureError(
                "a plate disparity of floating (H, W) in [0,1]",
                f"{source.dtype} {source.shape}",
                "pass values in [0, 1], near = 1, or the path of a 16-bit PNG",
                f"The plate disparity is {source.dtype} of shape {source.shape}, not floating "
                "values of shape (H, W).",
            )
        # Beyond float32 is beyond [0, 1], as infinity is.
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.ma.filled(source, np.nan).astype(np.float32)
    _check_aspect(values.shape, size, "plate disparity")
    values = np.nan_to_num(values, nan=np.nan, posinf=1.0, neginf=0.0)
    return resize_disparity(stretch_disparity(values), *size)

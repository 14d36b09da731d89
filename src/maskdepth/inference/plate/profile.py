"""The plate profile: a plate with its depth, calibration and health, in one file.

A ``.plate`` file is a zip archive of three members: ``picture.png``; ``disparity.png`` (16-bit
codes of `maskdepth.depth.encode_disparity`) or, where depth was measured, ``depth.npy`` (float32
metres); and ``profile.json`` with versions, checksums, the calibration, the plate's health and the
depth's source.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskdepth._version import __version__
from maskdepth.camera import Camera
from maskdepth.depth import (
    decode_depth_npy,
    decode_disparity,
    depth_from_inverse_depth,
    disparity_from_depth,
    disparity_from_inverse_depth,
    encode_depth_npy,
    encode_disparity,
    inverse_depth,
    largest_inverse_depth,
    stretch_disparity,
)
from maskdepth.errors import PictureError, PlateError, UsageError, first_line
from maskdepth.files import explain_unopened, open_file, write_bytes
from maskdepth.images import (
    encode_png,
    load_grey16,
    load_picture,
    resize,
    resize_disparity,
)
from maskdepth.inference.plate.calibration import (
    FARTHEST_M,
    NEAREST_M,
    Calibration,
    KnownPoint,
    calibrate,
)
from maskdepth.inference.plate.health import PlateHealth, measure_health
from maskdepth.inference.plate.registration import Registration
from maskdepth.picture_decoding import MAX_PIXELS, source_name
from maskdepth.records import Json, check_version

PLATE_SUFFIX: Final = ".plate"
PROFILE_FORMAT: Final = "maskdepth-plate"
PROFILE_VERSION: Final = 1

_PICTURE: Final = "picture.png"
_DISPARITY: Final = "disparity.png"
_DEPTH: Final = "depth.npy"
_PROFILE: Final = "profile.json"
_REMAKE: Final = "make it again with `maskdepth plate`"
_MAX_JSON_BYTES: Final = 1 << 20
_HEADROOM_BYTES: Final = 1 << 16  # that a picture's file may have beside its samples
_TIME: Final = (1980, 1, 1, 0, 0, 0)  # of every member, so that the same profile is the same file


@dataclass(frozen=True, eq=False)
class PlateProfile:
    """A plate, its disparity, and metres where it is calibrated.

    Attributes:
        picture: uint8 (H, W, 3) RGB.
        disparity: float32 (H, W) in [0, 1], near = 1; NaN where invalid.
        depth_m: float32 (H, W), measured depth: infinity is sky, NaN invalid. None where only the
            disparity is known.
        calibration: from disparity to inverse depth; None where nothing is known in metres.
        source: where the depth comes from, as plain values.
        health: the plate's, measured when the profile was made; None in older files.
        file: the file that the profile was loaded from.
        camera: that took the plate; None where no focal length is given or recorded.
    """

    picture: NDArray[np.uint8]
    disparity: NDArray[np.float32]
    depth_m: NDArray[np.float32] | None = None
    calibration: Calibration | None = None
    source: Json = field(default_factory=dict)
    health: PlateHealth | None = None
    file: Path | None = None
    camera: Camera | None = None

    @cached_property
    def proportional_disparity(self) -> NDArray[np.float32]:
        """float32 (H, W) for the network: 0 is infinitely far and the nearest is 1, as in training.

        Without a calibration it is the disparity itself, whose shift nobody knows. Invalid pixels
        are 0, and a few wrong pixels do not decide what counts as the nearest.
        """
        if self.calibration is None:
            disparity = stretch_disparity(self.disparity)
        else:
            inverse = np.maximum(self.calibration.inverse_depth(self.disparity), 0)
            disparity = disparity_from_inverse_depth(inverse)
        return np.nan_to_num(disparity, nan=0.0)

    def at_size(self, height: int, width: int) -> PlateProfile:
        """The profile of a resized plate; the caller has checked that the aspect ratio is kept."""
        if self.disparity.shape == (height, width):
            return self
        depth_m, camera = self.depth_m, self.camera
        return replace(
            self,
            camera=camera and camera.scaled(self.disparity.shape, (height, width)),
            picture=resize(self.picture, height, width),
            disparity=resize_disparity(self.disparity, height, width),
            depth_m=None if depth_m is None else resize_disparity(depth_m, height, width),
        )

    def moved(self, registration: Registration, picture: NDArray[np.uint8]) -> PlateProfile:
        """The profile as if its plate had been taken with another picture's camera position.

        Args:
            registration: how the plate comes onto that picture.
            picture: the plate, moved already.
        """
        depth_m = self.depth_m
        return replace(
            self,
            picture=picture,
            disparity=registration.move_map(self.disparity),
            depth_m=None if depth_m is None else registration.move_map(depth_m),
        )

    @cached_property
    def alignment_target(self) -> NDArray[np.float64]:
        """(H, W): inverse depth in 1/metres where the plate is calibrated, else its disparity.

        Predictions are brought into these units; NaN is invalid.
        """
        if self.calibration is None:
            return np.asarray(self.disparity, np.float64)
        return self.calibration.inverse_depth(self.disparity)

    @cached_property
    def best_depth_m(self) -> NDArray[np.float32] | None:
        """float32 (H, W) metres: measured, or by the calibration; None without either.

        Infinity where the calibrated inverse depth is zero or less, NaN where invalid.
        """
        if self.depth_m is not None:
            return self.depth_m
        if self.calibration is None:
            return None
        return depth_from_inverse_depth(self.alignment_target)


def profile_from_disparity(
    picture: NDArray[np.uint8],
    disparity: NDArray[np.float32],
    points: Sequence[KnownPoint] = (),
    source: Json | None = None,
    camera: Camera | None = None,
) -> PlateProfile:
    """A profile whose metres, if any, come from points of known distance.

    Args:
        picture: uint8 (H, W, 3) RGB.
        disparity: float32 (H, W) in [0, 1], near = 1, NaN where invalid.
        points: see ``calibrate``; none leaves the profile without metres.
        source: where the disparity is from, as plain values.
        camera: that took the picture, if its focal length is known.

    Raises:
        PlateError: another size, nothing valid, or points that do not calibrate.
    """
    _check_map(picture, disparity, "disparity")
    # As a file will hold it, so that a profile is the same before and after it is saved.
    stored = decode_disparity(encode_disparity(disparity))
    calibration = calibrate(stored, points) if points else None
    profile = PlateProfile(picture, stored, None, calibration, source or {}, camera=camera)
    return _with_health(profile)


def profile_from_depth(
    picture: NDArray[np.uint8],
    depth_m: NDArray[np.float32],
    source: Json | None = None,
    camera: Camera | None = None,
) -> PlateProfile:
    """A profile of a plate whose depth was measured by a sensor, or is exact.

    Args:
        picture: uint8 (H, W, 3) RGB.
        depth_m: float32 (H, W); infinity is sky; NaN, zero and negative are invalid.
        camera: as in `profile_from_disparity`.

    Raises:
        PlateError: another size, or nothing valid that is not sky.
    """
    return _with_health(replace(_measured(picture, depth_m, source or {}), camera=camera))


def _measured(
    picture: NDArray[np.uint8], depth_m: NDArray[np.float32], source: Json
) -> PlateProfile:
    measured = np.where(depth_m > 0, depth_m, np.float32(np.nan)).astype(np.float32)
    _check_map(picture, np.where(np.isinf(measured), np.nan, measured), "depth")
    nearest = largest_inverse_depth(inverse_depth(measured))
    calibration = Calibration(nearest, 0.0, "measured")
    return PlateProfile(picture, disparity_from_depth(measured), measured, calibration, source)


def _with_health(profile: PlateProfile) -> PlateProfile:
    health = measure_health(profile.picture, profile.disparity, profile.best_depth_m)
    return replace(profile, health=health)


def save_profile(path: str | os.PathLike[str], profile: PlateProfile) -> None:
    """Write a ``.plate`` file, atomically; the same profile gives the same bytes.

    Raises:
        UsageError: another suffix.
        StorageError: it cannot be written.
    """
    check_profile_path(path)
    members = {_PICTURE: encode_png(profile.picture)}
    if profile.depth_m is None:
        members[_DISPARITY] = encode_png(encode_disparity(profile.disparity))
    else:
        members[_DEPTH] = encode_depth_npy(profile.depth_m)
    height, width = profile.disparity.shape
    record = {
        "format": PROFILE_FORMAT,
        "version": PROFILE_VERSION,
        "maskdepth": __version__,
        "width": width,
        "height": height,
        "source": profile.source,
        "calibration": profile.calibration and profile.calibration.as_json(),
        "health": profile.health and profile.health.as_json(),
        "camera": profile.camera and profile.camera.as_json(),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    members[_PROFILE] = (json.dumps(record, indent=2, allow_nan=False) + "\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name, _TIME)
            packed = name != _PICTURE  # a PNG is packed already; codes of noise are as well
            entry.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            archive.writestr(entry, data)
    write_bytes(path, buffer.getvalue())


def load_profile(
    source: str | os.PathLike[str] | bytes, max_pixels: int = MAX_PIXELS
) -> PlateProfile:
    """Read a ``.plate`` file, or its bytes, and check all of it.

    Raises:
        PlateError: not there, damaged, changed, of another version, or of more pixels.
    """
    name = source_name(source)
    with (
        _readable(name),
        io.BytesIO(source) if isinstance(source, bytes) else open_file(source) as file,
        zipfile.ZipFile(file) as archive,
    ):
        record = _parse_record(_member(archive, _PROFILE, _MAX_JSON_BYTES), name, max_pixels)
        height, width = record["height"], record["width"]
        max_bytes = 8 * height * width + _HEADROOM_BYTES
        members = {
            member: _member(archive, member, max_bytes)
            for member in (_PICTURE, _DISPARITY, _DEPTH)
            if member in record["sha256"]
        }
    for member, data in members.items():
        if hashlib.sha256(data).hexdigest() != record["sha256"][member]:
            raise PlateError(
                f"{member} as {name} recorded it",
                "a changed one",
                _REMAKE,
                f"{member} in {name} has been changed since it was written.",
            )
    with _readable(name):
        picture = load_picture(members[_PICTURE])
        if _DEPTH in members:
            measured = decode_depth_npy(members[_DEPTH], _DEPTH)
            profile = _measured(picture, measured, record["source"])
        else:
            disparity = decode_disparity(load_grey16(members[_DISPARITY]))
            _check_map(picture, disparity, "disparity")
            calibration = _parse_calibration(record["calibration"], disparity)
            profile = PlateProfile(picture, disparity, None, calibration, record["source"])
        health, camera = record.get("health"), record.get("camera")  # older files lack them
        profile = replace(
            profile,
            health=health and PlateHealth.parse(health),
            camera=camera and Camera.parse(camera),
        )
    if picture.shape[:2] != (height, width):
        raise PlateError(f"members of {width}x{height} px in {name}", "others", _REMAKE)
    return profile if isinstance(source, bytes) else replace(profile, file=Path(source))


def is_profile(source: object) -> bool:
    """Whether what a user names is a ``.plate`` file, by its suffix."""
    return isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() == PLATE_SUFFIX


def check_profile_path(path: str | os.PathLike[str]) -> None:
    """Raises UsageError unless the name is one that a profile can be written to and found by."""
    if not is_profile(path):
        raise UsageError(
            f"an output file that ends in {PLATE_SUFFIX}", os.fspath(path), "call it scene.plate"
        )


def _check_map(picture: NDArray[np.uint8], values: NDArray[np.float32], what: str) -> None:
    height, width = picture.shape[:2]
    if values.shape != (height, width):
        raise PlateError(
            f"{what} of the plate's size {width}x{height}",
            "x".join(map(str, values.shape[::-1])),
            f"align the {what} with the plate first",
        )
    if not np.isfinite(values).any():
        raise PlateError(f"a valid pixel in the plate's {what}", "none", "check the file")


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn whatever a damaged file makes the readers raise into one error."""
    try:
        yield
    except OSError as error:
        problem, remedy = explain_unopened(name, error)
        raise PlateError(
            f"a readable plate profile at {name}", first_line(error), remedy, problem
        ) from None
    except (
        zipfile.BadZipFile, zlib.error, PictureError, ValueError, KeyError, TypeError,
        NotImplementedError, RuntimeError, EOFError, OverflowError,
    ) as error:  # fmt: skip
        reason = error.got if isinstance(error, PictureError) else first_line(error)
        raise PlateError(
            f"a complete plate profile at {name}",
            reason,
            _REMAKE,
            f"{name} is no complete plate profile: {reason}.",
        ) from None


def _member(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    """A member's bytes, if they are few enough: a small archive may hold any number.

    The archive's own figure is not trusted, and of its codings only those that unpack by and by
    are read.
    """
    entry = archive.getinfo(name)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed in another way")
    if entry.file_size > max_bytes:
        raise ValueError(f"{name} of {entry.file_size} bytes")
    with archive.open(entry) as file:
        return file.read(max_bytes)


def _parse_record(data: bytes, name: str, max_pixels: int) -> Json:
    """``profile.json``, checked as far as reading the other members needs."""
    record = json.loads(data)
    if not isinstance(record, dict) or record.get("format") != PROFILE_FORMAT:
        raise ValueError(f"another format in {_PROFILE}")
    check_version(record, PROFILE_VERSION, "a plate profile", name, PlateError)
    height, width = record["height"], record["width"]
    consistent = (
        all(type(side) is int and side > 0 for side in (height, width))
        and height * width <= min(max_pixels, MAX_PIXELS)
        and isinstance(record["source"], dict)
        and isinstance(record["sha256"], dict)
        and set(record["sha256"]) in ({_PICTURE, _DISPARITY}, {_PICTURE, _DEPTH})
        and (record["calibration"] is not None or _DEPTH not in record["sha256"])
    )
    if not consistent:
        raise ValueError(f"a {_PROFILE} that does not fit together")
    return record


def _parse_calibration(values: Json | None, disparity: NDArray[np.float32]) -> Calibration | None:
    if values is None:
        return None
    calibration = Calibration.parse(values)
    nearest = float(np.nanmax(calibration.inverse_depth(disparity)))
    if not 1 / FARTHEST_M <= nearest <= 1 / NEAREST_M:
        raise ValueError(f"a calibration by which the nearest pixel is at {nearest:.3g} 1/m")
    return calibration

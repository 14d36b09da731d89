"""What a prediction holds, what can be made of it, and the files it is saved as."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth._version import __version__
from maskdepth.depth import colourise, encode_depth_mm, encode_depth_npy, encode_disparity
from maskdepth.errors import UsageError
from maskdepth.files import make_folder, open_atomic
from maskdepth.images import (
    bands,
    encode_jpeg,
    encode_png,
    resize,
    resize_cutout,
    resize_disparity,
)
from maskdepth.inference.model.folder import ModelCard
from maskdepth.inference.plate.alignment import Alignment
from maskdepth.inference.plate.calibration import Calibration
from maskdepth.inference.plate.registration import Registration
from maskdepth.records import (
    check_not_inputs,
    check_ownership,
    file_identities,
    load_record,
)

FILE_ENDINGS = {
    "alpha": "_alpha.png",
    "disparity": "_disparity.png",
    "depth": "_depth.png",
    "cutout": "_cutout.png",
    "preview": "_preview.jpg",
    "json": ".json",
}
"""The files of a prediction: what follows the stem, by format."""

RECORD_FORMAT = "maskdepth-prediction"
"""What the JSON of a prediction calls itself."""

NO_DEPTH = "none"
"""A card's ``depth`` when the network never learned any."""

_DEPTH_CODINGS = {
    "png": "16 bit: 0 invalid, else millimetres",
    "npy": "float32: metres, NaN invalid, infinity sky or too far to tell",
}
_NEAREST_PERCENT = 2
# Below this alpha the foreground's colour is a small difference divided by a small number.
_MIN_ALPHA = 0.05
_PANEL_SIDE = 640
_PREVIEW_QUALITY = 90
_CHECK_SIDE = 16
_CHECK_GREYS = (150, 200)


@dataclass(frozen=True)
class ObjectDistance:
    """How far the foreground is, in metres along the optical axis.

    Attributes:
        median_m: median over the mask.
        nearest_m: its second percentile there, so that single pixels do not decide.
        pixels: of the mask with a depth.
    """

    median_m: float
    nearest_m: float
    pixels: int


@dataclass(frozen=True, eq=False)
class Prediction:
    """One picture's alpha and disparity, at the picture's own size.

    Attributes:
        image: uint8 (H, W, 3) RGB, the picture as it was read.
        alpha: float32 (H, W) in [0,1].
        disparity: float32 (H, W) in [0,1], near = 1; where the model never learned depth NaN, or
            a plate profile's outside the mask.
        plate: uint8 (H, W, 3) RGB as it was compared with the picture, so moved and lit where
            it was registered; or None.
        plate_disparity_used: whether the plate's disparity went in as well.
        registration: how the plate was brought onto the picture; None where it was not tried.
        depth_m: float32 (H, W) metres where the plate is calibrated, else None. Infinity is sky or
            too far to tell, NaN invalid.
        alignment: how the disparity came into the plate's units; None without a plate profile.
        calibration: the plate's; None where nothing is known in metres.
        card: the model that made it, or None.
        source, plate_source, plate_disparity_source: the files the inputs were read from, if
            they were files.
    """

    image: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    disparity: NDArray[np.float32]
    plate: NDArray[np.uint8] | None = None
    plate_disparity_used: bool = False
    registration: Registration | None = None
    depth_m: NDArray[np.float32] | None = None
    alignment: Alignment | None = None
    calibration: Calibration | None = None
    card: ModelCard | None = None
    source: Path | None = None
    plate_source: Path | None = None
    plate_disparity_source: Path | None = None

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """bool (H, W): ``alpha > 0.5``."""
        return self.alpha > 0.5

    @cached_property
    def distance(self) -> ObjectDistance | None:
        """How far the foreground is; None without metres, or where it has no depth."""
        if self.depth_m is None:
            return None
        told = self.depth_m[self.mask & ~np.isnan(self.depth_m)]
        finite = told[np.isfinite(told)]
        # Half of it too far to tell is no distance.
        if 2 * finite.size <= told.size:
            return None
        return ObjectDistance(
            median_m=float(np.median(told)),
            nearest_m=float(np.percentile(finite, _NEAREST_PERCENT)),
            pixels=int(finite.size),
        )

    def cutout(self) -> NDArray[np.uint8]:
        """The foreground alone: uint8 (H, W, 4) straight RGBA.

        A picture is I = alpha F + (1 - alpha) B (Porter and Duff, "Compositing Digital Images",
        SIGGRAPH 1984). With the plate B known, F = (I - (1 - alpha) B) / alpha, clipped to
        0..255: no halo of the old background. Where alpha is below 0.05, or without a plate,
        the colour is the picture's own. Fully transparent pixels are black: they keep nothing
        of the scene.
        """
        cutout = np.empty((*self.alpha.shape, 4), np.uint8)
        for rows in bands(*self.alpha.shape):
            whole, colour = self.alpha[rows], self.image[rows].copy()
            if self.plate is not None:
                known = whole >= _MIN_ALPHA
                alpha = whole[known][:, None]  # (K, 1)
                background = self.plate[rows][known].astype(np.float32)  # (K, 3)
                foreground = (colour[known] - (1 - alpha) * background) / alpha
                colour[known] = np.clip(np.rint(foreground), 0, 255).astype(np.uint8)
            opacity = _to_8_bit(whole)
            colour[opacity == 0] = 0
            cutout[rows, :, :3], cutout[rows, :, 3] = colour, opacity
        return cutout

    def preview(self) -> NDArray[np.uint8]:
        """Four panels side by side: picture, cutout over a checkerboard, alpha, disparity.

        Returns:
            uint8 (h, 4 w, 3) RGB, each panel's long side at most 640 px.
        """
        return self._preview(self.cutout())

    def _preview(self, cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = self.alpha.shape
        shrink = min(1.0, _PANEL_SIDE / max(height, width))
        small = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        cutout = resize_cutout(cutout, *small)
        opacity = cutout[..., 3:].astype(np.float32) / 255
        over_checks = opacity * cutout[..., :3] + (1 - opacity) * _checkerboard(*small)
        panels = [
            resize(self.image, *small),
            np.rint(over_checks).astype(np.uint8),
            cv2.cvtColor(cutout[..., 3], cv2.COLOR_GRAY2RGB),
            colourise(resize_disparity(self.disparity, *small)),
        ]
        return np.asarray(np.hstack(panels), np.uint8)

    def save(
        self,
        folder: str | Path,
        stem: str | None = None,
        *,
        formats: Collection[str] | None = None,
        depth_format: str = "png",
    ) -> list[Path]:
        """Write the prediction's files; they take their places once all are whole, the JSON last.

        Files of an earlier prediction are replaced, by whose JSON they are known; others are not.
        Its depth is removed where this one has none, or has it in another format.
        Without ``json`` among the formats nothing tells whose they are, and all are replaced.

        Args:
            folder: made if it is missing.
            stem: first part of the names; the picture's own, or ``"picture"``, if left out.
            formats: some of ``alpha disparity depth cutout preview json``; all if left out.
                Depth is written only where it is metric.
            depth_format: ``"png"`` (16-bit millimetres, to 65.535 m) or ``"npy"`` (float32 metres).

        Returns:
            The written paths.

        Raises:
            UsageError: an unknown format or depth format, a stem with a folder in it, or a file
                that would overwrite an input; nothing is written then.
            StorageError: the folder cannot be made or a file not written, or there is one that is
                no prediction's.
        """
        target = make_folder(folder)
        if stem is None:
            stem = self.source.stem if self.source is not None else "picture"
        paths = output_paths(target, stem, formats, depth_format)
        if self.depth_m is None:
            paths.pop("depth", None)
        inputs = (self.source, self.plate_source, self.plate_disparity_source)
        stale = _stale_depth(target, stem, paths) if formats is None or "depth" in formats else []
        check_not_inputs(
            [*paths.values(), *stale], file_identities(path for path in inputs if path is not None)
        )
        check_replaceable(paths)
        try:
            self._write(paths, depth_format)
        except BaseException:
            # Without their JSON nothing tells whose they are.
            if "json" in paths and not os.path.lexists(paths["json"]):
                for path in paths.values():
                    with contextlib.suppress(OSError):
                        Path(os.path.realpath(path)).unlink()
            raise
        for path in stale:
            path.unlink(missing_ok=True)
        return list(paths.values())

    def _write(self, paths: dict[str, Path], depth_format: str) -> None:
        names = {kind: path.name for kind, path in paths.items() if kind != "json"}
        with contextlib.ExitStack() as whole:
            # All take their places once all are written, in the opposite order: the JSON last.
            files = {
                kind: whole.enter_context(open_atomic(path))
                for kind, path in reversed(paths.items())
            }
            if "alpha" in files:
                files["alpha"].write(encode_png(_to_8_bit(self.alpha)))
            if "disparity" in files:
                files["disparity"].write(encode_png(encode_disparity(self.disparity)))
            if "depth" in files and self.depth_m is not None:
                if depth_format == "npy":
                    files["depth"].write(encode_depth_npy(self.depth_m))
                else:
                    files["depth"].write(encode_png(encode_depth_mm(self.depth_m)[0]))
            if "cutout" in files or "preview" in files:
                cutout = self.cutout()
                if "cutout" in files:
                    files["cutout"].write(encode_png(cutout))
                if "preview" in files:
                    files["preview"].write(encode_jpeg(self._preview(cutout), _PREVIEW_QUALITY))
            if "json" in files:
                # In ASCII: a file's name need not be valid UTF-8, the JSON has to be.
                record = json.dumps(self._record(names, depth_format), indent=2) + "\n"
                files["json"].write(record.encode("ascii"))

    def _record(self, files: dict[str, str], depth_format: str) -> dict[str, Any]:
        """What the JSON says: how to read the files, and where they come from."""
        height, width = self.alpha.shape
        card = self.card
        return {
            "format": RECORD_FORMAT,
            "version": 1,
            "picture": self.source.name if self.source is not None else None,
            "plate": self.plate_source.name if self.plate_source is not None else None,
            "plate_used": self.plate is not None,
            "plate_disparity_used": self.plate_disparity_used,
            "registration": None if self.registration is None else self.registration.as_json(),
            "width": width,
            "height": height,
            "files": files,
            "alpha": {"coding": "8 bit: 0..255 for 0..1", "unit": "opacity"},
            "disparity": {
                "coding": "16 bit: 0 invalid, 1..65535 for 0..1",
                "unit": self._disparity_unit(),
                "near": "large",
                "alignment": self._alignment_record(),
            },
            "depth": self._depth_record(depth_format),
            "object": None if self.distance is None else asdict(self.distance),
            "model": None
            if card is None
            else {
                "preset": card.preset,
                "depth": card.depth,
                "weights": card.weights,
                "maskdepth": card.maskdepth,
                "sha256": card.sha256,
            },
            "versions": {
                "maskdepth": __version__,
                "numpy": np.__version__,
                "opencv": cv2.__version__,
            },
        }

    def _disparity_unit(self) -> str:
        unknown = "inverse depth up to an unknown scale and shift"
        if self.alignment is None:
            return unknown
        if self.calibration is None:
            return f"the plate's disparity: {unknown}"
        scale, shift = self.calibration.scale, self.calibration.shift
        return (
            f"the plate's disparity: {scale:.6g} * disparity + {shift:.6g} is inverse depth in "
            "1/metres; 0 and 1 stand for what is beyond them too"
        )

    def _alignment_record(self) -> str | dict[str, Any]:
        if self.alignment is not None:
            return self.alignment.as_json()
        if self.card is not None and self.card.depth == NO_DEPTH:
            return "none: the model never learned depth, all pixels are invalid"
        return "none: fit scale and shift to known depths to get metres"

    def _depth_record(self, depth_format: str) -> dict[str, Any] | None:
        if self.depth_m is None:
            return None
        beyond = encode_depth_mm(self.depth_m)[1] if depth_format == "png" else 0
        return {
            "coding": _DEPTH_CODINGS[depth_format],
            "unit": "metres along the optical axis",
            "pixels_beyond": beyond,
            "calibration": None if self.calibration is None else self.calibration.as_json(),
        }


def output_paths(
    folder: Path, stem: str, formats: Collection[str] | None = None, depth_format: str = "png"
) -> dict[str, Path]:
    """Where the files of a prediction go, by format; the JSON comes last.

    Raises:
        UsageError: an unknown format or depth format, or a stem with a folder in it.
    """
    told: object = stem  # whatever a caller passed
    if not isinstance(told, str) or told in ("", ".", "..") or set(told) & set("/\\\0"):
        raise UsageError(
            "a stem without a folder in it", repr(stem), "name the folder apart from the stem"
        )
    wanted = FILE_ENDINGS if formats is None else formats
    check_formats(wanted, depth_format)
    endings = FILE_ENDINGS | {"depth": f"_depth.{depth_format}"}
    return {kind: folder / f"{stem}{ending}" for kind, ending in endings.items() if kind in wanted}


def check_formats(formats: Collection[str], depth_format: str = "png") -> None:
    """Raises UsageError if one of the formats, or the depth's, is unknown."""
    if depth_format not in tuple(_DEPTH_CODINGS):  # of whatever type a caller passed
        raise UsageError(
            f"a depth format of {', '.join(_DEPTH_CODINGS)}", repr(depth_format), "use one of them"
        )
    told: object = formats
    listed = isinstance(told, Collection) and not isinstance(told, str)
    unknown = [each for each in formats if each not in tuple(FILE_ENDINGS)] if listed else [told]
    if unknown:
        raise UsageError(
            f"a list of formats among {', '.join(FILE_ENDINGS)}",
            ", ".join(map(repr, unknown))[:80],
            "leave that out",
        )


def check_replaceable(paths: Mapping[str, Path]) -> None:
    """Stop if writing a prediction would replace files that are no prediction's.

    Args:
        paths: what `output_paths` says, as far as it is written.

    Raises:
        StorageError: naming the first. Without a JSON nothing tells, and none is raised.
    """
    if "json" in paths:
        ours = load_record(paths["json"], RECORD_FORMAT) is not None
        check_ownership(paths.values(), ours=ours)


def _stale_depth(folder: Path, stem: str, paths: Mapping[str, Path]) -> list[Path]:
    """The file of an earlier prediction's depth, if another's files would leave it as it is."""
    record = load_record(paths["json"], RECORD_FORMAT) if "json" in paths else None
    files = record.get("files") if record is not None else None
    earlier = files.get("depth") if isinstance(files, dict) else None
    places = [
        output_paths(folder, stem, ("depth",), depth_format)["depth"]
        for depth_format in _DEPTH_CODINGS
    ]
    return [path for path in places if path.name == earlier and path not in paths.values()]


def _to_8_bit(alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    codes = np.empty(alpha.shape, np.uint8)
    for rows in bands(*alpha.shape):
        codes[rows] = np.rint(np.clip(alpha[rows], 0, 1) * 255)
    return codes


def _checkerboard(height: int, width: int) -> NDArray[np.float32]:
    rows, columns = np.ogrid[:height, :width]
    odd = (rows // _CHECK_SIDE + columns // _CHECK_SIDE) % 2
    return np.where(odd == 1, *_CHECK_GREYS).astype(np.float32)[..., None]  # (H, W, 1)

"""The files of a prediction: their names, their contents, and what they may replace."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from maskdepth._version import __version__
from maskdepth.depth import encode_depth_mm, encode_depth_npy, encode_disparity
from maskdepth.errors import UsageError
from maskdepth.files import make_folder, open_atomic
from maskdepth.images import encode_jpeg, encode_png
from maskdepth.inference.model.card import NO_DEPTH
from maskdepth.records import (
    Json,
    check_not_inputs,
    check_ownership,
    file_identities,
    load_record,
)

if TYPE_CHECKING:
    from maskdepth.inference.prediction import Prediction

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

_DEPTH_CODINGS = {
    "png": "16 bit: 0 invalid, else millimetres",
    "npy": "float32: metres, NaN invalid, infinity sky or too far to tell",
}
_PREVIEW_QUALITY = 90


def save_prediction(
    prediction: Prediction,
    folder: str | Path,
    stem: str | None = None,
    *,
    formats: Collection[str] | None = None,
    depth_format: str = "png",
) -> list[Path]:
    """Write a prediction's files; see `maskdepth.Prediction.save`."""
    target = make_folder(folder)
    inputs = prediction.provenance.files
    if stem is None:
        source = prediction.provenance.picture_file
        stem = "picture" if source is None else source.stem
    paths = output_paths(target, stem, formats, depth_format)
    if prediction.depth_m is None:
        paths.pop("depth", None)
    stale = _stale_depth(target, stem, paths) if formats is None or "depth" in formats else []
    check_not_inputs([*paths.values(), *stale], file_identities(inputs))
    check_replaceable(paths)
    try:
        _write(prediction, paths, depth_format)
    except BaseException:
        # Without their JSON nothing says that these files are a prediction's.
        if "json" in paths and not os.path.lexists(paths["json"]):
            for path in paths.values():
                with contextlib.suppress(OSError):
                    Path(os.path.realpath(path)).unlink()
        raise
    for path in stale:
        path.unlink(missing_ok=True)
    return list(paths.values())


def output_paths(
    folder: Path, stem: str, formats: Collection[str] | None = None, depth_format: str = "png"
) -> dict[str, Path]:
    """The paths of a prediction's files by format; the JSON comes last.

    Raises:
        UsageError: an unknown format or depth format, or a stem with a folder in it.
    """
    name: object = stem  # callers may pass anything
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise UsageError(
            "a stem without a folder in it",
            repr(stem),
            "name the folder apart from the stem",
            f"{stem!r} cannot begin a file's name.",
        )
    wanted = FILE_ENDINGS if formats is None else formats
    check_formats(wanted, depth_format)
    endings = FILE_ENDINGS | {"depth": f"_depth.{depth_format}"}
    return {kind: folder / f"{stem}{ending}" for kind, ending in endings.items() if kind in wanted}


def check_formats(formats: Collection[str], depth_format: str = "png") -> None:
    """Check that all formats, and the depth's, are known.

    Raises:
        UsageError: one of them is not.
    """
    if depth_format not in tuple(_DEPTH_CODINGS):  # of any type that a caller passed
        raise UsageError(
            f"a depth format of {', '.join(_DEPTH_CODINGS)}",
            repr(depth_format),
            f"use {' or '.join(_DEPTH_CODINGS)}",
            f"The depth format {depth_format!r} is unknown.",
        )
    given: object = formats
    is_list = isinstance(given, Collection) and not isinstance(given, str)
    unknown = [each for each in formats if each not in tuple(FILE_ENDINGS)] if is_list else [given]
    if unknown:
        raise UsageError(
            f"a list of formats among {', '.join(FILE_ENDINGS)}",
            ", ".join(map(repr, unknown))[:80],
            "leave the others out",
        )


def check_replaceable(paths: Mapping[str, Path]) -> None:
    """Check that writing a prediction replaces no file but an earlier prediction's.

    Args:
        paths: from `output_paths`, those that are written. Without a JSON among them nothing says
            whose the files are, and all may be replaced.

    Raises:
        StorageError: naming the first file that is no prediction's.
    """
    if "json" in paths:
        ours = load_record(paths["json"], RECORD_FORMAT) is not None
        check_ownership(paths.values(), ours=ours)


def _stale_depth(folder: Path, stem: str, paths: Mapping[str, Path]) -> list[Path]:
    """An earlier prediction's depth file that this prediction's files would leave beside them."""
    record = load_record(paths["json"], RECORD_FORMAT) if "json" in paths else None
    files = record.get("files") if record is not None else None
    earlier = files.get("depth") if isinstance(files, dict) else None
    candidates = [
        output_paths(folder, stem, ("depth",), depth_format)["depth"]
        for depth_format in _DEPTH_CODINGS
    ]
    return [path for path in candidates if path.name == earlier and path not in paths.values()]


def _write(prediction: Prediction, paths: dict[str, Path], depth_format: str) -> None:
    """All files take their places once all are written, in the opposite order: the JSON last."""
    with contextlib.ExitStack() as stack:
        files = {
            kind: stack.enter_context(open_atomic(path)) for kind, path in reversed(paths.items())
        }
        if "alpha" in files:
            files["alpha"].write(encode_png(prediction.alpha_8_bit()))
        if "disparity" in files:
            files["disparity"].write(encode_png(encode_disparity(prediction.disparity)))
        if "depth" in files and prediction.depth_m is not None:
            if depth_format == "npy":
                files["depth"].write(encode_depth_npy(prediction.depth_m))
            else:
                files["depth"].write(encode_png(encode_depth_mm(prediction.depth_m)[0]))
        if "cutout" in files or "preview" in files:
            cutout = prediction.cutout()
            if "cutout" in files:
                files["cutout"].write(encode_png(cutout))
            if "preview" in files:
                preview = prediction.preview(cutout)
                files["preview"].write(encode_jpeg(preview, _PREVIEW_QUALITY))
        if "json" in files:
            names = {kind: path.name for kind, path in paths.items() if kind != "json"}
            # In ASCII: a file's name need not be valid UTF-8, the JSON has to be.
            text = json.dumps(_record(prediction, names, depth_format), indent=2) + "\n"
            files["json"].write(text.encode("ascii"))


def _record(prediction: Prediction, files: dict[str, str], depth_format: str) -> Json:
    """What the JSON says: how to read the files, and where they come from."""
    height, width = prediction.alpha.shape
    provenance = prediction.provenance
    card, registration = provenance.card, provenance.registration
    picture_file, plate_file = provenance.picture_file, provenance.plate_file
    distance = prediction.distance
    return {
        "format": RECORD_FORMAT,
        "version": 1,
        "picture": None if picture_file is None else picture_file.name,
        "plate": None if plate_file is None else plate_file.name,
        "plate_used": prediction.plate is not None,
        "plate_disparity_used": provenance.plate_disparity_used,
        "registration": None if registration is None else registration.as_json(),
        "width": width,
        "height": height,
        "files": files,
        "alpha": {"coding": "8 bit: 0..255 for 0..1", "unit": "opacity"},
        "disparity": {
            "coding": "16 bit: 0 invalid, 1..65535 for 0..1",
            "unit": _disparity_unit(prediction),
            "near": "large",
            "alignment": _alignment_record(prediction),
        },
        "depth": _depth_record(prediction, depth_format),
        "object": None if distance is None else asdict(distance),
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


def _disparity_unit(prediction: Prediction) -> str:
    unknown = "inverse depth up to an unknown scale and shift"
    if prediction.alignment is None:
        return unknown
    calibration = prediction.provenance.calibration
    if calibration is None:
        return f"the plate's disparity: {unknown}"
    return (
        f"the plate's disparity: {calibration.scale:.6g} * disparity + {calibration.shift:.6g} is "
        "inverse depth in 1/metres; 0 and 1 stand for what is beyond them too"
    )


def _alignment_record(prediction: Prediction) -> str | Json:
    if prediction.alignment is not None:
        return prediction.alignment.as_json()
    card = prediction.provenance.card
    if card is not None and card.depth == NO_DEPTH:
        return "none: the model never learned depth, all pixels are invalid"
    return "none: fit scale and shift to known depths to get metres"


def _depth_record(prediction: Prediction, depth_format: str) -> Json | None:
    if prediction.depth_m is None:
        return None
    calibration = prediction.provenance.calibration
    return {
        "coding": _DEPTH_CODINGS[depth_format],
        "unit": "metres along the optical axis",
        "pixels_beyond": encode_depth_mm(prediction.depth_m)[1] if depth_format == "png" else 0,
        "calibration": None if calibration is None else calibration.as_json(),
    }

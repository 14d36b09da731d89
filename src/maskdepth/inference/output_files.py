"""The files of a prediction: their names, their contents, and what they may replace."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth._version import __version__
from maskdepth.depth import encode_depth_mm, encode_depth_npy, encode_disparity
from maskdepth.errors import UsageError
from maskdepth.files import as_path, make_folder, open_atomic, write_bytes
from maskdepth.images import encode_jpeg, encode_png
from maskdepth.inference.model.card import NO_DEPTH
from maskdepth.inference.plate.loading import path_of
from maskdepth.picture_formats import FILE_SUFFIXES
from maskdepth.records import (
    FileId,
    Json,
    check_not_inputs,
    check_ownership,
    file_identities,
    load_record,
)

if TYPE_CHECKING:
    from maskdepth.inference.prediction import BackgroundSource, Prediction

FILE_ENDINGS = {
    "alpha": "_alpha.png",
    "disparity": "_disparity.png",
    "depth": "_depth.png",
    "cutout": "_cutout.png",
    "composite": "_composite.png",
    "preview": "_preview.jpg",
    "json": ".json",
}
"""The files of a prediction: what follows the stem, by format."""

_FILE_SUFFIXES = {
    "alpha": (".png",),
    "disparity": (".png",),
    "depth": (".png", ".npy"),
    "cutout": (".png",),
    "composite": (".png", ".jpg", ".jpeg"),
    "preview": (".jpg", ".jpeg"),
    "json": (".json",),
}
_JPEG_QUALITY = 95


class NoMetresError(UsageError):
    """Depth is wanted where nothing is in metres."""

    def __init__(self) -> None:
        super().__init__(
            "a plate profile with metres",
            "none",
            "calibrate the plate with `maskdepth plate`",
            "Depth in metres needs a calibrated plate profile.",
        )


RECORD_FORMAT = "maskdepth-prediction"
"""What the JSON of a prediction calls itself."""

_DEPTH_CODINGS = {
    "png": "16 bit: 0 invalid, else millimetres",
    "npy": "float32: metres, NaN invalid, infinity sky or too far to tell",
}
_PREVIEW_QUALITY = 90


def save_prediction(
    prediction: Prediction,
    output: str | Path,
    stem: str | None = None,
    *,
    only: Collection[str] | None = None,
    depth_format: str = "png",
    background: BackgroundSource | None = None,
) -> list[Path]:
    """Write a prediction's files; see `maskdepth.Prediction.save`."""
    target = as_path(output, "an output folder or file")
    used = (*prediction.provenance.files, path_of(background))
    inputs = file_identities(path for path in used if path is not None)
    if names_file(target):
        return [_save_file(prediction, target, stem, only, background, inputs)]
    if stem is None:
        source = prediction.provenance.picture_file
        stem = "picture" if source is None else source.stem
    paths = output_paths(
        target,
        stem,
        only,
        depth_format,
        background=background is not None,
        metres=prediction.depth_m is not None,
    )
    if not paths:
        return []
    make_folder(target)
    earlier = earlier_outputs(target, stem)
    others = [path for path in earlier if path not in paths.values()]
    depth_wanted = only is None or "depth" in only
    stale = [path for path in others if depth_wanted and path.stem == f"{stem}_depth"]
    check_not_inputs([*paths.values(), *stale], inputs)
    check_replaceable(paths, earlier)
    kept = [path.name for path in others if path not in stale and os.path.lexists(path)]
    try:
        _write(prediction, paths, background, kept)
    except BaseException:
        # No JSON lists these files, so nothing would say that they are a prediction's.
        for path in paths.values():
            if path not in earlier:
                with contextlib.suppress(OSError):
                    Path(os.path.realpath(path)).unlink()
        raise
    for path in stale:
        path.unlink(missing_ok=True)
    return list(paths.values())


def output_paths(
    folder: Path,
    stem: str,
    formats: Collection[str] | None = None,
    depth_format: str = "png",
    *,
    background: bool = True,
    metres: bool = True,
) -> dict[str, Path]:
    """The paths of a prediction's files by format. The JSON, which lists the others, comes last.

    Args:
        folder, stem: what their names begin with.
        formats: as ``only`` in `Prediction.save`.
        depth_format: as there.
        background: whether there is one. Without it a composite is not among "all formats".
        metres: whether depth is in metres. Without them it has no file.

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
    given = FILE_ENDINGS if formats is None else formats
    check_formats(given, depth_format)
    wanted = set(given)
    if formats is None and not background:
        wanted.discard("composite")
    if not metres:
        wanted.discard("depth")
    if wanted:
        wanted.add("json")
    endings = FILE_ENDINGS | {"depth": f"_depth.{depth_format}"}
    return {kind: folder / f"{stem}{ending}" for kind, ending in endings.items() if kind in wanted}


def earlier_outputs(folder: Path, stem: str) -> list[Path]:
    """The files of earlier predictions: those that their JSON lists, and the JSON itself."""
    record_path = folder / f"{stem}{FILE_ENDINGS['json']}"
    record = load_record(record_path, RECORD_FORMAT)
    if record is None:
        return []
    files, more = record.get("files"), record.get("earlier_files")
    names = list(files.values()) if isinstance(files, dict) else []
    names += more if isinstance(more, list) else []
    endings = {*FILE_ENDINGS.values(), *(f"_depth.{each}" for each in _DEPTH_CODINGS)}
    possible = (f"{stem}{ending}" for ending in sorted(endings))
    return [*(folder / name for name in possible if name in names), record_path]


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
            f"pass [{given!r:.80}]" if isinstance(given, str) else "leave the others out",
        )


def check_replaceable(paths: Mapping[str, Path], earlier: Collection[Path]) -> None:
    """Check that writing a prediction replaces no file but an earlier prediction's.

    Args:
        paths: those that are written, from `output_paths`.
        earlier: from `earlier_outputs`.

    Raises:
        StorageError: naming the first file that is no prediction's.
    """
    check_ownership([path for path in paths.values() if path not in earlier], ours=False)


def check_file(path: Path, formats: Collection[str] | None, *, background: bool) -> str:
    """The format that a single file of a prediction would have, by its ending and what is wanted.

    Args:
        path: the file, or one that ends as standard output is to be encoded.
        formats: the formats that were asked for; None: the cutout, or with a background the
            composite.
        background: whether the cutout is to be put on a background.

    Raises:
        UsageError: more than one format, or one that such a file cannot hold.
    """
    wanted = [("composite" if background else "cutout")] if formats is None else list(formats)
    if len(wanted) != 1:
        raise UsageError(
            "one format for one file",
            ", ".join(wanted) or "none",
            "give a folder for several",
            f"{path} is one file, but these are wanted: {', '.join(wanted) or 'none'}.",
        )
    check_formats(wanted)
    suffixes = _FILE_SUFFIXES[wanted[0]]
    if path.suffix.lower() not in suffixes:
        raise UsageError(
            f"a file that ends in {' or '.join(suffixes)}",
            str(path),
            ""
            if wanted != ["cutout"]
            else "use .png, give a --background for .jpg, or name a folder",
            f"The {wanted[0]} is written as {' or '.join(suffixes)}, not as {path.suffix or path}.",
        )
    return wanted[0]


def names_file(path: Path) -> bool:
    """Whether an output is one file, by its ending, and not a folder (which may have dots too)."""
    return path.suffix.lower() in FILE_SUFFIXES and not path.is_dir()


def _save_file(
    prediction: Prediction,
    path: Path,
    stem: str | None,
    only: Collection[str] | None,
    background: BackgroundSource | None,
    inputs: Set[FileId],
) -> Path:
    if stem is not None:
        raise UsageError(
            "a folder with a stem, or one file",
            f"{path} and the stem {stem!r}",
            "leave the stem out, or give a folder",
            f"{path} is one file, whose name needs no stem.",
        )
    kind = check_file(path, only, background=background is not None)
    check_not_inputs([path], inputs)
    write_bytes(path, LayerEncoder(prediction, background).encode(kind, path.suffix.lower()))
    return path


class LayerEncoder:
    """Encodes the files of one prediction.

    Args:
        background: what the cutout of a composite is put on.
        names: the names of the files, by format, which the JSON lists.
        kept: the names of earlier predictions' files that stay beside them.
    """

    def __init__(
        self,
        prediction: Prediction,
        background: BackgroundSource | None = None,
        names: Mapping[str, str] = MappingProxyType({}),
        kept: Sequence[str] = (),
    ) -> None:
        self._prediction, self._background = prediction, background
        self._names, self._kept = names, kept

    @cached_property
    def _cutout(self) -> NDArray[np.uint8]:
        return self._prediction.cutout()

    def encode(self, kind: str, suffix: str) -> bytes:
        """The bytes of a file.

        Args:
            kind: its format, one of `FILE_ENDINGS`.
            suffix: its ending, e.g. ``".png"``.

        Raises:
            UsageError: depth where nothing is in metres, or a composite without a background.
            PictureError: the background cannot be read.
        """
        prediction = self._prediction
        if kind == "alpha":
            return encode_png(prediction.alpha_8_bit())
        if kind == "disparity":
            return encode_png(encode_disparity(prediction.disparity))
        if kind == "depth":
            return self._encode_depth(suffix)
        if kind == "cutout":
            return encode_png(self._cutout)
        if kind == "composite":
            return self._encode_composite(suffix)
        if kind == "preview":
            return encode_jpeg(prediction.preview(self._cutout), _PREVIEW_QUALITY)
        depth_format = "npy" if self._names.get("depth", "").endswith(".npy") else "png"
        record = _record(prediction, dict(self._names), self._kept, depth_format)
        # In ASCII: a file's name need not be valid UTF-8, the JSON has to be.
        return (json.dumps(record, indent=2) + "\n").encode("ascii")

    def _encode_depth(self, suffix: str) -> bytes:
        depth_m = self._prediction.depth_m
        if depth_m is None:
            raise NoMetresError
        if suffix == ".npy":
            return encode_depth_npy(depth_m)
        return encode_png(encode_depth_mm(depth_m)[0])

    def _encode_composite(self, suffix: str) -> bytes:
        if self._background is None:
            raise UsageError(
                "a background",
                "none",
                "give --background COLOUR or PICTURE",
                "A composite needs a background for the cutout.",
            )
        picture = self._prediction.composite(self._background, self._cutout)
        return encode_png(picture) if suffix == ".png" else encode_jpeg(picture, _JPEG_QUALITY)


def _write(
    prediction: Prediction,
    paths: dict[str, Path],
    background: BackgroundSource | None,
    kept: Sequence[str],
) -> None:
    """All files take their places once all are written, in the opposite order: the JSON last."""
    names = {kind: path.name for kind, path in paths.items() if kind != "json"}
    encoder = LayerEncoder(prediction, background, names, kept)
    with contextlib.ExitStack() as stack:
        for kind, path in reversed(paths.items()):
            stack.enter_context(open_atomic(path)).write(encoder.encode(kind, path.suffix))


def _record(
    prediction: Prediction, files: dict[str, str], kept: Sequence[str], depth_format: str
) -> Json:
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
        "earlier_files": list(kept),
        "alpha": {"coding": "8 bit: 0..255 for 0..1", "unit": "opacity"},
        "disparity": {
            "coding": "16 bit: 0 invalid, 1..65535 for 0..1",
            "unit": _disparity_unit(prediction),
            "near": "large",
            "sources": dict(provenance.disparity_sources),
            "alignment": _alignment_record(prediction),
        },
        "depth": _depth_record(prediction, depth_format),
        "camera": None if prediction.camera is None else prediction.camera.as_json(),
        "object": None if distance is None else asdict(distance),
        "notices": [asdict(notice) for notice in prediction.notices],
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

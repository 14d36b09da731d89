"""How a prediction is sent: JSON with the files inside, one PNG, or a zip of the usual files."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from maskdepth.inference.output_files import LayerEncoder, check_file, check_formats, output_paths
from maskdepth.inference.prediction import Prediction
from maskdepth.records import Json
from maskdepth.server.replies import RequestError

JSON: Final = "application/json"
PNG: Final = "image/png"
ZIP: Final = "application/zip"

_STEM: Final = "picture"
_JSON_PARTS: Final = ("alpha", "disparity", "depth", "cutout")
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Wish:
    """What a client wants of a prediction.

    Attributes:
        media_type: `JSON`, `PNG` or `ZIP`.
        only: the files, as in `maskdepth.Prediction.save`; None: those that are usual.
    """

    media_type: str
    only: tuple[str, ...] | None


def parse_wish(accept: str, only: str | None) -> Wish:
    """A client's wish, from its header ``Accept`` and a list with commas.

    Raises:
        RequestError: 406, it takes none of the three types.
        UsageError: the list has an unknown file, or not one that a PNG can hold.
    """
    formats = None if only is None else tuple(part.strip() for part in only.split(","))
    check_formats(formats or ())
    if formats is not None and "composite" in formats:
        raise RequestError(422, "The server puts cutouts on no background.", "ask for the cutout")
    wish = Wish(_pick_type(accept), formats)
    if wish.media_type == PNG:
        check_file(Path("picture.png"), formats, background=False)
    return wish


def encode_answer(prediction: Prediction, wish: Wish) -> bytes:
    """The bytes of an answer.

    Raises:
        UsageError: depth is wanted, and nothing is in metres.
    """
    if wish.media_type == PNG:
        kind = "cutout" if wish.only is None else wish.only[0]
        return LayerEncoder(prediction).encode(kind, ".png")
    only = wish.only
    if only is None and wish.media_type == JSON:
        only = _JSON_PARTS
    metres = prediction.depth_m is not None
    paths = output_paths(Path(), _STEM, only, background=False, metres=metres)
    names = {kind: path.name for kind, path in paths.items() if kind != "json"}
    encoder = LayerEncoder(prediction, names=names)
    files = {kind: encoder.encode(kind, Path(name).suffix) for kind, name in names.items()}
    record = encoder.encode("json", ".json")
    if wish.media_type == ZIP:
        return _zip(
            {**{names[kind]: data for kind, data in files.items()}, f"{_STEM}.json": record}
        )
    body: Json = json.loads(record)
    body["parts"] = {kind: base64.b64encode(data).decode() for kind, data in files.items()}
    return json.dumps(body).encode("ascii")


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # pictures are packed already
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), data)
    return buffer.getvalue()


def _pick_type(accept: str) -> str:
    """The type that a client prefers (RFC 9110, section 12.5.1); JSON where it has no choice."""
    offered = (JSON, PNG, ZIP)
    ranges = [_parse_range(each) for each in accept.split(",") if each.strip()]
    if not ranges:
        return JSON
    best = max(offered, key=lambda offer: _weight(offer, ranges))
    if _weight(best, ranges) <= 0:
        raise RequestError(
            406,
            f"The server has no answer of the type {accept:.80}.",
            f"accept one of {', '.join(offered)}",
            expected=", ".join(offered),
            got=f"{accept:.80}",
        )
    return best


def _weight(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """How much a client wants a type, by the most specific range that holds it."""
    weights = dict(ranges)
    for name in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        if name in weights:
            return weights[name]
    return 0.0


def _parse_range(text: str) -> tuple[str, float]:
    """``"image/png; q=0.5"`` as its name and weight; a damaged weight counts as 1."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    try:
        return name, min(1.0, max(0.0, float(weight)))
    except ValueError:
        return name, 1.0

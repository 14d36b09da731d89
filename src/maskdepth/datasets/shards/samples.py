"""A sample as the members of a tar file, and back.

<key>.alpha.png          8 bits: round(255 alpha)
<key>.background.jpg     the plate, where the recipe perturbs it; else the JSON says its square
<key>.disparity.png      16-bit codes of ``depth.encode_disparity``, all 0 without a label
<key>.image.jpg          the picture; .png where nothing may be lost
<key>.json               the recipe, and how to read the other members
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdepth.datasets.shards.layout import SPLIT, Encoding, sample_key
from maskdepth.datasets.shards.plates import PlateSquare, plate_square
from maskdepth.datasets.shards.png import pack_png
from maskdepth.depth import encode_disparity
from maskdepth.images import encode_jpeg
from maskdepth.records import Json
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.label_facts import TeacherLabel
from maskdepth.synthesis.recipes import Recipe
from maskdepth.synthesis.renderer import Composite

BACKGROUND_MEMBER = "background"

_SIZE_FIELD: Final = slice(124, 135)  # of a ustar header
_CHECKSUM_FIELD: Final = slice(148, 156)  # counted as blanks while it is summed up
# Time, owner and group are 0 unless said otherwise.
_BLANK_HEADER: Final = bytearray(tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT))
_BLANK_HEADER[_CHECKSUM_FIELD] = b" " * 8


def encode_sample(
    number: int,
    composite: Composite,
    catalogue: Catalogue,
    encoding: Encoding,
    teacher: TeacherLabel | None = None,
) -> dict[str, bytes]:
    """The members of a sample by name, in the order of their names.

    Args:
        teacher: made the composite's disparity; its flags say why that is unknown. None where the
            disparity is the background's with the objects' layers.
    """
    key, recipe, size = sample_key(number), composite.recipe, len(composite.image)
    asset = catalogue.background_asset(recipe.background)
    picture = f"{key}.image.{encoding.suffix}"
    members = {picture: _encode_picture(composite.image, encoding)}
    if recipe.perturbs_plate:
        member = f"{BACKGROUND_MEMBER}.{encoding.suffix}"
        members[f"{key}.{member}"] = _encode_picture(composite.plate, encoding)
        plate: Json | PlateSquare = {"member": member}
    else:
        plate = plate_square(recipe, size, catalogue)
    alpha = np.asarray(cv2.convertScaleAbs(composite.alpha, alpha=255), np.uint8)
    members[f"{key}.alpha.png"] = pack_png(alpha, encoding.compression)
    members[f"{key}.disparity.png"] = (
        _unknown_disparity(size, encoding.compression)
        if composite.disparity is None
        else pack_png(encode_disparity(composite.disparity), encoding.compression)
    )
    about: Json = {
        "key": key,
        "size": size,
        "split": SPLIT,
        "plate": plate,
        "label": asset.label_kind if teacher is None else per_composite_label(teacher),
        "object_depth": composite.object_depth,
        "recipe": recipe,
    }
    if teacher is None and asset.disparity is not None:
        teacher = asset.teacher
    if teacher is not None:
        about["teacher"] = teacher.model_dump(mode="json")
    members[f"{key}.json"] = _json.encode(about).encode()
    return dict(sorted(members.items()))


def per_composite_label(teacher: TeacherLabel) -> str:
    """Where the disparity comes from when a teacher has labelled each composite."""
    return f"teacher {teacher.name}, per composite"


def cutout_ids(recipe: Recipe) -> tuple[str, ...]:
    """The cutouts of a recipe, in the order they are pasted; empty without foreground."""
    return tuple(placed.cutout for placed in recipe.objects)


def pack_members(members: Mapping[str, bytes]) -> bytes:
    """The members as part of a tar file (ustar, without its end), always as the same bytes."""
    parts: list[bytes] = []
    for name, data in members.items():
        parts += (_tar_header(name, len(data)), data, bytes(-len(data) % tarfile.BLOCKSIZE))
    return b"".join(parts)


def _tar_header(name: str, size: int) -> bytes:
    """The same as ``TarInfo.tobuf`` for a name of at most 100 bytes, in a third of the time."""
    header = bytearray(_BLANK_HEADER)
    encoded = name.encode()
    header[: len(encoded)] = encoded
    header[_SIZE_FIELD] = b"%011o" % size
    header[_CHECKSUM_FIELD] = b"%06o\0 " % sum(header)
    return bytes(header)


def tar_end(length: int) -> bytes:
    """The end of a tar file of that many bytes: two empty blocks, filled up to a record."""
    end = 2 * tarfile.BLOCKSIZE
    return bytes(end + -(length + end) % tarfile.RECORDSIZE)


def unpack_members(packed: bytes) -> dict[str, bytes]:
    """The members of a sample by kind (``image.jpg``, ``json``)."""
    members = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
        for header in tar:
            file = tar.extractfile(header)
            if file is not None:
                members[header.name.partition(".")[2]] = file.read()
    return members


def _encode_picture(picture: NDArray[np.uint8], encoding: Encoding) -> bytes:
    if encoding.picture == "png":
        return pack_png(picture, encoding.compression)
    return encode_jpeg(picture, encoding.quality)


@lru_cache(maxsize=4)
def _unknown_disparity(size: int, compression: int) -> bytes:
    return pack_png(np.zeros((size, size), np.uint16), compression)


def _fields(value: Any) -> Json:
    """A dataclass as JSON has it: ``dataclasses.asdict`` would copy all of a recipe."""
    return {name: getattr(value, name) for name in value.__slots__}


_json: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_fields
)

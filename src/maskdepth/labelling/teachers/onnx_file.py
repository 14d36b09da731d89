"""Any depth network as an ONNX file; a small JSON beside it says how it is fed and read."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from maskdepth.config import Settings
from maskdepth.depth import fit_scale_shift_robust
from maskdepth.devices import pick_providers
from maskdepth.errors import ConfigError, TeacherError, first_line
from maskdepth.files import explain_unopened, open_file, read_bytes
from maskdepth.images import resize
from maskdepth.labelling.teachers.teacher import Kind, TeacherInfo, Units, within_range
from maskdepth.onnx_runtime import onnxruntime as ort

_BATCH: Final = 8  # pictures at once, if the network takes any number
_MAX_SIDE: Final = 8192  # px; a network of more would fill the memory
# How protocol buffers write a tensor's `external_data` entry (onnx.proto): a key of 8 bytes, then
# the length of the value in one byte or two, seven bits each, the lower ones first.
_LOCATION: Final = re.compile(rb"\x0a\x08location\x12([\x80-\xff]?)([\x00-\x7f])")
_TYPES: Final = {
    "tensor(uint8)": "uint8",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}
_NUMBER: Final = r"-?\d+(?:\.\d+)?"
_INPUT: Final = re.compile(
    rf"(uint8|float16|float32) (NCHW|NHWC) (RGB|BGR) ({_NUMBER})\.\.({_NUMBER})"
    r"(?:, *([\d?]+(?:x[\d?]+){3}))?"
)
_OUTPUT: Final = re.compile(
    r"(uint8|float16|float32|float64) (NCHW|NHWC|NHW|HW)(?: ([\d?]+(?:x[\d?]+)*))?"
)
_RANGE: Final = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_EXAMPLE: Final = "'uint8 NHWC RGB 0..255, 1x224x224x3'"


_Size = tuple[int, int]


class _Facts(Settings):
    """The JSON beside an ONNX file; docs/labelling.md explains it."""

    model: str | None = None
    input: str
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    size: tuple[int, int] | None = None
    short_side: tuple[int, ...] | None = None
    multiple: int = Field(default=1, ge=1, le=_MAX_SIDE)
    mirror: bool = False
    output: str
    output_scale: float = 1.0
    output_offset: float = 0.0
    kind: Kind
    units: Units
    range: str | tuple[float, float] | None = None
    licence: str = Field(min_length=1)

    @field_validator("short_side", mode="before")
    @classmethod
    def _sides(cls, value: Any) -> Any:
        sides = value if isinstance(value, list) else [value]
        if not sides or not all(type(side) is int and 1 <= side <= _MAX_SIDE for side in sides):
            raise ValueError(f"a whole number of pixels from 1 to {_MAX_SIDE}, or a list of such")
        return tuple(sides)


@dataclass(frozen=True)
class _Input:
    """How a picture becomes the network's input."""

    dtype: str
    layout: str
    order: str
    low: float
    high: float
    size: _Size | None
    short_sides: tuple[int, ...]
    multiple: int
    batch: int

    def sizes(self, picture: NDArray[np.uint8]) -> tuple[_Size, ...]:
        """The sizes in which the network gets a picture, the largest first.

        Either the one of all pictures, or those of its own aspect with the short sides wanted.
        """
        if self.size is not None:
            return (self.size,)
        height, width = picture.shape[:2]
        steps = [side / min(height, width) / self.multiple for side in self.short_sides]
        sizes = {(_whole(height * step), _whole(width * step)) for step in steps}
        return tuple(
            (rows * self.multiple, columns * self.multiple)
            for rows, columns in sorted(sizes, reverse=True)
        )


class OnnxTeacher:
    """The depth network of an ONNX file.

    Pictures are stretched to the network's size, or keep their aspect where the JSON names a short
    side, and maps are brought to the picture's size, bilinearly where they grow. Maps of several
    sizes and of mirrored copies are averaged.

    Args:
        path: the ONNX file, with a JSON of the same stem beside it.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        TeacherError: a file is missing or unreadable, or the two do not fit each other.
        UsageError: an unknown device, or one that this ONNX Runtime cannot use.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        beside = path.with_suffix(".json")
        self._session, data = _open_session(path, device)
        facts, text = _load_facts(path, beside)
        self._facts = facts
        self._input = _fitting_input(self._session, facts, beside)
        dtype, self._layout, sides = _parsed(_OUTPUT, facts.output, "output", beside)
        output = self._session.get_outputs()[0]
        _checked_shape("output", output, dtype, self._layout, sides, beside)
        self.info = TeacherInfo(
            name=path.stem,
            version=_digest(path, data, text)[:16],
            kind=facts.kind,
            units=facts.units,
            range=_range(facts, beside),
            size=self._input.size,
            licence=facts.licence,
        )

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See ``Teacher``."""
        maps: list[NDArray[np.float32]] = []
        for sizes, alike in groupby(pictures, self._input.sizes):
            group = list(alike)
            for start in range(0, len(group), self._input.batch):
                maps += self._averaged(group[start : start + self._input.batch], sizes)
        return maps

    def _averaged(
        self, pictures: Sequence[NDArray[np.uint8]], sizes: tuple[_Size, ...]
    ) -> list[NDArray[np.float32]]:
        """The map of each picture, of all sizes and of the mirrored copy if there is one."""
        views: list[NDArray[np.float32]] = []
        for size in sizes:
            views.append(self._run(pictures, size))
            if self._facts.mirror:
                mirrored = [picture[:, ::-1] for picture in pictures]
                views.append(self._run(mirrored, size)[..., ::-1])
        return [
            np.asarray(resize(_mean(maps, self.info), *picture.shape[:2]), np.float32)
            for maps, picture in zip(zip(*views, strict=True), pictures, strict=True)
        ]

    def _run(self, pictures: Sequence[NDArray[np.uint8]], size: _Size) -> NDArray[np.float32]:
        """The maps at the network's own size, float32 (n, h, w)."""
        batch = np.stack([self._tensor(picture, size) for picture in pictures])
        first = self._session.get_inputs()[0].name
        try:
            (raw,) = self._session.run([self._session.get_outputs()[0].name], {first: batch})
        except Exception as error:  # ONNX Runtime's errors have no common base of their own.
            height, width = size
            expected = f"{self.info.name} to take {len(pictures)} pictures of {width}x{height} px"
            got = first_line(error)
            problem = f"{self.info.name} cannot take pictures of {width}x{height} px: {got}."
            remedy = "correct the sizes in the JSON beside it, or free some memory"
            raise TeacherError(expected, got, remedy, problem) from error
        planes = _planes(np.asarray(raw), self._layout, len(pictures))
        if planes is None:
            raise TeacherError(
                f"{len(pictures)} maps of one channel, as {self._facts.output!r} says",
                f"shape {raw.shape}",
                "correct 'output' in the JSON beside the ONNX file",
            )
        values = planes.astype(np.float32) * np.float32(self._facts.output_scale)
        values += np.float32(self._facts.output_offset)
        return within_range(values, self.info)

    def _tensor(self, picture: NDArray[np.uint8], size: _Size) -> NDArray[Any]:
        """A picture as the network wants it: (h, w, 3) or (3, h, w)."""
        wanted, facts = self._input, self._facts
        tensor: NDArray[Any] = resize(np.ascontiguousarray(picture), *size)
        if wanted.order == "BGR":
            tensor = tensor[..., ::-1]
        plain = (wanted.low, wanted.high) == (0, 255) and not any(facts.mean)
        if wanted.dtype != "uint8" or not plain or facts.std != (1.0, 1.0, 1.0):
            scaled = tensor.astype(np.float32) * np.float32((wanted.high - wanted.low) / 255)
            scaled += np.float32(wanted.low)
            scaled = (scaled - np.asarray(facts.mean, np.float32)) / np.asarray(facts.std)
            tensor = scaled.astype(wanted.dtype)
        if wanted.layout == "NCHW":
            tensor = tensor.transpose(2, 0, 1)
        return np.ascontiguousarray(tensor)


def _load_facts(path: Path, beside: Path) -> tuple[_Facts, bytes]:
    """The JSON, and its bytes."""
    try:
        text = read_bytes(beside)
        facts = _Facts.parse(json.loads(text), str(beside))
    except (OSError, ValueError, RecursionError) as error:
        expected, got = f"a JSON at {beside} that describes {path.name}", first_line(error)
        problem = f"{beside}, which describes {path.name}, cannot be read: {got}."
        remedy = "write one, as the page on labelling describes"
        raise TeacherError(expected, got, remedy, problem) from None
    except ConfigError as error:
        raise TeacherError(error.expected, error.got, error.remedy, error.problem) from None
    if facts.model not in (None, path.name):
        expected, got = f"the description of {path.name} in {beside}", f"that of {facts.model}"
        problem = f"{beside} describes {facts.model}, not {path.name}."
        raise TeacherError(expected, got, "put the right JSON beside the ONNX file", problem)
    if 0 in (*facts.std, facts.output_scale):
        got = f"std {facts.std}, output_scale {facts.output_scale}"
        raise TeacherError(f"std and output_scale other than 0 in {beside}", got, "correct these")
    return facts, text


def _open_session(path: Path, device: str) -> tuple[ort.InferenceSession, bytes]:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors are raised instead
    providers = pick_providers(device)
    try:
        data = read_bytes(path)
        # By its path: weights may lie in a file of their own beside it.
        return ort.InferenceSession(str(path), options, providers=providers), data
    except OSError as error:
        problem, remedy = explain_unopened(path, error)
        raise TeacherError(f"an ONNX file at {path}", first_line(error), remedy, problem) from None
    except Exception as error:  # ONNX Runtime's errors have no common base of their own.
        expected, got = f"a usable ONNX file at {path}", first_line(error)
        problem = f"{path} is no usable ONNX file: {got}."
        raise TeacherError(expected, got, "export it again", problem) from error


def _digest(path: Path, data: bytes, text: bytes) -> str:
    """SHA-256 of an ONNX file, its JSON, and the files that hold tensors for it, if any do."""
    digest, names = hashlib.sha256(data + text), set()
    for match in _LOCATION.finditer(data):
        length = int.from_bytes(match[1]) % 128 + (match[2][0] << (7 * len(match[1])))
        names.add(os.fsdecode(data[match.end() : match.end() + length]))
    for name in sorted(names):
        try:
            with open_file(path.parent / name) as file:
                hashlib.file_digest(file, lambda: digest)
        except OSError as error:
            expected, got = f"a file {name} beside {path}", first_line(error)
            problem = f"{path} has weights in {name} beside it, which cannot be read: {got}."
            raise TeacherError(expected, got, "copy it there", problem) from None
    return digest.hexdigest()


def _fitting_input(session: ort.InferenceSession, facts: _Facts, beside: Path) -> _Input:
    """The input as the JSON describes it, if the network agrees."""
    dtype, layout, order, low, high, sides = _parsed(_INPUT, facts.input, "input", beside)
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(item.name for item in inputs)
        raise TeacherError("a network with one input, a picture", names, "export it so")
    shape = dict(
        zip(layout, _checked_shape("input", inputs[0], dtype, layout, sides, beside), strict=True)
    )
    size = _size_of_all(facts, (shape["H"], shape["W"]), beside)
    batch = shape["N"] or _BATCH
    if shape["N"] not in (None, 1):
        raise TeacherError("a batch of 1 or of any size", str(batch), "export the network so")
    shorts, black, white = facts.short_side or (), float(low), float(high)
    return _Input(dtype, layout, order, black, white, size, shorts, facts.multiple, batch)


def _size_of_all(facts: _Facts, fixed: tuple[int | None, int | None], beside: Path) -> _Size | None:
    """Height and width to which all pictures are stretched; None where they keep their aspect."""
    name = beside.with_suffix(".onnx").name
    if facts.short_side is not None:
        if facts.size is not None:
            expected, got = f"'size' or 'short_side' in {beside}", "both"
            problem = f"{beside} has both 'size', which stretches pictures, and 'short_side'."
            raise TeacherError(expected, got, "leave one out", problem)
        if any(fixed):
            expected, got = f"a network of any size for 'short_side' in {beside}", str(fixed)
            problem = f"{name} takes pictures of one shape alone, so 'short_side' cannot be kept."
            raise TeacherError(expected, got, "leave it out, or export the network so", problem)
        return None
    if facts.multiple != 1:
        problem = f"{beside} has a 'multiple' without the 'short_side' that it rounds."
        expected, got = f"'short_side' beside 'multiple' in {beside}", "none"
        raise TeacherError(expected, got, "add it", problem)
    height, width = facts.size or fixed
    if not height or not width or (fixed[0] or height, fixed[1] or width) != (height, width):
        raise TeacherError(
            f"a size for the input of {name}",
            f"{facts.size} for the shape {fixed}",
            'add "size": [height, width] or "short_side" and "multiple" to the JSON',
        )
    return height, width


def _checked_shape(
    role: str, tensor: Any, dtype: str, layout: str, sides: str, beside: Path
) -> list[int | None]:
    """A tensor's shape, if it is as the JSON says, where ``sides`` reads like 1x224x224x3."""
    actual = _TYPES.get(tensor.type, tensor.type)
    shape = [side if isinstance(side, int) and side > 0 else None for side in tensor.shape]
    wanted = [int(side) if side.isdecimal() else None for side in sides.split("x") if side]
    wanted = wanted or [None] * len(layout)
    if role == "input":
        wanted[layout.index("C")] = 3
    fits = actual == dtype and (len(shape) == len(wanted) == len(layout))
    if role == "output" and not shape:  # the network does not say
        fits = actual == dtype
    if not fits or any(a and b and a != b for a, b in zip(wanted, shape, strict=False)):
        raise TeacherError(
            f"the {role} {tensor.name!r} as {beside} says: {dtype} {layout} {sides}".rstrip(),
            f"{actual} {'x'.join(str(side or '?') for side in shape)}",
            "correct the JSON, or put the right one beside the ONNX file",
        )
    return shape


def _parsed(pattern: re.Pattern[str], text: str, key: str, beside: Path) -> tuple[str, ...]:
    match = pattern.fullmatch(text.strip())
    if match is None:
        raise TeacherError(f"{key!r} in {beside} to read like {_EXAMPLE}", repr(text), "correct it")
    return tuple(group or "" for group in match.groups())


def _range(facts: _Facts, beside: Path) -> tuple[float, float] | None:
    """Least and greatest value; of a text, the first ``low..high`` in it."""
    low_high = facts.range
    if isinstance(low_high, str):
        match = _RANGE.search(low_high)
        low_high = (float(match[1]), float(match[2])) if match else None
    if low_high is not None and not low_high[0] < low_high[1]:
        raise TeacherError(f"a range in {beside} that rises", str(low_high), "correct it")
    return low_high


def _planes(raw: NDArray[Any], layout: str, count: int) -> NDArray[Any] | None:
    """The maps (n, h, w) of a network's output; None where it has another rank or channels."""
    if layout == "HW":
        raw = raw[None] if count == 1 else raw
    elif "C" in layout:
        channel = layout.index("C")
        single = raw.ndim == 4 and raw.shape[channel] == 1
        raw = raw.squeeze(channel) if single else np.empty(0)
    return raw if raw.ndim == 3 and len(raw) == count and raw.size else None


def _mean(maps: Sequence[NDArray[np.float32]], info: TeacherInfo) -> NDArray[np.float32]:
    """The mean of maps of one picture, at the size of the first.

    Scale and shift of disparity differ from map to map, so each is first fitted to the first.
    """
    first = maps[0]
    total = first.astype(np.float64)
    for other in maps[1:]:
        plane = resize(np.ascontiguousarray(other), *first.shape).astype(np.float64)
        if info.kind == "disparity":
            both = np.isfinite(plane) & np.isfinite(first)
            if both.any():
                scale, shift = fit_scale_shift_robust(plane, first, both)
                plane = scale * plane + shift
        total += plane
    return (total / len(maps)).astype(np.float32)


def _whole(steps: float) -> int:
    """The nearest whole number of steps, at least one."""
    return max(1, round(steps))

"""A prediction: alpha and disparity of one picture, what follows from them, and their origin."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from maskdepth.camera import Camera
from maskdepth.depth import colourise
from maskdepth.errors import PictureError
from maskdepth.images import (
    PictureSource,
    bands,
    load_picture,
    resize,
    resize_cutout,
    resize_disparity,
)
from maskdepth.inference.model.card import ModelCard
from maskdepth.inference.output_files import save_prediction
from maskdepth.inference.plate.alignment import Alignment
from maskdepth.inference.plate.calibration import Calibration
from maskdepth.inference.plate.notices import Notice
from maskdepth.inference.plate.registration import Registration

__all__ = [
    "BackgroundSource",
    "Notice",
    "ObjectDistance",
    "Prediction",
    "Provenance",
    "load_background",
]

BackgroundSource = PictureSource | tuple[int, int, int]
"""A picture, or a colour: its name, ``"#rrggbb"`` or (red, green, blue)."""

_NEAREST_PERCENT = 2
_MIN_ALPHA = 0.05  # below it the foreground's colour is a small difference over a small number
_PANEL_SIDE = 640
_CHECK_SIDE = 16
_CHECK_GREYS = (150, 200)


@dataclass(frozen=True)
class ObjectDistance:
    """How far the foreground is, in metres along the optical axis.

    Attributes:
        median_m: median over the mask.
        nearest_m: second percentile over the mask, so that single pixels do not decide.
        pixels: number of the mask's pixels with a finite depth.
    """

    median_m: float
    nearest_m: float
    pixels: int

    @classmethod
    def of(cls, depth_m: NDArray[np.float32]) -> ObjectDistance | None:
        """The distance of some pixels, any shape; None where half have no finite depth."""
        valid = depth_m[~np.isnan(depth_m)]
        finite = valid[np.isfinite(valid)]
        # Where half of the foreground is too far to tell, its median is infinite.
        if 2 * finite.size <= valid.size:
            return None
        return cls(
            median_m=float(np.median(valid)),
            nearest_m=float(np.percentile(finite, _NEAREST_PERCENT)),
            pixels=int(finite.size),
        )


@dataclass(frozen=True, eq=False)
class Provenance:
    """Where a prediction comes from.

    Attributes:
        card: describes the model; None where it is not known.
        picture_file, plate_file, plate_disparity_file: the files that the inputs were read from;
            None for inputs that were not files.
        plate_disparity_used: whether the plate came with a disparity, which the network read.
        registration: how the plate was moved and relit to match the picture; None where that was
            not tried.
        disparity_sources: what the disparity of each area comes from, by the area: "background",
            "foreground" and "unknown in the plate", or "all"; empty where there is none.
        alignment: how the disparity came into the plate's units; None without a plate of its scene.
        calibration: brings the plate's disparity into metres; None where no metres are known.
    """

    card: ModelCard | None = None
    picture_file: Path | None = None
    plate_file: Path | None = None
    plate_disparity_file: Path | None = None
    plate_disparity_used: bool = False
    registration: Registration | None = None
    disparity_sources: Mapping[str, str] = field(default_factory=dict)
    alignment: Alignment | None = None
    calibration: Calibration | None = None

    @property
    def files(self) -> list[Path]:
        """All input files."""
        files = (self.picture_file, self.plate_file, self.plate_disparity_file)
        return [file for file in files if file is not None]


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """One picture's alpha and disparity, at the picture's own size.

    Attributes:
        image: uint8 (H, W, 3) RGB, the picture.
        alpha: float32 (H, W) in [0,1].
        disparity: float32 (H, W) in [0,1], near = 1; NaN where it is invalid, as the disparity of
            a model that never learned depth is. Outside the mask it is the plate's: that of the
            plate profile, what was passed with the plate, or the model's estimate. Where a plate
            profile's camera never saw, it is NaN.
        plate: uint8 (H, W, 3) RGB, moved and relit to match the picture, and the picture itself
            where the plate's camera never saw. A grey plate has the picture's colour here. None
            without a plate.
        depth_m: float32 (H, W) metres; None where the plate is not calibrated. Infinity is sky or
            too far to tell, NaN is invalid.
        provenance: model, input files, and how the plate was used.
        notices: signs that the plate or the mask may be wrong; empty where there are none.
        plate_disparity: float32, the disparity of the plate, also behind the foreground, in the
            units of ``disparity``; NaN where invalid. (H, W), or smaller where the model estimated
            it; read-only. None without a plate of the picture's scene, or without depth.
        camera: the plate profile's at the picture's size; None where it has none.
    """

    image: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    disparity: NDArray[np.float32]
    plate: NDArray[np.uint8] | None = None
    depth_m: NDArray[np.float32] | None = None
    provenance: Provenance = field(default_factory=Provenance)
    notices: tuple[Notice, ...] = ()
    plate_disparity: NDArray[np.float32] | None = None
    camera: Camera | None = None

    def __repr__(self) -> str:
        height, width = self.alpha.shape
        parts = [f"{height}x{width}", f"foreground {self.mask.mean():.0%}".replace("%", " %")]
        if self.distance is not None:
            parts.append(f"{self.distance.median_m:.1f} m")
        return f"<Prediction {', '.join(parts)}>"

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """bool (H, W): ``alpha > 0.5``."""
        return self.alpha > 0.5

    @property
    def alignment(self) -> Alignment | None:
        """How the disparity came into the plate's units; None without a plate of its scene."""
        return self.provenance.alignment

    @cached_property
    def distance(self) -> ObjectDistance | None:
        """How far the foreground is; None without metres, or where it has no depth."""
        return None if self.depth_m is None else ObjectDistance.of(self.depth_m[self.mask])

    def with_picture_file(self, picture_file: Path) -> Prediction:
        """The same prediction with the file's path, for a picture that was passed as pixels."""
        return replace(self, provenance=replace(self.provenance, picture_file=picture_file))

    def alpha_8_bit(self) -> NDArray[np.uint8]:
        """Alpha as uint8 (H, W), 0..255."""
        return _to_8_bit(self.alpha)

    def cutout(self) -> NDArray[np.uint8]:
        """The foreground alone: uint8 (H, W, 4) straight RGBA.

        A picture is I = alpha F + (1 - alpha) B (Porter and Duff, "Compositing Digital Images",
        SIGGRAPH 1984). With the plate B known, F = (I - (1 - alpha) B) / alpha, clipped to 0..255,
        has no halo of the old background. Without a plate, and where alpha is below 0.05, the
        colour is the picture's own. Fully transparent pixels are black, so that nothing of the
        scene is left in them.
        """
        cutout = np.empty((*self.alpha.shape, 4), np.uint8)
        for rows in bands(*self.alpha.shape):
            alpha, colour = self.alpha[rows], self.image[rows].copy()
            if self.plate is not None:
                visible = alpha >= _MIN_ALPHA
                share = alpha[visible][:, None]  # (K, 1)
                background = self.plate[rows][visible].astype(np.float32)  # (K, 3)
                foreground = (colour[visible] - (1 - share) * background) / share
                colour[visible] = np.clip(np.rint(foreground), 0, 255).astype(np.uint8)
            opacity = _to_8_bit(alpha)
            colour[opacity == 0] = 0
            cutout[rows, :, :3], cutout[rows, :, 3] = colour, opacity
        return cutout

    def composite(
        self, background: BackgroundSource, cutout: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """The foreground on another background: uint8 (H, W, 3) RGB.

        Args:
            background: a colour, by name (``"white"``), as ``"#rrggbb"`` or as (red, green, blue);
                or a picture, as in `maskdepth.Predictor.predict`, which is scaled and cropped to
                fill the frame.
            cutout: what `cutout` returned, if it has been called before; this saves time.

        Raises:
            PictureError: the background is neither a colour nor a readable picture.
        """
        cutout = self.cutout() if cutout is None else cutout
        behind = _fill_frame(load_background(background), *self.alpha.shape)
        composite = np.empty(self.image.shape, np.uint8)
        for rows in bands(*self.alpha.shape):
            opacity = cutout[rows, :, 3:].astype(np.float32) / 255
            composite[rows] = np.rint(opacity * cutout[rows, :, :3] + (1 - opacity) * behind[rows])
        return composite

    def preview(self, cutout: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Four panels side by side: picture, cutout over a checkerboard, alpha, disparity.

        Args:
            cutout: what `cutout` returned, if it has been called before; this saves time.

        Returns:
            uint8 (h, 4 w, 3) RGB, each panel's long side at most 640 px.
        """
        height, width = self.alpha.shape
        shrink = min(1.0, _PANEL_SIDE / max(height, width))
        small = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        cutout = resize_cutout(self.cutout() if cutout is None else cutout, *small)
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
        output: str | Path,
        stem: str | None = None,
        *,
        only: Collection[str] | None = None,
        depth_format: str = "png",
        background: BackgroundSource | None = None,
    ) -> list[Path]:
        """Write the prediction's files, which take their places once all are complete.

        An output that ends like a file, such as ``"cutout.png"``, gets one layer: the cutout, with
        a background the composite, or the one that ``only`` names. It is replaced if it exists.

        A folder also gets a JSON, which says how to read the other files and lists them, with those
        that earlier predictions left there. Listed files are replaced; any other file of such a
        name is an error. The depth of an earlier prediction is removed where this one has none, or
        has it in another format.

        Args:
            output: a folder, made if it is missing; or one file.
            stem: first part of the names in a folder; the picture's own if left out. Arrays have
                no name and become ``"picture"``, each in place of the one before: name them.
            only: some of ``alpha disparity depth cutout composite preview json``; all if left
                out. Depth is written only where it is metric. Where that leaves nothing to write,
                there is no JSON either.
            depth_format: ``"png"`` (16-bit millimetres, to 65.535 m) or ``"npy"`` (float32 metres).
            background: a colour or picture; the `composite` with it is written too.

        Returns:
            The written paths.

        Raises:
            UsageError: an unknown format or depth format, a stem with a folder in it or beside one
                file, a layer that such a file cannot hold, or a file that would overwrite an
                input; nothing is written then.
            StorageError: the folder cannot be made, a file cannot be written, or one is there that
                is no prediction's.
        """
        return save_prediction(
            self,
            output,
            stem,
            only=only,
            depth_format=depth_format,
            background=background,
        )


def load_background(source: BackgroundSource) -> tuple[int, int, int] | NDArray[np.uint8]:
    """A colour as red, green and blue, or a picture as uint8 (H, W, 3); each is a source itself.

    Raises:
        PictureError: the source is neither a colour nor a readable picture.
    """
    if not (isinstance(source, tuple) or (isinstance(source, str) and not os.path.lexists(source))):
        return load_picture(source)
    try:
        values = ImageColor.getrgb(source)[:3] if isinstance(source, str) else source
        red, green, blue = np.array(values, np.uint8).tolist()
    except (ValueError, TypeError, OverflowError):
        if isinstance(source, str) and os.path.splitext(source)[1]:  # noqa: PTH122
            return load_picture(source)  # raises the reason why it cannot be opened
        raise PictureError(
            "a colour or a picture as background",
            repr(source)[:80],
            "",
            f"{source!r:.80} is neither a colour, such as white or #20a040, nor a picture that can "
            "be found.",
        ) from None
    return red, green, blue


def _fill_frame(
    background: tuple[int, int, int] | NDArray[np.uint8], height: int, width: int
) -> NDArray[np.uint8]:
    """A colour, or a picture scaled and cropped to fill the frame: (H, W, 3)."""
    if isinstance(background, tuple):
        return np.broadcast_to(np.array(background, np.uint8), (height, width, 3))
    scale = min(background.shape[0] / height, background.shape[1] / width)
    rows, columns = (max(1, round(side * scale)) for side in (height, width))
    top, left = (background.shape[0] - rows) // 2, (background.shape[1] - columns) // 2
    return resize(background[top : top + rows, left : left + columns], height, width)


def _to_8_bit(alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    codes = np.empty(alpha.shape, np.uint8)
    for rows in bands(*alpha.shape):
        codes[rows] = np.rint(np.clip(alpha[rows], 0, 1) * 255)
    return codes


def _checkerboard(height: int, width: int) -> NDArray[np.float32]:
    rows, columns = np.ogrid[:height, :width]
    odd = (rows // _CHECK_SIDE + columns // _CHECK_SIDE) % 2
    return np.where(odd == 1, *_CHECK_GREYS).astype(np.float32)[..., None]  # (H, W, 1)

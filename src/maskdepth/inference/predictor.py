"""From a user's picture to a prediction: one pre- and postprocess over a backend."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from maskdepth.depth import decode_disparity
from maskdepth.errors import ModelError, PictureError, PlateError, UsageError
from maskdepth.images import load_grey16, load_picture, resize, resize_disparity
from maskdepth.inference.matting.close_up import find_close_up, loses_foreground
from maskdepth.inference.matting.evidence import Neighbourhood
from maskdepth.inference.matting.refinement import look_about, refine_alpha
from maskdepth.inference.model.backend import OUTPUTS, Backend, OnnxBackend
from maskdepth.inference.model.folder import ModelCard, load_model_folder, network_file
from maskdepth.inference.model.locate import find_model
from maskdepth.inference.plate.alignment import align_frame
from maskdepth.inference.plate.profile import PlateProfile, is_profile, load_profile
from maskdepth.inference.plate.registration import Registration, register_plate
from maskdepth.inference.prediction import NO_DEPTH, Prediction

__all__ = ["PictureSource", "Prediction", "Predictor"]

PictureSource = str | os.PathLike[str] | bytes | Image | NDArray[np.uint8]
"""A path, the bytes of a file, a Pillow image, or uint8 (H, W, 3) RGB."""

Float = NDArray[np.float32]
Picture = NDArray[np.uint8]

_ASPECT_TOLERANCE = 0.01
# A strip of a picture stays within this many training sizes, so that memory stays bounded.
_MAX_ASPECT = 16


@dataclass(frozen=True)
class _Look:
    """What the network saw, and what it says of it, all (h, w) or (h, w, 3).

    ``about`` is what `look_about` makes of it, where that was asked.
    """

    picture: Picture
    plate: Picture | None
    alpha: Float
    disparity: Float
    about: Neighbourhood | None = None


class Predictor:
    """A model, ready to predict. Make one with `from_pretrained`.

    Args:
        backend: runs the network.
        card: says what sizes the network was made for, and what it learned.
        register: whether a plate is first moved and lit as its picture is, see
            `maskdepth.inference.plate.registration`.
        refine: whether outlines are read from the picture and its plate, see
            `maskdepth.inference.matting.refinement`.
        second_look: whether foreground before a plate is seen again from closer, where the picture
            is larger than what the network sees, see `maskdepth.inference.matting.close_up`.
    """

    def __init__(
        self,
        backend: Backend,
        card: ModelCard,
        *,
        register: bool = True,
        refine: bool = True,
        second_look: bool = True,
    ) -> None:
        self.card = card
        self._backend = backend
        self._register = register
        self._refine = refine
        self._second_look = second_look

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | None = None,
        *,
        precision: str = "fp32",
        device: str = "auto",
        threads: int | None = None,
        register: bool = True,
        refine: bool = True,
        second_look: bool = True,
        download: bool = True,
    ) -> Self:
        """Load a model.

        Args:
            model: its folder, or its hub id ``"owner/name"``; None or ``"shipped"`` is the one
                that comes with the package.
            precision: ``"fp32"``, or ``"int8"`` where the model has such a network.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
            threads: CPU threads, all cores if left out.
            register, refine, second_look: see `Predictor`.
            download: of a hub id, get what the cache lacks. Nothing else asks the network.

        Raises:
            WeightsNotShippedError: the shipped model, where the installation lacks it.
            ModelError: the model is missing, of another version, incomplete or changed.
            UsageError: an unknown precision, a device that cannot be used, or no threads.
            DependencyError: a hub id, and huggingface_hub is not installed.
        """
        file = network_file(precision)
        folder = find_model(model, files=[file], download=download)
        card = load_model_folder(folder, precision)
        backend = OnnxBackend(folder / file, device, threads)
        return cls(backend, card, register=register, refine=refine, second_look=second_look)

    def predict(
        self,
        image: PictureSource,
        plate: PictureSource | PlateProfile | None = None,
        plate_disparity: str | os.PathLike[str] | NDArray[Any] | None = None,
    ) -> Prediction:
        """Alpha and disparity of one picture, at its own size; depth where the plate knows metres.

        Args:
            image: a path, encoded bytes, a PIL picture, or uint8 (H, W, 3) RGB.
            plate: the same scene without foreground, likewise. Another size is resized if the
                aspect ratio is the same to within 1 %. Or a plate profile, or the path of its
                ``.plate`` file: then its disparity goes in too, and what is predicted comes out in
                the plate's units (see `maskdepth.inference.plate.alignment`).
            plate_disparity: the plate's disparity: floating (H, W) in [0,1] with near = 1 and
                NaN invalid, or the path of a 16-bit PNG of it; of the plate's aspect ratio.

        Raises:
            PictureError: an input cannot be read, or the plate does not fit the picture.
            PlateError: a plate profile cannot be read, or is of another scene.
            UsageError: a plate disparity without a plate, or beside a plate profile.
            ModelError: the network fails.
        """
        if is_profile(plate):
            plate = load_profile(cast(Path, plate))
        if isinstance(plate, PlateProfile):
            if plate_disparity is not None:
                raise UsageError(
                    "a plate profile alone", "a plate disparity too", "leave the disparity out"
                )
            return self._predict_aligned(image, plate)
        picture = _load_own(image)
        size = (picture.shape[0], picture.shape[1])
        if plate is None and plate_disparity is not None:
            raise UsageError("a plate with its disparity", "no plate", "pass the plate as well")
        plate_pixels = None if plate is None else _fit(_load_own(plate), size, "plate")
        known = None if plate_disparity is None else _load_disparity(plate_disparity, size)
        small = resize(picture, *self._working_size(*size))
        registration = None
        if plate_pixels is not None and self._register:
            registration = _register(small, plate_pixels)
            plate_pixels = registration.move_picture(plate_pixels)
            known = None if known is None else registration.move_map(known)
        alpha, disparity = self._see(picture, small, plate_pixels, known)
        return Prediction(
            image=picture,
            alpha=alpha,
            disparity=disparity,
            plate=plate_pixels,
            plate_disparity_used=known is not None,
            registration=registration,
            card=self.card,
            source=_path_of(image),
            plate_source=_path_of(plate),
            plate_disparity_source=_path_of(plate_disparity),
        )

    def _predict_aligned(self, image: PictureSource, plate: PlateProfile) -> Prediction:
        picture = _load_own(image)
        height, width = picture.shape[:2]
        _check_aspect(plate.disparity.shape, (height, width), "plate profile")
        profile = plate.at_size(height, width)
        small = resize(picture, *self._working_size(height, width))
        registration = None
        if self._register:
            registration = _register(small, profile.picture)
            _refuse_another_scene(registration, plate)
            profile = profile.registered(registration)
        alpha, disparity = self._see(
            picture, small, profile.picture, profile.proportional_disparity
        )
        frame = align_frame(disparity, alpha > 0.5, profile)
        return Prediction(
            image=picture,
            alpha=alpha,
            disparity=frame.disparity,
            plate=profile.picture,
            plate_disparity_used=True,
            registration=registration,
            depth_m=frame.depth_m,
            alignment=frame.alignment,
            calibration=profile.calibration,
            card=self.card,
            source=_path_of(image),
            plate_source=plate.file,
        )

    def _see(
        self, picture: Picture, small: Picture, plate: Picture | None, known: Float | None
    ) -> tuple[Float, Float]:
        """Alpha and disparity of a picture, at its size.

        Args:
            picture: (H, W, 3).
            small: the same at the network's working size.
            plate: (H, W, 3), registered, or None.
            known: (H, W) the plate's disparity, or None.
        """
        size, work = picture.shape[:2], small.shape[:2]
        whole = self._look(small, plate, known, work)
        disparity = _to_unit(resize(whole.disparity, *size))
        if self.card.depth == NO_DEPTH:
            disparity = np.full_like(disparity, np.nan)
        closer = self._look_closer(whole, picture, plate, known)
        if closer is None or plate is None:
            return _to_unit(self._finish(whole, picture, plate)), disparity
        look, place = closer
        alpha = self._finish(whole, picture, plate, elsewhere=place)
        alpha[place] = self._finish(look, picture[place], plate[place])
        return _to_unit(alpha), disparity

    def _look_closer(
        self, whole: _Look, picture: Picture, plate: Picture | None, known: Float | None
    ) -> tuple[_Look, tuple[slice, slice]] | None:
        """A second look that counts, and at what part of the picture it was."""
        if plate is None or not self._second_look:
            return None
        place = find_close_up(whole.alpha, picture.shape[:2])
        if place is None:
            return None
        known_part = None if known is None else known[place]
        closer = self._look(picture[place], plate[place], known_part, whole.alpha.shape)
        assert closer.plate is not None
        about = look_about(closer.picture, closer.plate, closer.alpha)
        if loses_foreground(about):
            return None
        return replace(closer, about=about), place

    def _look(
        self, picture: Picture, plate: Picture | None, known: Float | None, work: tuple[int, int]
    ) -> _Look:
        """Run the network on a picture, or on a part of one, at its working size."""
        seen = resize(picture, *work)
        plate_seen = None if plate is None else resize(plate, *work)
        given = (
            np.zeros((1, 3, *work), np.float32) if plate_seen is None else _to_batch(plate_seen),
            np.zeros((1, 1, *work), np.float32)
            if known is None
            else np.clip(resize_disparity(known, *work), 0, 1)[None, None],
            np.array([[plate is not None, known is not None]], np.float32),
        )
        outputs = self._backend.run(_to_batch(seen), *given)
        for name, value in zip(OUTPUTS, outputs, strict=True):
            if value.shape != (1, 1, *work) or not np.isfinite(value).all():
                raise ModelError(
                    f"finite {name} of shape {(1, 1, *work)}",
                    f"shape {value.shape}, or values that are not finite",
                    "train and export the model anew",
                )
        alpha, disparity = (_to_unit(value[0, 0]) for value in outputs)
        return _Look(seen, plate_seen, alpha, disparity)

    def _finish(
        self,
        look: _Look,
        picture: Picture,
        plate: Picture | None,
        elsewhere: tuple[slice, slice] | None = None,
    ) -> Float:
        """Alpha of what was looked at, at its own size; a part may be found ``elsewhere``."""
        size = picture.shape[:2]
        if plate is None or look.plate is None or not self._refine:
            return resize(look.alpha, *size)
        # A network of a fixed size may see a picture enlarged; outlines are read in its own pixels.
        height, width = (min(pair) for pair in zip(size, look.alpha.shape, strict=True))
        seen, plate_seen, about = look.picture, look.plate, look.about
        if look.alpha.shape != (height, width):
            seen, plate_seen = (resize(each, height, width) for each in (picture, plate))
            about = None
        alpha = resize(look.alpha, height, width)
        return refine_alpha(
            picture, plate, seen, plate_seen, alpha, known=about, elsewhere=elsewhere
        )

    def _working_size(self, height: int, width: int) -> tuple[int, int]:
        """The size the network sees: what it was trained on, or the picture's if smaller."""
        if self.card.fixed_size is not None:
            return self.card.fixed_size, self.card.fixed_size
        side = self.card.training_size
        scale = min(1.0, side / min(height, width), _MAX_ASPECT * side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))


def _register(small: Picture, plate: Picture) -> Registration:
    """A plate of the picture's size, held against the picture at the size the network sees."""
    return register_plate(small, resize(plate, *small.shape[:2]))


def _refuse_another_scene(registration: Registration, profile: PlateProfile) -> None:
    """Metres of another scene would look like an answer."""
    if registration.another_scene:
        name = "the plate profile" if profile.file is None else str(profile.file)
        raise PlateError(
            f"a picture of the scene of {name}",
            f"one in which {registration.agreeing} of its {registration.corners} corners are found",
            "use the profile of this camera, or switch registration off",
        )


def _load_own(source: PictureSource) -> NDArray[np.uint8]:
    """Pixels that stay as they are when the caller reuses the array, as a camera loop does."""
    pixels = load_picture(source)
    return pixels.copy() if pixels is source else pixels


def _fit(pixels: NDArray[Any], size: tuple[int, int], name: str) -> NDArray[Any]:
    """Resize what belongs to the plate to the picture's size, if its aspect ratio allows."""
    _check_aspect(pixels.shape, size, name)
    return resize(pixels, *size)


def _check_aspect(shape: tuple[int, ...], size: tuple[int, int], name: str) -> None:
    height, width = size
    rows, columns = shape[:2]
    if abs((columns * height) / (rows * width) - 1) > _ASPECT_TOLERANCE:
        raise PictureError(
            f"a {name} of the picture's aspect ratio, {width}x{height}",
            f"{columns}x{rows}",
            f"take the {name} with the same camera and framing, or leave it out",
        )


def _load_disparity(source: str | os.PathLike[str] | NDArray[Any], size: tuple[int, int]) -> Float:
    """float32 (H, W) in [0,1] at the picture's size; invalid pixels are 0, as in training."""
    if not isinstance(source, np.ndarray):
        values = decode_disparity(load_grey16(source))
    else:
        if source.ndim != 2 or source.size == 0 or source.dtype.kind != "f":
            raise PictureError(
                "a plate disparity of floating (H, W) in [0,1]",
                f"{source.dtype} {source.shape}",
                "divide codes by their largest value, or pass the PNG's path",
            )
        with np.errstate(over="ignore"):  # what no float32 holds is beyond [0, 1] as infinity is
            values = np.ma.filled(source, np.nan).astype(np.float32)
    _check_aspect(values.shape, size, "plate disparity")
    values = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0)
    return resize_disparity(values, *size)


def _to_unit(values: Float) -> Float:
    return np.clip(values, 0, 1).astype(np.float32, copy=False)


def _to_batch(pixels: NDArray[np.uint8]) -> Float:
    """uint8 (H, W, 3) to float32 (1, 3, H, W) in [0,1]."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    return planes.astype(np.float32) / np.float32(255)


def _path_of(source: object) -> Path | None:
    return Path(source) if isinstance(source, (str, os.PathLike)) else None

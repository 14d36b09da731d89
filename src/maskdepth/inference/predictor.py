"""From a picture and its plate to a prediction: the path of one picture, top to bottom.

`Predictor.predict` loads the picture, prepares its plate (`maskdepth.inference.plate.prepared`),
and brings the plate onto the picture. The network then runs at its own input size, and once more on
the foreground alone where the picture is larger (`maskdepth.inference.matting.close_up`). Outlines
are refined at the picture's size (`maskdepth.inference.matting.refinement`), and a plate profile
brings disparity into its units and metres (`maskdepth.inference.plate.alignment`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from maskdepth.depth import decode_disparity
from maskdepth.errors import ModelError, PictureError, PlateError, UsageError
from maskdepth.images import load_grey16, load_picture, resize, resize_disparity
from maskdepth.inference.matting.close_up import find_close_up, loses_foreground
from maskdepth.inference.matting.evidence import Evidence, measure_evidence
from maskdepth.inference.matting.refinement import refine_alpha
from maskdepth.inference.model.backend import OUTPUTS, Backend, OnnxBackend
from maskdepth.inference.model.card import NO_DEPTH, ModelCard
from maskdepth.inference.model.folder import load_model_folder, network_file
from maskdepth.inference.model.locate import find_model
from maskdepth.inference.plate.alignment import align_frame
from maskdepth.inference.plate.prepared import PreparedPlate, RegisteredPlate
from maskdepth.inference.plate.profile import PlateProfile, is_profile, load_profile
from maskdepth.inference.prediction import Prediction, Provenance
from maskdepth.inference.stream import Stream, StreamState

__all__ = ["PictureSource", "Prediction", "Predictor"]

PictureSource = str | os.PathLike[str] | bytes | Image | NDArray[np.uint8]
"""A path, the bytes of a file, a Pillow image, or uint8 (H, W, 3) RGB."""

PlateSource = PictureSource | PlateProfile | PreparedPlate
DisparitySource = str | os.PathLike[str] | NDArray[Any]

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Window = tuple[slice, slice]

_ASPECT_TOLERANCE = 0.01
# A strip of a picture stays within this many training sizes, so that memory stays bounded.
_MAX_ASPECT = 16


@dataclass(frozen=True)
class _NetworkRun:
    """One run of the network: its inputs and outputs, all (h, w) or (h, w, 3).

    ``evidence`` is that of the run, where it has been measured.
    """

    picture: Picture
    plate: Picture | None
    alpha: Floats
    disparity: Floats
    evidence: Evidence | None = None


class Predictor:
    """A model, ready to predict. Make one with `from_pretrained`.

    A predictor holds no state of the pictures it has predicted, so threads may share it. It can be
    copied and pickled: its options and its model's path travel, and the copy opens the model again.

    Args:
        backend: runs the network.
        card: the model's.
        register: whether a plate is first moved and lit as its picture is, see
            `maskdepth.inference.plate.registration`.
        refine: whether outlines are corrected from the picture and its plate, see
            `maskdepth.inference.matting.refinement`.
        close_up: whether the network runs a second time on the foreground alone, where the picture
            is larger than the network's input, see `maskdepth.inference.matting.close_up`.
    """

    def __init__(
        self,
        backend: Backend,
        card: ModelCard,
        *,
        register: bool = True,
        refine: bool = True,
        close_up: bool = True,
    ) -> None:
        self.card = card
        self._backend = backend
        self._register = register
        self._refine = refine
        self._close_up = close_up

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
        close_up: bool = True,
        download: bool = True,
        **removed: bool,
    ) -> Self:
        """Load a model.

        Args:
            model: its folder, or its hub id ``"owner/name"``; None or ``"shipped"`` is the one
                that comes with the package.
            precision: ``"fp32"``, or ``"int8"`` where the model has such a network.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
            threads: CPU threads, all cores if left out.
            register, refine, close_up: see `Predictor`.
            download: fetch what the cache lacks of a hub id. Nothing else uses the network.

        Raises:
            WeightsNotShippedError: the shipped model, where the installation lacks it.
            ModelError: the model is missing, of another version, incomplete or changed.
            UsageError: an unknown precision, a device that cannot be used, or no threads.
            DependencyError: a hub id, and huggingface_hub is not installed.
        """
        _check_removed(removed)
        file = network_file(precision)
        folder = find_model(model, files=[file], download=download)
        card = load_model_folder(folder, precision)
        backend = OnnxBackend(folder / file, device, threads)
        return cls(backend, card, register=register, refine=refine, close_up=close_up)

    def predict(
        self,
        image: PictureSource,
        plate: PlateSource | None = None,
        plate_disparity: DisparitySource | None = None,
    ) -> Prediction:
        """Alpha and disparity of one picture, at its own size; depth where the plate has metres.

        Args:
            image: a path, encoded bytes, a PIL picture, or uint8 (H, W, 3) RGB.
            plate: the same scene without foreground, as a picture, a plate profile, the path of a
                ``.plate`` file, or what `prepare` made of one of these for this picture's size.
            plate_disparity: see `prepare`.

        Raises:
            PictureError: an input cannot be read, or the plate does not fit the picture.
            PlateError: a plate profile cannot be read, or is of another scene.
            UsageError: a plate disparity without a plate, or beside a plate that has its own; a
                plate that was prepared for another size.
            ModelError: the network fails.
        """
        picture = _load_own(image)
        size = (picture.shape[0], picture.shape[1])
        small = resize(picture, *self._input_size(*size))
        prepared = None
        if plate is not None:
            prepared = self.prepare(plate, size, disparity=plate_disparity)
        elif plate_disparity is not None:
            raise UsageError(
                "a plate with its disparity",
                "no plate",
                "pass the plate as well",
                "A plate's disparity needs its plate.",
            )
        registered = None if prepared is None else self._bring_onto(prepared, small)
        alpha, disparity = self._predict_layers(picture, small, registered)
        provenance = Provenance(
            card=self.card,
            picture_file=_path_of(image),
            plate_file=None if prepared is None else prepared.file,
            plate_disparity_file=None if prepared is None else prepared.disparity_file,
            plate_disparity_used=registered is not None and registered.disparity is not None,
            registration=None if registered is None else registered.registration,
        )
        depth_m = None
        if registered is not None and registered.profile is not None:
            frame = align_frame(disparity, alpha > 0.5, registered.profile)
            disparity, depth_m = frame.disparity, frame.depth_m
            calibration = registered.profile.calibration
            provenance = replace(provenance, alignment=frame.alignment, calibration=calibration)
        plate_picture = None if registered is None else registered.picture
        return Prediction(picture, alpha, disparity, plate_picture, depth_m, provenance)

    def prepare(
        self, plate: PlateSource, size: tuple[int, int], *, disparity: DisparitySource | None = None
    ) -> PreparedPlate:
        """Do all work on a plate that does not depend on the picture, once for many pictures.

        Args:
            plate: a picture, as in `predict`. Another size is resized if the aspect ratio is the
                same to within 1 %. Or a plate profile, or the path of its ``.plate`` file: its
                disparity goes in too, and predictions come out in the plate's units (see
                `maskdepth.inference.plate.alignment`). A plate that was prepared for this size is
                returned as it is.
            size: height and width of the pictures.
            disparity: the plate's disparity: floating (H, W) in [0,1] with near = 1 and NaN
                invalid, or the path of a 16-bit PNG of it; of the plate's aspect ratio.

        Raises:
            PictureError, PlateError, UsageError: as in `predict`.
        """
        if isinstance(plate, PreparedPlate):
            return self._check_prepared(plate, size, disparity)
        if is_profile(plate):
            plate = load_profile(cast(Path, plate))
        if isinstance(plate, PlateProfile):
            if disparity is not None:
                raise UsageError(
                    "a plate profile alone",
                    "a plate disparity too",
                    "leave the disparity out",
                    "A plate profile has its own disparity.",
                )
            _check_aspect(plate.disparity.shape, size, "plate profile")
            profile = plate.at_size(*size)
            return PreparedPlate(
                picture=profile.picture,
                small=resize(profile.picture, *self._input_size(*size)),
                disparity=profile.proportional_disparity,
                profile=profile,
                file=plate.file,
            )
        picture = _load_own(plate)
        _check_aspect(picture.shape, size, "plate")
        picture = resize(picture, *size)
        return PreparedPlate(
            picture=picture,
            small=resize(picture, *self._input_size(*size)),
            disparity=None if disparity is None else _load_disparity(disparity, size),
            file=_path_of(plate),
            disparity_file=_path_of(disparity),
        )

    def step(
        self,
        frame: PictureSource,
        plate: PreparedPlate | None,
        state: StreamState,
        time_s: float | None = None,
    ) -> tuple[Prediction, StreamState]:
        """Predict the next frame of a stream.

        Args:
            frame: as ``image`` in `predict`.
            plate: the camera's, prepared for the frames' size.
            state: what the step before returned; ``StreamState()`` for the first frame.
            time_s: when the frame was taken, seconds from any start.

        Returns:
            The prediction, and the state for the next step.

        Raises:
            MaskdepthError: as `predict`.
        """
        prediction = self.predict(frame, plate)
        return prediction, state.after(prediction, time_s)

    def stream(
        self,
        plate: PlateSource | None = None,
        *,
        plate_disparity: DisparitySource | None = None,
    ) -> Stream:
        """A stream of frames before one plate; see `Stream`."""
        return Stream(self, plate, plate_disparity)

    def _bring_onto(self, prepared: PreparedPlate, small: Picture) -> RegisteredPlate:
        """The plate as the picture shows it; metres of another scene would look like an answer."""
        if not self._register:
            return prepared.unregistered()
        registered = prepared.register(small)
        registration = registered.registration
        if prepared.profile is None or registration is None or not registration.another_scene:
            return registered
        name = "the plate profile" if prepared.file is None else str(prepared.file)
        raise PlateError(
            f"a picture of the scene of {name}",
            f"one in which {registration.agreeing} of its {registration.corners} corners are found",
            "use the profile of this camera, or switch registration off",
            f"The picture shows another scene than {name}: {registration.agreeing} of the plate's "
            f"{registration.corners} corners are found in it.",
        )

    def _predict_layers(
        self, picture: Picture, small: Picture, plate: RegisteredPlate | None
    ) -> tuple[Floats, Floats]:
        """Alpha and disparity of a picture, at its size.

        Args:
            picture: (H, W, 3).
            small: the same at the network's input size.
        """
        size = picture.shape[:2]
        if plate is None:
            run = self._run_network(small, None, None)
        else:
            run = self._run_network(small, plate.small, plate.small_disparity)
        disparity = _to_unit(resize(run.disparity, *size))
        if self.card.depth == NO_DEPTH:
            disparity = np.full_like(disparity, np.nan)
        if plate is None:
            return _to_unit(resize(run.alpha, *size)), disparity
        close_up = self._run_close_up(run, picture, plate)
        if close_up is None:
            return _to_unit(self._refine_run(run, picture, plate.picture)), disparity
        closer, window = close_up
        alpha = self._refine_run(run, picture, plate.picture, skip=window)
        alpha[window] = self._refine_run(closer, picture[window], plate.picture[window])
        return _to_unit(alpha), disparity

    def _run_close_up(
        self, run: _NetworkRun, picture: Picture, plate: RegisteredPlate
    ) -> tuple[_NetworkRun, Window] | None:
        """A run on the foreground alone, and the part of the picture it shows; None if useless."""
        window = find_close_up(run.alpha, picture.shape[:2]) if self._close_up else None
        if window is None:
            return None
        size = run.alpha.shape
        disparity = plate.disparity
        if disparity is not None:
            disparity = np.clip(resize_disparity(disparity[window], *size), 0, 1)
        small_plate = resize(plate.picture[window], *size)
        closer = self._run_network(resize(picture[window], *size), small_plate, disparity)
        evidence = measure_evidence(closer.picture, small_plate, closer.alpha)
        if loses_foreground(evidence):
            return None
        return replace(closer, evidence=evidence), window

    def _run_network(
        self, picture: Picture, plate: Picture | None, plate_disparity: Floats | None
    ) -> _NetworkRun:
        """Run the network on a picture, or on a part of one, at its input size."""
        size = picture.shape[:2]
        no_plate, no_disparity = plate is None, plate_disparity is None
        inputs = (
            np.zeros((1, 3, *size), np.float32) if plate is None else _to_batch(plate),
            np.zeros((1, 1, *size), np.float32)
            if plate_disparity is None
            else plate_disparity[None, None],
            np.array([[not no_plate, not no_disparity]], np.float32),
        )
        outputs = self._backend.run(_to_batch(picture), *inputs)
        for name, value in zip(OUTPUTS, outputs, strict=True):
            if value.shape != (1, 1, *size) or not np.isfinite(value).all():
                raise ModelError(
                    f"finite {name} of shape {(1, 1, *size)}",
                    f"shape {value.shape}, or values that are not finite",
                    "train the model again, or use another one",
                    f"The network's {name} has the wrong size, or values that are not finite.",
                )
        alpha, disparity = (_to_unit(value[0, 0]) for value in outputs)
        return _NetworkRun(picture, plate, alpha, disparity)

    def _refine_run(
        self, run: _NetworkRun, picture: Picture, plate: Picture, skip: Window | None = None
    ) -> Floats:
        """Alpha of a run at its picture's own size; ``skip`` is a part that need not be refined."""
        size = picture.shape[:2]
        if run.plate is None or not self._refine:
            return resize(run.alpha, *size)
        small, small_plate, evidence = run.picture, run.plate, run.evidence
        # The input of a network of a fixed size may be an enlarged picture. Outlines are measured
        # in the picture's own pixels.
        height, width = (min(pair) for pair in zip(size, run.alpha.shape, strict=True))
        if run.alpha.shape != (height, width):
            small, small_plate = (resize(each, height, width) for each in (picture, plate))
            evidence = None
        alpha = resize(run.alpha, height, width)
        return refine_alpha(picture, plate, small, small_plate, alpha, evidence, skip)

    def _input_size(self, height: int, width: int) -> tuple[int, int]:
        """The network's input size: what it was trained on, or the picture's if smaller."""
        if self.card.fixed_size is not None:
            return self.card.fixed_size, self.card.fixed_size
        side = self.card.training_size
        scale = min(1.0, side / min(height, width), _MAX_ASPECT * side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _check_prepared(
        self, plate: PreparedPlate, size: tuple[int, int], disparity: DisparitySource | None
    ) -> PreparedPlate:
        if disparity is not None:
            raise UsageError(
                "a prepared plate alone",
                "a plate disparity too",
                "pass the disparity to `prepare`",
                "A prepared plate has its disparity already.",
            )
        if plate.size != size or plate.small.shape[:2] != self._input_size(*size):
            given, wanted = ("{1}x{0}".format(*each) for each in (plate.size, size))
            raise UsageError(
                f"a plate prepared for {wanted} and this model",
                f"one prepared for {given}",
                "prepare it again with this predictor and size",
                f"The plate was prepared for pictures of {given}, this one is {wanted}."
                if given != wanted
                else "The plate was prepared for a model of another input size.",
            )
        return plate


def _check_removed(options: dict[str, bool]) -> None:
    for name in options:
        if name == "second_look":
            raise UsageError(
                "close_up=", "second_look=", "", "Write close_up= in place of second_look=."
            )
        raise TypeError(f"from_pretrained() has no argument {name!r}")


def _load_own(source: PictureSource) -> Picture:
    """Pixels that stay as they are when the caller reuses the array, as a camera loop does."""
    pixels = load_picture(source)
    return pixels.copy() if pixels is source else pixels


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
        with np.errstate(over="ignore"):  # beyond float32 is beyond [0, 1], as infinity is
            values = np.ma.filled(source, np.nan).astype(np.float32)
    _check_aspect(values.shape, size, "plate disparity")
    values = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0)
    return resize_disparity(values, *size)


def _to_unit(values: Floats) -> Floats:
    return np.clip(values, 0, 1).astype(np.float32, copy=False)


def _to_batch(pixels: Picture) -> Floats:
    """uint8 (H, W, 3) to float32 (1, 3, H, W) in [0,1]."""
    batch = np.empty((1, 3, *pixels.shape[:2]), np.float32)
    for plane, channel in zip(batch[0], cv2.split(pixels), strict=True):
        np.divide(channel, np.float32(255), out=plane)
    return batch


def _path_of(source: object) -> Path | None:
    return Path(source) if isinstance(source, (str, os.PathLike)) else None

"""From a picture and its plate to a prediction: the path of one picture, top to bottom.

1. `Predictor.predict` loads the picture and prepares the plate, unless that has been done before
   (`maskdepth.inference.plate.prepared`).
2. The plate is moved and relit to match the picture (`maskdepth.inference.plate.registration`).
3. The network runs on both at its input size. Where the picture is larger, a close-up is a second
   run on the part that holds the foreground (`maskdepth.inference.matting.close_up`).
4. Alpha is refined along outlines at the picture's size (`maskdepth.inference.matting.refinement`).
5. A plate profile brings disparity into its units (`maskdepth.inference.plate.alignment`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from maskdepth.errors import ModelError, PlateError, UsageError
from maskdepth.images import PictureSource, resize, resize_disparity, to_grey
from maskdepth.inference.matting.close_up import find_close_up, loses_foreground
from maskdepth.inference.matting.evidence import Evidence, measure_evidence
from maskdepth.inference.matting.refinement import refine_alpha
from maskdepth.inference.matting.uncovered import judge_uncovered
from maskdepth.inference.model.backend import OUTPUTS, Backend, OnnxBackend
from maskdepth.inference.model.card import NO_DEPTH, ModelCard
from maskdepth.inference.model.folder import load_model_folder, network_file
from maskdepth.inference.model.locate import find_model
from maskdepth.inference.plate.alignment import align_frame
from maskdepth.inference.plate.colour import lacks_colour
from maskdepth.inference.plate.loading import (
    DisparitySource,
    PlateSource,
    load_copy,
    path_of,
    prepare_plate,
)
from maskdepth.inference.plate.notices import find_notices, plate_notices
from maskdepth.inference.plate.prepared import (
    Floats,
    Mask,
    Picture,
    PreparedPlate,
    RegisteredPlate,
    shrink_disparity,
)
from maskdepth.inference.prediction import Prediction, Provenance
from maskdepth.inference.stream import Stream, StreamState

__all__ = ["Prediction", "Predictor"]

Window = tuple[slice, slice]

# The network loses the objects of smaller pictures: at 48x64 px the mean Dice of 32 pairs was 0.58
# as they were, 0.965 enlarged to 160 px, and no better enlarged further.
_MIN_INPUT_SIDE = 160
_MAX_LENGTH = 16  # training sizes: the longest input, which bounds the memory for a narrow strip


@dataclass(frozen=True)
class _NetworkRun:
    """One run of the network at its input size (h, w): what it read, and what it answered."""

    picture: Picture  # (h, w, 3)
    plate: Picture | None  # (h, w, 3)
    alpha: Floats  # (h, w)
    disparity: Floats  # (h, w)
    evidence: Evidence | None = None  # of these pictures and this alpha; None before it is measured


class Predictor:
    """A model, ready to predict. Make one with `from_pretrained`.

    A predictor keeps nothing from one picture to the next, so threads may share it. It can be
    copied and pickled: its options and its model's path travel, and the copy opens the model again.

    Args:
        backend: runs the network.
        card: describes the model.
        register: whether a plate is first moved and relit to match the picture, see
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
        **unknown: bool,
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
        _check_unknown(unknown)
        file = network_file(precision)
        folder = find_model(model, files=[file], download=download)
        card = load_model_folder(folder, precision)
        backend = OnnxBackend(folder / file, device, threads)
        return cls(backend, card, register=register, refine=refine, close_up=close_up)

    def network_alone(self) -> Predictor:
        """A predictor that takes the network's answer as it is: nothing is aligned or refined."""
        return Predictor(self._backend, self.card, register=False, refine=False, close_up=False)

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
        picture = load_copy(image)
        size = (picture.shape[0], picture.shape[1])
        small_picture = resize(picture, *self._input_size(*size))
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
        registered = None
        if prepared is not None:
            registered = self._match_colours(prepared, picture, small_picture)
        alpha, disparity = self._predict_layers(picture, small_picture, registered)
        provenance = Provenance(
            card=self.card,
            picture_file=path_of(image),
            plate_file=None if prepared is None else prepared.file,
            plate_disparity_file=None if prepared is None else prepared.disparity_file,
            plate_disparity_used=registered is not None and registered.disparity is not None,
            registration=None if registered is None else registered.registration,
        )
        depth_m, mask = None, alpha > 0.5
        if registered is not None and registered.profile is not None:
            frame = align_frame(disparity, mask, registered.profile, registered.covered)
            disparity, depth_m = frame.disparity, frame.depth_m
            calibration = registered.profile.calibration
            provenance = replace(provenance, alignment=frame.alignment, calibration=calibration)
        plate_picture = None if registered is None else registered.picture
        if registered is not None and registered.covered is not None:
            plate_picture = np.where(registered.covered[..., None], registered.picture, picture)
        notices = find_notices(
            small_picture,
            None if registered is None else registered.small_picture,
            mask,
            provenance.registration,
            metric=depth_m is not None,
            compared_in_grey=registered is not None and registered.compared_in_grey,
        )
        return Prediction(
            picture, alpha, disparity, plate_picture, depth_m, provenance, notices=notices
        )

    def prepare(
        self, plate: PlateSource, size: tuple[int, int], *, disparity: DisparitySource | None = None
    ) -> PreparedPlate:
        """Do all work on a plate that does not depend on the picture, once for many pictures.

        Args:
            plate: a picture, as in `predict`, whose aspect ratio is that of the pictures to within
                1 %. Or a plate profile, or the path of its ``.plate`` file: its disparity is used
                too, and predictions come out in its units (see
                `maskdepth.inference.plate.alignment`). A plate that was prepared for this size is
                returned as it is.
            size: height and width of the pictures.
            disparity: the plate's disparity, of the same aspect ratio: floating (H, W) in [0,1]
                with near = 1 and NaN invalid, or the path of a 16-bit PNG of it.

        Raises:
            PictureError, PlateError, UsageError: as in `predict`.
        """
        return prepare_plate(plate, size, self._input_size(*size), disparity)

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
        """A stream of frames that share one plate; see `Stream`."""
        return Stream(self, plate, plate_disparity)

    def _match_colours(
        self, prepared: PreparedPlate, picture: Picture, small_picture: Picture
    ) -> RegisteredPlate:
        """The plate matched to the picture, in grey where one of the two has no colour."""
        if lacks_colour(small_picture, prepared.small_picture):
            matched = self._match_plate(prepared.in_grey, small_picture)
        elif prepared.is_grey and lacks_colour(prepared.small_picture, small_picture):
            matched = self._match_plate(prepared, to_grey(small_picture)).coloured_like(picture)
        else:
            return self._match_plate(prepared, small_picture)
        return replace(matched, compared_in_grey=True)

    def _match_plate(self, prepared: PreparedPlate, small_picture: Picture) -> RegisteredPlate:
        """The plate moved and relit to match the picture, unless registration is switched off.

        A profile of another scene or view is an error: its metres would look right and be wrong.
        """
        if not self._register:
            return prepared.unregistered()
        registered = prepared.register(small_picture)
        registration = registered.registration
        if prepared.profile is None or registration is None:
            return registered
        name = "the plate profile" if prepared.file is None else str(prepared.file)
        if registration.another_scene:
            found = f"{registration.agreeing} of its {registration.corners} corners are found"
            problem = (
                f"The picture shows another scene than {name}: {registration.agreeing} of the "
                f"plate's {registration.corners} corners are found in it."
            )
        elif registration.not_applied is not None:
            found = "another view of it"
            texts = " ".join(notice.text for notice in plate_notices(registration))
            problem = f"The picture shows another view than {name}. {texts}"
        else:
            return registered
        remedy = "use the profile of this camera, or switch registration off"
        raise PlateError(f"a picture of the scene of {name}", found, remedy, problem)

    def _predict_layers(
        self, picture: Picture, small_picture: Picture, plate: RegisteredPlate | None
    ) -> tuple[Floats, Floats]:
        """Alpha and disparity (H, W) of a picture, which also comes at the network's input size."""
        size = picture.shape[:2]
        if plate is None:
            run = self._run_network(small_picture, None, None)
        else:
            run = self._run_network(
                small_picture, plate.small_picture, plate.small_disparity, plate.covered
            )
        disparity = _clip(resize(run.disparity, *size))
        if self.card.depth == NO_DEPTH:
            disparity = np.full_like(disparity, np.nan)
        if plate is None:
            return _clip(resize(run.alpha, *size)), disparity
        close_up = self._run_close_up(run, picture, plate)
        if close_up is None:
            return _clip(self._refine_run(run, picture, plate.picture)), disparity
        close_up_run, window = close_up
        alpha = self._refine_run(run, picture, plate.picture, skip=window)
        alpha[window] = self._refine_run(close_up_run, picture[window], plate.picture[window])
        return _clip(alpha), disparity

    def _run_close_up(
        self, run: _NetworkRun, picture: Picture, plate: RegisteredPlate
    ) -> tuple[_NetworkRun, Window] | None:
        """A second run on the part of the picture that holds the foreground, and that part.

        None where a close-up is switched off, would enlarge too little, or loses foreground.
        """
        window = find_close_up(run.alpha, picture.shape[:2]) if self._close_up else None
        if window is None:
            return None
        size = run.alpha.shape
        small_picture = resize(picture[window], *size)
        small_plate = resize(plate.picture[window], *size)
        disparity = None if plate.disparity is None else plate.disparity[window]
        covered = None if plate.covered is None else plate.covered[window]
        close_up = self._run_network(
            small_picture, small_plate, shrink_disparity(disparity, size), covered
        )
        evidence = measure_evidence(small_picture, small_plate, close_up.alpha)
        if loses_foreground(evidence):
            return None
        return replace(close_up, evidence=evidence), window

    def _run_network(
        self,
        picture: Picture,
        plate: Picture | None,
        disparity: Floats | None,
        covered: Mask | None = None,
    ) -> _NetworkRun:
        """Run the network on a picture, or on a part of one, at its input size.

        ``covered``, of any size, says where the plate shows what its camera saw.
        """
        size = picture.shape[:2]
        outputs = self._backend.run(
            _to_batch(picture),
            np.zeros((1, 3, *size), np.float32) if plate is None else _to_batch(plate),
            np.zeros((1, 1, *size), np.float32) if disparity is None else disparity[None, None],
            np.array([[plate is not None, disparity is not None]], np.float32),
        )
        for name, value in zip(OUTPUTS, outputs, strict=True):
            if value.shape != (1, 1, *size) or not np.isfinite(value).all():
                raise ModelError(
                    f"finite {name} of shape {(1, 1, *size)}",
                    f"shape {value.shape}, or values that are not finite",
                    "train the model again, or use another one",
                    f"The network's {name} has the wrong size, or values that are not finite.",
                )
        alpha, disparity = (_clip(value[0, 0]) for value in outputs)
        if plate is not None and covered is not None:
            small_covered = resize_disparity(covered.astype(np.float32), *size) > 0
            alpha = judge_uncovered(alpha, picture, plate, small_covered)
        return _NetworkRun(picture, plate, alpha, disparity)

    def _refine_run(
        self, run: _NetworkRun, picture: Picture, plate: Picture, skip: Window | None = None
    ) -> Floats:
        """Alpha (H, W) of a run, refined at its picture's size except in the part ``skip``."""
        size = picture.shape[:2]
        if run.plate is None or not self._refine:
            return resize(run.alpha, *size)
        small_picture, small_plate, evidence = run.picture, run.plate, run.evidence
        # The input may be an enlarged picture. Outlines are measured in the picture's own pixels.
        height, width = (min(pair) for pair in zip(size, run.alpha.shape, strict=True))
        if run.alpha.shape != (height, width):
            small_picture, small_plate = (resize(each, height, width) for each in (picture, plate))
            evidence = None
        alpha = resize(run.alpha, height, width)
        return refine_alpha(picture, plate, small_picture, small_plate, alpha, evidence, skip)

    def _input_size(self, height: int, width: int) -> tuple[int, int]:
        """The network's input size: what it was trained on, or a smaller picture's own.

        Pictures below `_MIN_INPUT_SIDE` are enlarged to it.
        """
        if self.card.fixed_size is not None:
            return self.card.fixed_size, self.card.fixed_size
        side = self.card.training_size
        short, long = min(height, width), max(height, width)
        wanted = min(side, max(short, _MIN_INPUT_SIDE))
        scale = min(wanted / short, _MAX_LENGTH * side / long)
        return max(1, round(height * scale)), max(1, round(width * scale))


def _check_unknown(options: dict[str, bool]) -> None:
    """Raise an error for any option; ``second_look`` is the former name of ``close_up``."""
    for name in options:
        if name == "second_look":
            raise UsageError(
                "close_up=", "second_look=", "", "Write close_up= in place of second_look=."
            )
        raise TypeError(f"from_pretrained() has no argument {name!r}")


def _clip(values: Floats) -> Floats:
    """Values in [0, 1], float32."""
    return np.clip(values, 0, 1).astype(np.float32, copy=False)


def _to_batch(pixels: Picture) -> Floats:
    """uint8 (H, W, 3) to float32 (1, 3, H, W) in [0,1]."""
    batch = np.empty((1, 3, *pixels.shape[:2]), np.float32)
    for plane, channel in zip(batch[0], cv2.split(pixels), strict=True):
        np.divide(channel, np.float32(255), out=plane)
    return batch

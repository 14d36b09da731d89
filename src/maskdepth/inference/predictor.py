"""From a picture and its plate to a prediction: the path of one picture, top to bottom.

1. `Predictor.predict` loads the picture and prepares the plate, unless that has been done before
   (`maskdepth.inference.plate.prepared`).
2. The plate is moved and relit to match the picture (`maskdepth.inference.plate.registration`).
3. The network runs on both at its input size. Where the picture is larger, a close-up is a second
   run on the part that holds the foreground (`maskdepth.inference.matting.close_up`).
4. Alpha is refined along outlines at the picture's size (`maskdepth.inference.matting.refinement`).
5. The mask lays the foreground's disparity over the plate's, which was estimated when the plate was
   prepared, or came with it (`maskdepth.inference.plate.alignment`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from maskdepth.errors import PlateError, UsageError
from maskdepth.images import PictureSource, resize, resize_mask, to_grey
from maskdepth.inference.matting.close_up import find_close_up, loses_foreground
from maskdepth.inference.matting.evidence import Evidence, measure_evidence
from maskdepth.inference.matting.refinement import refine_alpha
from maskdepth.inference.matting.uncovered import judge_uncovered
from maskdepth.inference.model.backend import Backend, OnnxBackend, run_network
from maskdepth.inference.model.card import DEPTH_NETWORK_FILE, NO_DEPTH, ModelCard
from maskdepth.inference.model.depth_network import DepthNetwork
from maskdepth.inference.model.folder import (
    DEPTH_CARD_FILE,
    load_depth_card,
    load_model_folder,
    network_file,
)
from maskdepth.inference.model.locate import find_model
from maskdepth.inference.plate.alignment import Alignment, align_frame, split_layers
from maskdepth.inference.plate.calibration import Calibration
from maskdepth.inference.plate.colour import lacks_colour
from maskdepth.inference.plate.loading import (
    DisparitySource,
    PlateSource,
    check_has_plate,
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
)
from maskdepth.inference.plate.profile import PlateProfile
from maskdepth.inference.prediction import Prediction, Provenance
from maskdepth.inference.stream import Stream, StreamState

__all__ = ["Prediction", "Predictor"]

Window = tuple[slice, slice]


@dataclass(frozen=True)
class _NetworkRun:
    """One run of the network at its input size (h, w): what it read, and what it answered."""

    picture: Picture  # (h, w, 3)
    plate: Picture | None  # (h, w, 3)
    alpha: Floats  # (h, w)
    disparity: Floats  # (h, w)
    evidence: Evidence | None = None  # of these pictures and this alpha; None before it is measured


@dataclass(frozen=True, eq=False)
class _Depth:
    """What is known of a picture's depth; the attributes are those of `Prediction`."""

    disparity: Floats  # (H, W)
    sources: Mapping[str, str] = field(default_factory=dict)
    alignment: Alignment | None = None
    calibration: Calibration | None = None
    depth_m: Floats | None = None  # (H, W)
    plate_disparity: Floats | None = None


class Predictor:
    """A model, ready to predict. Make one with `from_pretrained`.

    A predictor keeps nothing from one picture to the next, so threads may share it. It can be
    copied and pickled: its options and its model's path travel, and the copy opens the model again.

    Args:
        backend: runs the network.
        card: describes the model.
        depth_network: estimates the disparity of plates, and of pictures without a plate; None:
            the model's one network does.
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
        depth_network: DepthNetwork | None = None,
        register: bool = True,
        refine: bool = True,
        close_up: bool = True,
    ) -> None:
        self.card = card
        self._backend = backend
        self._depth_network = depth_network
        self._register = register
        self._refine = refine
        self._close_up = close_up

    @property
    def depth_card(self) -> ModelCard:
        """The card of the network that estimates the disparity of plates."""
        return self.card if self._depth_network is None else self._depth_network.card

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
        depth_network = None
        if DEPTH_NETWORK_FILE in card.sha256:
            files = [file, DEPTH_NETWORK_FILE, DEPTH_CARD_FILE]
            folder = find_model(model, files=files, download=download)
            depth_card = load_depth_card(folder, card)
            depth_backend = OnnxBackend(folder / DEPTH_NETWORK_FILE, device, threads)
            depth_network = DepthNetwork(depth_backend, depth_card)
        backend = OnnxBackend(folder / file, device, threads)
        return cls(
            backend,
            card,
            depth_network=depth_network,
            register=register,
            refine=refine,
            close_up=close_up,
        )

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
        check_has_plate(plate, plate_disparity)
        picture = load_copy(image)
        size = (picture.shape[0], picture.shape[1])
        small_picture = resize(picture, *self.card.input_size(*size))
        prepared = None
        if plate is not None:
            prepared = self.prepare(plate, size, disparity=plate_disparity)
        registered = None
        if prepared is not None:
            registered = self._match_colours(prepared, picture, small_picture)
        alpha, run = self._predict_alpha(picture, small_picture, registered)
        depth = self._predict_depth(picture, run, alpha, registered)
        provenance = Provenance(
            card=self.card,
            picture_file=path_of(image),
            plate_file=None if prepared is None else prepared.file,
            plate_disparity_file=None if prepared is None else prepared.disparity_file,
            plate_disparity_used=registered is not None
            and registered.disparity is not None
            and not registered.estimated,
            registration=None if registered is None else registered.registration,
            disparity_sources=depth.sources,
            alignment=depth.alignment,
            calibration=depth.calibration,
        )
        plate_picture = None if registered is None else registered.picture
        if registered is not None and registered.covered is not None:
            plate_picture = np.where(registered.covered[..., None], registered.picture, picture)
        notices = find_notices(
            small_picture,
            None if registered is None else registered.small_picture,
            alpha > 0.5,
            provenance.registration,
            metric=depth.depth_m is not None,
            compared_in_grey=registered is not None and registered.compared_in_grey,
        )
        return Prediction(
            picture,
            alpha,
            depth.disparity,
            plate_picture,
            depth.depth_m,
            provenance,
            notices=notices,
            plate_disparity=_read_only(depth.plate_disparity),
            camera=None
            if prepared is None or prepared.profile is None
            else prepared.profile.camera,
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
        prepared = prepare_plate(plate, size, self.card.input_size(*size), disparity)
        if prepared.disparity is not None:
            return prepared
        if self._depth_network is not None:
            return prepared.with_estimate(self._depth_network.estimate(prepared.picture))
        if self.card.depth == NO_DEPTH:
            return prepared
        return prepared.with_estimate(
            self._run_network(prepared.small_picture, None, None).disparity
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
        """A stream of frames that share one plate; see `Stream`.

        Raises:
            PictureError, PlateError, UsageError: the plate cannot be read, see `Stream`.
        """
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

    def _predict_alpha(
        self, picture: Picture, small_picture: Picture, plate: RegisteredPlate | None
    ) -> tuple[Floats, _NetworkRun]:
        """Alpha (H, W) of a picture, and the network's run on the picture as a whole."""
        size = picture.shape[:2]
        if plate is None:
            run = self._run_network(small_picture, None, None)
            return _clip(resize(run.alpha, *size)), run
        run = self._run_network(
            small_picture, plate.small_picture, plate.small_disparity, plate.covered
        )
        close_up = self._run_close_up(run, picture, plate)
        if close_up is None:
            return _clip(self._refine_run(run, picture, plate.picture)), run
        close_up_run, window = close_up
        alpha = np.zeros(size, np.float32)
        close_alpha = self._refine_run(close_up_run, picture[window], plate.picture[window])
        np.clip(close_alpha, 0, 1, out=alpha[window])
        return alpha, run

    def _predict_depth(
        self, picture: Picture, run: _NetworkRun, alpha: Floats, plate: RegisteredPlate | None
    ) -> _Depth:
        """Disparity of a picture at its own size; depth where the plate has metres."""
        mask = alpha > 0.5
        if plate is None or plate.shows_another_scene:
            return _Depth(self._estimate_alone(picture, run), {"all": "picture"})
        if plate.profile is not None:
            return self._align_to_profile(run, mask, plate.profile, plate.covered)
        if plate.disparity is None or self.card.depth == NO_DEPTH:
            return _Depth(np.full(mask.shape, np.nan, np.float32))
        return _lay_over_plate(run, mask, plate)

    def _estimate_alone(self, picture: Picture, run: _NetworkRun) -> Floats:
        """Disparity (H, W) of a picture without a plate of its scene."""
        if self._depth_network is None and self.card.depth == NO_DEPTH:
            return np.full(picture.shape[:2], np.nan, np.float32)
        answer = run.disparity
        if self._depth_network is not None:
            answer = self._depth_network.estimate(picture)
        elif run.plate is not None:
            answer = self._run_network(run.picture, None, None).disparity
        return _clip(resize(answer, *picture.shape[:2]))

    def _align_to_profile(
        self, run: _NetworkRun, mask: Mask, profile: PlateProfile, covered: Mask | None
    ) -> _Depth:
        """The network's disparity in the units of a plate profile."""
        answer = np.full(mask.shape, np.nan, np.float32)
        if self.card.depth != NO_DEPTH:
            answer = _clip(resize(run.disparity, *mask.shape))
        frame = align_frame(answer, mask, profile, covered)
        sources = {"background": "plate profile", "foreground": "picture"}
        return _Depth(
            frame.disparity,
            sources,
            frame.alignment,
            profile.calibration,
            frame.depth_m,
            profile.disparity,
        )

    def _run_close_up(
        self, run: _NetworkRun, picture: Picture, plate: RegisteredPlate
    ) -> tuple[_NetworkRun, Window] | None:
        """A second run on the part of the picture that holds the foreground, and that part.

        None where a close-up is switched off, would enlarge too little, or loses foreground.
        """
        if not self._close_up:
            return None
        found = find_close_up(run.alpha, picture.shape[:2], any_shape=self.card.fixed_size is None)
        if found is None:
            return None
        window, size = found.window, found.input_size
        small_picture = resize(picture[window], *size)
        small_plate = resize(plate.picture[window], *size)
        covered = None if plate.covered is None else plate.covered[window]
        close_up = self._run_network(
            small_picture, small_plate, plate.disparity_in(window, size), covered
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
        alpha, answer = run_network(self._backend, picture, plate, disparity)
        if plate is not None and covered is not None:
            small_covered = resize_mask(covered, *alpha.shape)
            alpha = judge_uncovered(alpha, picture, plate, small_covered)
        return _NetworkRun(picture, plate, alpha, answer)

    def _refine_run(self, run: _NetworkRun, picture: Picture, plate: Picture) -> Floats:
        """Alpha (H, W) of a run, refined at its picture's size."""
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
        return refine_alpha(picture, plate, small_picture, small_plate, alpha, evidence)


def _lay_over_plate(run: _NetworkRun, mask: Mask, plate: RegisteredPlate) -> _Depth:
    """The foreground's disparity over that of a plate without a profile."""
    background = plate.full_disparity()
    small_background = plate.small_disparity_or_nan()
    assert background is not None
    assert small_background is not None
    small_covered = None
    if plate.covered is not None:
        small_covered = resize_mask(plate.covered, *run.alpha.shape)
        small_background[~small_covered] = np.nan
        background[~plate.covered] = np.nan
    small_mask = resize_mask(mask, *run.alpha.shape)
    layers = split_layers(
        run.disparity, small_mask, small_background, small_covered, stand=not plate.estimated
    )
    foreground = resize(layers.foreground, *mask.shape)
    disparity = np.where(mask, np.fmax(foreground, background), background)
    sources = {
        "background": "estimated from the plate" if plate.estimated else "plate disparity",
        "foreground": "picture",
    }
    unknown = np.isnan(disparity)
    if unknown.any():
        disparity[unknown] = resize(layers.frame, *mask.shape)[unknown]
        sources["unknown in the plate"] = "picture"
    return _Depth(_clip(disparity), sources, layers.alignment, plate_disparity=plate.disparity)


def _check_unknown(options: dict[str, bool]) -> None:
    """Raise an error for any option; ``second_look`` is the former name of ``close_up``."""
    for name in options:
        if name == "second_look":
            raise UsageError(
                "close_up=", "second_look=", "", "Write close_up= in place of second_look=."
            )
        raise TypeError(f"from_pretrained() has no argument {name!r}")


def _read_only(values: Floats | None) -> Floats | None:
    """A view of a prepared plate's map for a prediction, whose user may not change the plate."""
    if values is None:
        return None
    view = values.view()
    view.flags.writeable = False
    return view


def _clip(values: Floats) -> Floats:
    """Values brought into [0, 1], in place."""
    return np.clip(values, 0, 1, out=values)

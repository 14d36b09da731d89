"""From a picture and its plate to a prediction: the path of one picture, top to bottom.

1. `Predictor.predict` loads the picture and prepares the plate, unless that has been done before
   (`maskdepth.inference.plate.prepared`).
2. The plate is moved and relit to match the picture (`maskdepth.inference.plate.matching`).
3. The network runs on both at its input size. Where the picture is larger, a close-up is a second
   run on the part that holds the foreground. Alpha is refined along outlines at the picture's size
   (`maskdepth.inference.matting.matte`).
4. The mask lays the foreground's disparity over the plate's, which was estimated when the plate was
   prepared, or came with it (`maskdepth.inference.frame_depth`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from maskdepth.errors import UsageError
from maskdepth.images import PictureSource, resize, shrink
from maskdepth.inference.frame_depth import FrameDepth, align_to_profile, lay_over_plate
from maskdepth.inference.matting.matte import Matte, NetworkRun
from maskdepth.inference.model.backend import Backend, OnnxBackend
from maskdepth.inference.model.card import DEPTH_NETWORK_FILE, NO_DEPTH, ModelCard
from maskdepth.inference.model.depth_network import DepthNetwork
from maskdepth.inference.model.folder import (
    DEPTH_CARD_FILE,
    load_depth_card,
    load_model_folder,
    network_file,
)
from maskdepth.inference.model.locate import find_model
from maskdepth.inference.plate.loading import (
    DisparitySource,
    PlateSource,
    check_has_plate,
    load_copy,
    path_of,
    prepare_plate,
)
from maskdepth.inference.plate.matching import match_plate
from maskdepth.inference.plate.notices import find_notices
from maskdepth.inference.plate.prepared import (
    Floats,
    Mask,
    Picture,
    PreparedPlate,
    RegisteredPlate,
)
from maskdepth.inference.prediction import Prediction, Provenance
from maskdepth.inference.steady import steady_prediction
from maskdepth.inference.stream import Stream, StreamState

__all__ = ["Prediction", "Predictor"]


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
        self._matte = Matte(backend, refine, close_up)

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
        keep_memory: bool = True,
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
            keep_memory: keep the memory of a run of the network for the next one. With False,
                pictures of many sizes take less memory; with several threads runs are slower.

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
            path = folder / DEPTH_NETWORK_FILE
            depth_backend = OnnxBackend(path, device, threads, keep_memory=keep_memory)
            depth_network = DepthNetwork(depth_backend, depth_card)
        backend = OnnxBackend(folder / file, device, threads, keep_memory=keep_memory)
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
        return self._predict(image, plate, plate_disparity)

    def _predict(
        self,
        image: PictureSource,
        plate: PlateSource | None,
        plate_disparity: DisparitySource | None = None,
        *,
        skip_empty: bool = False,
    ) -> Prediction:
        """As `predict`; a picture of the plate alone may be kept from the network."""
        picture = load_copy(image)
        size = (picture.shape[0], picture.shape[1])
        small_picture = shrink(picture, *self.card.input_size(*size))
        prepared = registered = None
        if plate is not None:
            prepared = self.prepare(plate, size, disparity=plate_disparity)
        if prepared is not None and skip_empty and prepared.is_alone_in(small_picture):
            registered = prepared.still(self._register)
            alpha, run = np.zeros(size, np.float32), NetworkRun.of_plate(prepared)
        else:
            if prepared is not None:
                registered = match_plate(prepared, picture, small_picture, register=self._register)
            alpha, run = self._matte.predict(picture, small_picture, registered)
        mask = alpha > 0.5
        depth = self._predict_depth(picture, run, mask, registered)
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
        notices = find_notices(
            small_picture,
            None if registered is None else registered.small_picture,
            mask,
            provenance.registration,
            metric=depth.depth_m is not None,
            compared_in_grey=registered is not None and registered.compared_in_grey,
        )
        return Prediction(
            picture,
            alpha,
            depth.disparity,
            None if registered is None else registered.picture_or(picture),
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
            NetworkRun.make(self._backend, prepared.small_picture).disparity
        )

    def step(
        self,
        frame: PictureSource,
        plate: PreparedPlate | None,
        state: StreamState,
        time_s: float | None = None,
        *,
        steady: bool = True,
    ) -> tuple[Prediction, StreamState]:
        """Predict the next frame of a stream.

        A frame that differs from its plate by the sensor's noise alone costs next to nothing: the
        network does not see it.

        Args:
            frame: as ``image`` in `predict`.
            plate: the camera's, prepared for the frames' size.
            state: what the step before returned; ``StreamState()`` for the first frame.
            time_s: when the frame was taken, seconds from any start.
            steady: whether alpha and disparity are averaged over the frames where picture and plate
                did not change, see `maskdepth.inference.steady`.

        Returns:
            The prediction, and the state for the next step.

        Raises:
            MaskdepthError: as `predict`.
        """
        prediction = self._predict(frame, plate, skip_empty=True)
        if not steady:
            return prediction, state.after(prediction, time_s)
        prediction, steadied = steady_prediction(prediction, state.steady)
        return prediction, state.after(prediction, time_s, steadied)

    def stream(
        self,
        plate: PlateSource | None = None,
        *,
        plate_disparity: DisparitySource | None = None,
        steady: bool = True,
    ) -> Stream:
        """A stream of frames that share one plate; see `Stream`.

        Raises:
            PictureError, PlateError, UsageError: the plate cannot be read, see `Stream`.
        """
        return Stream(self, plate, plate_disparity, steady=steady)

    def _predict_depth(
        self, picture: Picture, run: NetworkRun, mask: Mask, plate: RegisteredPlate | None
    ) -> FrameDepth:
        """Disparity of a picture at its own size; depth where the plate has metres."""
        learned = self.card.depth != NO_DEPTH
        if plate is None or plate.shows_another_scene:
            return FrameDepth(self._estimate_alone(picture, run), {"all": "picture"})
        if plate.profile is not None:
            answer = run.disparity if learned else None
            return align_to_profile(answer, mask, plate.profile, plate.covered)
        if plate.disparity is None or not learned:
            return FrameDepth(np.full(mask.shape, np.nan, np.float32))
        return lay_over_plate(run, mask, plate)

    def _estimate_alone(self, picture: Picture, run: NetworkRun) -> Floats:
        """Disparity (H, W) of a picture without a plate of its scene."""
        if self._depth_network is not None:
            answer = self._depth_network.estimate(picture)
        elif self.card.depth == NO_DEPTH:
            return np.full(picture.shape[:2], np.nan, np.float32)
        elif run.plate is not None:
            answer = NetworkRun.make(self._backend, run.picture).disparity
        else:
            answer = run.disparity
        return np.clip(resize(answer, *picture.shape[:2]), 0, 1)


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

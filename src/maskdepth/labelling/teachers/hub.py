"""Depth networks of the transformers library, by hub id or from a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskdepth.devices import pick_device
from maskdepth.errors import DependencyError, TeacherError, first_line
from maskdepth.files import open_file
from maskdepth.labelling.teachers.published import NetworkFacts
from maskdepth.labelling.teachers.teacher import TeacherInfo

_FILES: Final = ("*.safetensors", "*.json")
_BATCH: Final = 8
_DEPTH_PRO: Final = "depth_pro"
_ZOE_DEPTH: Final = "zoedepth"


class TransformersTeacher:
    """A network that ``AutoModelForDepthEstimation`` can load.

    Pictures go through the network's own image processor, those that come to the same size
    together; maps are brought to the pictures' sizes as their authors do it. On CUDA
    the network works in half precision, elsewhere in single.

    Args:
        folder: with ``config.json``, weights as safetensors (pickled ones are not read) and
            ``preprocessor_config.json``.
        name: its hub id or the folder's name.
        facts: what its maps mean.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        DependencyError: torch or transformers is not installed.
        TeacherError: the folder holds no such network.
        UsageError: the device is not there.
    """

    def __init__(self, folder: Path, name: str, facts: NetworkFacts, device: str = "auto") -> None:
        torch, transformers = _libraries()
        self._torch = torch
        self._device = pick_device(device, "teacher")
        self._dtype = torch.float16 if self._device == "cuda" else torch.float32
        version = _version(folder, facts)
        try:
            with _silent(transformers.utils.logging):
                model, loaded = transformers.AutoModelForDepthEstimation.from_pretrained(
                    folder,
                    local_files_only=True,
                    use_safetensors=True,
                    dtype=self._dtype,
                    output_loading_info=True,
                )
                self._model = model.to(self._device).eval()
                kind = model.config.model_type
                self._depth_pro = kind == _DEPTH_PRO
                self._processor = (
                    _load_settings(folder)
                    if self._depth_pro
                    else transformers.AutoImageProcessor.from_pretrained(
                        folder, local_files_only=True, backend="pil"
                    )
                )
                self._padded = kind == _ZOE_DEPTH and bool(self._processor.do_pad)
            # The library only warns of missing weights, and fills them with random ones.
            if loaded["missing_keys"]:
                raise ValueError(f"no weights for {sorted(loaded['missing_keys'])[0]}")
        except ImportError as error:
            raise TeacherError(
                f"a network in {folder} whose image processor does without torchvision",
                first_line(error),
                "take another network",
            ) from None
        except Exception as error:  # transformers raises nearly any type.
            raise TeacherError(
                f"a depth network of the transformers library in {folder}",
                first_line(error),
                "check the folder, or download it again",
            ) from error
        self.info = TeacherInfo(
            name=name,
            version=version,
            kind=facts.kind,
            units=facts.units,
            range=facts.range,
            size=self._native_size(),
            licence=facts.licence,
        )

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See ``Teacher``."""
        tensors = [self._tensor(picture) for picture in pictures]
        alike: dict[Any, list[int]] = defaultdict(list)
        for number, tensor in enumerate(tensors):
            alike[tuple(tensor.shape)].append(number)
        maps: dict[int, NDArray[np.float32]] = {}
        for numbers in alike.values():
            for start in range(0, len(numbers), _BATCH):
                batch = numbers[start : start + _BATCH]
                sizes = [pictures[number].shape[:2] for number in batch]
                made = self._run(self._torch.cat([tensors[number] for number in batch]), sizes)
                maps |= dict(zip(batch, made, strict=True))
        return [maps[number] for number in range(len(pictures))]

    def _run(self, tensor: Any, sizes: Sequence[tuple[int, ...]]) -> list[NDArray[np.float32]]:
        try:
            with self._torch.inference_mode():
                outputs = self._model(pixel_values=tensor.to(self._device, self._dtype))
                outputs["predicted_depth"] = outputs["predicted_depth"].float()
                planes = self._resized(outputs, [(int(h), int(w)) for h, w in sizes])
        except Exception as error:  # torch's errors have no common base of their own.
            raise TeacherError(
                f"{self.info.name} to take {len(sizes)} pictures",
                first_line(error),
                "free some memory, or take another network",
            ) from error
        return [np.asarray(plane.cpu().numpy(), np.float32) for plane in planes]

    def _resized(self, outputs: Any, sizes: list[tuple[int, int]]) -> list[Any]:
        """The maps at the pictures' sizes, as the network's authors bring them there."""
        if self._depth_pro:
            return [
                self._inverse_depth(plane, None if angle is None else float(angle), size)
                for plane, angle, size in zip(
                    outputs["predicted_depth"], _angles(outputs, len(sizes)), sizes, strict=True
                )
            ]
        planes = zip(outputs["predicted_depth"], sizes, strict=True)
        return [self._enlarge(plane, size) for plane, size in planes]

    def _enlarge(self, plane: Any, size: tuple[int, int]) -> Any:
        """A map at its picture's size, without the margin that ZoeDepth's processor adds.

        The library does this too, but for ZoeDepth only with torchvision.
        """
        height, width = size
        above, beside = (int(np.sqrt(side / 2) * 3) if self._padded else 0 for side in size)
        padded = (height + 2 * above, width + 2 * beside)
        enlarged = self._torch.nn.functional.interpolate(
            plane[None, None], size=padded, mode="bicubic", align_corners=False
        )
        return enlarged[0, 0, above : above + height, beside : beside + width]

    def _inverse_depth(self, plane: Any, angle: float | None, size: tuple[int, int]) -> Any:
        """1/metres of Depth Pro's canonical inverse depth C, at the picture's size.

        It is C w / f, with w / f = 2 tan(angle / 2) of the network's own angle of view:
        Bochkovskii et al., "Depth Pro" (2024), section 3.
        """
        if angle is not None:
            plane = plane * (2 * float(np.tan(np.deg2rad(angle) / 2)))
        interpolate = self._torch.nn.functional.interpolate
        return interpolate(plane[None, None], size=size, mode="bilinear")[0, 0].clamp(min=0)

    def _tensor(self, picture: NDArray[np.uint8]) -> Any:
        """A picture as the network wants it, (1, 3, h, w)."""
        if not self._depth_pro:
            made = self._processor(images=[picture], return_tensors="pt")
            return made["pixel_values"]
        # This is what the library's own processor does, which needs torchvision.
        settings = self._processor
        mean, std = np.float32(settings["image_mean"]), np.float32(settings["image_std"])
        values = (picture.astype(np.float32) / np.float32(255) - mean) / std
        tensor = self._torch.from_numpy(values.transpose(2, 0, 1)[None])
        size = (settings["size"]["height"], settings["size"]["width"])
        return self._torch.nn.functional.interpolate(tensor, size=size, mode="bilinear")

    def _native_size(self) -> tuple[int, int] | None:
        """Height and width, where the processor has fixed ones."""
        if self._depth_pro:
            size: Any = self._processor["size"]
        elif getattr(self._processor, "keep_aspect_ratio", False):
            return None
        else:
            size = getattr(self._processor, "size", None)
        try:
            return int(size["height"]), int(size["width"])
        except (KeyError, TypeError):
            return None


def find_folder(hub_id: str, *, download: bool) -> Path:
    """The folder of a hub id's files.

    Args:
        download: get the files that the cache lacks; without it no connection is made.
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants  # no attribute of the package before this import
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "huggingface_hub", "teacher") from None
    offline = huggingface_hub.constants.HF_HUB_OFFLINE
    try:
        return Path(
            huggingface_hub.snapshot_download(
                hub_id, allow_patterns=list(_FILES), local_files_only=offline or not download
            )
        )
    except Exception as error:  # of several libraries below, without a common base
        if offline or not download:
            remedy = "pass --download" if not offline else "unset HF_HUB_OFFLINE, pass --download"
            remedy += ", or name a folder that holds the files"
            expected = f"the files of {hub_id} in the Hugging Face cache"
            offline_too = ", and HF_HUB_OFFLINE is set" if offline else ""
            problem = f"The files of {hub_id} are not all in the Hugging Face cache{offline_too}."
            raise TeacherError(expected, f"not all{offline_too}", remedy, problem) from error
        got, remedy = first_line(error), "check the id and the connection"
        problem = f"{hub_id} cannot be downloaded: {got}."
        raise TeacherError(f"to download {hub_id}", got, remedy, problem) from None


def _libraries() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "transformers", "teacher") from None
    return torch, transformers


@contextlib.contextmanager
def _silent(logging: Any) -> Iterator[None]:
    """Silence the library's warnings and bars for the block; errors are raised anyway."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _version(folder: Path, facts: NetworkFacts) -> str:
    """Hash of the files that decide the output, and of the kind and units of the maps."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights or not (folder / "config.json").is_file():
        raise TeacherError(
            f"config.json and weights as .safetensors in {folder}",
            "neither" if not weights else "no config.json",
            "save the network with save_pretrained, or download it again",
        )
    digest = hashlib.sha256(f"{facts.kind} {facts.units}".encode())
    for path in (*weights, folder / "config.json", folder / "preprocessor_config.json"):
        if path.is_file():
            with open_file(path) as file:
                hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()[:16]


def _load_settings(folder: Path) -> Any:
    """The settings of an image processor that cannot be loaded without torchvision."""
    settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    half = [0.5, 0.5, 0.5]
    defaults = {"image_mean": half, "image_std": half, "size": {"height": 1536, "width": 1536}}
    return {key: settings.get(key, default) for key, default in defaults.items()}


def _angles(outputs: Any, count: int) -> Any:
    """Depth Pro's angle of view for each picture, degrees; None without one."""
    angles = getattr(outputs, "field_of_view", None)
    return [None] * count if angles is None else angles.float().reshape(-1)

"""Drawn clips as pixels: the renderer's answers to the recipes of a script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import encode_disparity
from maskdepth.errors import UsageError
from maskdepth.files import make_folder, write_text
from maskdepth.images import grey_picture, save_png
from maskdepth.progress import OnProgress
from maskdepth.records import Json
from maskdepth.synthesis.assets import Split
from maskdepth.synthesis.catalogue import Catalogue
from maskdepth.synthesis.clips.rules import ClipRules
from maskdepth.synthesis.clips.script import ClipEvent, ClipScript, sample_script
from maskdepth.synthesis.effects import NO_MOTION, CameraMotion
from maskdepth.synthesis.recipes import Recipe
from maskdepth.synthesis.renderer import Composite, render
from maskdepth.synthesis.spec import DatasetSpec

CLIP_JSON: Final = "clip.json"

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class DrawnFrame:
    """One frame of a drawn clip, side S, and the truth about it.

    Attributes:
        number: from 0.
        picture: uint8 (S, S, 3) RGB.
        alpha: float32 (S, S) in [0, 1], of all that the plate does not show.
        disparity: float32 (S, S) in [0, 1], near = 1, NaN where unknown; None if the background
            has no label.
        camera: how far the picture moved against the plate.
        gain: factor of its brightness against the plate's.
    """

    number: int
    picture: Picture
    alpha: Floats
    disparity: Floats | None
    camera: CameraMotion
    gain: float


class DrawnClip:
    """A clip whose frames are rendered when they are asked for.

    Args:
        script: all that happens in it.
        catalogue: pictures of the assets, for composites of the script's `rendered_size`.
    """

    def __init__(self, script: ClipScript, catalogue: Catalogue) -> None:
        self.script = script
        self._catalogue = catalogue

    def __len__(self) -> int:
        """The number of frames."""
        return self.script.rules.frames

    def __iter__(self) -> Iterator[DrawnFrame]:
        """The frames in order."""
        return map(self.frame, range(len(self)))

    @property
    def events(self) -> tuple[ClipEvent, ...]:
        """What happens for good, in the order of the starts."""
        return self.script.events

    @property
    def plate(self) -> Picture:
        """uint8 (S, S, 3) RGB: the empty scene without noise, with what is taken later."""
        return self._cut(self._scene.image)

    @property
    def plate_disparity(self) -> Floats | None:
        """float32 (S, S) disparity of the plate; None if the background has no label."""
        disparity = self._scene.disparity
        return None if disparity is None else self._cut(disparity)

    def frame(self, number: int) -> DrawnFrame:
        """Render a frame: the same pixels whichever frames were rendered before.

        Raises:
            UsageError: there is no frame of that number.
        """
        if not 0 <= number < len(self):
            raise UsageError(
                f"a frame from 0 to {len(self) - 1}",
                str(number),
                "choose such a frame",
                f"The clip has frames 0 to {len(self) - 1}, but no frame {number}.",
            )
        recipe, fixtures = self.script.recipe(number)
        camera = self.script.camera(number)
        made = self._render(recipe, camera, fixtures)
        disparity = None if made.disparity is None else self._cut(made.disparity)
        return DrawnFrame(
            number,
            self._cut(made.image),
            self._cut(made.alpha),
            disparity,
            camera,
            self.script.gain(number),
        )

    @cached_property
    def _scene(self) -> Composite:
        return self._render(self.script.plate_recipe())

    def _render(
        self,
        recipe: Recipe,
        camera: CameraMotion = NO_MOTION,
        fixtures: frozenset[int] = frozenset(),
    ) -> Composite:
        size = self.script.rules.rendered_size
        return render(recipe, size, self._catalogue, camera=camera, fixtures=fixtures)

    def _cut(self, array: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """The frame's part of the rendered square."""
        margin = self.script.rules.margin
        return np.ascontiguousarray(array[margin:-margin, margin:-margin])


def draw_clip(
    spec: DatasetSpec,
    folder: Path,
    number: int,
    rules: ClipRules | None = None,
    *,
    split: Split = "train",
) -> DrawnClip:
    """A drawn clip of a dataset: a pure function of the spec, the rules and the number.

    Args:
        folder: holds the spec.
        number: of the clip, from 0.
        rules: `ClipRules()` if left out.
        split: of the cutouts and backgrounds.

    Raises:
        AssetError: the split has no cutout or no background.
        UsageError: the number is below 0 or beyond a million.
    """
    rules = rules or ClipRules()
    script = sample_script(rules, spec.pool(split, split), spec.seed, number)
    return DrawnClip(script, spec.catalogue(folder, rules.rendered_size))


def write_clip(clip: DrawnClip, folder: Path, on_progress: OnProgress = lambda *_: None) -> None:
    """Write a clip for people and other programs.

    The folder gets ``plate.png``; ``frames/000000.png`` and so on; ``alpha/000000.png``, 8 bit;
    with labelled backgrounds ``disparity/000000.png`` and ``plate_disparity.png``, 16 bit (0
    invalid, 1 to 65535 for 0 to 1); and last ``clip.json``: events, and each frame's camera motion
    and gain.

    Args:
        folder: a new or empty one.
        on_progress: called with the number of frames that are written, and of all.

    Raises:
        UsageError: the folder holds something.
        StorageError: it cannot be written.
    """
    make_folder(folder)
    if any(folder.iterdir()):
        raise UsageError(
            "a new or empty folder",
            f"{folder} with files in it",
            "name another folder",
            f"{folder} is not empty.",
        )
    save_png(folder / "plate.png", clip.plate)
    if clip.plate_disparity is not None:
        save_png(folder / "plate_disparity.png", encode_disparity(clip.plate_disparity))
        make_folder(folder / "disparity")
    for part in ("frames", "alpha"):
        make_folder(folder / part)
    records: list[Json] = []
    for frame in clip:
        name = f"{frame.number:06d}.png"
        save_png(folder / "frames" / name, frame.picture)
        save_png(folder / "alpha" / name, grey_picture(frame.alpha)[..., 0])
        if frame.disparity is not None:
            save_png(folder / "disparity" / name, encode_disparity(frame.disparity))
        records.append({"frame": frame.number, "gain": frame.gain} | asdict(frame.camera))
        on_progress(frame.number + 1, len(clip))
    record: Json = {
        "format": "maskdepth-clip",
        "rate": clip.script.rules.rate,
        "events": [asdict(event) for event in clip.events],
        "frames": records,
    }
    write_text(folder / CLIP_JSON, json.dumps(record, indent=1) + "\n")

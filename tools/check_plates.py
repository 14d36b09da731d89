"""Measure how well plates of another scene are told from good ones.

python tools/check_plates.py DATA --pairs 500

DATA holds `photos` and `panoramas` (equirectangular), as JPEGs, and `cutouts` with RGBA PNGs in
folders. From them come pairs of a picture and a plate at 480 x 360:

- unrelated: two scenes; foreground is pasted into half of the pictures;
- good: one scene; the camera has moved by up to 3 % of the long side, exposure differs by up to one
  stop, both have sensor noise and JPEG, and foreground covers up to 75 % of the picture;
- plain: a good pair before a wall of one colour, which offers nothing to recognise it by.

Prints JSON: the share of each kind that the shipped model's notices call another scene.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from maskdepth.images import load_cutout, load_picture
from maskdepth.inference.predictor import Predictor

Picture = NDArray[np.uint8]
Random = np.random.Generator

SIZE = (360, 480)  # height, width
MARGIN = 15  # px, that a camera may move: 3 % of the long side
GAMMA = 2.2  # of the curve between light and levels
MAX_FOREGROUND = 0.75


class Scenes:
    """Photos, panoramas and cutouts below a folder."""

    def __init__(self, data: Path) -> None:
        self.photos = sorted((data / "photos").glob("*.jpg"))
        self.panoramas = sorted((data / "panoramas").glob("*.jpg"))
        self.cutouts = sorted((data / "cutouts").rglob("*.png"))
        if not (self.photos and self.panoramas and self.cutouts):
            sys.exit(f"{data} lacks photos, panoramas or cutouts.")

    def sample_files(self, random: Random, count: int) -> list[Path]:
        """Different files, each as likely a photo as a panorama."""
        chosen: list[Path] = []
        while len(chosen) < count:
            files = self.photos if random.random() < 0.5 else self.panoramas
            file = files[random.integers(len(files))]
            if file not in chosen:
                chosen.append(file)
        return chosen

    def sample_view(self, random: Random, file: Path) -> Picture:
        """A view of a scene, with the margin on each side that the camera may move by."""
        height, width = (side + 2 * MARGIN for side in SIZE)
        picture = load_picture(file)
        if file in self.panoramas:
            return view_panorama(random, picture, height, width)
        rows, columns = picture.shape[:2]
        most = min(rows / height, columns / width)
        scale = most * random.uniform(0.6, 1.0)
        part_height, part_width = int(height * scale), int(width * scale)
        top = random.integers(rows - part_height + 1)
        left = random.integers(columns - part_width + 1)
        part = picture[top : top + part_height, left : left + part_width]
        how = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(part, (width, height), interpolation=how), np.uint8)

    def paste_foreground(self, random: Random, picture: Picture, share: float) -> Picture:
        """The picture with cutouts pasted until they cover a share of it, or nearly."""
        result, covered = picture.astype(np.float32), np.zeros(picture.shape[:2], np.bool_)
        for _ in range(40):
            missing = share - covered.mean()
            if missing < 0.02:
                break
            cutout = load_cutout(self.cutouts[random.integers(len(self.cutouts))])
            area = max(1.0, float((cutout[..., 3] > 127).sum()))
            scale = np.sqrt(missing * random.uniform(0.4, 1.0) * covered.size / area)
            size = [max(2, round(side * scale)) for side in cutout.shape[1::-1]]
            cutout = np.asarray(cv2.resize(cutout, size, interpolation=cv2.INTER_AREA), np.uint8)
            centre = random.uniform(0, 1, 2) * covered.shape
            layer = place(cutout, centre, covered.shape)
            alpha = layer[..., 3:] / np.float32(255)
            after = covered | (alpha[..., 0] > 0.5)
            if after.mean() <= MAX_FOREGROUND:
                result += alpha * (layer[..., :3] - result)
                covered = after
        return np.rint(result).astype(np.uint8)


def view_panorama(random: Random, panorama: Picture, height: int, width: int) -> Picture:
    """A view with straight lines, of 50 to 80 degrees across, not far from level."""
    focal_px = width / 2 / np.tan(np.radians(random.uniform(50, 80)) / 2)
    pitch, yaw = np.radians(random.uniform(-25, 25)), random.uniform(-np.pi, np.pi)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = (x - (width - 1) / 2) / focal_px, (y - (height - 1) / 2) / focal_px
    up = np.sin(pitch) - y * np.cos(pitch)
    ahead = np.cos(pitch) + y * np.sin(pitch)
    longitude = np.arctan2(x, ahead) + yaw
    latitude = np.arctan2(up, np.hypot(x, ahead))
    rows, columns = panorama.shape[:2]
    column = ((longitude / (2 * np.pi) + 0.5) % 1 * columns - 0.5).astype(np.float32)
    row = ((0.5 - latitude / np.pi) * rows - 0.5).astype(np.float32)
    view = cv2.remap(panorama, column, row, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
    return np.asarray(view, np.uint8)


def place(cutout: Picture, centre: NDArray[np.float64], shape: tuple[int, ...]) -> Picture:
    """A cutout on an empty layer of a shape, where it may reach over the edge."""
    layer = np.zeros((*shape[:2], 4), np.uint8)
    top, left = (
        round(float(middle) - side / 2)
        for middle, side in zip(centre, cutout.shape[:2], strict=True)
    )
    inside = layer[max(0, top) : top + cutout.shape[0], max(0, left) : left + cutout.shape[1]]
    part = cutout[max(0, -top) :, max(0, -left) :][: inside.shape[0], : inside.shape[1]]
    inside[:] = part
    return layer


def take(random: Random, scene: Picture, stops: float = 0.0) -> Picture:
    """What a camera makes of a scene: exposure, noise and JPEG."""
    light = (scene / np.float64(255)) ** GAMMA * 2.0**stops
    levels = 255 * np.clip(light, 0, 1) ** (1 / GAMMA)
    levels += random.normal(0, random.uniform(0.5, 4.0), scene.shape)
    pixels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(60, 97))]
    _, code = cv2.imencode(".jpg", np.asarray(pixels[..., ::-1]), quality)
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded[..., ::-1], np.uint8)


def middle_of(view: Picture, shift: tuple[int, int] = (0, 0)) -> Picture:
    """The part of a view that a camera sees which was shifted by rows and columns."""
    top, left = MARGIN + shift[0], MARGIN + shift[1]
    return view[top : top + SIZE[0], left : left + SIZE[1]]


def unrelated_pair(scenes: Scenes, random: Random) -> tuple[Picture, Picture]:
    """A picture and the plate of another scene."""
    ours, other = (
        middle_of(scenes.sample_view(random, file)) for file in scenes.sample_files(random, 2)
    )
    if random.random() < 0.5:
        ours = scenes.paste_foreground(random, ours, random.uniform(0, MAX_FOREGROUND))
    return take(random, ours, random.uniform(-1, 1)), take(random, other)


def good_pair(scenes: Scenes, random: Random) -> tuple[Picture, Picture]:
    """A picture and its plate."""
    return _pair_of(scenes, random, scenes.sample_view(random, scenes.sample_files(random, 1)[0]))


def plain_pair(scenes: Scenes, random: Random) -> tuple[Picture, Picture]:
    """A picture and its plate before a wall of one colour."""
    height, width = (side + 2 * MARGIN for side in SIZE)
    wall = np.empty((height, width, 3), np.uint8)
    wall[:] = random.integers(20, 236, 3)
    return _pair_of(scenes, random, wall)


def _pair_of(scenes: Scenes, random: Random, view: Picture) -> tuple[Picture, Picture]:
    shift = (int(random.integers(-MARGIN, MARGIN + 1)), int(random.integers(-MARGIN, MARGIN + 1)))
    share = random.uniform(0, MAX_FOREGROUND)
    picture = scenes.paste_foreground(random, middle_of(view, shift), share)
    return take(random, picture, random.uniform(-1, 1)), take(random, middle_of(view))


KINDS: dict[str, Callable[[Scenes, Random], tuple[Picture, Picture]]] = {
    "unrelated": unrelated_pair,
    "good": good_pair,
    "plain": plain_pair,
}


def main(
    data: Annotated[Path, typer.Argument(help="Folder of photos, panoramas and cutouts.")],
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of each kind.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 2026,
    threads: Annotated[int, typer.Option(min=1, help="Number of CPU threads.")] = 1,
) -> None:
    """Print the share of pairs of each kind that are called another scene, and all notices."""
    cv2.setNumThreads(threads)
    scenes, predictor = Scenes(data), Predictor.from_pretrained(threads=threads)
    result = {}
    for number, (kind, make) in enumerate(KINDS.items()):
        codes: Counter[str] = Counter()
        for index in range(pairs):
            picture, plate = make(scenes, np.random.default_rng((seed, number, index)))
            codes.update(notice.code for notice in predictor.predict(picture, plate).notices)
        result[kind] = {
            "pairs": pairs,
            "another_scene": round(codes["another_scene"] / pairs, 4),
            "notices": dict(sorted(codes.items())),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    typer.run(main)

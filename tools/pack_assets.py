"""Re-encode pictures for a training elsewhere, into few megabytes.

python tools/pack_assets.py DATA OUT --mib 36 --train-of DATASET

DATA holds `cutouts`, and `backgrounds`, `panoramas` and `photos` as there are, and the ONNX files
of depth teachers in `teacher`. OUT, a new folder, gets all of it: cutouts as WebP with their alpha,
pictures as JPEGs of the best quality that fits, teachers as they are, and each `licences.csv` with
the new names. With `--train-of`, pictures that this dataset holds for val and test are left out.
`tools/train_shipped.sh OUT ...` trains on it.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from maskdepth.errors import MaskdepthError
from maskdepth.synthesis.spec import load_spec

# Folder below DATA, folder below OUT, and the short side of its pictures, px.
PICTURES = (
    ("backgrounds", "backgrounds", 480),
    ("photos", "backgrounds/photos", 480),
    ("panoramas", "backgrounds/panoramas", 768),
)
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}
QUALITIES = (92, 86, 80, 72, 64)
CUTOUT_QUALITY = 92


def main(
    data: Path,
    output: Path,
    mib: Annotated[float, typer.Option(help="Largest size of OUT.")] = 36,
    train_of: Annotated[
        Path | None, typer.Option(help="Dataset whose val and test pictures are left out.")
    ] = None,
) -> None:
    """Write OUT; an existing one stays as it is."""
    if output.exists():
        sys.exit(f"{output} is there already: name a new folder.")
    try:
        held_out = set() if train_of is None else _held_out(train_of)
    except MaskdepthError as error:
        sys.exit(str(error))
    cutouts = [path for path in _pictures(data / "cutouts") if path.name not in held_out]
    pictures = {
        name: [path for path in _pictures(data / name) if path.name not in held_out]
        for name, _, _ in PICTURES
    }
    if not cutouts or not any(pictures.values()):
        sys.exit(f"{data} lacks cutouts, or pictures to put them on.")
    draft = output.with_name(f".{output.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for path in cutouts:
            _write(path, data / "cutouts", draft / "cutouts", ".webp", None, CUTOUT_QUALITY)
        _copy_licences(data / "cutouts", draft / "cutouts", ".webp")
        if (data / "teacher").is_dir():
            shutil.copytree(data / "teacher", draft / "teacher")
        rest = _size(draft)
        for quality in QUALITIES:
            for name, target, side in PICTURES:
                for path in pictures[name]:
                    _write(path, data / name, draft / target, ".jpg", side, quality)
            if _size(draft) <= mib * 2**20:
                break
        else:
            sys.exit(f"The pictures need more than {mib:g} MiB even at quality {quality}.")
        for name, target, _ in PICTURES:
            _copy_licences(data / name, draft / target, ".jpg")
        draft.rename(output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    count = sum(map(len, pictures.values()))
    print(
        f"{len(cutouts)} cutouts and {count} pictures of quality {quality} -> {output}, "
        f"{_size(output) / 2**20:.1f} MiB, of which cutouts and teachers {rest / 2**20:.1f}"
    )


def _held_out(dataset: Path) -> set[str]:
    """Names of the files that a dataset holds for val and test."""
    spec = load_spec(dataset)
    return {Path(each.file).name for each in (*spec.cutouts, *spec.backgrounds)
            if each.split != "train"}  # fmt: skip


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)


def _write(
    path: Path, root: Path, output: Path, ending: str, side: int | None, quality: int
) -> None:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR if side else cv2.IMREAD_UNCHANGED)
    if picture is None:
        sys.exit(f"{path} cannot be read.")
    if side:
        picture = _shrink(np.asarray(picture, np.uint8), side)
    kind = cv2.IMWRITE_JPEG_QUALITY if ending == ".jpg" else cv2.IMWRITE_WEBP_QUALITY
    target = (output / path.relative_to(root)).with_suffix(ending)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(target), picture, [kind, quality]):
        sys.exit(f"{target} cannot be written.")


def _shrink(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    factor = side / min(height, width)
    if factor >= 1:
        return picture
    size = (round(width * factor), round(height * factor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _copy_licences(source: Path, target: Path, ending: str) -> None:
    """Copy a folder's ``licences.csv``, whose first column names files."""
    path = source / "licences.csv"
    if not path.is_file() or not target.is_dir():
        return
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    column = header.index("file") if "file" in header else 0
    for row in rows:
        row[column] = str(Path(row[column]).with_suffix(ending))
    with (target / "licences.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    typer.run(main)

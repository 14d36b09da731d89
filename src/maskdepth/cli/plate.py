"""``maskdepth plate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from maskdepth.cli import options as opt
from maskdepth.cli.options import TEACHERS, TeacherOptions, check_idle, open_source, print_json, say
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from maskdepth.camera import Camera
    from maskdepth.inference.plate.calibration import Calibration, KnownPoint
    from maskdepth.labelling.plate_depth import PlateDepth


def plate(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="PLATE",
            help="The clean plate. Or frames in which things move, or a folder of them: their "
            "median is the plate.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Plate profile to write, SCENE.plate; of frames also a PNG."
        ),
    ],
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="TEACHER",
            help=f"Depth network: {TEACHERS}; sensor or exact: the file beside the plate. Default, "
            "without --depth and --disparity: shipped.",
        ),
    ] = None,
    depth: Annotated[
        Path | None,
        typer.Option(
            help="File of measured depth: 16-bit PNG in mm, 0 invalid, or .npy in metres."
        ),
    ] = None,
    depth_unit: Annotated[
        Literal["m", "mm"] | None,
        typer.Option(
            help="Unit of --depth. Default: mm for PNG; m for .npy, unless that is in doubt."
        ),
    ] = None,
    disparity: Annotated[
        Path | None,
        typer.Option(
            help="File of disparity: 16-bit PNG, 0 invalid, 1 to 65535 for 0 to 1, near large."
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,METRES",
            help="Point whose distance is measured: column and row, px, and "
            "metres from the camera. "
            "Repeat the option: two points calibrate, three show errors, and of four or more a "
            "wrong one is left out.",
        ),
    ] = None,
    focal_px: opt.FocalPx = None,
    kind: opt.Kind = None,
    units: opt.Units = None,
    licence: opt.Licence = None,
    download: opt.Download = False,
    device: opt.Device = "auto",
    as_json: opt.AsJson = False,
) -> None:
    """Make a plate profile: a plate with its depth, in metres once it is calibrated."""
    from maskdepth.images import save_png
    from maskdepth.inference.plate.profile import (
        check_profile_path,
        profile_from_depth,
        profile_from_disparity,
        save_profile,
    )
    from maskdepth.labelling.plate_depth import read_plate_depth
    from maskdepth.records import check_not_inputs, file_identities

    # Several frames stand for the folder that holds them.
    source = sources[0] if len(sources) == 1 else sources[0].parent
    _check_sources(teacher, depth, disparity)
    if teacher is None:
        check_idle("--teacher", {"--kind": kind, "--units": units, "--licence": licence})
    if depth is None:
        check_idle("--depth", {"--depth-unit": depth_unit})
    points = [_parse_point(text) for text in point or []]
    picture_only = output.suffix.lower() == ".png"
    if picture_only:
        _check_frames(sources, output)
        asked: dict[str, object] = {
            "--point": points or None,
            "--teacher": teacher,
            "--depth": depth,
        }
        asked |= {"--disparity": disparity, "--focal-px": focal_px is not None}
        check_idle("a .plate output", asked)
    else:
        check_profile_path(output)
    inputs = [path for path in (*sources, depth, disparity) if path is not None]
    check_not_inputs([output], file_identities(inputs))
    pixels = _load_plate(sources)
    if picture_only:
        save_png(output, pixels)
        say(f"plate -> {output}")
        return
    camera = _find_camera(sources, pixels, focal_px)
    network = None
    if depth is None and disparity is None:
        options = TeacherOptions(kind, units, licence, download, device)
        network = open_source(teacher or "shipped", options)
    found = read_plate_depth(
        source, pixels, depth=depth, depth_unit=depth_unit, disparity=disparity, teacher=network
    )
    _show_depth(found, source)
    if found.depth_m is None:
        profile = profile_from_disparity(pixels, found.disparity, points, found.source, camera)
    elif points:
        raise UsageError(
            "points with a disparity",
            "points with measured depth",
            "leave the points out",
            "Measured depth needs no points.",
        )
    else:
        profile = profile_from_depth(pixels, found.depth_m, found.source, camera)
    save_profile(output, profile)
    _show(profile.calibration)
    if camera is not None:
        say(f"camera: {camera.describe()}")
    if profile.health is not None:
        say(f"health: {profile.health.describe()}")
    say(f"plate profile -> {output}")
    if as_json:
        fitted = None if profile.calibration is None else profile.calibration.as_json()
        health = None if profile.health is None else profile.health.as_json()
        print_json(
            {
                "plate": str(output),
                "source": profile.source,
                "calibration": fitted,
                "health": health,
                "camera": None if camera is None else camera.as_json(),
            }
        )


def _check_sources(*sources: object) -> None:
    given = len(sources) - sources.count(None)
    if given > 1:
        message = "Give one of --teacher, --depth or --disparity."
        raise UsageError("one of --teacher, --depth or --disparity", str(given), "", message)


def _check_frames(sources: list[Path], output: Path) -> None:
    """Check that a plate that is to be a picture comes from several frames."""
    if _are_frames(sources):
        return
    _load_plate(sources)  # a video, or a path that leads nowhere, is named first
    raise UsageError(
        "a folder of frames, whose median is a picture",
        f"{sources[0]}, one picture",
        "pass a folder of frames, or write a plate profile: -o scene.plate",
        f"{output} would be the median of frames, but {sources[0]} is one picture.",
    )


def _find_camera(
    sources: list[Path], pixels: NDArray[np.uint8], focal_px: float | None
) -> Camera | None:
    """The camera by the given focal length, else by a single plate's EXIF, if that has one."""
    from maskdepth.camera import Camera, read_camera

    size = pixels.shape[0], pixels.shape[1]
    if focal_px is not None:
        return Camera.centred(focal_px, size)
    return None if _are_frames(sources) else read_camera(sources[0], size)


def _are_frames(sources: list[Path]) -> bool:
    return len(sources) > 1 or sources[0].is_dir()


def _show_depth(found: PlateDepth, plate: Path) -> None:
    if "turned" in found.source:
        say(f"the depth was turned upright as {plate} is, by EXIF orientation")
    if found.flags:
        say(f"warning: the teacher's depth is in doubt: {', '.join(found.flags)}")


def _load_plate(sources: list[Path]) -> NDArray[np.uint8]:
    """A plate's picture, or the median of several pictures or a folder's."""
    from maskdepth.images import load_picture
    from maskdepth.inference.plate.estimate import median_plate
    from maskdepth.media.pictures import find_jobs

    if not _are_frames(sources):
        return load_picture(sources[0])
    jobs = [job for job in find_jobs([str(path) for path in sources]) if job.problem is None]
    frames = [job.picture for job in jobs if isinstance(job.picture, Path)]
    pixels, count = median_plate(frames)
    say(f"the plate is the median of {count} of {len(frames)} frames")
    return pixels


def _show(calibration: Calibration | None) -> None:
    if calibration is None:
        say("no metres: give points at measured distances, or measured depth")
        return
    for each in calibration.points:
        fit = "beyond" if each.fitted_m is None else f"{each.fitted_m:.3f} m ({each.error:+.1%})"
        left_out = "" if each.used else ", left out"
        say(f"point ({each.x:g}, {each.y:g}): {each.depth_m:g} m, fitted {fit}{left_out}")
    say(f"residual check: {calibration.residual_check}")
    if calibration.warning is not None:
        say(f"warning: {calibration.warning}")


def _parse_point(text: str) -> KnownPoint:
    from maskdepth.inference.plate.calibration import KnownPoint

    try:
        x, y, depth_m = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            "--point X,Y,METRES, such as 320,400,2.5",
            repr(text),
            "",
            f"--point takes three numbers, such as 320,400,2.5, not {text!r}.",
        ) from None
    return KnownPoint(x, y, depth_m)

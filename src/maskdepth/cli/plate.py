"""``maskdepth plate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from maskdepth.cli import options as opt
from maskdepth.cli.options import TEACHERS, TeacherOptions, check_idle, open_source, print_json, say
from maskdepth.cli.plate_source import PlateFiles
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from maskdepth.camera import Camera
    from maskdepth.inference.plate.calibration import Calibration, KnownPoint
    from maskdepth.inference.plate.estimate import EstimatedPlate
    from maskdepth.inference.plate.profile import PlateProfile
    from maskdepth.labelling.plate_depth import PlateDepth
    from maskdepth.records import Json


def plate(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="PLATE",
            help="The clean plate. Or a clip in which things move, frames of one, or a folder of "
            "them, from which it is estimated.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Plate profile to write, SCENE.plate; of frames also a PNG. They also give "
            "SCENE_confidence.png: bright where the scene was surely seen empty.",
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
    from maskdepth.inference.plate.profile import (
        check_profile_path,
        profile_from_depth,
        profile_from_disparity,
        save_profile,
    )
    from maskdepth.labelling.plate_depth import read_plate_depth
    from maskdepth.records import check_not_inputs, file_identities

    _check_sources(teacher, depth, disparity)
    if teacher is None:
        check_idle("--teacher", {"--kind": kind, "--units": units, "--licence": licence})
    if depth is None:
        check_idle("--depth", {"--depth-unit": depth_unit})
    points = [_parse_point(text) for text in point or []]
    files = PlateFiles.find(sources)
    picture_only = output.suffix.lower() == ".png"
    if picture_only:
        files.check_picture_output(output)
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
    confidence = output.with_name(f"{output.stem}_confidence.png")
    written = [output, confidence] if files.are_frames else [output]
    check_not_inputs(written, file_identities(inputs))
    pixels, estimate = files.load(confidence)
    if picture_only:
        _save_picture(output, pixels, estimate, as_json)
        return
    camera = _find_camera(files, pixels, focal_px)
    network = None
    if depth is None and disparity is None:
        options = TeacherOptions(kind, units, licence, download, device)
        network = open_source(teacher or "shipped", options)
    found = read_plate_depth(
        files.place,
        pixels,
        depth=depth,
        depth_unit=depth_unit,
        disparity=disparity,
        teacher=network,
    )
    _show_depth(found, files.place)
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
        print_json(_record(output, profile, camera, estimate))


def _save_picture(
    output: Path, pixels: NDArray[np.uint8], estimate: EstimatedPlate | None, as_json: bool
) -> None:
    """Write a plate that is a picture alone."""
    from maskdepth.images import save_png

    save_png(output, pixels)
    say(f"plate -> {output}")
    if as_json and estimate is not None:
        print_json({"plate": str(output), "estimate": estimate.as_json()})


def _record(
    output: Path, profile: PlateProfile, camera: Camera | None, estimate: EstimatedPlate | None
) -> Json:
    """What was written, for programs."""
    parts = {
        "calibration": profile.calibration,
        "health": profile.health,
        "camera": camera,
        "estimate": estimate,
    }
    return {"plate": str(output), "source": profile.source} | {
        name: None if part is None else part.as_json() for name, part in parts.items()
    }


def _check_sources(*sources: object) -> None:
    given = len(sources) - sources.count(None)
    if given > 1:
        message = "Give one of --teacher, --depth or --disparity."
        raise UsageError("one of --teacher, --depth or --disparity", str(given), "", message)


def _find_camera(
    files: PlateFiles, pixels: NDArray[np.uint8], focal_px: float | None
) -> Camera | None:
    """The camera by the given focal length, else by a single plate's EXIF, if that has one."""
    from maskdepth.camera import Camera, read_camera

    size = pixels.shape[0], pixels.shape[1]
    if focal_px is not None:
        return Camera.centred(focal_px, size)
    return None if files.are_frames else read_camera(files.place, size)


def _show_depth(found: PlateDepth, plate: Path) -> None:
    if "turned" in found.source:
        say(f"the depth was turned upright as {plate} is, by EXIF orientation")
    if found.flags:
        say(f"warning: the teacher's depth is in doubt: {', '.join(found.flags)}")


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

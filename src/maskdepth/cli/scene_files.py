"""The files in three dimensions that ``maskdepth predict`` writes on request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskdepth.cli.options import check_idle, say
from maskdepth.errors import UsageError

if TYPE_CHECKING:
    from maskdepth.inference.prediction import Prediction
    from maskdepth.media.pictures import PredictionJob

# A copy of `scene3d.sampling.MAX_POINTS`: importing that loads NumPy, which --help must not wait
# for.
MAX_POINTS = 500_000

Points = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.ply",
        help="Also write the foreground and the plate behind it as coloured points.",
    ),
]
Mesh = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.glb", help="Also write them as textured surfaces. Needs pip's extra [3d]."
    ),
]
SceneFocalPx = Annotated[
    float | None,
    typer.Option(
        metavar="PX",
        help="Focal length of --points and --mesh, in pixels of the picture. Default: the plate "
        "profile's, else by EXIF, else 60 degrees across the longer side.",
    ),
]
MaxPoints = Annotated[
    int | None,
    typer.Option(min=100, help=f"Points or vertices of such a file. Default: {MAX_POINTS}."),
]


@dataclass
class SceneFiles:
    """What is to be written of a picture's scene, and then what was.

    Attributes:
        points, mesh: the files, or None.
        focal_px: the focal length that was given.
        max_points: the budget that was given.
        written: each file that was written.
        record: what `Scene.as_json` says of the scene; None before it is made.
    """

    points: Path | None
    mesh: Path | None
    focal_px: float | None
    max_points: int | None

    def __post_init__(self) -> None:
        self.written: list[Path] = []
        self.record: dict[str, Any] | None = None

    @property
    def paths(self) -> list[Path]:
        """The files that are wanted."""
        return [path for path in (self.points, self.mesh) if path is not None]

    def check(self, *, is_clip: bool) -> None:
        """Find what is wrong with the options before any work.

        Args:
            is_clip: whether a video is to be predicted, of which there is no scene.

        Raises:
            UsageError: a wrong ending, an impossible focal length, a video, or an option without a
                file.
            DependencyError: a mesh, and trimesh is not installed.
        """
        if not self.paths:
            given = {"--focal-px": self.focal_px is not None, "--max-points": self.max_points}
            check_idle("--points or --mesh", given)
            return
        if is_clip:
            raise UsageError(
                "one picture for --points and --mesh",
                "a video",
                "save a frame as a picture, and pass that",
                f"{self.paths[0]} holds the scene of one picture, not of a video.",
            )
        from maskdepth.camera import Camera
        from maskdepth.scene3d.export import MESH_SUFFIX, POINTS_SUFFIX, check_scene_file

        if self.points is not None:
            check_scene_file(self.points, POINTS_SUFFIX)
        if self.mesh is not None:
            check_scene_file(self.mesh, MESH_SUFFIX)
        if self.focal_px is not None:
            Camera(self.focal_px, (0.0, 0.0))

    def check_jobs(self, jobs: list[PredictionJob]) -> None:
        """Check that the files hold one picture, and are none of its inputs.

        Raises:
            UsageError: several pictures, or a file that is an input.
        """
        if not self.paths:
            return
        from maskdepth.records import check_not_inputs, file_identities

        if len(jobs) > 1:
            raise UsageError(
                "one picture for --points and --mesh",
                f"{len(jobs)} pictures",
                "pass one picture",
                f"{self.paths[0]} holds the scene of one picture, not of {len(jobs)}.",
            )
        used = [path for job in jobs for path in (job.picture, job.plate)]
        check_not_inputs(self.paths, file_identities(p for p in used if isinstance(p, Path)))

    def write(self, prediction: Prediction) -> None:
        """Write the files that are wanted, and say what is in them.

        Raises:
            PictureError: the prediction has no depth, or no mesh.
            StorageError: a file cannot be written.
        """
        if not self.paths:
            return
        from maskdepth.camera import Camera
        from maskdepth.scene3d import build_scene, save_mesh, save_points

        camera = None
        if self.focal_px is not None:
            height, width = prediction.alpha.shape
            camera = Camera.centred(self.focal_px, (height, width))
        scene = build_scene(prediction, camera)
        budget = self.max_points or MAX_POINTS
        self.record = scene.as_json()
        if self.points is not None:
            cloud = save_points(self.points, scene, budget)
            self._note(self.points, f"{len(cloud.positions)} points")
        if self.mesh is not None:
            surfaces = save_mesh(self.mesh, scene, budget)
            self._note(self.mesh, f"{sum(len(each.faces) for each in surfaces)} triangles")
        hint = "; --focal-px sets it right" if scene.camera.source == "assumed" else ""
        say(f"3-D units: {scene.unit}; {scene.camera.describe()}{hint}")

    def as_json(self) -> dict[str, Any]:
        """The part of ``--json`` about the scene; empty where none was made."""
        return {} if self.record is None else {"scene": self.record}

    def _note(self, path: Path, content: str) -> None:
        self.written.append(path)
        say(f"{content} -> {path}")

"""Files of a scene: PLY for points, GLB (binary glTF 2.0) for meshes."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskdepth._version import __version__
from maskdepth.errors import DependencyError, PictureError, UsageError
from maskdepth.files import as_path, write_bytes
from maskdepth.scene3d.layers import Scene
from maskdepth.scene3d.mesh import Surface, make_mesh
from maskdepth.scene3d.points import PointCloud, make_points
from maskdepth.scene3d.sampling import MAX_POINTS

POINTS_SUFFIX = ".ply"
MESH_SUFFIX = ".glb"

_UNLIT = "KHR_materials_unlit"  # a photo has its light in it already


def save_points(
    path: str | os.PathLike[str], scene: Scene, max_points: int = MAX_POINTS
) -> PointCloud:
    """Write a scene's points as binary PLY, whose comments say unit, axes and camera.

    Each vertex has ``x y z``, ``red green blue`` and ``foreground`` (1, or 0 for the plate).

    Args:
        path: ends in ``.ply``; replaced if it exists, once the new file is complete.
        max_points: see `make_points`.

    Returns:
        The points that were written.

    Raises:
        UsageError: another ending, or too few points.
        StorageError: the file cannot be written.
    """
    target = check_scene_file(path, POINTS_SUFFIX)
    cloud = make_points(scene, max_points)
    write_bytes(target, encode_ply(cloud, scene))
    return cloud


def save_mesh(
    path: str | os.PathLike[str], scene: Scene, max_points: int = MAX_POINTS
) -> list[Surface]:
    """Write a scene as binary glTF: a node with a textured mesh for each layer, and the camera.

    The scene's ``extras`` say unit, axes and camera.

    Args:
        path: ends in ``.glb``; replaced if it exists, once the new file is complete.
        max_points: see `make_mesh`.

    Returns:
        The surfaces that were written.

    Raises:
        UsageError: another ending, or too few points.
        PictureError: no two neighbours lie on one surface.
        DependencyError: trimesh is not installed.
        StorageError: the file cannot be written.
    """
    target = check_scene_file(path, MESH_SUFFIX)
    surfaces = make_mesh(scene, max_points)
    if not surfaces:
        raise PictureError(
            "neighbours on one surface",
            "none",
            "write points instead",
            "The scene has no two neighbouring points on one surface, so there is no mesh of it.",
        )
    write_bytes(target, encode_glb(surfaces, scene))
    return surfaces


def check_scene_file(path: str | os.PathLike[str], suffix: str) -> Path:
    """The path of a scene's file; also checks that what writes it is installed.

    Raises:
        UsageError: another ending than ``suffix``.
        DependencyError: ``suffix`` is that of a mesh, and trimesh is not installed.
    """
    target = as_path(path, "an output file")
    if target.suffix.lower() != suffix:
        what = "points are" if suffix == POINTS_SUFFIX else "a mesh is"
        raise UsageError(
            f"a file that ends in {suffix}",
            str(target),
            "",
            f"{what[0].upper()}{what[1:]} written as {suffix}, not as {target.suffix or target}.",
        )
    if suffix == MESH_SUFFIX:
        _import_trimesh()
    return target


def encode_ply(cloud: PointCloud, scene: Scene) -> bytes:
    """The bytes of a PLY file, little-endian (Turk, "The PLY Polygon File Format", 1994)."""
    kind = np.dtype([("position", "<f4", 3), ("colour", "u1", 3), ("foreground", "u1")])
    vertices = np.empty(len(cloud.positions), kind)
    vertices["position"], vertices["colour"] = cloud.positions, cloud.colours
    vertices["foreground"] = cloud.foreground
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment maskdepth {__version__}",
        *(f"comment {key}: {_plain(value)}" for key, value in scene.as_json().items()),
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {name}" for name in ("red", "green", "blue", "foreground")),
        "end_header",
    ]
    return ("\n".join(header) + "\n").encode("ascii") + vertices.tobytes()


def encode_glb(surfaces: list[Surface], scene: Scene) -> bytes:
    """The bytes of a GLB file.

    Raises:
        DependencyError: trimesh is not installed.
    """
    trimesh = _import_trimesh()
    height, width = scene.layers[0].depth.shape
    view = trimesh.scene.Camera(
        name="camera",
        resolution=(width, height),
        fov=(scene.camera.angle_of_view(width), scene.camera.angle_of_view(height)),
    )
    model = trimesh.Scene(camera=view, camera_transform=np.eye(4), metadata=scene.as_json())
    for surface in surfaces:
        material = trimesh.visual.material.PBRMaterial(
            name=surface.name,
            baseColorTexture=Image.fromarray(surface.texture),
            alphaMode="MASK" if surface.texture.shape[2] == 4 else "OPAQUE",
            doubleSided=True,
            metallicFactor=0.0,
            roughnessFactor=1.0,
        )
        upwards = surface.texture_positions * (1, -1) + (0, 1)
        mesh = trimesh.Trimesh(
            surface.vertices,
            surface.faces,
            process=False,
            visual=trimesh.visual.TextureVisuals(uv=upwards, material=material),
        )
        model.add_geometry(mesh, node_name=surface.name, geom_name=surface.name)
    glb = trimesh.exchange.gltf.export_glb(
        model, include_normals=False, tree_postprocessor=_make_unlit
    )
    return bytes(glb)


def _make_unlit(tree: dict[str, Any]) -> None:
    """Have viewers show the textures as they are."""
    tree["extensionsUsed"] = [*tree.get("extensionsUsed", []), _UNLIT]
    for material in tree["materials"]:
        material["extensions"] = {_UNLIT: {}}


def _import_trimesh() -> Any:
    try:
        return importlib.import_module("trimesh")
    except ImportError as error:
        raise DependencyError(error.name or "trimesh", "3d") from None


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)

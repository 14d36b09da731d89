"""Teachers: what they promise, ONNX files with their JSON, and depth files beside pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskdepth.depth import (
    decode_depth_mm,
    depth_from_disparity_aligned,
    disparity_from_depth,
    encode_disparity,
)
from maskdepth.errors import PictureError, TeacherError, UsageError
from maskdepth.images import load_grey16, load_picture, resize, save_png
from maskdepth.labelling.teachers import (
    RecordedDepth,
    TeacherInfo,
    checked_maps,
    describe,
    disparity_map,
    open_teacher,
)
from maskdepth.labelling.teachers.recorded import ExactDepth, SensorDepth

pytest.importorskip("onnx")
from networks import write_network
from pictures import noise

DEPTH = TeacherInfo("made-up", "1", "depth", "metres", (0.5, 10.0), None, "MIT")


def picture(height: int = 24, width: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    return noise(height, width, seed)


@dataclass
class MadeUp:
    maps: list[Any]
    info: TeacherInfo = field(default=DEPTH)

    def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Any]:
        return self.maps


# What every teacher promises


def test_metres_of_disparity_are_refused() -> None:
    with pytest.raises(TeacherError, match="Disparity has relative units"):
        TeacherInfo("n", "1", "disparity", "metres", None, None, "MIT")


@pytest.mark.parametrize("empty", ["name", "version", "licence"])
def test_a_teacher_without_a_name_version_or_licence_is_refused(empty: str) -> None:
    given = {"name": "n", "version": "1", "licence": "MIT", empty: ""}
    with pytest.raises(TeacherError, match="a name, a version and a licence"):
        TeacherInfo(**given, kind="depth", units="metres", range=None, size=None)


@pytest.mark.parametrize(
    ("maps", "complaint"),
    [
        ([], "Expected 1 maps"),
        ([np.ones((24, 32, 1), np.float32)], r"of shape \(24, 32, 1\)"),
        ([np.ones((32, 24), np.float32)], r"of shape \(32, 24\)"),
        ([np.ones((24, 32), np.uint8)], "uint8 of shape"),
    ],
    ids=["number", "rank", "size", "type"],
)
def test_a_teacher_that_breaks_its_promise_is_one_line(maps: list[Any], complaint: str) -> None:
    with pytest.raises(TeacherError, match=complaint):
        checked_maps(MadeUp(maps), [picture()])


@given(st.floats(0.01, 100), st.floats(-5, 5), st.integers(0, 1000))
def test_all_kinds_of_one_scene_become_one_disparity(scale: float, shift: float, seed: int) -> None:
    """But for the shift that disparity leaves open, which is taken so that the farthest is 0."""
    depth_m = np.random.default_rng(seed).uniform(0.5, 50, (6, 8)).astype(np.float32)
    inverse = 1 / depth_m.astype(np.float64)
    expected = inverse / inverse.max()
    stretched = (inverse - inverse.min()) / (inverse.max() - inverse.min())

    def of(kind: Any, values: NDArray[Any]) -> NDArray[np.float32]:
        info = TeacherInfo("n", "1", kind, "relative", None, None, "MIT")
        return disparity_map(values, info)

    np.testing.assert_allclose(of("depth", depth_m * scale), expected, rtol=1e-5)
    np.testing.assert_allclose(of("inverse depth", inverse * scale), expected, rtol=1e-5)
    np.testing.assert_allclose(
        of("disparity", inverse * scale + shift), stretched, rtol=1e-4, atol=1e-4
    )


def test_invalid_pixels_and_sky_are_kept() -> None:
    depth = np.array([[2.0, np.inf, np.nan, 0.0, -1.0]], np.float32)
    expected = np.array([[1.0, 0.0, np.nan, np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(disparity_map(depth, DEPTH), expected)
    inverse = TeacherInfo("n", "1", "inverse depth", "relative", None, None, "MIT")
    values = np.array([[0.5, 0.0, np.nan, np.inf, -1.0]], np.float32)
    np.testing.assert_array_equal(disparity_map(values, inverse), expected)


def test_what_a_teacher_cannot_mean_is_invalid() -> None:
    """A pixel at no distance would take all of disparity's range; the sky is none such."""
    values = np.array([[0.0, 0.24, 0.26, 5.0, 19.0, 21.0, np.inf]], np.float32)
    (found,) = checked_maps(MadeUp([values]), [picture(1, 7)])
    expected = [[np.nan, np.nan, 0.26, 5.0, 19.0, np.nan, np.inf]]
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


# ONNX files


def weigh(given: NDArray[Any], order: str = "RGB") -> NDArray[np.float64]:
    """What that network gives of one picture at its own size."""
    first, second, third = np.moveaxis(np.asarray(given, np.float64), 2, 0)
    double = first if order == "RGB" else third
    return (first + second + third + double) / 4


@pytest.mark.parametrize(
    ("layout", "map_layout"),
    [("NHWC", "NHW"), ("NHWC", "NHWC"), ("NCHW", "NHW"), ("NCHW", "NCHW")],
)
def test_a_network_is_fed_and_read_as_its_json_says(
    tmp_path: Path, layout: str, map_layout: str
) -> None:
    path = tmp_path / "net.onnx"
    write_network(path, layout=layout, map_layout=map_layout, output_scale=0.1)
    teacher = open_teacher(str(path))
    given = [picture(16, 16, seed) for seed in (1, 2)]
    for one, found in zip(given, checked_maps(teacher, given), strict=True):
        np.testing.assert_allclose(found, 0.1 * weigh(one), rtol=1e-5)


def test_colour_order_range_mean_and_std_are_applied(tmp_path: Path) -> None:
    path = write_network(
        tmp_path / "net.onnx",
        input="float32 NHWC BGR -1..1, 1x16x16x3",
        mean=[0.1, 0.2, 0.3],
        std=[0.5, 1.0, 2.0],
        output_offset=7.0,
    )
    one = picture(16, 16)
    bgr = one[..., ::-1] / 255 * 2 - 1
    expected = weigh((bgr - [0.1, 0.2, 0.3]) / [0.5, 1.0, 2.0]) + 7
    (found,) = checked_maps(open_teacher(str(path)), [one])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_pictures_of_any_size_are_stretched_and_back(tmp_path: Path) -> None:
    teacher = open_teacher(str(write_network(tmp_path / "net.onnx")))
    one = picture(40, 64)
    (found,) = checked_maps(teacher, [one])
    small = weigh(resize(one, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(found, resize(small, 40, 64), rtol=1e-5)
    assert teacher.info.size == (16, 16)


def test_any_batch_and_any_size_need_a_size_in_the_json(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx", batch="n", sides=("h", "w"))
    with pytest.raises(TeacherError, match='Add "size"'):
        open_teacher(str(path))
    facts = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**facts, "size": [8, 12]}))
    given = [picture(8, 12, seed) for seed in range(11)]
    for one, found in zip(given, checked_maps(open_teacher(str(path)), given), strict=True):
        np.testing.assert_allclose(found, weigh(one), rtol=1e-5)


def dynamic(path: Path, **facts: Any) -> Path:
    return write_network(path, batch="n", sides=("h", "w"), **facts)


def test_a_short_side_keeps_the_aspect_in_multiples(tmp_path: Path) -> None:
    path = dynamic(tmp_path / "net.onnx", short_side=20, multiple=8)
    teacher = open_teacher(str(path))
    assert teacher.info.size is None
    given = [picture(40, 76), picture(76, 40), picture(40, 76, seed=1)]
    sizes = [(16, 40), (40, 16), (16, 40)]  # 20 and 38 rounded to eights, halves to even
    for one, size, found in zip(given, sizes, checked_maps(teacher, given), strict=True):
        small = weigh(resize(one, *size)).astype(np.float32)
        np.testing.assert_allclose(found, resize(small, *one.shape[:2]), rtol=1e-5)


def test_maps_of_several_sizes_and_mirrored_copies_are_averaged(tmp_path: Path) -> None:
    path = dynamic(tmp_path / "net.onnx", short_side=[8, 16], multiple=8, mirror=True)
    one = picture(16, 24)
    (found,) = checked_maps(open_teacher(str(path)), [one])
    small = resize(weigh(resize(one, 8, 16)).astype(np.float32), 16, 24)
    np.testing.assert_allclose(found, (weigh(one) + small) / 2, rtol=1e-5)


def test_disparity_of_another_size_is_fitted_before_it_is_averaged(tmp_path: Path) -> None:
    """The network's values grow with the height of its input, which says nothing of the scene."""
    path = dynamic(tmp_path / "net.onnx", kind="disparity", units="relative")
    network = onnx.load(path)
    nodes = network.graph.node
    nodes[-1].input[0] = "scaled"
    for node in (
        onnx.helper.make_node("Shape", ["picture"], ["height"], start=1, end=2),
        onnx.helper.make_node("Cast", ["height"], ["factor"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Mul", ["summed", "factor"], ["scaled"]),
    ):
        nodes.insert(len(nodes) - 1, node)
    onnx.save(network, path)
    facts = json.loads(path.with_suffix(".json").read_text())
    ramp = np.tile(np.arange(48, dtype=np.uint8)[:, None, None] * 5, (1, 64, 3))
    maps = []
    for sides in (32, [16, 32]):
        path.with_suffix(".json").write_text(
            json.dumps({**facts, "short_side": sides, "multiple": 16})
        )
        maps += checked_maps(open_teacher(str(path)), [ramp])
    np.testing.assert_allclose(maps[1], maps[0], atol=0.02 * float(maps[0].max()))


def test_a_size_that_the_network_cannot_take_is_one_line(tmp_path: Path) -> None:
    path = dynamic(tmp_path / "net.onnx", short_side=24, multiple=8)
    network = onnx.load(path)
    network.graph.node[-1].input[0] = "sum"
    network.graph.node.insert(3, onnx.helper.make_node("Add", ["summed", "grid"], ["sum"]))
    grid = onnx.numpy_helper.from_array(np.zeros((1, 16, 16), np.float32), "grid")
    network.graph.initializer.append(grid)
    onnx.save(network, path)
    with pytest.raises(TeacherError, match="net cannot take pictures of 32x24 px") as caught:
        open_teacher(str(path)).predict([picture(24, 32)])
    assert "\n" not in str(caught.value)


def test_the_version_follows_network_and_json(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    first = open_teacher(str(path)).info
    assert open_teacher(str(path)).info == first
    assert open_teacher(str(write_network(path, output_scale=2.0))).info.version != first.version


def test_the_version_follows_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    """As exporters write large networks; the ONNX file itself is then the same."""
    path, name = write_network(tmp_path / "net.onnx"), f"{'w' * 200}.data"
    network = onnx.load(path)
    onnx.external_data_helper.set_external_data(network.graph.initializer[0], location=name)
    onnx.save(network, path)
    before, weights = open_teacher(str(path)).info.version, tmp_path / name
    weights.write_bytes(np.array([0.25, 0.5, 0.25], np.float32).tobytes())
    assert open_teacher(str(path)).info.version != before
    weights.unlink()
    with pytest.raises(TeacherError, match=r"net\.onnx"):
        open_teacher(str(path))


def test_a_device_that_onnx_runtime_lacks_is_refused(tmp_path: Path) -> None:
    path = str(write_network(tmp_path / "net.onnx"))
    with pytest.raises(UsageError, match="auto, cpu, cuda or mps"):
        open_teacher(path, device="banana")
    providers = onnxruntime.get_available_providers()
    absent = "mps" if "CoreMLExecutionProvider" not in providers else "cuda"
    with pytest.raises(UsageError, match="--device cpu"):
        open_teacher(path, device=absent)


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"input": "uint8 NHWC RGB 0..255, 1x16x16x3"}, "float32 1x16x16x3"),
        ({"input": "float32 NHWC RGB 0..255, 1x32x32x3"}, "float32 1x16x16x3"),
        ({"input": "float32 NCHW RGB 0..255"}, "float32 1x16x16x3"),
        ({"input": "a picture"}, "to read like"),
        ({"output": "float32 NHWC"}, "the output 'depth'"),
        ({"output": "float32 NHW 1x8x8"}, "the output 'depth'"),
        ({"output": "uint8 NHW"}, "the output 'depth'"),
        ({"size": [8, 8]}, "a size for the input"),
        ({"short_side": 16}, "takes pictures of one shape alone"),
        ({"short_side": 16, "size": [16, 16]}, "both 'size'"),
        ({"short_side": 0}, "a whole number of pixels"),
        ({"short_side": [16, "a"]}, "or a list of such"),
        ({"short_side": 16, "multiple": 0}, "'multiple' in"),
        ({"multiple": 8}, "without the 'short_side'"),
        ({"kind": "distance"}, "'kind' in"),
        ({"units": "feet"}, "'units' in"),
        ({"licence": ""}, "'licence' in"),
        ({"model": "other.onnx"}, "describes other.onnx, not net.onnx"),
        ({"colour": "RGB"}, "unknown key 'colour'"),
        ({"std": [0.0, 1.0, 1.0]}, "std and output_scale other than 0"),
        ({"output_scale": float("nan")}, "'output_scale' in"),
        ({"range": "10..0.5"}, "a range in"),
    ],
)
def test_a_json_that_does_not_fit_its_network_is_one_line(
    tmp_path: Path, facts: dict[str, Any], complaint: str
) -> None:
    path = write_network(tmp_path / "net.onnx", **facts)
    with pytest.raises(TeacherError) as caught:
        open_teacher(str(path))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_json_or_network_is_one_line(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    text = path.with_suffix(".json").read_text()
    path.with_suffix(".json").unlink()
    with pytest.raises(TeacherError, match=r"net\.json, which describes"):
        open_teacher(str(path))
    path.with_suffix(".json").write_text(text)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(TeacherError, match="no usable ONNX file"):
        open_teacher(str(path))
    path.unlink()
    path.with_suffix(".json").unlink()
    with pytest.raises(TeacherError, match=r"net\.onnx does not exist"):
        open_teacher(str(path))


def test_fastdepth_is_read_as_its_json_says(shared_data: Path) -> None:
    """On real rooms with a sensor's depth: aligned AbsRel of about 0.14, as its README says."""
    path = shared_data / "teacher" / "fastdepth_224_int8.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}")
    teacher = open_teacher(str(path))
    info = teacher.info
    assert (info.kind, info.units, info.size, info.range) == (
        "depth", "metres", (224, 224), (0.5, 10.0),
    )  # fmt: skip
    assert describe(teacher).endswith("depth in metres; licence: MIT (dwofk/fast-depth)")
    errors = []
    for photo in sorted((shared_data / "rgbd").glob("room_*.jpg")):
        given = load_picture(photo)
        (found,) = checked_maps(teacher, [given])
        depth_m = decode_depth_mm(load_grey16(str(photo).replace(".jpg", "_depth_mm.png")))
        known = np.isfinite(depth_m)
        aligned = depth_from_disparity_aligned(disparity_map(found, info), depth_m, known)
        errors.append(np.abs(aligned - depth_m)[known] / depth_m[known])
    assert np.mean([error.mean() for error in errors]) < 0.16


# Depth files


def test_a_sensors_millimetres_are_metres(tmp_path: Path) -> None:
    codes = np.array([[0, 1, 1500, 65535]], np.uint16)
    save_png(tmp_path / "a_depth_mm.png", codes)
    sensor = SensorDepth()
    file = sensor.find(tmp_path / "a.jpg")
    assert file is not None
    depth_m, info = sensor.load(file, 1, 4)
    expected = np.array([[np.nan, 0.001, 1.5, 65.535]], np.float32)
    np.testing.assert_allclose(depth_m, expected, rtol=1e-6)
    assert (info.kind, info.units) == ("depth", "metres")


def test_a_sensors_array_is_taken_exactly(tmp_path: Path) -> None:
    depth_m = np.array([[0.0, -1.0, np.nan, 0.1234567, 120.0, np.inf]])
    np.save(tmp_path / "a_depth.npy", depth_m)
    sensor = SensorDepth()
    file = sensor.find(tmp_path / "a.png")
    assert file is not None
    expected = np.array([[np.nan, np.nan, np.nan, 0.1234567, 120.0, np.inf]], np.float32)
    np.testing.assert_array_equal(sensor.load(file, 1, 6)[0], expected)


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros((2, 3, 1)), r"numbers of shape \(H, W\)"),
        (np.array([["a"]]), r"numbers of shape \(H, W\)"),
        (np.array([[{}]], dtype=object), "a NumPy array"),
        (np.ones((3, 2)), "is 2x3, but its picture is 3x2"),
    ],
    ids=["rank", "text", "pickle", "size"],
)
def test_an_array_that_is_no_depth_of_its_picture_is_one_line(
    tmp_path: Path, array: NDArray[Any], complaint: str
) -> None:
    file = tmp_path / "a_depth.npy"
    np.save(file, array, allow_pickle=True)
    with pytest.raises(PictureError, match=complaint):
        SensorDepth().load(file, 2, 3)


def test_a_pipe_is_no_depth_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PictureError, match="no regular file"):
        SensorDepth().load(tmp_path / "pipe", 2, 3)


def test_exact_depth_is_taken_from_a_sample_pack_alone(tmp_path: Path) -> None:
    exact = ExactDepth()
    depth_m = np.linspace(1, 9, 12).reshape(3, 4)
    disparity = disparity_from_depth(depth_m)
    save_png(tmp_path / "a_disparity.png", encode_disparity(disparity))
    assert exact.find(tmp_path / "a.png") is None
    (tmp_path / "label.json").write_text('{"kind": "teacher somebody"}')
    assert exact.find(tmp_path / "a.png") is None
    (tmp_path / "label.json").write_text('{"kind": "exact"}')
    file = exact.find(tmp_path / "a.png")
    assert file is not None
    values, info = exact.load(file, 3, 4)
    np.testing.assert_allclose(disparity_map(values, info), disparity, atol=1 / 65535)


# Naming a teacher


def test_depth_files_have_names(tmp_path: Path) -> None:
    assert isinstance(open_teacher("sensor"), RecordedDepth)
    assert isinstance(open_teacher("exact"), RecordedDepth)
    with pytest.raises(UsageError, match="sensor takes no --kind"):
        open_teacher("sensor", kind="depth")
    with pytest.raises(UsageError, match=r"net\.onnx takes no --kind"):
        open_teacher(str(write_network(tmp_path / "net.onnx")), licence="MIT")


@pytest.mark.parametrize("name", ["fastdepth", "./none/there", "a/b/c"])
def test_a_name_of_nothing_is_a_wrong_argument(name: str) -> None:
    with pytest.raises(UsageError, match=r"(?i)sensor, exact, FILE\.onnx"):
        open_teacher(name)

"""Networks of the transformers library: tiny ones with random weights, saved and loaded again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from maskdepth.errors import TeacherError, UsageError
from maskdepth.labelling.teachers import checked_maps, describe, open_teacher
from maskdepth.labelling.teachers.hub import find_folder
from maskdepth.labelling.teachers.published import PUBLISHED

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLD = {"kind": "inverse depth", "units": "relative", "licence": "MIT"}


def pictures() -> list[NDArray[np.uint8]]:
    """Three of two sizes, so that a batch has to be put together from what is alike."""
    noise = np.random.default_rng(0)
    sizes = ((70, 100), (96, 66), (70, 100))
    return [noise.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]


def save(model: Any, processor: Any, folder: Path) -> Path:
    """Save with weights large enough for an output that varies."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(torch.randn_like(weights) * (0.3 if weights.ndim > 1 else 0.1))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def depth_anything(folder: Path) -> Path:
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14,
        mlp_ratio=2, out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8, head_hidden_size=4,
    )  # fmt: skip
    processor = transformers.DPTImageProcessorPil(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14
    )
    return save(transformers.DepthAnythingForDepthEstimation(config), processor, folder)


def dpt(folder: Path) -> Path:
    config = transformers.DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=16, backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8] * 4, fusion_hidden_size=8,
    )  # fmt: skip
    processor = transformers.DPTImageProcessorPil(size={"height": 32, "width": 32})
    return save(transformers.DPTForDepthEstimation(config), processor, folder)


def glpn(folder: Path) -> Path:
    config = transformers.GLPNConfig(
        depths=[1] * 4, hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2],
        mlp_ratios=[1] * 4, decoder_hidden_size=8,
    )  # fmt: skip
    processor = transformers.GLPNImageProcessorPil()
    return save(transformers.GLPNForDepthEstimation(config), processor, folder)


def zoedepth(folder: Path) -> Path:
    backbone = transformers.BeitConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=16, out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False, use_absolute_position_embeddings=False,
    )  # fmt: skip
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8,
        bottleneck_features=8, num_relative_features=4, bin_embedding_dim=8,
        bin_configurations=[{"n_bins": 4, "min_depth": 0.1, "max_depth": 10.0, "name": "nyu"}],
        num_attractors=[2, 2, 2, 1],
    )  # fmt: skip
    processor = transformers.ZoeDepthImageProcessorPil(
        size={"height": 64, "width": 64}, ensure_multiple_of=16
    )
    return save(transformers.ZoeDepthForDepthEstimation(config), processor, folder)


NETWORKS: dict[str, Callable[[Path], Path]] = {
    "DepthAnything": depth_anything,
    "DPT": dpt,
    "GLPN": glpn,
    "ZoeDepth": zoedepth,
}


def by_hand(name: str, folder: Path, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The map of one picture, by the network's own classes and the authors' way of resizing."""
    model = getattr(transformers, f"{name}ForDepthEstimation").from_pretrained(folder).eval()
    kind = "DPT" if name == "DepthAnything" else name
    processor = getattr(transformers, f"{kind}ImageProcessorPil").from_pretrained(folder)
    with torch.inference_mode():
        found = model(**processor(images=picture, return_tensors="pt")).predicted_depth
    height, width = picture.shape[:2]
    above, beside = (
        (int((height / 2) ** 0.5 * 3), int((width / 2) ** 0.5 * 3))
        if name == "ZoeDepth"
        else (0, 0)
    )
    grown = torch.nn.functional.interpolate(
        found[None], (height + 2 * above, width + 2 * beside), mode="bicubic", align_corners=False
    )
    return np.asarray(grown[0, 0, above : above + height, beside : beside + width])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_gives_what_it_gives_by_hand(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batched, offline, at each picture's own size, and the same as one by one."""
    folder = NETWORKS[name](tmp_path / "network")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    teacher = open_teacher(str(folder), **TOLD)
    given = pictures()
    for picture, found in zip(given, checked_maps(teacher, given), strict=True):
        expected = by_hand(name, folder, picture)
        assert expected.std() > 1e-4  # a constant would agree with anything
        # Alone and in a batch, sums are taken in other orders.
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=5e-3 * expected.std())
    assert (teacher.info.kind, teacher.info.units, teacher.info.licence) == tuple(TOLD.values())


def depth_pro(folder: Path) -> Path:
    small = {
        "model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 16, "patch_size": 8, "mlp_ratio": 2,
    }  # fmt: skip
    config = transformers.DepthProConfig(
        patch_size=16, fusion_hidden_size=16, intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8], scaled_images_feature_dims=[8, 8, 8],
        image_model_config=small, patch_model_config=small, fov_model_config=small,
        use_fov_model=True,
    )  # fmt: skip
    model = transformers.DepthProForDepthEstimation(config)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim > 1:
                weights.copy_(torch.randn_like(weights) * 0.1)
            if name.endswith("bias"):
                weights.fill_(0.2)
    model.save_pretrained(folder)
    told = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 64, "width": 64}}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder


def test_depth_pro_gives_inverse_metres_without_torchvision(tmp_path: Path) -> None:
    """C w / f of its paper: depth is f / (w C), f from the angle of view that it predicts."""
    folder = depth_pro(tmp_path / "network")
    picture = pictures()[0]
    model = transformers.DepthProForDepthEstimation.from_pretrained(folder).eval()
    values = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        told = model(torch.nn.functional.interpolate(values, (64, 64), mode="bilinear"))
    width = picture.shape[1]
    focal = 0.5 * width / torch.tan(0.5 * torch.deg2rad(told.field_of_view.reshape(())))
    canonical = torch.nn.functional.interpolate(
        told.predicted_depth[:, None], picture.shape[:2], mode="bilinear"
    )[0, 0]
    expected = np.asarray((canonical * width / focal).clamp(min=0))
    assert expected.std() > 1e-6
    (found,) = checked_maps(open_teacher(str(folder), **TOLD), [picture])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_version_follows_the_weights_and_their_meaning(tmp_path: Path) -> None:
    first = open_teacher(str(dpt(tmp_path / "a")), **TOLD)
    again = open_teacher(str(shutil.copytree(tmp_path / "a", tmp_path / "b")), **TOLD)
    other = open_teacher(str(tmp_path / "a"), **{**TOLD, "kind": "depth"})
    assert first.info.version == again.info.version != other.info.version
    weights = tmp_path / "b" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert open_teacher(str(tmp_path / "b"), **TOLD).info.version != first.info.version


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    folder = dpt(tmp_path / "network")
    glpn(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(TeacherError, match="a depth network"):
        open_teacher(str(folder), **TOLD)


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    folder = dpt(tmp_path / "network")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(TeacherError, match="safetensors"):
        open_teacher(str(folder), **TOLD)


def test_a_truncated_file_of_weights_is_one_line(tmp_path: Path) -> None:
    folder = dpt(tmp_path / "network")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(TeacherError, match="a depth network") as caught:
        open_teacher(str(folder), **TOLD)
    assert "\n" not in str(caught.value)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def fill(cache: Path, name: str) -> None:
    repository = cache / f"models--{name.replace('/', '--')}"
    depth_anything(repository / "snapshots" / "0123abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")


def test_a_known_id_comes_from_the_cache_with_its_licence(cache: Path) -> None:
    fill(cache, "depth-anything/Depth-Anything-V2-Small-hf")
    teacher = open_teacher("depth-anything/Depth-Anything-V2-Small-hf")
    assert (teacher.info.kind, teacher.info.units) == ("disparity", "relative")
    assert describe(teacher).endswith("relative disparity; licence: Apache-2.0")
    assert len(checked_maps(teacher, pictures())) == 3


def test_a_licence_that_nobody_read_says_so_and_may_be_settled(cache: Path) -> None:
    fill(cache, "Intel/dpt-hybrid-midas")
    teacher = open_teacher("Intel/dpt-hybrid-midas")
    assert describe(teacher).endswith("licence: Apache-2.0 (not checked)")
    settled = open_teacher("Intel/dpt-hybrid-midas", licence="Apache-2.0")
    assert describe(settled).endswith("licence: Apache-2.0")


@pytest.mark.usefixtures("cache")
def test_an_id_that_is_not_in_the_cache_is_one_line() -> None:
    with pytest.raises(TeacherError, match="HF_HUB_OFFLINE is set"):
        find_folder("Intel/dpt-large", download=True)


@pytest.mark.usefixtures("cache")
def test_nothing_is_asked_of_the_network_unless_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("asked the network"))
    with pytest.raises(TeacherError, match="Pass --download"):
        find_folder("Intel/dpt-large", download=False)


def test_a_fresh_process_that_finds_no_network_says_so(tmp_path: Path) -> None:
    """Also where nothing else has imported the parts of the hub's library that are asked."""
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    program = (
        "from maskdepth.labelling.teachers.hub import find_folder\n"
        "find_folder('Intel/dpt-large', download=False)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (
        "TeacherError: The files of Intel/dpt-large are not all in the Hugging Face cache"
        in done.stderr
    )


@pytest.mark.parametrize("missing", ["kind", "units", "licence"])
def test_an_unknown_network_must_be_described(missing: str) -> None:
    told = {key: value for key, value in TOLD.items() if key != missing}
    with pytest.raises(UsageError, match=f"--{missing} for somebody/depth"):
        open_teacher("somebody/depth", **told)


def test_what_is_known_is_not_contradicted() -> None:
    with pytest.raises(UsageError, match="Intel/dpt-large has the kind 'disparity', not 'depth'"):
        open_teacher("Intel/dpt-large", kind="depth")
    with pytest.raises(UsageError, match=r"has the licence 'CC-BY-NC-4\.0 \(non-commercial\)'"):
        open_teacher("depth-anything/Depth-Anything-V2-Large-hf", licence="Apache-2.0")


def test_an_unknown_licence_has_to_be_said() -> None:
    name = next(name for name, facts in PUBLISHED.items() if facts.licence == "unknown")
    with pytest.raises(UsageError, match="--licence for"):
        open_teacher(name)

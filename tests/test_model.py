"""The networks: their size, the sizes they take, and what they look at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from maskdepth.errors import ConfigError, ModelError
from maskdepth.learning.model import PRESETS, build_model, count_weights
from maskdepth.learning.settings import preset_config
from maskdepth.learning.small import visible_differences


def make_inputs(batch: int, height: int, width: int, seed: int = 0) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = [(batch, channels, height, width) for channels in (3, 3, 1)]
    return [*(torch.rand(shape, generator=random) for shape in shapes), torch.ones(batch, 2)]


def gmac(model: nn.Module) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*make_inputs(1, 224, 224))
    return counter.get_total_flops() / 2e9


@pytest.fixture(scope="module")
def prior() -> nn.Module:
    torch.manual_seed(0)
    return build_model("prior").eval()


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(0)
    return build_model("small").eval()


def test_prior_is_exactly_the_published_size(prior: nn.Module) -> None:
    assert count_weights(prior) == 41_104_408
    assert gmac(prior) == pytest.approx(31.0, abs=0.05)


def test_small_stays_under_a_million_weights_and_half_a_gmac(small: nn.Module) -> None:
    assert count_weights(small) < 1_000_000
    assert gmac(small) < 0.5


def test_small_has_dense_convolutions_only(small: nn.Module) -> None:
    convolutions = [module for module in small.modules() if isinstance(module, nn.Conv2d)]
    assert convolutions
    assert all(convolution.groups == 1 for convolution in convolutions)


def test_frozen_weights_are_not_counted() -> None:
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert count_weights(layer) == 6


@pytest.mark.parametrize("use", [build_model, preset_config])
def test_an_unknown_preset_is_an_error_that_lists_the_presets(use: Callable[[str], object]) -> None:
    with pytest.raises(ConfigError, match=r"There is no preset 'large'\. .*: prior, small"):
        use("large")


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_keeps_the_contract_and_learns(name: str) -> None:
    torch.manual_seed(1)
    model = build_model(name).train()
    side = PRESETS[name].fixed_size or 64
    outputs = model(*make_inputs(2, side, side))
    assert {key: tuple(value.shape) for key, value in outputs.items()} == {
        "alpha_logits": (2, 1, side, side),
        "disparity": (2, 1, side, side),
    }
    (outputs["alpha_logits"].square().mean() + outputs["disparity"].square().mean()).backward()
    for weight in model.parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()


@given(height=st.integers(1, 70), width=st.integers(1, 70), batch=st.integers(1, 2))
@settings(max_examples=25, deadline=None)
def test_small_takes_any_size(small: nn.Module, height: int, width: int, batch: int) -> None:
    with torch.no_grad():
        outputs = small(*make_inputs(batch, height, width))
    for value in outputs.values():
        assert value.shape == (batch, 1, height, width)
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("size", [(223, 224), (224, 225), (448, 448)])
def test_prior_refuses_other_sizes_than_its_own(prior: nn.Module, size: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match="224 x 224"):
        prior(*make_inputs(1, *size))


def outputs_of(model: nn.Module, inputs: list[Tensor]) -> Tensor:
    with torch.no_grad():
        outputs = model(*inputs)
    return torch.cat([outputs["alpha_logits"], outputs["disparity"]])


@pytest.mark.parametrize(("flag", "position"), [(0, 1), (1, 2)])
@pytest.mark.parametrize("content", [0.7, float("nan"), float("inf")])
def test_what_an_absent_input_holds_does_not_matter(
    small: nn.Module, flag: int, position: int, content: float
) -> None:
    inputs = make_inputs(1, 48, 64)
    inputs[3][:, flag] = 0
    other = [*inputs]
    other[position] = torch.full_like(inputs[position], content)
    assert torch.equal(outputs_of(small, inputs), outputs_of(small, other))


@pytest.mark.parametrize(("flag", "position"), [(0, 1), (1, 2)])
def test_a_given_input_is_looked_at(small: nn.Module, flag: int, position: int) -> None:
    inputs = make_inputs(1, 48, 64)
    other = [*inputs]
    other[position] = 1 - inputs[position]
    assert not torch.allclose(outputs_of(small, inputs), outputs_of(small, other), atol=1e-4)
    blank = [*inputs]
    blank[position] = torch.zeros_like(inputs[position])
    absent = [*blank[:3], inputs[3].clone()]
    absent[3][:, flag] = 0
    # A black plate is a plate: not the same as none.
    assert not torch.equal(outputs_of(small, blank), outputs_of(small, absent))


def test_samples_of_a_batch_do_not_see_each_other(small: nn.Module) -> None:
    inputs = make_inputs(2, 33, 47)
    inputs[3] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    with torch.no_grad():
        together = small(*inputs)
        alone = small(*(value[1:] for value in inputs))
    for name, value in alone.items():
        torch.testing.assert_close(value, together[name][1:], atol=1e-5, rtol=1e-4)


def test_prior_takes_a_black_plate_for_an_absent_one(prior: nn.Module) -> None:
    inputs = make_inputs(1, 224, 224)
    inputs[3][:] = 0
    black = [inputs[0], torch.zeros_like(inputs[1]), inputs[2], torch.ones(1, 2)]
    assert torch.equal(outputs_of(prior, inputs), outputs_of(prior, black))


@given(levels=st.integers(0, 255))
def test_visible_differences_keep_zero_and_lift_small_ones(levels: int) -> None:
    value, _ = visible_differences(torch.full((1, 3, 1, 1), levels / 255))
    least = (0, 0.07, 0.13)[min(levels, 2)]
    assert (value == 0).all() if levels == 0 else (value >= least).all()
    assert (value < 1).all()


def test_a_faint_difference_counts_as_much_as_the_rest_of_the_pair_allows() -> None:
    """Two grey levels on a third of a picture stand out of an exact plate, and not of noise."""
    noise = torch.randn(1, 3, 60, 60, generator=torch.Generator().manual_seed(0))
    plate = torch.full((1, 3, 60, 60), 0.5)
    picture = plate.clone()
    picture[..., :20] += 2 / 255
    _, exact = visible_differences((picture - plate).abs())
    assert exact[..., :20].min() > 0.5
    assert exact[..., 20:].max() == 0
    _, noisy = visible_differences((picture + 6 / 255 * noise - plate).abs())
    assert noisy[..., :20].mean() < 0.35
    assert abs(noisy[..., :20].mean() - noisy[..., 20:].mean()) < 0.05


def test_alpha_can_follow_a_single_pixel(small: nn.Module) -> None:
    inputs = make_inputs(1, 40, 40)
    inputs[1] = inputs[0].clone()
    picture = inputs[0].clone()
    picture[0, :, 21, 17] = 1 - picture[0, :, 21, 17].round()
    changed = (
        outputs_of(small, [picture, *inputs[1:]])[0, 0] - outputs_of(small, inputs)[0, 0]
    ).abs()
    assert changed[21, 17] > 0
    assert changed.argmax() == 21 * 40 + 17


@pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_bf16"), reason="this CPU has no bfloat16 units"
)
@pytest.mark.parametrize("side", [96, 160])
def test_gradients_in_bfloat16_point_where_full_ones_do(side: int) -> None:
    def gradient(enabled: bool) -> torch.Tensor:
        torch.manual_seed(3)
        network = build_model("small").to(memory_format=torch.channels_last).train()
        inputs = torch.rand(4, 3, side, side), torch.rand(4, 3, side, side)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs = network(*inputs, torch.rand(4, 1, side, side), torch.ones(4, 2))
        sum(value.float().square().mean() for value in outputs.values()).backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    full, half = gradient(False), gradient(True)
    assert torch.nn.functional.cosine_similarity(full, half, dim=0) > 0.97

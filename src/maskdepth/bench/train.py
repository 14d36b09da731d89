"""Speed of the training loop."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from maskdepth.bench.machine import describe_machine
from maskdepth.datasets.build import Dataset, compose_dataset
from maskdepth.errors import DependencyError, UsageError
from maskdepth.records import Json
from maskdepth.synthesis.rules import RecipeRules
from maskdepth.synthesis.worlds import write_sample_pack

if TYPE_CHECKING:
    from maskdepth.learning.journal import TrainingProgress

WARM_UP_SECONDS = 5.0  # for allocators, code generation and the cache of assets
PACK_SIZE = 8  # scenes, and cutouts: enough that the cache of assets works as usual


def bench_train(
    preset: str = "small",
    *,
    size: int = 224,
    batch_size: int = 16,
    seconds: float = 20.0,
    device: str = "auto",
) -> Json:
    """Train for a while on composites rendered on the fly, and measure the loop.

    Args:
        preset: of the network and its settings.
        size: side of the composites, px.
        batch_size: images a step.
        seconds: to measure, after a warm-up.
        device: see ``maskdepth.learning.training.train``.

    Returns:
        ``images_per_second`` of rendering, forward, backward and step together; ``loader_share``,
        the share of the time spent waiting for rendered batches; the measured ``steps`` and
        ``seconds``; ``flops_per_image`` of forward and backward, ``peak_flops_per_second`` of a
        large matrix product right after the run, on the same device and in the same precision, and
        ``peak_share`` of it that the loop reached; the settings; ``machine``.

    Raises:
        DependencyError: torch is not installed.
        UsageError: the time was too short for two steps.
    """
    try:
        from maskdepth.learning.arithmetic import count_training_flops, measure_peak_flops
        from maskdepth.learning.dataset import training_samples
        from maskdepth.learning.settings import preset_config
        from maskdepth.learning.training import train
    except ModuleNotFoundError as error:
        raise DependencyError(error.name or "torch", "train") from None

    config = preset_config(preset).with_duration(minutes=(WARM_UP_SECONDS + seconds) / 60)
    config = config.with_(batch_size=batch_size, save_every_seconds=1e9)
    marks: list[TrainingProgress] = []
    with tempfile.TemporaryDirectory(prefix="maskdepth-bench-") as name:
        folder = Path(name)
        dataset = sample_dataset(folder, RecipeRules(size=size))
        catalogue = dataset.spec.catalogue(dataset.folder)
        samples = training_samples(dataset.spec, catalogue, config)
        result = train(
            config, samples, None, folder / "run", device=device, quiet=True,
            on_progress=marks.append,
        )  # fmt: skip
    rates = _measure_rates(marks)
    flops = count_training_flops(preset, size)
    environment = result.environment
    peak = measure_peak_flops(environment.device, environment.precision)
    return {
        "preset": preset,
        "size": size,
        "batch_size": batch_size,
        **rates,
        "flops_per_image": flops,
        "peak_flops_per_second": peak,
        "peak_share": rates["images_per_second"] * flops / peak,
        "machine": describe_machine() | environment.model_dump(),
    }


def sample_dataset(folder: Path, rules: RecipeRules) -> Dataset:
    """A freshly drawn sample pack, composed."""
    pack = write_sample_pack(folder / "pack", scenes=PACK_SIZE, cutouts=PACK_SIZE)
    return compose_dataset(
        pack.cutouts, pack.backgrounds, folder / "dataset", rules=rules, small=True, depth_scenes=0
    )


def _measure_rates(marks: list[TrainingProgress]) -> dict[str, float]:
    """Figures of the steps between the end of the warm-up and the last one."""
    measured = [mark for mark in marks if mark.seconds >= WARM_UP_SECONDS]
    if len(measured) < 2:
        steps = f"{len(measured)} after the warm-up"
        message = "There was no time for two steps."
        raise UsageError("time for two steps", steps, "raise --seconds", message)
    first, last = measured[0], measured[-1]
    seconds = last.seconds - first.seconds
    return {
        "steps": last.step - first.step,
        "seconds": seconds,
        "images_per_second": (last.images - first.images) / seconds,
        "loader_share": (last.waited_seconds - first.waited_seconds) / seconds,
    }

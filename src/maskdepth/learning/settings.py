"""Settings of a training run: the network, the optimiser, the duration."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from maskdepth.config import Seed, Settings, merge_settings, read_yaml
from maskdepth.inference.model.card import present_preset
from maskdepth.learning.losses import DEFAULT, PRIOR_WORK, LossWeights
from maskdepth.learning.model import find_preset
from maskdepth.records import Json

EPOCH_SIZE = 20_000  # images, unless the settings say otherwise
MAX_COUNT = 10**12  # steps, images or seconds: more than anybody lives to see
MIN_RATE_SHARE = 0.01  # of the peak learning rate: a step that moves nothing is wasted time


class TrainingConfig(Settings):
    """Settings of one training run; a saved run resumes only with the same.

    Attributes:
        preset: name of the network, see ``maskdepth.learning.model.PRESETS``.
        seed: seed of the initial weights; the composites have their own, in the dataset spec.
        batch_size: images a step, over all processes together.
        learning_rate: the peak, after the warm-up.
        optimiser: "muon" is Muon for weights that a norm follows and AdamW for the rest; "adamw"
            and "sgd" move all weights.
        momentum: of "muon" and "sgd".
        weight_decay: on weights of convolutions and linear layers, not on biases and norms.
        warmup: share of the run over which the learning rate rises.
        clip_norm: the largest norm of a gradient; 0 does not clip.
        ema_decay: of the running average of the weights, which is validated and returned; 0 keeps
            no average.
        losses: weights of the losses.
        drop_plate, drop_plate_disparity, mirror: share of the training samples without their plate,
            without its disparity, and shown as in a mirror; see ``dataset.CompositeDataset``.
        steps, epochs, minutes: duration; exactly one of them is set.
        epoch_size: images an epoch, after which the same ones come again; needed with ``epochs``,
            and None for composites without end.
        validate_every_steps, validate_every_seconds: at most one is set; a run also ends with a
            validation.
        save_every_seconds: time between saved states, which a sudden death of the process loses.
        log_every_steps: steps a row of the log.
        workers: processes that render, 0 for none; "auto" depends on the machine.
        renderer: read from files of earlier versions, and without effect.
        mixed_precision: "auto" is bfloat16 on GPUs that compute in it and on CPUs that multiply
            matrices of it (AMX), and "no" elsewhere.
    """

    preset: str = "small"
    seed: Seed = 0
    batch_size: int = Field(default=16, ge=1, le=MAX_COUNT)
    optimiser: Literal["muon", "adamw", "sgd"] = "muon"
    learning_rate: float = Field(default=3e-3, gt=0)
    momentum: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=1e-2, ge=0)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: float = Field(default=1.0, ge=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    losses: LossWeights = DEFAULT
    drop_plate: float = Field(default=0.1, ge=0, le=1)
    drop_plate_disparity: float = Field(default=0.5, ge=0, le=1)
    mirror: float = Field(default=0.5, ge=0, le=1)
    steps: int | None = Field(default=None, ge=1, le=MAX_COUNT)
    epochs: int | None = Field(default=None, ge=1, le=MAX_COUNT)
    minutes: float | None = Field(default=None, gt=0, le=MAX_COUNT)
    epoch_size: int | None = Field(default=None, ge=1, le=MAX_COUNT)
    validate_every_steps: int | None = Field(default=None, ge=1)
    validate_every_seconds: float | None = Field(default=None, gt=0)
    save_every_seconds: float = Field(default=60.0, ge=0)
    log_every_steps: int = Field(default=20, ge=1)
    workers: int | Literal["auto"] = "auto"
    renderer: str | None = Field(default=None, exclude=True)
    mixed_precision: Literal["auto", "no"] = "auto"

    @field_validator("preset")
    @classmethod
    def _rename_preset(cls, preset: str) -> str:
        """A file of an earlier version may have the preset's former name."""
        return present_preset(preset)

    @model_validator(mode="after")
    def _check_duration(self) -> Self:
        if [self.steps, self.epochs, self.minutes].count(None) != 2:
            raise ValueError("exactly one of steps, epochs, minutes")
        if self.epochs is not None and self.epoch_size is None:
            raise ValueError("epoch_size beside epochs")
        if None not in (self.validate_every_steps, self.validate_every_seconds):
            raise ValueError("at most one of validate_every_steps, validate_every_seconds")
        if isinstance(self.workers, int) and self.workers < 0:
            raise ValueError('workers of 0 or more, or "auto"')
        return self

    @property
    def total_steps(self) -> int | None:
        """Steps of the run, or None where the clock ends it."""
        if self.steps is not None:
            return self.steps
        if self.epochs is not None and self.epoch_size is not None:
            return math.ceil(self.epochs * self.epoch_size / self.batch_size)
        return None

    def progress(self, step: int, seconds: float) -> float:
        """Share of the run, 0..1, that is done after ``step`` steps and ``seconds``."""
        if self.minutes is not None:
            return min(1.0, seconds / (60.0 * self.minutes))
        assert self.total_steps is not None  # as the validator has checked
        return min(1.0, step / self.total_steps)

    def with_duration(
        self, *, steps: int | None = None, epochs: int | None = None, minutes: float | None = None
    ) -> Self:
        """A copy of another duration, which keeps only the epoch's size of this one."""
        epoch_size = None if epochs is None else self.epoch_size or EPOCH_SIZE
        duration = {"steps": steps, "epochs": epochs, "minutes": minutes, "epoch_size": epoch_size}
        return self.parse({**self.model_dump(), **duration}, "the duration")


def preset_config(preset: str) -> TrainingConfig:
    """The default settings of a preset.

    Those of "prior" are the prior work's: plain SGD on the raw output, three epochs of 360 000
    composites, each with its plate, and no average, schedule or clipping.
    """
    find_preset(preset)
    preset = present_preset(preset)
    return TrainingConfig.parse({"preset": preset, **_CONFIGS[preset]}, f"the preset {preset!r}")


def load_config(
    path: Path, preset: str | None = None, notify: Callable[[str], None] = lambda _: None
) -> TrainingConfig:
    """Settings of a YAML file; what it leaves out is as in its preset.

    Args:
        preset: the preset of a file that names none; ``small`` if left out.
        notify: receives a line where the file has a former name of its preset.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not validate.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        return TrainingConfig.parse(values, str(path))
    name = values.get("preset", preset or "small")
    base = preset_config(name).model_dump() if isinstance(name, str) else {}
    if isinstance(name, str) and present_preset(name) != name:
        notify(f"The preset {name!r} in {path} is called {present_preset(name)!r} now.")
    for rivals in _RIVALS:  # a choice that the file makes replaces the preset's
        if any(values.get(each) is not None for each in rivals):
            base |= dict.fromkeys(rivals)
    if base.get("epochs") is None and values.get("epochs") is None:
        base["epoch_size"] = None
    return TrainingConfig.parse(merge_settings(base, values), str(path))


def learning_rate_at(config: TrainingConfig, progress: float) -> float:
    """The learning rate at a share of the run, 0..1.

    It rises linearly over ``warmup``, then falls along half a cosine (Loshchilov and Hutter 2017,
    "SGDR", without restarts) or stays.
    """
    if progress < config.warmup:
        share = progress / config.warmup
    elif config.schedule == "cosine":
        descent = (progress - config.warmup) / (1.0 - config.warmup)
        share = 0.5 * (1.0 + math.cos(math.pi * descent))
    else:
        share = 1.0
    return config.learning_rate * max(share, MIN_RATE_SHARE)


_RIVALS: Final = (
    ("steps", "epochs", "minutes"),
    ("validate_every_steps", "validate_every_seconds"),
)
_CONFIGS: dict[str, Json] = {
    "small": {"steps": 3000, "validate_every_steps": 500},
    "prior": {
        "optimiser": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "batch_size": 64,
        "warmup": 0.0,
        "schedule": "constant",
        "clip_norm": 0.0,
        "ema_decay": 0.0,
        "losses": PRIOR_WORK.model_dump(),
        "drop_plate": 0.0,
        "drop_plate_disparity": 1.0,
        "mirror": 0.0,
        "epochs": 3,
        "epoch_size": 360_000,
        "validate_every_steps": 1000,
    },
}

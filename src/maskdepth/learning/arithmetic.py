"""The arithmetic of a training step, and the fastest that a device can do."""

from __future__ import annotations

import time
from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from maskdepth.learning.model import build_model

_SIDE: Final = {"cpu": 2048, "cuda": 8192, "mps": 4096}
_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}


def count_training_flops(preset: str, size: int) -> int:
    """Floating-point operations of forward and backward for one image.

    Only convolutions and matrix products count, and a multiply-add counts as two.
    """
    with torch.random.fork_rng(devices=[]):
        model = build_model(preset).train()
    picture = torch.zeros(2, 3, size, size)  # two: batch norm needs several values
    with FlopCounterMode(display=False) as counter:
        outputs = model(picture, picture, picture[:, :1], torch.ones(2, 2))
        sum(values.sum() for values in outputs.values()).backward()
    return int(counter.get_total_flops()) // 2


def measure_peak_flops(device: str, precision: str, seconds: float = 2.0) -> float:
    """Floating-point operations a second of a large matrix product, the fastest of several."""
    side = _SIDE[device]
    a = torch.rand(side, side, device=device, dtype=_DTYPES[precision])
    b, out = torch.rand_like(a), torch.empty_like(a)
    fastest = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or fastest == float("inf"):
        _wait(device)
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        _wait(device)
        fastest = min(fastest, time.perf_counter() - started)
    return 2.0 * side**3 / fastest


def _wait(device: str) -> None:
    """Wait until the device has finished."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()

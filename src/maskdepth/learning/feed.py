"""Batches for the training loop.

Sample i is the same whenever and wherever it is rendered, and every index is an independent
composite. So batches are consecutive indices, nothing is shuffled, and the step alone says where a
run is.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol, cast

import cv2
import psutil
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from maskdepth.errors import ConfigError
from maskdepth.synthesis.catalogue import MEMORY_MB, Catalogue
from maskdepth.synthesis.spec import DatasetSpec

Loader = DataLoader[dict[str, Tensor]]
_MEMORY_SHARE = 0.3  # of the available memory: training and other programs need the rest
GRACE_SECONDS = 10  # that a worker keeps running after SIGTERM


class Samples(Protocol):
    """A dataset that knows its length: sample i is a pure function of i."""

    def __getitem__(self, index: int, /) -> dict[str, Tensor]: ...

    def __len__(self) -> int: ...


class CountedBatches(Sampler[list[int]]):
    """This process's part of each batch from ``first_step`` on, without end.

    Sample j of step s is index s * batch_size + j.

    Args:
        batch_size: samples a step, over all processes together.
        first_step: the step to start at; earlier batches are not rendered.
        recur_after: number of samples after which the same ones come again; None: never.
        process, processes: this process's number, and how many there are.
    """

    def __init__(
        self,
        batch_size: int,
        first_step: int,
        recur_after: int | None = None,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if batch_size % processes:
            raise ConfigError(
                f"a batch_size that is a multiple of the {processes} processes",
                str(batch_size),
                "set another batch_size or start another number of processes",
            )
        self.batch_size = batch_size
        self.first_step = first_step
        self.recur_after = recur_after
        self.process = process
        self.processes = processes

    def __iter__(self) -> Iterator[list[int]]:
        start = self.first_step * self.batch_size
        while True:
            stop = start + self.batch_size
            indices = range(start + self.process, stop, self.processes)
            yield [i % self.recur_after if self.recur_after else i for i in indices]
            start = stop


def in_order(length: int, batch_size: int) -> list[list[int]]:
    """Batches of the indices below ``length``; the last may be smaller."""
    indices = range(length)
    return [list(indices[i : i + batch_size]) for i in indices[::batch_size]]


def count_workers(workers: int | Literal["auto"], device: torch.device | str) -> int:
    """The number of rendering processes for a setting.

    "auto" is few where the CPU also trains: on two cores workers only slow the training down.
    """
    if workers != "auto":
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.device(device).type == "cpu":
        return min(8, (cores or 1) // 4)
    return min(16, (cores or 1) - 1)


def training_catalogue(spec: DatasetSpec, folder: Path, workers: int) -> Catalogue:
    """The assets of a dataset at ``folder``, for a number of processes that render them.

    Assets that do not fit into memory are read from their files again and again, which takes as
    long as a training step. So all are read at once where forked processes can share them, and
    otherwise the processes divide the memory between them.
    """
    available = float(psutil.virtual_memory().available) / 2**20
    shared = max(MEMORY_MB, _MEMORY_SHARE * available)
    if workers > 1 and multiprocessing.get_start_method() == "fork":
        catalogue = spec.catalogue(folder, memory_mb=shared)
        if catalogue.fill(workers):
            return catalogue
    return spec.catalogue(folder, memory_mb=max(MEMORY_MB, shared / max(workers, 1)))


def make_loader(
    dataset: Samples, batches: Iterable[list[int]], workers: int, device: torch.device
) -> Loader:
    """A loader of batches that leaves torch's global generator alone."""
    return DataLoader(
        cast(Dataset[dict[str, Tensor]], dataset),
        batch_sampler=batches,
        num_workers=workers,
        worker_init_fn=_prepare_worker,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else every new iterator draws from the global one
    )


class Feed:
    """Batches on the device; ``waited`` is the time spent in ``next``, in seconds."""

    def __init__(self, batches: Iterable[dict[str, Tensor]], device: torch.device) -> None:
        self._batches = iter(batches)
        self._device = device
        self.waited = 0.0

    def next(self) -> dict[str, Tensor]:
        """The next batch."""
        started = time.perf_counter()
        batch = next(self._batches)
        moved = place(batch, self._device)
        self.waited += time.perf_counter() - started
        return moved


def place(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """A batch on a device, as float32, with bytes as 0..1; indices stay as they are."""
    return {name: _as_float(value.to(device, non_blocking=True)) for name, value in batch.items()}


def _as_float(value: Tensor) -> Tensor:
    if value.dtype == torch.uint8:
        return value.float().div_(255)
    return value.float() if value.dtype in (torch.float16, torch.bool) else value


def _prepare_worker(_: int) -> None:
    """Leave it to the parent when to stop: signals go to the entire group of processes.

    Ctrl-C is ignored. SIGTERM, with which the parent also ends a stuck worker, takes effect later,
    so that the parent can finish its step.
    """
    torch.set_flush_denormal(True)  # as in the parent, so that pixels do not depend on workers
    cv2.setNumThreads(1)  # the workers are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda *_: _end_soon())


def _end_soon() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(GRACE_SECONDS)

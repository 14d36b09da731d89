"""The training loop: from composites to weights, with a saved state to resume from."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from maskdepth.devices import pick_device
from maskdepth.errors import DatasetError, NonFiniteLossError
from maskdepth.files import make_folder
from maskdepth.inference.model.folder import STATE_FILE, WEIGHTS_FILE
from maskdepth.learning.checkpoint import (
    Environment,
    RunFacts,
    TrainingState,
    capture_tensors,
    find_state,
    restore_tensors,
    save_state,
    save_weights,
)
from maskdepth.learning.feed import (
    CountedBatches,
    Feed,
    Loader,
    Samples,
    count_workers,
    in_order,
    make_loader,
)
from maskdepth.learning.journal import Display, Journal, Reporter, TrainingProgress
from maskdepth.learning.memory import keep_freed_memory
from maskdepth.learning.model import build_model
from maskdepth.learning.optimisation import Learner
from maskdepth.learning.settings import TrainingConfig, learning_rate_at
from maskdepth.learning.tensor_files import find_non_finite
from maskdepth.learning.validation import validate
from maskdepth.stopping import StopRequest, stop_on_signals


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a run.

    Attributes:
        model: the network, in evaluation mode: the running average where one is kept.
        steps, images, seconds: over all parts of a resumed run.
        interrupted: stopped by Ctrl-C or SIGTERM, with its state saved and no last validation.
        validation: figures of the last validation, or None; see ``validation.Validation``.
        weights: the weights file, or None where interrupted.
        environment: torch's version, its threads, processes, kind of device and precision.
    """

    model: nn.Module
    steps: int
    images: int
    seconds: float
    interrupted: bool
    validation: dict[str, float] | None
    weights: Path | None
    environment: Environment


def train(
    config: TrainingConfig,
    dataset: Samples,
    val_dataset: Samples | None,
    run_folder: Path,
    *,
    resume: bool = False,
    model: nn.Module | None = None,
    fingerprint: str = "",
    device: str = "auto",
    tensorboard: bool = False,
    quiet: bool = False,
    on_progress: Callable[[TrainingProgress], None] | None = None,
) -> TrainingResult:
    """Train a network, or resume a saved run.

    Ctrl-C and SIGTERM let the step finish and save the state; a second one does not wait. On one
    CPU, with the same number of threads, a run of steps or epochs that was stopped or killed and
    resumed ends in the same weights, bit for bit, as one that was not.

    The run's folder receives ``log.jsonl``, ``previews/step_000500.png`` with each validation,
    ``state.safetensors`` and at the end ``model.safetensors``.

    Args:
        dataset: sample i is a pure function of i, for any i; see ``dataset.CompositeDataset``.
        val_dataset: each validation takes all of its samples; None: no validation.
        run_folder: made if missing.
        resume: continue from the state in ``run_folder``.
        model: the network to start from, changed in place; None: ``config.preset``, freshly made.
        fingerprint: of the dataset; a run resumes only with the same.
        on_progress: called after every step, on the main process.

    Raises:
        UsageError: the folder holds a run and ``resume`` is off, or none and it is on; there is no
            such device.
        ConfigError: the saved run had another setting, which is named.
        DatasetError: the saved run had another dataset; ``val_dataset`` is empty.
        TrainingError: the saved state is damaged.
        ModelError: the saved run's log is damaged.
        NonFiniteLossError: names the samples; what was saved before stays as it is.
        DependencyError: TensorBoard is asked for and not installed.
        StorageError: the folder cannot be written.
    """
    if val_dataset is not None and len(val_dataset) == 0:
        remedy = "make the validation split larger, or leave it out"
        raise DatasetError("samples to validate on", "none", remedy)
    state = find_state(run_folder / STATE_FILE, config, fingerprint, resume)
    accelerator = _make_accelerator(config, device)
    with ExitStack() as stack:
        stack.enter_context(_process_settings())
        torch.manual_seed(config.seed)
        network = build_model(config.preset) if model is None else model
        learner = Learner(network, config, accelerator)
        stop = stack.enter_context(stop_on_signals())
        journal = None
        if accelerator.is_main_process:  # the only one that writes and shows anything
            step = None if state is None else state.facts.step
            journal = Journal(make_folder(run_folder), resumed_step=step, tensorboard=tensorboard)
        else:
            quiet, on_progress = True, None
        reporter = Reporter(config, journal, Display(quiet=quiet), on_progress)
        stack.callback(reporter.close)
        run = _Run(config, learner, accelerator, reporter, stop, run_folder, fingerprint)
        if state is not None:
            run.restore(state)
        return run.complete(dataset, val_dataset)


@dataclass
class _Run:
    """A run between two steps: where it is, and how it continues."""

    config: TrainingConfig
    learner: Learner
    accelerator: Accelerator
    reporter: Reporter
    stop: StopRequest
    folder: Path
    fingerprint: str
    started: float = field(default_factory=time.monotonic)
    saved_at: float = field(default_factory=time.monotonic)
    validated_at: float = field(default_factory=time.monotonic)
    seconds_before: float = 0.0  # of earlier parts of the run
    step: int = 0
    saved_step: int | None = None
    validated_step: int | None = None
    validation: dict[str, float] | None = None
    indices: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))  # last batch

    @property
    def seconds(self) -> float:
        """Time spent on the run, earlier parts included."""
        return self.seconds_before + time.monotonic() - self.started

    def complete(self, dataset: Samples, val_dataset: Samples | None) -> TrainingResult:
        """Train until the end or a request to stop, then save."""
        config, accelerator = self.config, self.accelerator
        device = accelerator.device
        workers = count_workers(config.workers, device)
        val_loader = None
        if val_dataset is not None and accelerator.is_main_process:
            val_batches = in_order(len(val_dataset), config.batch_size)
            val_loader = make_loader(val_dataset, val_batches, workers, device)
        endless = CountedBatches(
            config.batch_size,
            self.step,
            config.epoch_size,
            accelerator.process_index,
            accelerator.num_processes,
        )
        batches = make_loader(dataset, endless, workers, device)
        finished = self._loop(Feed(batches, device), val_loader)
        if finished and val_loader is not None and self.validated_step != self.step:
            finished = self._validate(val_loader)
        self.reporter.flush(self.seconds)
        weights = None
        if accelerator.is_main_process:
            self._save()
            if finished:
                weights = self.folder / WEIGHTS_FILE
                facts = {"preset": config.preset, "steps": str(self.step)}
                save_weights(weights, self.learner.kept_network, facts)
        accelerator.wait_for_everyone()
        return TrainingResult(
            model=self.learner.release(),
            steps=self.step,
            images=self.step * config.batch_size,
            seconds=self.seconds,
            interrupted=not finished,
            validation=self.validation,
            weights=weights,
            environment=_describe_environment(accelerator),
        )

    def _loop(self, feed: Feed, val_loader: Loader | None) -> bool:
        """Step until the end (True) or a request to stop (False)."""
        config = self.config
        while True:
            if val_loader is not None and self._is_validation_due():
                self._validate(val_loader)
            if self._is_save_due():
                self._save()
            seconds, stop = self._agree()
            progress = config.progress(self.step, seconds)
            if stop or progress >= 1.0:
                return not stop
            began, waited = time.perf_counter(), feed.waited
            batch = feed.next()
            learning_rate = learning_rate_at(config, progress)
            self.indices = batch["index"]
            losses = self.learner.step(batch, self.step, learning_rate)
            self.step += 1
            self.reporter.step_done(
                step=self.step,
                seconds=self.seconds,
                figures={"learning_rate": learning_rate, **losses},
                took=time.perf_counter() - began,
                waited=feed.waited - waited,
            )

    def _agree(self) -> tuple[float, bool]:
        """Time spent and whether to stop, which all processes have to agree on."""
        seconds, stop = self.seconds, self.stop.requested
        if self.accelerator.num_processes == 1:
            return seconds, stop
        mine = torch.tensor([[seconds, stop]], dtype=torch.float32, device=self.accelerator.device)
        seconds, stop = self.accelerator.gather(mine).amax(dim=0).tolist()
        return seconds, bool(stop)

    def _is_validation_due(self) -> bool:
        if self.step in (0, self.validated_step):
            return False
        if self.config.validate_every_seconds is not None:
            return time.monotonic() - self.validated_at >= self.config.validate_every_seconds
        every = self.config.validate_every_steps
        return every is not None and self.step % every == 0

    def _is_save_due(self) -> bool:
        if self.step in (0, self.saved_step) or not self.accelerator.is_main_process:
            return False
        return time.monotonic() - self.saved_at >= self.config.save_every_seconds

    def _validate(self, loader: Loader) -> bool:
        """Judge the network; False if a request to stop came in between."""
        learner = self.learner
        validation = validate(
            learner.kept_network,
            learner.criterion,
            loader,
            self.accelerator.device,
            lambda: self.stop.requested,
            self.step,
        )
        if validation is None:
            return False
        self.validation = validation.figures
        self.validated_step = self.step
        self.validated_at = time.monotonic()
        self.reporter.validated(self.step, self.seconds, validation)
        return True

    def _save(self) -> None:
        """Write the state."""
        facts = RunFacts(
            config=self.config,
            fingerprint=self.fingerprint,
            step=self.step,
            seconds=self.seconds,
            validated_step=self.validated_step,
            validation=self.validation,
            **_describe_environment(self.accelerator).model_dump(),
        )
        learner = self.learner
        tensors = capture_tensors(learner.network, learner.average, learner.optimisers)
        odd = find_non_finite(tensors)
        if odd:
            raise NonFiniteLossError(dict([*odd.items()][:3]), self.step, self.indices.tolist())
        save_state(self.folder / STATE_FILE, TrainingState(facts, tensors))
        self.saved_step, self.saved_at = self.step, time.monotonic()

    def restore(self, state: TrainingState) -> None:
        """Return to where a state was saved."""
        facts, learner = state.facts, self.learner
        restore_tensors(state, learner.network, learner.average, learner.optimisers)
        self.step = self.saved_step = facts.step
        self.seconds_before = facts.seconds
        self.validated_step = facts.validated_step
        self.validation = facts.validation
        if self.accelerator.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(facts.threads)  # the weights' last bits depend on it
        for name, value in _describe_environment(self.accelerator):
            before = getattr(facts, name)
            if before != value:
                self.reporter.note(
                    f"resumed with {name} {value} instead of {before!r}: the last bits of the "
                    "weights will not be those of an uninterrupted run"
                )


@contextmanager
def _process_settings() -> Iterator[None]:
    """Settings of this process that training needs, until it ends."""
    with ExitStack() as stack:
        stack.enter_context(keep_freed_memory())
        torch.set_flush_denormal(True)  # without it, CPU training falls to a quarter of its speed
        stack.callback(torch.set_flush_denormal, False)  # else the caller's tiny numbers are 0
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        # A fork leaves OpenCV's threads behind, and a worker would wait for them for ever.
        stack.callback(cv2.setNumThreads, cv2.getNumThreads())
        cv2.setNumThreads(1)
        # All batches have one size, so that it pays to time several ways of computing them.
        stack.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
        torch.backends.cudnn.benchmark = True
        stack.enter_context(torch.random.fork_rng(devices=[]))  # leaves the caller's draws alone
        yield


def _describe_environment(accelerator: Accelerator) -> Environment:
    return Environment(
        torch=str(torch.__version__),
        threads=torch.get_num_threads(),
        processes=accelerator.num_processes,
        device=accelerator.device.type,
        precision="bf16" if accelerator.mixed_precision == "bf16" else "fp32",
    )


def _make_accelerator(config: TrainingConfig, device: str) -> Accelerator:
    """Accelerate for a CPU, a GPU, or one process of several."""
    kind = pick_device(device)
    bf16 = (kind == "cpu" and _cpu_multiplies_bf16()) or (
        kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    if not torch.distributed.is_initialized():
        # Accelerate remembers the first device of the process; another run may need another.
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        cpu=kind == "cpu",
        mixed_precision="bf16" if bf16 and config.mixed_precision == "auto" else "no",
    )


def _cpu_multiplies_bf16() -> bool:
    """Whether the CPU has units that multiply matrices of bfloat16 (AMX).

    Units for vectors of it alone gain nothing over float32, and emulation is several times slower.
    Where torch cannot tell, the answer is no.
    """
    if not hasattr(torch.cpu, "get_capabilities"):
        return False
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))

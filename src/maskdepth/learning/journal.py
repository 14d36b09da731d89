"""The record of a run: rows in `log.jsonl`, progress on stderr, and TensorBoard on request."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from maskdepth.errors import DependencyError
from maskdepth.files import write_text
from maskdepth.images import save_png
from maskdepth.inference.model.folder import LOG_FILE, load_log
from maskdepth.learning.settings import TrainingConfig
from maskdepth.learning.validation import Validation
from maskdepth.progress import FIRST_SECONDS, SECONDS, format_duration

PREVIEW_FOLDER = "previews"


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is, after a step.

    Attributes:
        step: steps done.
        total_steps: steps of the run; None where the clock ends it.
        seconds: time spent, with earlier parts of a resumed run.
        waited_seconds: time this process has waited for its loader, without earlier parts.
        fraction: share of the run that is done, 0..1.
        images_per_second: a running mean, without validation and saving.
        eta_seconds: estimate of the time left.
        losses: losses of the last step, and its learning rate.
    """

    step: int
    total_steps: int | None
    images: int
    seconds: float
    waited_seconds: float
    fraction: float
    images_per_second: float
    eta_seconds: float
    losses: dict[str, float] = field(default_factory=dict)


class Journal:
    """The rows of a run, each appended at once, so that a run that dies keeps its log.

    Args:
        folder: the run's folder, which exists.
        resumed_step: later rows are removed, since their steps come again; None removes all.
        tensorboard: write every row to ``folder/tensorboard`` as well.
    """

    def __init__(
        self, folder: Path, *, resumed_step: int | None = None, tensorboard: bool = False
    ) -> None:
        self._path = folder / LOG_FILE
        former = load_log(self._path) if resumed_step is not None else None
        kept = [row for row in former or [] if row["step"] <= (resumed_step or 0)]
        self._board = _open_board(folder / "tensorboard", resumed_step) if tensorboard else None
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))

    def write(self, row: Mapping[str, float]) -> None:
        """Append a row, which names its ``step``. A value that is not finite becomes null."""
        values = {name: value if math.isfinite(value) else None for name, value in row.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
        if self._board is not None:
            for name, value in row.items():
                self._board.add_scalar(name, value, int(row["step"]))

    def save_preview(self, step: int, picture: NDArray[np.uint8]) -> None:
        """Save a validation's picture as ``previews/step_000500.png``."""
        folder = self._path.parent / PREVIEW_FOLDER
        folder.mkdir(exist_ok=True)
        save_png(folder / f"step_{step:06d}.png", picture)

    def close(self) -> None:
        """Flush TensorBoard's events, if any."""
        if self._board is not None:
            self._board.close()


class Reporter:
    """Collects the figures of a run's steps for journal, display and caller.

    Args:
        journal: receives rows and previews; None writes no files.
        on_progress: called after every step.
    """

    def __init__(
        self,
        config: TrainingConfig,
        journal: Journal | None,
        display: Display,
        on_progress: Callable[[TrainingProgress], None] | None,
    ) -> None:
        self._config = config
        self._journal = journal
        self._display = display
        self._on_progress = on_progress
        self._step = 0
        self._steps: list[dict[str, float]] = []  # figures of the steps since the last row
        self._took = self._waited = 0.0  # seconds since the last row
        self._step_seconds = 0.0  # running mean
        self._total_waited = 0.0

    def step_done(
        self, *, step: int, seconds: float, figures: dict[str, float], took: float, waited: float
    ) -> None:
        """Take a step's figures.

        Args:
            step: steps done.
            figures: losses and the like; a row has their means.
            took: seconds of this step, of which ``waited`` for the loader.
        """
        self._step = step
        self._steps.append(figures)
        self._took += took
        self._waited += waited
        self._total_waited += waited
        self._step_seconds += (took - self._step_seconds) * (0.1 if self._step_seconds else 1.0)
        progress = self._progress(seconds)
        self._display.show(progress)
        if self._on_progress is not None:
            self._on_progress(progress)
        if step % self._config.log_every_steps == 0:
            self.flush(seconds)

    def validated(self, step: int, seconds: float, validation: Validation) -> None:
        """Take a validation, which has a row of its own, a preview and a line."""
        figures = validation.figures
        if self._journal is not None:
            self._journal.write({"step": step, "seconds": seconds, **figures})
            self._journal.save_preview(step, validation.preview)
        shown = [name for name in ("val_loss", "val_dice") if name in figures]
        words = "  ".join(f"{name} {figures[name]:.4f}" for name in shown)
        self._display.note(f"step {step}  {words}")

    def flush(self, seconds: float) -> None:
        """Write a row of the steps since the last one, if any."""
        if not self._steps:
            return
        images = self._config.batch_size * len(self._steps)
        row = {
            "step": self._step,
            "images": self._config.batch_size * self._step,
            "seconds": seconds,
            "images_per_second": images / self._took,
            "loader_share": self._waited / self._took,
            **{
                name: sum(figures[name] for figures in self._steps) / len(self._steps)
                for name in self._steps[0]
            },
        }
        if self._journal is not None:
            self._journal.write(row)
        self._steps = []
        self._took = self._waited = 0.0

    def note(self, message: str) -> None:
        """Show a line."""
        self._display.note(message)

    def close(self) -> None:
        """End the display and the journal."""
        self._display.close()
        if self._journal is not None:
            self._journal.close()

    def _progress(self, seconds: float) -> TrainingProgress:
        config = self._config
        if config.total_steps is None:
            assert config.minutes is not None  # no other duration is without a number of steps
            eta_seconds = max(0.0, 60.0 * config.minutes - seconds)
        else:
            eta_seconds = (config.total_steps - self._step) * self._step_seconds
        return TrainingProgress(
            step=self._step,
            total_steps=config.total_steps,
            images=self._step * config.batch_size,
            seconds=seconds,
            waited_seconds=self._total_waited,
            fraction=config.progress(self._step, seconds),
            images_per_second=config.batch_size / self._step_seconds,
            eta_seconds=eta_seconds,
            losses=self._steps[-1],
        )


class Display:
    """Shows a run's progress on stderr: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._due = time.monotonic() + FIRST_SECONDS  # of a plain line
        self._bar: Progress | None = None
        if not quiet and sys.stderr.isatty():
            columns = TextColumn("training"), BarColumn(), TaskProgressColumn()
            summary = TextColumn("{task.fields[summary]}")
            self._bar = Progress(*columns, summary, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("training", total=1.0, summary="")
            self._bar.start()

    def show(self, progress: TrainingProgress) -> None:
        """Show a step; plain lines leave most steps out."""
        if self._bar is not None:
            summary = _summary(progress)
            self._bar.update(self._task, completed=progress.fraction, summary=summary)
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + SECONDS
            self.note(f"{progress.fraction:4.0%}  {_summary(progress)}")

    def note(self, message: str) -> None:
        """Show a line."""
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)
        elif not self._quiet:
            with contextlib.suppress(OSError):  # training goes on where nobody can read that
                print(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar, if any."""
        if self._bar is not None:
            self._bar.stop()


def _summary(progress: TrainingProgress) -> str:
    of = f"/{progress.total_steps}" if progress.total_steps is not None else ""
    parts = [f"step {progress.step}{of}"]
    if progress.images_per_second > 0:
        parts.append(f"{progress.images_per_second:.1f} images/s")
        parts.append(f"{format_duration(progress.eta_seconds)} left")
    if "total" in progress.losses:
        parts.append(f"loss {progress.losses['total']:.4f}")
    return "  ".join(parts)


def _open_board(folder: Path, resumed_step: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise DependencyError("tensorboard", "train") from None
    # TensorBoard hides events from the purge step on, whose steps come again.
    purge = None if resumed_step is None else resumed_step + 1
    return SummaryWriter(str(folder), purge_step=purge)

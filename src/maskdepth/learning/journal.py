"""What a run tells: rows in `log.jsonl`, a line on stderr, TensorBoard where asked for."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

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

__all__ = ["Display", "Journal", "Reporter", "TrainingProgress", "make_display"]

PREVIEW_FOLDER = "previews"
PLAIN_SECONDS = 30.0  # between lines where stderr is not a terminal


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is, after a step.

    Attributes:
        step: steps done, of ``total_steps``; None where the clock ends the run.
        images: images seen.
        seconds: time spent, earlier parts of a resumed run included.
        waited_seconds: time this process has waited for its loader, this part of the run only.
        fraction: share of the run that is done, 0..1.
        images_per_second: a running mean, validation and saving left out.
        eta_seconds: estimate of the time left.
        losses: of the last step, with its learning rate.
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
    """The rows of a run, appended as they come, so that a dying run keeps what it has told.

    Args:
        folder: the run's folder, which exists.
        resumed_step: rows beyond it are cut off, since those steps come again; None starts anew.
        tensorboard: whether every row also goes to ``folder/tensorboard``.

    Raises:
        DependencyError: TensorBoard is asked for and not installed.
        ModelError: the log of the run that goes on is damaged.
        StorageError: the log cannot be written.
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
        """Append a row; it names its ``step``. A value that is no number becomes null."""
        values = {name: _for_json(value) for name, value in row.items()}
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
    """Gathers what happens step by step and passes it on: rows, progress, previews.

    Args:
        config: of the run.
        journal: where rows go; None writes no files.
        display: for the person who waits.
        on_progress: for the program that waits, after every step.
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
        self._waited_in_all = 0.0

    def step_done(
        self, *, step: int, seconds: float, figures: dict[str, float], took: float, waited: float
    ) -> None:
        """Take a step's figures.

        Args:
            step: steps done.
            seconds: time spent on the run.
            figures: losses and the like; a row has their means.
            took: seconds of this step, of which ``waited`` for the loader.
        """
        self._step = step
        self._steps.append(figures)
        self._took += took
        self._waited += waited
        self._waited_in_all += waited
        self._step_seconds += (took - self._step_seconds) * (0.1 if self._step_seconds else 1.0)
        progress = self._progress(seconds)
        self._display.show(progress)
        if self._on_progress is not None:
            self._on_progress(progress)
        if step % self._config.log_every_steps == 0:
            self.flush(seconds)

    def validated(self, step: int, seconds: float, found: Validation) -> None:
        """Take a validation: a row of its own, a preview, a note."""
        if self._journal is not None:
            self._journal.write({"step": step, "seconds": seconds, **found.figures})
            self._journal.save_preview(step, found.preview)
        figures = "  ".join(
            f"{name} {found.figures[name]:.4f}"
            for name in ("val_loss", "val_dice")
            if name in found.figures
        )
        self._display.note(f"step {step}  {figures}")

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
            **_means(self._steps),
        }
        if self._journal is not None:
            self._journal.write(row)
        self._steps = []
        self._took = self._waited = 0.0

    def note(self, message: str) -> None:
        """Tell the person something."""
        self._display.note(message)

    def close(self) -> None:
        """End the display and the journal."""
        self._display.close()
        if self._journal is not None:
            self._journal.close()

    def _progress(self, seconds: float) -> TrainingProgress:
        config = self._config
        if config.total_steps is None:
            assert config.minutes is not None  # the only duration without a number of steps
            eta_seconds = max(0.0, 60.0 * config.minutes - seconds)
        else:
            eta_seconds = (config.total_steps - self._step) * self._step_seconds
        return TrainingProgress(
            step=self._step,
            total_steps=config.total_steps,
            images=self._step * config.batch_size,
            seconds=seconds,
            waited_seconds=self._waited_in_all,
            fraction=config.progress(self._step, seconds),
            images_per_second=config.batch_size / self._step_seconds,
            eta_seconds=eta_seconds,
            losses=self._steps[-1],
        )


class Display(Protocol):
    """Shows a run's progress to a person."""

    def show(self, progress: TrainingProgress) -> None:
        """Take notice of a step; showing it may be left out."""

    def note(self, message: str) -> None:
        """Say something once."""

    def close(self) -> None:
        """Nothing more comes."""


def make_display(quiet: bool) -> Display:
    """A bar on a terminal, a line now and then elsewhere, nothing where ``quiet``."""
    if quiet:
        return _Silence()
    return _Bar() if sys.stderr.isatty() else _Lines()


class _Silence:
    def show(self, progress: TrainingProgress) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def close(self) -> None:
        pass


class _Lines:
    """Plain lines on stderr, for logs of batch systems."""

    def __init__(self) -> None:
        self._shown_at = time.monotonic()

    def show(self, progress: TrainingProgress) -> None:
        if time.monotonic() - self._shown_at >= PLAIN_SECONDS:
            self._shown_at = time.monotonic()
            self.note(f"{progress.fraction:4.0%}  {_summary(progress)}")

    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class _Bar:
    """One line of a terminal, drawn again and again."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[summary]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("training", total=1.0, summary="")
        self._bar.start()

    def show(self, progress: TrainingProgress) -> None:
        self._bar.update(self._task, completed=progress.fraction, summary=_summary(progress))

    def note(self, message: str) -> None:
        self._bar.console.print(message, markup=False, highlight=False)

    def close(self) -> None:
        self._bar.stop()


def _summary(progress: TrainingProgress) -> str:
    of = f"/{progress.total_steps}" if progress.total_steps is not None else ""
    parts = [f"step {progress.step}{of}"]
    if progress.images_per_second > 0:
        parts.append(f"{progress.images_per_second:.1f} images/s")
        parts.append(f"{_duration(progress.eta_seconds)} left")
    if "total" in progress.losses:
        parts.append(f"loss {progress.losses['total']:.4f}")
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _for_json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _open_board(folder: Path, resumed_step: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise DependencyError("tensorboard", "train") from None
    # Events beyond the purge step are hidden by TensorBoard, as our own log cuts its rows off.
    purge = None if resumed_step is None else resumed_step + 1
    return SummaryWriter(str(folder), purge_step=purge)

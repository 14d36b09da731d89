"""A camera or another live source: the newest frame wins, and what breaks off is opened again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from maskdepth.errors import MaskdepthError, VideoError
from maskdepth.images import resize
from maskdepth.inference.prediction import Prediction
from maskdepth.media.frames import Frame
from maskdepth.media.video import ClipTiming
from maskdepth.records import Json

__all__ = ["AgeSink", "Connection", "LiveFrame", "LiveSource", "MakePixels"]

_STALE_S: Final = 5.0
_FIRST_PAUSE_S: Final = 1.0
_MAX_PAUSE_S: Final = 30.0
_FIRST_FRAME_S: Final = 20.0
_POLL_S: Final = 0.1  # how soon a request to stop is answered
_CLOSE_S: Final = 2.0  # a device that does not answer is left behind
_TICK: Final = Fraction(1, 90000)
_RATES: Final = (1.0, 240.0)  # what is believed of a rate that a source names
_USUAL_RATE: Final = 25.0
_STEP_S: Final = 0.001  # between two time stamps: .mkv and .webm have milliseconds

MakePixels = Callable[[], NDArray[np.uint8]]
"""Gives the pixels of a frame, uint8 (H, W, 3) RGB; called only for a frame that is used."""


class Connection(Protocol):
    """One open camera, stream or pipe. The thread that reads it also closes it."""

    @property
    def rate(self) -> float:
        """Frames a second as the source names it; 0 where it does not."""

    def __iter__(self) -> Iterator[MakePixels]:
        """The frames as they come; the end where the source ends.

        Raises:
            MaskdepthError: it broke off.
        """

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, eq=False)
class LiveFrame(Frame):
    """A frame of a live source.

    Attributes:
        arrived_s: when it came, by ``time.monotonic``.
        dropped: how many frames came before it since the start and were not used.
    """

    arrived_s: float
    dropped: int


class LiveSource:
    """The newest frames of a camera, a stream or a pipe. Use it as a context.

    A thread reads all frames, so that none waits in a buffer, and keeps the newest alone. A source
    that breaks off is opened again after a pause of 1, 2, 4 ... 30 seconds. Frames of another size
    than the first are scaled to it. Time stamps are seconds since the first frame that was used.

    Args:
        name: what it is called in messages.
        connect: opens it. It is opened, and its first frame read, at once.
        reconnects: whether it is opened again; otherwise its end is the end of the frames.
        give_up_s: without a frame for so many seconds, the iteration fails; None: never.
        stale_s: without a frame for so long, a line says so.
        first_pause_s: the first pause before it is opened again.
        notify: gets a line on each thing that happens.

    Attributes:
        name, size: ``size`` is (height, width) of all frames.
        timing: what a video of it needs.
        dropped: number of frames so far that were not used, since the iteration began.
        reconnections: number of times that it was opened again.

    Raises:
        MaskdepthError: it cannot be opened, or gives no frame.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        *,
        reconnects: bool = True,
        give_up_s: float | None = None,
        stale_s: float = _STALE_S,
        first_pause_s: float = _FIRST_PAUSE_S,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name, self.dropped, self.reconnections = name, 0, 0
        self._connect, self._reconnects, self._give_up_s = connect, reconnects, give_up_s
        self._stale_s, self._first_pause_s = stale_s, first_pause_s
        self._notify = notify
        self._changed = threading.Condition()
        self._newest: tuple[MakePixels, float] | None = None
        self._arrivals, self._arrived_s = 0, time.monotonic()
        self._is_interrupted, self._ended, self._closing = False, False, threading.Event()
        self._failure: BaseException | None = None
        connection = connect()
        rate = connection.rate if _RATES[0] <= connection.rate <= _RATES[1] else _USUAL_RATE
        self.timing = ClipTiming(_TICK, Fraction(rate).limit_denominator(1001))
        # A daemon: a device that does not answer must not keep the process alive.
        self._reader = threading.Thread(
            target=self._read, args=(connection,), name="maskdepth-live", daemon=True
        )
        self._reader.start()
        try:
            self.size = self._first_size()
        except BaseException:
            self.close()
            raise

    @property
    def rate(self) -> float:
        """Frames a second as the source names it, or 25."""
        return float(self.timing.rate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the frames, and let go of the source."""
        self._closing.set()
        self._reader.join(_CLOSE_S)

    def __iter__(self) -> Iterator[LiveFrame]:
        """The frames until the source ends; see `until`."""
        return self.until(lambda: False)

    def until(self, is_stopped: Callable[[], bool]) -> Iterator[LiveFrame]:
        """The newest frame each time, waiting for one that was not used yet.

        Args:
            is_stopped: asked ten times a second; the frames end when it says yes.

        Raises:
            MaskdepthError: after the last frame, why there are no more.
        """
        with self._changed:
            self.dropped = 0
        first_s, last_s, index = None, -_STEP_S, 0
        while (taken := self._take(is_stopped)) is not None:
            make_pixels, arrived_s, dropped = taken
            first_s = arrived_s if first_s is None else first_s
            last_s = max(arrived_s - first_s, last_s + _STEP_S)
            yield LiveFrame(self._fit(make_pixels()), index, last_s, arrived_s, dropped)
            index += 1
        if self._failure is not None:
            raise self._failure

    def frame_facts(self, frame: Frame, prediction: Prediction) -> Json:
        """``age_ms`` and ``dropped`` for a frame's line of JSON: how old it is now."""
        assert isinstance(frame, LiveFrame)
        return {"age_ms": round(age_ms(frame), 1), "dropped": frame.dropped}

    def _take(self, is_stopped: Callable[[], bool]) -> tuple[MakePixels, float, int] | None:
        """The newest frame, when it came, and how many were dropped; None at the end."""
        with self._changed:
            while self._newest is None:
                if self._ended or self._closing.is_set() or is_stopped():
                    return None
                self._changed.wait(_POLL_S)
                if self._newest is None:
                    self._check_silence()
            if self._closing.is_set() or is_stopped():
                return None
            (make_pixels, arrived_s), self._newest = self._newest, None
            return make_pixels, arrived_s, self.dropped

    def _check_silence(self) -> None:
        silence_s = self._silence_s()
        text = f"{self.name} has given no frame for {_in_words(silence_s)}."
        if self._give_up_s is not None and silence_s >= self._give_up_s:
            raise VideoError("frames", "none", "", text)
        if silence_s >= self._stale_s and not self._is_interrupted:
            self._is_interrupted = True
            self._notify(text)

    def _first_size(self) -> tuple[int, int]:
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended, _FIRST_FRAME_S)
            newest, failure = self._newest, self._failure
        if newest is not None:
            height, width = newest[0]().shape[:2]
            return height, width
        if failure is not None:
            raise failure
        raise VideoError(
            "a frame",
            "none",
            "check that it is switched on and sends",
            f"{self.name} gives no frame.",
        )

    def _fit(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return pixels if pixels.shape[:2] == self.size else resize(pixels, *self.size)

    def _silence_s(self) -> float:
        return time.monotonic() - self._arrived_s

    # What follows runs in the reading thread.

    def _read(self, connection: Connection | None) -> None:
        try:
            pause_s = self._first_pause_s
            while not self._closing.is_set():
                before = self._arrivals
                problem = self._read_connection(connection)
                connection = None
                if self._arrivals > before:
                    pause_s = self._first_pause_s
                if not self._goes_on(problem, pause_s):
                    return
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
        except BaseException as error:  # noqa: BLE001 - the iteration raises it
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read_connection(self, connection: Connection | None) -> MaskdepthError | None:
        """Read one connection to its end; returns why it ended, None for a plain end."""
        try:
            if connection is None:
                connection = self._connect()
            try:
                for make_pixels in connection:
                    if self._closing.is_set():
                        break
                    self._offer(make_pixels)
            finally:
                connection.close()
        except MaskdepthError as error:
            return error
        return None

    def _offer(self, make_pixels: MakePixels) -> None:
        now = time.monotonic()
        if self._is_interrupted:
            self._is_interrupted = False
            self._notify(f"{self.name} gives frames again, after {_in_words(self._silence_s())}.")
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = make_pixels, now
            self._arrived_s = now
            self._arrivals += 1
            self._changed.notify_all()

    def _goes_on(self, problem: MaskdepthError | None, pause_s: float) -> bool:
        """Wait before the source is opened again; False if it is not to be."""
        if self._closing.is_set():
            return False
        if not self._reconnects or not self._arrivals:
            self._failure = problem
            if problem is None and not self._arrivals:
                text = f"{self.name} ended before its first frame."
                self._failure = VideoError("a frame", "none", "", text)
            return False
        reason = f"{self.name} has ended." if problem is None else problem.problem
        self._is_interrupted = True
        self._notify(f"{reason} It is opened again in {pause_s:g} s.")
        if self._closing.wait(pause_s):
            return False
        self.reconnections += 1
        return True


class AgeSink:
    """Measures how old each frame is when all that comes before this sink is done with it.

    Attributes:
        frames: how many there were.
        max_ms: age of the oldest, milliseconds.
    """

    def __init__(self) -> None:
        self.frames, self.max_ms, self._sum_ms = 0, 0.0, 0.0

    @property
    def mean_ms(self) -> float:
        """The mean age, milliseconds; 0 without a frame."""
        return self._sum_ms / max(1, self.frames)

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Measure one frame."""
        assert isinstance(frame, LiveFrame)
        age = age_ms(frame)
        self.frames, self.max_ms = self.frames + 1, max(self.max_ms, age)
        self._sum_ms += age


def _in_words(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def age_ms(frame: LiveFrame) -> float:
    """How long ago a frame came, milliseconds."""
    return 1000 * (time.monotonic() - frame.arrived_s)

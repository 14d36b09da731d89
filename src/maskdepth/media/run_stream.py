"""Predict the frames of a clip or camera while the next is decoded and the last is encoded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from maskdepth.errors import MaskdepthError
from maskdepth.inference.prediction import Notice, Prediction
from maskdepth.inference.stream import Stream
from maskdepth.media.frames import Frame, Sink

__all__ = ["NoticeCount", "RunSummary", "run_stream"]


@dataclass(frozen=True)
class NoticeCount:
    """One kind of notice: the first of it, the frame that it is of, and how many frames have it."""

    notice: Notice
    first_index: int
    frames: int


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Attributes:
        frames: number of frames that every sink got.
        seconds: how long it took.
        notices: of the predictions, each kind once.
        problem: why the source gave no more frames, where it failed after some; None at its end.
    """

    frames: int
    seconds: float
    notices: tuple[NoticeCount, ...] = ()
    problem: MaskdepthError | None = None


def run_stream(
    stream: Stream,
    frames: Iterable[Frame],
    sinks: Sequence[Sink],
    on_progress: Callable[[int], None] = lambda _: None,
    *,
    read_ahead: bool = True,
) -> RunSummary:
    """Predict frames one after another, and pass each prediction to all sinks.

    Reading ahead and writing the last frame each have a thread of their own. At most three frames
    are in memory, however long the clip.

    Args:
        stream: predicts; it has the plate and the state.
        frames: for example a `FrameSource`.
        sinks: each gets every frame, in order.
        on_progress: called with the number of frames that were predicted.
        read_ahead: whether the next frame is read while one is predicted. A live source has the
            next one ready, and it would grow old.

    Raises:
        MaskdepthError: a frame cannot be predicted or written, or the source fails at its first.
    """
    started, done = time.monotonic(), 0
    notices: dict[str, NoticeCount] = {}
    problem: MaskdepthError | None = None
    iterator = iter(frames)
    with (
        ThreadPoolExecutor(1, "maskdepth-decode") as decoder,
        ThreadPoolExecutor(1, "maskdepth-encode") as encoder,
    ):
        writing: Future[None] | None = None
        reading = decoder.submit(next, iterator, None) if read_ahead else None
        while True:
            try:
                frame = next(iterator, None) if reading is None else reading.result()
            except MaskdepthError as error:
                if done == 0:
                    raise
                problem, frame = error, None
            if frame is None:
                break
            if read_ahead:
                reading = decoder.submit(next, iterator, None)
            prediction = stream.predict(frame.pixels, frame.time_s)
            if writing is not None:
                writing.result()
            writing = encoder.submit(_write, sinks, frame, prediction)
            _count(notices, frame.index, prediction)
            done += 1
            on_progress(done)
        if writing is not None:
            writing.result()
    return RunSummary(done, time.monotonic() - started, tuple(notices.values()), problem)


def _write(sinks: Sequence[Sink], frame: Frame, prediction: Prediction) -> None:
    for sink in sinks:
        sink.write(frame, prediction)


def _count(notices: dict[str, NoticeCount], index: int, prediction: Prediction) -> None:
    for notice in prediction.notices:
        earlier = notices.get(notice.code, NoticeCount(notice, index, 0))
        notices[notice.code] = NoticeCount(earlier.notice, earlier.first_index, earlier.frames + 1)

"""Ctrl-C and SIGTERM during training or a camera: finish what is under way, and only then end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether the run is to stop after what is under way."""

    requested = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM into a request; the second raises KeyboardInterrupt.

    Only the main thread can set handlers. Elsewhere no request ever comes.
    """
    stop = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    former = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            # None is a handler that C code set, which Python cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

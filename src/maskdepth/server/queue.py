"""The queue before the network: some predictions run, some wait, and more are turned away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from maskdepth.server.replies import busy

_T = TypeVar("_T")
_FIRST_GUESS_S: Final = 0.2  # how long a prediction takes, before the first one has ended
_SMOOTHING: Final = 0.1


class WorkQueue:
    """Runs work in a fixed number of threads, in the order of its arrival.

    Args:
        workers: number of threads.
        capacity: how much work may wait for one.
        max_wait_s: how long work may have to wait, by what it took lately.
    """

    def __init__(self, workers: int, capacity: int, max_wait_s: float) -> None:
        self._workers, self._capacity, self._max_wait_s = workers, capacity, max_wait_s
        self._executor = ThreadPoolExecutor(workers, "prediction")
        self._free = asyncio.Semaphore(workers)
        self._mean_s = _FIRST_GUESS_S
        self.waiting = 0
        self.running = 0

    def check_room(self) -> None:
        """Raise the error of a full queue, 429, if it is full, or would take too long."""
        wait_s = self._mean_s * self.waiting / self._workers
        if self.waiting >= self._capacity or wait_s > self._max_wait_s:
            raise busy(f"{self.waiting} predictions are waiting already.", wait_s)

    async def run(self, work: Callable[[], _T], *, always: bool = False) -> _T:
        """The result of work in one of the threads.

        Work that waits is dropped when the caller is cancelled. What runs already cannot be
        stopped: its result is dropped, and its thread is free again only when it ends.

        Args:
            always: wait even if the queue is full, for callers who limit themselves.

        Raises:
            RequestError: 429, the queue is full.
        """
        if not always:
            self.check_room()
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        loop, started = asyncio.get_running_loop(), time.monotonic()

        def release(_: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._release, time.monotonic() - started)

        future = self._executor.submit(work)
        future.add_done_callback(release)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Start no more work, and do not wait for what runs."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _release(self, seconds: float) -> None:
        self._mean_s += _SMOOTHING * (seconds - self._mean_s)
        self.running -= 1
        self._free.release()

"""Worker processes that Ctrl-C finds ready however early it comes, and that outlive no parent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any, ParamSpec, TypeVar

__all__ = ["WorkerPool", "end_at_ctrl_c", "ignore_ctrl_c"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class WorkerPool(ProcessPoolExecutor):
    """Spawned processes that are born with Ctrl-C blocked, and end as soon as their parent has.

    A terminal sends it to all processes, also to those that still import and would end in a
    traceback. What they do at Ctrl-C is their initializer's to say: ``ignore_ctrl_c`` or
    ``end_at_ctrl_c``.
    """

    def __init__(
        self, processes: int, initializer: Callable[..., object], initargs: tuple[Any, ...] = ()
    ) -> None:
        super().__init__(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(initializer, initargs),
        )

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """As ``ProcessPoolExecutor``; it is here, and in ``map`` by way of it, that they start."""
        with _ctrl_c_later():
            return super().submit(fn, *args, **kwargs)


def _begin(initializer: Callable[..., object], initargs: tuple[Any, ...]) -> None:
    """Start a worker process, which is not to outlive a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    initializer(*initargs)


def _end_with(sentinel: int) -> None:
    """End this process as soon as its parent has: nobody else would end it."""
    wait([sentinel])
    os._exit(1)


def ignore_ctrl_c() -> None:
    """In a worker process: leave it to the parent, which says when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_at_ctrl_c() -> None:
    """In a worker process: end at once and without a word, also if Ctrl-C came before this."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextlib.contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Block Ctrl-C for processes that start inside, and hold it back in this one until the end.

    The mask goes over to new processes. The pool's queues have started multiprocessing's resource
    tracker before, whose start would lift it. For this process the mask is not enough, since
    threads of numerical libraries take the signal in its stead: a new process whose parent is
    interrupted before it has been told what to do complains as well.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    came: list[int] = []
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handler = signal.getsignal(signal.SIGINT)
    swap = callable(handler) and threading.current_thread() is threading.main_thread()
    try:
        if swap:
            signal.signal(signal.SIGINT, lambda number, _: came.append(number))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # what is pending comes here
        if swap:
            signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)

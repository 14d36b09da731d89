"""Worker processes that handle Ctrl-C from their first instant, and end with their parent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any, Final, ParamSpec, TypeVar

__all__ = ["WorkerPool", "end_at_ctrl_c", "ignore_ctrl_c", "let_threads_sleep", "measure_load"]

_WAIT_POLICY: Final = "OMP_WAIT_POLICY"  # OpenMP reads it when it is loaded, which torch does
_BUSY: Final = 0.25  # share of the processor from which other programs slow spinning threads down

_P = ParamSpec("_P")
_T = TypeVar("_T")


class WorkerPool(ProcessPoolExecutor):
    """A pool of spawned processes that start with Ctrl-C blocked, and end when their parent does.

    A terminal sends Ctrl-C to every process. One that is still importing would print a traceback.
    The pool's initializer says what happens at Ctrl-C: ``ignore_ctrl_c`` or ``end_at_ctrl_c``.
    """

    def __init__(
        self, processes: int, initializer: Callable[..., object], initargs: tuple[Any, ...] = ()
    ) -> None:
        super().__init__(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(initializer, initargs),
        )

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """As in ``ProcessPoolExecutor``. Processes start here; ``map`` calls this too."""
        with _delay_ctrl_c():
            return super().submit(fn, *args, **kwargs)


def _start_worker(initializer: Callable[..., object], initargs: tuple[Any, ...]) -> None:
    """Begin a worker process that ends with its parent, even if the parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_exit_with_parent, args=(parent.sentinel,), daemon=True).start()
    initializer(*initargs)


def _exit_with_parent(sentinel: int) -> None:
    """End this process as soon as its parent has ended."""
    wait([sentinel])
    os._exit(1)


def ignore_ctrl_c() -> None:
    """In a worker process: ignore Ctrl-C, since the parent says when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_at_ctrl_c() -> None:
    """In a worker process: end silently at Ctrl-C, also if it delayed before this call."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextlib.contextmanager
def _delay_ctrl_c() -> Iterator[None]:
    """Block Ctrl-C in processes that start inside the block, and delay it here until the end.

    New processes inherit the signal mask. (Starting multiprocessing's resource tracker would reset
    it, but the pool's queues have started the tracker before.) In this process the mask is not
    enough, since threads of numerical libraries may take the signal. It has to be delayed, because
    a new process fails with a traceback if its parent is interrupted before it has sent the task.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    delayed: list[int] = []
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handler = signal.getsignal(signal.SIGINT)
    replaces_handler = callable(handler) and threading.current_thread() is threading.main_thread()
    try:
        if replaces_handler:
            signal.signal(signal.SIGINT, lambda number, _: delayed.append(number))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # a pending signal arrives here
        if replaces_handler:
            signal.signal(signal.SIGINT, handler)
        if delayed:
            signal.raise_signal(signal.SIGINT)


def measure_load(seconds: float = 0.5) -> float:
    """The share of all cores' time, 0 to 1, that programs use now; 0 where psutil is missing.

    Args:
        seconds: how long to measure; this process sleeps meanwhile.
    """
    try:
        import psutil
    except ModuleNotFoundError:
        return 0.0
    return float(psutil.cpu_percent(interval=seconds)) / 100


def let_threads_sleep(load: float) -> bool:
    """Choose how torch's threads wait for each other; to be called before torch is imported.

    By default they spin, which is fastest on a quiet machine. Beside other busy programs they then
    take the cores from one another: on two cores with two busy loops, training falls from 45 to 3.5
    images a second, and to 15 with threads that sleep, which reach 38 on a quiet machine. A value
    of ``OMP_WAIT_POLICY`` that the user has set stays.

    Args:
        load: what other programs use, as from `measure_load`.

    Returns:
        Whether the machine is busy, so that threads will sleep.
    """
    if load < _BUSY or _WAIT_POLICY in os.environ:
        return False
    os.environ[_WAIT_POLICY] = "PASSIVE"
    return True

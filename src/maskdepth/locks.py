"""A lock on a dataset folder: one writer at a time, and a killed one does not keep it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from maskdepth.errors import StorageError, first_line
from maskdepth.files import make_folder

if sys.platform != "win32":
    import fcntl
    from multiprocessing import reduction
else:
    import msvcrt

LOCK_FILE: Final = ".lock"

_ORPHAN_SECONDS: Final = 10.0  # the workers of a killed run hold its lock until they notice


class HeldLock:
    """A lock that this process holds; a child process that it is sent to holds it too.

    The lock thus outlives a killed parent for as long as one of its workers could still write.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    if sys.platform != "win32":

        def __getstate__(self) -> Any:
            return reduction.DupFd(self._descriptor)

        def __setstate__(self, state: Any) -> None:
            self._descriptor = state.detach()


@contextlib.contextmanager
def writer_lock(folder: Path) -> Iterator[HeldLock]:
    """Hold ``folder/.lock``, a file with our process number, until the block ends.

    The operating system keeps the lock, so a killed run's lock is free at once.

    Raises:
        StorageError: another run writes there, or the folder cannot be written.
    """
    path = make_folder(folder) / LOCK_FILE
    try:
        descriptor = _acquire(path)
    except OSError as error:
        reason = first_line(error)
        raise StorageError(
            f"a lock file at {path}",
            reason,
            "choose another output folder",
            f"The lock file {path} cannot be made: {reason}.",
        ) from error
    try:
        yield HeldLock(descriptor)
    finally:
        # Removed while it is held: a waiting run then locks a file without a name, and tries
        # again. (Where open files cannot be removed, the file stays.)
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path) -> int:
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _try_lock(descriptor):
                if _same_file(descriptor, path):
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    return descriptor
                os.close(descriptor)  # its writer has ended, and removed the name
                continue
            os.lseek(descriptor, 0, os.SEEK_SET)
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if _alive(holder) or time.monotonic() > deadline:
            raise StorageError(
                f"no other run writing to {path.parent}",
                f"process {holder or 'unknown'}, which does",
                "wait for that run or stop it: its finished work is kept",
                f"Another run (process {holder or 'unknown'}) is writing to {path.parent}.",
            )
        time.sleep(0.02)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform != "win32":
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            # A byte beyond the text, since other processes cannot read a locked byte.
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    """Whether the locked file still has its name, which a run that ends removes."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _alive(holder: str) -> bool:
    """Whether the process of that number runs; an unreadable number counts as one that ended."""
    if os.name != "posix" or not holder.isdecimal() or int(holder) < 1:
        return os.name != "posix"
    try:
        os.kill(int(holder), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True

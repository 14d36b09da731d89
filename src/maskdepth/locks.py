"""One writer to a dataset folder at a time, whatever becomes of the one before."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from maskdepth.errors import StorageError
from maskdepth.files import make_folder

if sys.platform != "win32":
    import fcntl
    from multiprocessing import reduction
else:
    import msvcrt

LOCK_FILE: Final = ".lock"

# The workers of a killed run hold its lock until they notice, some milliseconds later.
_ORPHAN_SECONDS: Final = 10.0


class HeldLock:
    """A lock that this process holds. Sent to a child process, the child holds it as well.

    So the lock outlives a killed parent for as long as one of its workers could still write.
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
    """Hold ``folder/.lock``, in which our process number stands; gone when the block ends.

    The operating system holds the lock, so that a killed run's is free at once.

    Raises:
        StorageError: another run writes there, or the folder cannot be written.
    """
    path = make_folder(folder) / LOCK_FILE
    try:
        descriptor = _acquire(path)
    except OSError as error:
        raise StorageError(
            f"a lock file at {path}", error.strerror or str(error), "choose another output folder"
        ) from error
    try:
        yield HeldLock(descriptor)
    finally:
        # Removed while it is held: who waits for it then holds a file without a name, and tries
        # again. (Where open files cannot be removed, it stays.)
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
                os.close(descriptor)  # its writer has ended, and taken the name along
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
                "wait for it, or stop it; what it has finished is kept",
            )
        time.sleep(0.02)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform != "win32":
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            # A byte beyond the text, since others cannot read what is locked here.
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    """Whether the locked file still has its name; a run that ended meanwhile has removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _alive(holder: str) -> bool:
    """Whether the process of that number runs; an unreadable number is taken for one that ended."""
    if os.name != "posix" or not holder.isdecimal() or int(holder) < 1:
        return os.name != "posix"
    try:
        os.kill(int(holder), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True

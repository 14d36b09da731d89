"""Files read and written whole: nothing half-written, no waiting for pipes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from maskdepth.errors import StorageError, UsageError

_PART = re.compile(r"\.[0-9a-f]{16}\.part")


def open_file(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file to read its bytes; pipes and devices are refused, some of which never end.

    Raises:
        OSError: as ``open``, or it is no regular file.
    """
    # Before it is opened: opening a pipe waits for its writer, for ever.
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        number, what = (
            (errno.EISDIR, "a folder") if stat.S_ISDIR(mode) else (errno.EINVAL, "no regular file")
        )
        raise OSError(number, what, os.fspath(path))
    return open(path, "rb")


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a file; see ``open_file``."""
    with open_file(path) as file:
        return file.read()


def file_checksum(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, hexadecimal; see ``open_file``."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8", errors: str = "strict") -> str:
    """All text of a file, whose lines end in line feeds alone; see ``open_file``.

    Args:
        encoding, errors: as ``open`` has them.

    Raises:
        OSError: see ``open_file``.
        UnicodeDecodeError: it is not in that encoding, and ``errors`` is strict.
    """
    with io.TextIOWrapper(open_file(path), encoding=encoding, errors=errors) as file:
        return file.read()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically; see ``write_bytes``."""
    write_bytes(path, text.encode("utf-8"))


def as_path(value: str | os.PathLike[str], what: str) -> Path:
    """A path that a caller of the API gave for ``what``.

    Raises:
        UsageError: it is something else, such as None.
    """
    told: object = value
    if not isinstance(told, (str, os.PathLike)) or "\0" in str(told):
        raise UsageError(f"the path of {what}", repr(value)[:80], "pass a text or a pathlib.Path")
    return Path(value)


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """Make an output folder and those above it.

    Raises:
        StorageError: it cannot be made, or is a file.
        UsageError: no path.
    """
    path = as_path(folder, "an output folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"a folder at {path}", error.strerror or str(error), "choose another output folder"
        ) from None
    return path


def write_bytes(path: str | os.PathLike[str], data: bytes, *, durable: bool = False) -> None:
    """Write a file so that it is either whole or, on failure, as it was before.

    Folders above it are made where they are missing.

    Args:
        durable: see ``open_atomic``.

    Raises:
        StorageError: a full disk, a folder that cannot be made or written, a folder, a pipe or a
            device at ``path`` itself.
    """
    with open_atomic(path, durable=durable) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomic(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[IO[bytes]]:
    """A file to write, which takes its place when the block ends; on failure nothing changes.

    Until then its bytes stand in a hidden file beside it, see ``remove_parts``. Folders above it
    are made where they are missing.

    Args:
        durable: wait until the disk has both bytes and name, so that they outlast a power cut.

    Raises:
        StorageError: as ``write_bytes``.
    """
    # Through a symbolic link to its target, as an ordinary write would go.
    target = Path(os.path.realpath(path))
    # Of a name that is too long it says False, where `Path.exists` raises.
    if os.path.lexists(target) and not (target.is_file() or target.is_dir()):
        raise StorageError(
            f"a file to write at {os.fspath(path)}", "a pipe or a device", "choose another name"
        )
    part = target.parent / f".{secrets.token_hex(8)}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "xb") as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(part, target)
            if durable:
                _sync_folder(target.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(
            f"to write {os.fspath(path)}",
            error.strerror or str(error),
            "free some space, or choose a folder that can be written",
        ) from error


def remove_parts(folder: Path) -> None:
    """Remove what killed writers left behind directly in a folder; no one may be writing there."""
    for path in folder.glob(".*.part"):
        if _PART.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # elsewhere folders cannot be opened
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Read and write complete files: nothing is left half-written, and no pipe is waited for."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from maskdepth.errors import StorageError, UsageError, first_line

_PART = re.compile(r"\.[0-9a-f]{16}\.part")


def open_file(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a regular file to read its bytes; pipes and devices may never end.

    Raises:
        OSError: as ``open``, or the path is no regular file.
    """
    # Asked before the file is opened: opening a pipe waits for its writer, possibly for ever.
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "a folder", os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no regular file", os.fspath(path))
    return open(path, "rb")


def explain_unopened(path: str | os.PathLike[str], error: OSError) -> tuple[str, str]:
    """Why a file or folder cannot be opened: the ``problem`` and the ``remedy`` of an error."""
    name, reason = os.fspath(path), first_line(error)
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return f"{name} does not exist.", "check the path"
    if isinstance(error, IsADirectoryError):
        return f"{name} is a folder, not a file.", "name a file"
    if isinstance(error, PermissionError):
        return f"{name} cannot be read: {reason}.", "check its permissions and its folder's"
    return f"{name} cannot be read: {reason}.", "check the file"


def normal_name(name: str) -> str:
    """A name with its accents composed (NFC), to compare it with others.

    macOS may decompose them, so that two names that read alike differ.
    """
    return unicodedata.normalize("NFC", name)


def find_beside(picture: Path, ending: str) -> Path:
    """The path of ``<stem><ending>`` beside a picture, in the composition that a file there has."""
    path = picture.with_name(picture.stem + ending)
    if path.name.isascii() or path.exists():
        return path
    forms = (unicodedata.normalize(form, path.name) for form in ("NFC", "NFD"))
    return next((each for name in forms if (each := path.with_name(name)).exists()), path)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a file; see ``open_file``."""
    with open_file(path) as file:
        return file.read()


def file_checksum(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, hexadecimal; see ``open_file``."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8", errors: str = "strict") -> str:
    """All text of a file, with every line end as a line feed; see ``open_file``.

    Args:
        encoding, errors: as for ``open``.

    Raises:
        OSError: see ``open_file``.
        UnicodeDecodeError: the file has another encoding, and ``errors`` is strict.
    """
    with io.TextIOWrapper(open_file(path), encoding=encoding, errors=errors) as file:
        return file.read()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically; see ``write_bytes``."""
    write_bytes(path, text.encode("utf-8"))


def as_path(value: str | os.PathLike[str], what: str) -> Path:
    """The path that a caller of the API passed for ``what``.

    Raises:
        UsageError: the value is no path, such as None.
    """
    given: object = value
    if not isinstance(given, (str, os.PathLike)) or "\0" in str(given):
        raise UsageError(f"the path of {what}", repr(value)[:80], "pass a text or a pathlib.Path")
    return Path(value)


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """Make an output folder and those above it.

    Raises:
        StorageError: the folder cannot be made, or is a file.
        UsageError: ``folder`` is no path.
    """
    path = as_path(folder, "an output folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = first_line(error)
        problem = f"The folder {path} cannot be made: {reason}."
        raise _file_as_folder(path) or StorageError(
            f"a folder at {path}", reason, "choose another output folder", problem
        ) from None
    return path


def _file_as_folder(path: Path) -> StorageError | None:
    """The error where a folder cannot be made, since it or one above it is a file; else None."""
    for folder in (path, *path.parents):
        if os.path.lexists(folder):
            if folder.is_dir():
                return None
            problem = f"{folder} is a file, not a folder."
            remedy = "choose another output folder"
            return StorageError(f"a folder at {folder}", "a file", remedy, problem)
    return None


def write_bytes(path: str | os.PathLike[str], data: bytes, *, durable: bool = False) -> None:
    """Write a file completely, or leave it as it was; see ``open_atomic``.

    Raises:
        StorageError: the disk is full, the folder cannot be made or written, or ``path`` is a
            folder, a pipe or a device.
    """
    with open_atomic(path, durable=durable) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomic(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Open a file to write; it replaces ``path`` when the block ends, and not if the block fails.

    Until then its bytes are in a hidden file beside ``path``, see ``remove_parts``. Missing
    folders above ``path`` are made.

    Args:
        durable: wait until the disk has both bytes and name, so that they outlast a power cut.

    Raises:
        StorageError: as ``write_bytes``.
    """
    # Through a symbolic link to its target, as an ordinary write would go.
    target = Path(os.path.realpath(path))
    # `lexists` is False for a name that is too long, where `Path.exists` raises.
    if os.path.lexists(target) and not (target.is_file() or target.is_dir()):
        raise StorageError(
            f"a file to write at {os.fspath(path)}",
            "a pipe or a device",
            "choose another name",
            f"{os.fspath(path)} is a pipe or a device, where a file is to be written.",
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
        reason = first_line(error)
        raise _file_as_folder(target.parent) or StorageError(
            f"to write {os.fspath(path)}",
            reason,
            "free some space, or choose a folder that can be written",
            f"{os.fspath(path)} cannot be written: {reason}.",
        ) from error


@contextlib.contextmanager
def remove_if_empty(folder: Path) -> Iterator[None]:
    """After the block, remove what it made of a folder and those above where that is empty."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield
    finally:
        for each in missing:
            with contextlib.suppress(OSError):
                each.rmdir()


def remove_parts(folder: Path) -> None:
    """Remove the parts that killed writers left in a folder, while nobody writes there."""
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

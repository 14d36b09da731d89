"""The uploaded plates: one file each, in a folder for each owner, kept until they expire.

A file's name is made here: an id of 32 random hexadecimal digits, the plate's size, and its kind.
Its time of modification says when it was last used. There is nothing else to keep in step, so a
server that is killed loses nothing. Files of other names are never touched.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from maskdepth.files import make_folder, read_bytes, remove_parts, write_bytes
from maskdepth.server.replies import RequestError

_NAME: Final = re.compile(r"([0-9a-f]{32})-([0-9]{1,6})x([0-9]{1,6})\.(picture|plate)")
_ID: Final = re.compile(r"[0-9a-f]{32}")
_OWNER: Final = re.compile(r"local|[0-9a-f]{32}")
_TOUCH_SECONDS: Final = 60.0  # a plate in use need not be marked as used more often


@dataclass(frozen=True)
class StoredPlate:
    """A plate in the store.

    Attributes:
        id: its name for clients.
        kind: ``"picture"``, or ``"profile"`` for a ``.plate`` file.
        width, height: in pixels.
        used_s: when it was last used, as `time.time` counts.
        path: its file.
    """

    id: str
    kind: str
    width: int
    height: int
    used_s: float
    path: Path


class PlateStore:
    """The plates of all owners.

    Args:
        folder: made if it is missing.
        max_plates: how many one owner may have.
        seconds: how long a plate is kept after its last use.

    Raises:
        StorageError: the folder cannot be made.
    """

    def __init__(self, folder: Path, max_plates: int, seconds: float) -> None:
        self._folder = make_folder(folder)
        self._max_plates, self._seconds = max_plates, seconds
        for owner in self._owner_folders():
            remove_parts(owner)

    def add(self, owner: str, data: bytes, *, profile: bool, size: tuple[int, int]) -> StoredPlate:
        """Store a plate that has been read successfully; ``size`` is its height and width.

        Raises:
            RequestError: 409, the owner has as many plates as may be.
            StorageError: the disk is full, or the folder cannot be written.
        """
        if len(self.list_plates(owner)) >= self._max_plates:
            raise RequestError(
                409,
                f"There are {self._max_plates} stored plates already.",
                "delete one of them first",
                expected=f"fewer than {self._max_plates} stored plates",
                got=str(self._max_plates),
            )
        name = f"{secrets.token_hex(16)}-{size[1]}x{size[0]}.{'plate' if profile else 'picture'}"
        path = self._folder / owner / name
        write_bytes(path, data, durable=True)
        plate = _parse(path)
        assert plate is not None
        return plate

    def list_plates(self, owner: str) -> list[StoredPlate]:
        """An owner's plates that have not expired, the one that was last used first."""
        plates = [plate for plate in _plates(self._folder / owner) if not self._expired(plate)]
        return sorted(plates, key=lambda plate: (-plate.used_s, plate.id))

    def find(self, owner: str, plate_id: str) -> StoredPlate:
        """An owner's plate.

        Raises:
            RequestError: 404, there is none of that id, it has expired, or it is another owner's.
        """
        if _ID.fullmatch(plate_id):
            for path in (self._folder / owner).glob(f"{plate_id}-*"):
                plate = _parse(path)
                if plate is not None and not self._expired(plate):
                    return plate
        raise RequestError(
            404,
            f"There is no plate {plate_id!r:.60}.",
            "upload it again: plates expire",
            expected="the id of a stored plate",
            got=f"{plate_id!r:.60}",
        )

    def read(self, plate: StoredPlate) -> bytes:
        """The bytes that were uploaded; the plate counts as used.

        Raises:
            RequestError: 404, it has been removed.
        """
        try:
            data = read_bytes(plate.path)
        except FileNotFoundError:
            raise RequestError(404, f"There is no plate {plate.id!r}.", "upload it again") from None
        self.touch(plate)
        return data

    def touch(self, plate: StoredPlate) -> None:
        """Note that a plate is in use."""
        if time.time() - plate.used_s > _TOUCH_SECONDS:
            with contextlib.suppress(OSError):
                os.utime(plate.path)

    def remove(self, owner: str, plate_id: str) -> None:
        """Remove an owner's plate.

        Raises:
            RequestError: 404, as `find`.
        """
        self.find(owner, plate_id).path.unlink(missing_ok=True)

    def remove_expired(self) -> list[StoredPlate]:
        """Remove the plates of all owners that have expired, and return them."""
        expired = [
            plate
            for folder in self._owner_folders()
            for plate in _plates(folder)
            if self._expired(plate)
        ]
        for plate in expired:
            plate.path.unlink(missing_ok=True)
        return expired

    def expires_s(self, plate: StoredPlate) -> float:
        """When a plate expires if it is not used until then, as `time.time` counts."""
        return plate.used_s + self._seconds

    def _expired(self, plate: StoredPlate) -> bool:
        return time.time() > self.expires_s(plate)

    def _owner_folders(self) -> Iterator[Path]:
        for path in self._folder.iterdir():
            if _OWNER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                yield path


def _plates(folder: Path) -> Iterator[StoredPlate]:
    paths = list(folder.iterdir()) if folder.is_dir() else []
    for path in paths:
        plate = _parse(path)
        if plate is not None:
            yield plate


def _parse(path: Path) -> StoredPlate | None:
    """The plate of a file; None of a file that is not the store's."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        used_s = path.stat().st_mtime
    except FileNotFoundError:  # removed meanwhile
        return None
    plate_id, width, height, ending = match.groups()
    kind = "profile" if ending == "plate" else "picture"
    return StoredPlate(plate_id, kind, int(width), int(height), used_s, path)

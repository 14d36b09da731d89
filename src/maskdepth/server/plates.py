"""Plates made ready for predictions: those in use stay prepared, within a number of pixels."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from maskdepth.images import load_picture
from maskdepth.inference.plate.prepared import PreparedPlate
from maskdepth.inference.plate.profile import PlateProfile, load_profile
from maskdepth.inference.predictor import Predictor
from maskdepth.picture_decoding import check_pixels
from maskdepth.server.store import PlateStore, StoredPlate

_PROFILE_SIGNATURE: Final = b"PK\x03\x04"  # a plate profile is a zip archive
_MAX_PREPARED_PIXELS: Final = 50_000_000
_MAX_PREPARED: Final = 256

Key = tuple[str, tuple[int, int]]


def is_profile_data(data: bytes) -> bool:
    """Whether an upload is a plate profile rather than a picture."""
    return data.startswith(_PROFILE_SIGNATURE)


def load_upload(data: bytes, max_pixels: int) -> PlateProfile | bytes:
    """An uploaded plate: a profile, or the bytes of a picture whose size has been checked.

    Raises:
        PictureError, PlateError: it is too large, or cannot be read.
    """
    if is_profile_data(data):
        return load_profile(data, max_pixels)
    check_pixels(data, max_pixels)
    return data


class PreparedPlates:
    """Prepares stored plates once for each size of picture. Threads may share it.

    Args:
        predictor: prepares them.
        store: holds them.
        max_pixels: of one plate.
    """

    def __init__(self, predictor: Predictor, store: PlateStore, max_pixels: int) -> None:
        self._predictor, self._store, self._max_pixels = predictor, store, max_pixels
        self._lock = threading.Lock()
        self._prepared: OrderedDict[Key, PreparedPlate] = OrderedDict()
        self._preparing: dict[Key, threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._prepared)

    def add(self, owner: str, data: bytes) -> StoredPlate:
        """Read an uploaded plate, prepare it for pictures of its own size, and store it.

        Raises:
            PictureError, PlateError: it is too large, or cannot be read.
            RequestError, StorageError: as `PlateStore.add`.
        """
        loaded = load_upload(data, self._max_pixels)
        profile = isinstance(loaded, PlateProfile)
        picture = loaded.picture if isinstance(loaded, PlateProfile) else load_picture(loaded)
        size = (picture.shape[0], picture.shape[1])
        prepared = self._predictor.prepare(loaded if profile else picture, size)
        plate = self._store.add(owner, data, profile=profile, size=size)
        self._keep((plate.id, size), prepared)
        return plate

    def load(self, plate: StoredPlate) -> PlateProfile | bytes:
        """A stored plate as `maskdepth.Predictor` takes it.

        Raises:
            RequestError: 404, it has been removed.
            PictureError, PlateError: it cannot be read.
        """
        return load_upload(self._store.read(plate), self._max_pixels)

    def prepare(self, plate: StoredPlate, size: tuple[int, int]) -> PreparedPlate:
        """A stored plate, prepared for pictures of a height and width.

        Raises:
            RequestError: 404, it has been removed.
            PictureError, PlateError: it cannot be read, or does not fit the size.
        """
        key = (plate.id, size)
        with self._lock:
            lock = self._preparing.setdefault(key, threading.Lock())
        try:
            with lock:
                found = self._find(key)
                if found is None:
                    found = self._predictor.prepare(self.load(plate), size)
                    self._keep(key, found)
        finally:
            with self._lock:
                self._preparing.pop(key, None)
        self._store.touch(plate)
        return found

    def forget(self, plate_id: str) -> None:
        """Drop what is prepared of a plate."""
        with self._lock:
            for key in [key for key in self._prepared if key[0] == plate_id]:
                del self._prepared[key]

    def _find(self, key: Key) -> PreparedPlate | None:
        with self._lock:
            found = self._prepared.get(key)
            if found is not None:
                self._prepared.move_to_end(key)
            return found

    def _keep(self, key: Key, prepared: PreparedPlate) -> None:
        with self._lock:
            self._prepared[key] = prepared
            sizes = [size[0] * size[1] for _, size in self._prepared]
            while len(sizes) > 1 and (
                sum(sizes) > _MAX_PREPARED_PIXELS or len(sizes) > _MAX_PREPARED
            ):
                self._prepared.popitem(last=False)
                sizes.pop(0)

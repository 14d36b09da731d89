"""What the routes share: the predictor, the queue, the plates, and whether the server stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import Request

from maskdepth.images import load_picture
from maskdepth.inference.predictor import Predictor
from maskdepth.picture_decoding import check_pixels
from maskdepth.server.answers import Wish, encode_answer
from maskdepth.server.free_memory import return_free_memory
from maskdepth.server.metrics import ServerMetrics
from maskdepth.server.plates import PreparedPlates, load_upload
from maskdepth.server.queue import WorkQueue
from maskdepth.server.replies import ClientGoneError, RequestError, about_part
from maskdepth.server.settings import ServerSettings
from maskdepth.server.store import PlateStore, StoredPlate
from maskdepth.server.uploads import BodyMemory

_T = TypeVar("_T")
_SWEEP_SECONDS: Final = 300.0
_LARGE_BYTES: Final = 12_000_000  # a picture whose prediction leaves much free memory behind


class Service:
    """One server's parts. The event loop has to run already.

    Args:
        predictor: predicts for all clients.
        settings: the server's.
        store: the uploaded plates.
    """

    def __init__(self, predictor: Predictor, settings: ServerSettings, store: PlateStore) -> None:
        self.predictor, self.settings, self.store = predictor, settings, store
        self.plates = PreparedPlates(predictor, store, settings.max_pixels)
        self.queue = WorkQueue(settings.workers, settings.queue, settings.time_limit_s / 2)
        self.memory = BodyMemory(settings.body_memory)
        self.metrics = ServerMetrics()
        self.streams = 0
        self.requests = 0
        self.draining = False
        self._add_gauges()

    @property
    def idle(self) -> bool:
        """Whether no request is under way; streams do not count."""
        return self.requests == 0

    async def finish(self, request: Request, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of work for a request, unless its time is over or its client has gone.

        Raises:
            RequestError: 504, the time limit.
            ClientGoneError: the client went away; the work is cancelled.
        """
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_wait_until_gone(request))
        try:
            await asyncio.wait(
                {task, gone},
                timeout=self.settings.time_limit_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if task.done():
                return task.result()
            if gone.done():
                raise ClientGoneError
            limit = f"{self.settings.time_limit_s:g} s"
            raise RequestError(
                504,
                f"The prediction took longer than {limit}.",
                "send a smaller picture, or try again when the server has less to do",
                expected=f"an answer within {limit}",
                got="none",
            )
        finally:
            for each in (task, gone):
                each.cancel()

    def answer(self, image: bytes, plate: StoredPlate | bytes | None, wish: Wish) -> bytes:
        """Predict a picture and encode the answer: the work of a thread.

        Raises:
            MaskdepthError: the picture or plate cannot be read, or do not fit each other.
        """
        max_pixels = self.settings.max_pixels
        with about_part("image"):
            check_pixels(image, max_pixels)
            pixels = load_picture(image)
        size = (pixels.shape[0], pixels.shape[1])
        with about_part("plate"):
            if isinstance(plate, StoredPlate):
                prepared = self.plates.prepare(plate, size)
            elif plate is not None:
                prepared = self.predictor.prepare(load_upload(plate, max_pixels), size)
            else:
                prepared = None
        answer = encode_answer(self.predictor.predict(pixels, prepared), wish)
        if pixels.size > _LARGE_BYTES:
            del pixels, prepared
            return_free_memory()
        return answer

    async def remove_expired_plates(self) -> None:
        """Remove expired plates now and then, for as long as the server runs."""
        while True:
            for plate in await asyncio.to_thread(self.store.remove_expired):
                self.plates.forget(plate.id)
            await asyncio.sleep(_SWEEP_SECONDS)

    def _add_gauges(self) -> None:
        started = time.monotonic()
        add = self.metrics.add_gauge
        add("waiting", "Predictions that wait.", lambda: self.queue.waiting)
        add("running", "Predictions that run.", lambda: self.queue.running)
        add("streams", "Open streams.", lambda: self.streams)
        add("prepared_plates", "Plates held ready for predictions.", lambda: len(self.plates))
        add("body_bytes", "Memory that bodies take.", lambda: self.memory.used)
        add("up_seconds", "Time since the start.", lambda: time.monotonic() - started)


async def _wait_until_gone(request: Request) -> None:
    """Return when the client has closed its connection. The body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass

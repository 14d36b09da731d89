"""A camera's frames over a WebSocket: one stream a socket, and the newest frame wins.

The client sends frames as binary messages, and settings as texts: ``{"plate": ID}`` takes another
stored plate, or none for null, and ``{"reset": true}`` begins a new state. The server answers each
frame that it predicts with a text, a JSON object with the frame's number, and with the alpha as a
binary PNG. A frame that arrives while another is predicted replaces one that waits, so answers
never fall behind. A frame that fails is answered with the error, and the stream goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from dataclasses import asdict
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from maskdepth.errors import MaskdepthError
from maskdepth.images import encode_png, load_picture
from maskdepth.inference.prediction import Prediction
from maskdepth.inference.stream import Stream
from maskdepth.picture_decoding import check_pixels
from maskdepth.records import Json
from maskdepth.server.guard import SUBPROTOCOL
from maskdepth.server.log import log_failure
from maskdepth.server.replies import RequestError, busy, error_record, status_of
from maskdepth.server.service import Service

_IDLE: Final = 4000  # codes of closed sockets, RFC 6455 section 7.4
_TOO_SLOW: Final = 4001
_SEND_SECONDS: Final = 10.0
_MAX_TEXT: Final = 1024


async def serve_stream(socket: WebSocket, service: Service) -> None:
    """One socket from its handshake to its end.

    Raises:
        RequestError: before the handshake: 422, a wrong setting; 404, no such plate; 429, too many
            streams.
    """
    answer = socket.query_params.get("answer", "png")
    if answer not in ("png", "json"):
        raise RequestError(422, f"The answer cannot be {answer!r:.40}.", "ask for png or json")
    if service.streams >= service.settings.max_streams:
        raise busy(f"{service.streams} streams are open already.", 5)
    service.streams += 1
    try:
        connection = _Connection(socket, service, with_alpha=answer == "png")
        await connection.use_plate(socket.query_params.get("plate"))
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await connection.run()
    finally:
        service.streams -= 1


class _Connection:
    """The stream of one socket."""

    def __init__(self, socket: WebSocket, service: Service, *, with_alpha: bool) -> None:
        self._socket, self._service, self._with_alpha = socket, service, with_alpha
        self._stream: Stream = service.predictor.stream()
        self._received = 0
        self._newest: tuple[int, bytes] | None = None
        self._arrived = asyncio.Event()

    async def use_plate(self, plate_id: str | None) -> None:
        """Take a stored plate, or none."""
        if plate_id is None:
            self._stream.replace_plate(None)
            return
        service = self._service
        plate = service.store.find(self._socket.state.owner, plate_id)

        def replace() -> None:
            self._stream.replace_plate(service.plates.load(plate))

        await service.queue.run(replace)

    async def run(self) -> None:
        """Receive and predict until either side ends."""
        tasks = [asyncio.create_task(each) for each in (self._receive(), self._predict())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for error in results:
            if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
                log_failure("stream", error, request_id=self._socket.state.request_id)
        if self._socket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(Exception):  # it has been closed meanwhile
                await self._socket.close(1011)

    async def _receive(self) -> None:
        """Keep the newest frame."""
        while True:
            try:
                async with asyncio.timeout(self._service.settings.idle_seconds):
                    message = await self._socket.receive()
            except TimeoutError:
                await self._socket.close(_IDLE, "no frame came for a while")
                return
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                if self._newest is not None:
                    self._service.metrics.frames.labels("skipped").inc()
                self._newest = (self._received, message["bytes"])
                self._received += 1
                self._arrived.set()
            else:
                await self._change(message.get("text") or "")

    async def _change(self, text: str) -> None:
        """Carry out a setting that the client sent."""
        try:
            settings = _parse_settings(text)
            if settings.get("reset"):
                self._stream.reset()
            if "plate" in settings:
                await self.use_plate(settings["plate"])
        except MaskdepthError as error:
            await self._send_text(error_record(error, self._socket.state.request_id))
        else:
            await self._send_text({"settings": settings})

    async def _predict(self) -> None:
        """Predict frames, one after another, and answer each."""
        answered = -1
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            assert self._newest is not None
            (number, data), self._newest = self._newest, None
            record: Json = {"frame": number, "skipped": number - answered - 1}
            answered = number
            alpha = None
            try:
                work = self._service.queue.run(functools.partial(self._work, data), always=True)
                found, alpha = await work
                record |= found
                outcome = "predicted"
            except MaskdepthError as error:
                if status_of(error) >= 500:
                    log_failure("frame", error, request_id=self._socket.state.request_id)
                record |= error_record(error, self._socket.state.request_id)
                outcome = "failed"
            self._service.metrics.frames.labels(outcome).inc()
            await self._send_text(record)
            if alpha is not None:
                await self._send({"type": "websocket.send", "bytes": alpha})

    def _work(self, data: bytes) -> tuple[Json, bytes | None]:
        """Predict a frame: the work of a thread."""
        check_pixels(data, self._service.settings.max_pixels)
        prediction = self._stream.predict(load_picture(data))
        alpha = encode_png(prediction.alpha_8_bit()) if self._with_alpha else None
        return _describe(prediction), alpha

    async def _send_text(self, record: Json) -> None:
        await self._send({"type": "websocket.send", "text": json.dumps(record)})

    async def _send(self, message: dict[str, Any]) -> None:
        """Send a message to a client that reads; another one is cut off."""
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._socket.send(message)
        except TimeoutError:
            await self._socket.close(_TOO_SLOW, "answers were not read")
            raise WebSocketDisconnect(_TOO_SLOW) from None


def _describe(prediction: Prediction) -> Json:
    """What is said of a frame beside its alpha."""
    height, width = prediction.alpha.shape
    distance = prediction.distance
    return {
        "width": width,
        "height": height,
        "foreground": round(float(prediction.mask.mean()), 6),
        "object": None if distance is None else asdict(distance),
        "notices": [asdict(notice) for notice in prediction.notices],
    }


def _parse_settings(text: str) -> Json:
    settings: object = None
    if len(text) <= _MAX_TEXT:
        with contextlib.suppress(ValueError, RecursionError):
            settings = json.loads(text)
    if (
        not isinstance(settings, dict)
        or not settings.keys() <= {"plate", "reset"}
        or not isinstance(settings.get("plate"), (str, type(None)))
        or not isinstance(settings.get("reset", False), bool)
    ):
        raise RequestError(
            422,
            "This text is no setting of a stream.",
            'send {"plate": ID} or {"reset": true}; frames are binary messages',
        )
    return settings

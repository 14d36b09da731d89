"""A client of ``maskdepth serve``, on Python's standard library.

    from maskdepth.client import Client

    client = Client("http://127.0.0.1:8000")
    plate_id = client.add_plate("plate.jpg")
    answer = client.predict("picture.jpg", plate_id=plate_id)
    answer.alpha  # float32 (H, W)

Streams (`Client.stream`) need the package ``websockets``, which comes with ``[serve]``.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
from numpy.typing import NDArray

from maskdepth.depth import decode_depth_mm, decode_disparity
from maskdepth.errors import DependencyError, MaskdepthError, UsageError, first_line
from maskdepth.files import read_bytes
from maskdepth.images import decode_png, encode_png

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["Answer", "Client", "FrameAnswer", "RemoteStream", "ServerError"]

Upload = str | os.PathLike[str] | bytes | NDArray[np.uint8]
"""A path, the bytes of a file, or uint8 (H, W, 3) RGB."""


class ServerError(MaskdepthError):
    """What a server replied instead of an answer, or that it cannot be reached.

    Attributes:
        status: the HTTP status; 0 where there is no reply.
        retry_after_s: when to try again; None where the server does not say.
        request_id: finds the request in the server's log.
    """

    def __init__(
        self, status: int, record: dict[str, Any], retry_after_s: float | None = None
    ) -> None:
        self.status, self.retry_after_s = status, retry_after_s
        self.request_id = str(record.get("request_id", ""))
        problem = str(record.get("error", f"The server replied {status}."))
        super().__init__(
            str(record.get("expected", "an answer")), str(record.get("got", status)), "", problem
        )


@dataclass(frozen=True, eq=False)
class Answer:
    """A prediction that came from a server.

    Attributes:
        record: what the JSON of a prediction holds, e.g. ``record["notices"]``.
        files: the bytes of its files by what they hold: alpha, disparity, depth, cutout.
    """

    record: dict[str, Any]
    files: dict[str, bytes]

    @cached_property
    def alpha(self) -> NDArray[np.float32]:
        """float32 (H, W) in [0, 1]."""
        return decode_png(self.files["alpha"]).astype(np.float32) / np.float32(255)

    @cached_property
    def disparity(self) -> NDArray[np.float32]:
        """float32 (H, W) in [0, 1], near = 1, NaN where invalid."""
        return decode_disparity(decode_png(self.files["disparity"]))

    @cached_property
    def depth_m(self) -> NDArray[np.float32] | None:
        """float32 (H, W) metres, NaN where invalid or beyond 65 m; None without metres."""
        if "depth" not in self.files:
            return None
        return decode_depth_mm(decode_png(self.files["depth"]))

    @cached_property
    def cutout(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 4) straight RGBA."""
        return np.asarray(decode_png(self.files["cutout"]), np.uint8)


@dataclass(frozen=True, eq=False)
class FrameAnswer:
    """The answer to a frame of a stream.

    Attributes:
        record: ``frame`` is its number, from 0; ``skipped`` how many before it gave way to it.
        alpha_png: its alpha as a PNG; None where only the record was asked for.
    """

    record: dict[str, Any]
    alpha_png: bytes | None


class Client:
    """Calls one server. It keeps no connection open, so threads may share it.

    Args:
        url: the server's address.
        token: one of its token file.
        timeout_s: how long to wait for an answer.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("the address of a server", repr(url), "pass http://127.0.0.1:8000")
        self._parts, self._timeout_s = parts, timeout_s
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def predict(
        self,
        image: Upload,
        plate: Upload | None = None,
        *,
        plate_id: str | None = None,
        only: str | None = None,
    ) -> Answer:
        """Predict a picture.

        Args:
            image: the picture.
            plate: its plate, a picture or a ``.plate`` file; or none.
            plate_id: what `add_plate` returned, in the plate's place.
            only: some of ``alpha,disparity,depth,cutout``, with commas, to save time.

        Raises:
            ServerError: the server turns the request away, or cannot be reached.
        """
        parts: dict[str, bytes | str] = {"image": _read(image)}
        if plate is not None:
            parts["plate"] = _read(plate)
        elif plate_id is not None:
            parts["plate"] = plate_id
        query = "" if only is None else f"?{urlencode({'only': only})}"
        record = self._call("POST", f"/v1/predict{query}", parts)
        files = {kind: base64.b64decode(text) for kind, text in record.pop("parts").items()}
        return Answer(record, files)

    def add_plate(self, plate: Upload) -> str:
        """Store a plate, a picture or a ``.plate`` file, and return its id.

        Raises:
            ServerError: as `predict`.
        """
        return str(self._call("POST", "/v1/plates", {"plate": _read(plate)})["id"])

    def plates(self) -> list[dict[str, Any]]:
        """The stored plates: id, kind, width, height, expires."""
        return list(self._call("GET", "/v1/plates")["plates"])

    def remove_plate(self, plate_id: str) -> None:
        """Remove a stored plate.

        Raises:
            ServerError: there is none of that id.
        """
        self._call("DELETE", f"/v1/plates/{quote(plate_id, safe='')}")

    @contextlib.contextmanager
    def stream(
        self, plate_id: str | None = None, *, with_alpha: bool = True
    ) -> Iterator[RemoteStream]:
        """A stream of frames before a stored plate; it is closed when the block ends.

        Raises:
            DependencyError: websockets is not installed.
            ServerError: as `predict`.
        """
        try:
            from websockets.exceptions import InvalidStatus
            from websockets.sync.client import connect
        except ModuleNotFoundError as error:
            raise DependencyError(error.name or "websockets", "serve") from None
        query = {"answer": "png" if with_alpha else "json"}
        if plate_id is not None:
            query["plate"] = plate_id
        scheme = "wss" if self._parts.scheme == "https" else "ws"
        url = f"{scheme}://{self._parts.netloc}{self._path('/v1/stream')}?{urlencode(query)}"
        try:
            connection = connect(
                url,
                additional_headers=self._headers,
                open_timeout=self._timeout_s,
                max_size=None,
                compression=None,
                proxy=None,
            )
        except InvalidStatus as error:
            response = error.response
            raise _refusal(response.status_code, response.body, response.headers) from None
        except OSError as error:
            raise self._unreachable(error) from None
        with connection:
            yield RemoteStream(connection, self._timeout_s, with_alpha=with_alpha)

    def _path(self, path: str) -> str:
        return self._parts.path.rstrip("/") + path

    def _call(
        self, method: str, path: str, parts: dict[str, bytes | str] | None = None
    ) -> dict[str, Any]:
        headers, body = dict(self._headers), None
        if parts is not None:
            boundary = secrets.token_hex(16)
            headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
            body = _encode_form(parts, boundary)
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        host = self._parts.hostname or ""
        connection = kind(host, self._parts.port, timeout=self._timeout_s)
        try:
            connection.request(method, self._path(path), body, headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()
        if response.status >= 300:
            raise _refusal(response.status, data, response.headers)
        record: dict[str, Any] = json.loads(data) if data else {}
        return record

    def _unreachable(self, error: Exception) -> ServerError:
        reason = first_line(error)
        address = f"{self._parts.scheme}://{self._parts.netloc}"
        return ServerError(0, {"error": f"The server at {address} does not answer: {reason}."})


class RemoteStream:
    """An open stream. Make one with `Client.stream`."""

    def __init__(self, connection: ClientConnection, timeout_s: float, *, with_alpha: bool) -> None:
        self._connection, self._timeout_s, self._with_alpha = connection, timeout_s, with_alpha

    def send(self, frame: Upload) -> None:
        """Send a frame without waiting; one that the server has not begun gives way to it."""
        self._connection.send(_read(frame))

    def receive(self) -> FrameAnswer:
        """The next answer.

        Raises:
            ServerError: the frame, or a setting, was turned away; the stream goes on.
            TimeoutError: there is none in time.
        """
        record = json.loads(self._connection.recv(self._timeout_s))
        if "error" in record:
            raise ServerError(422, record)
        alpha = None
        if self._with_alpha and "frame" in record:
            received = self._connection.recv(self._timeout_s)
            alpha = received if isinstance(received, bytes) else received.encode()
        return FrameAnswer(record, alpha)

    def predict(self, frame: Upload) -> FrameAnswer:
        """Send a frame and wait for its answer."""
        self.send(frame)
        return self.receive()

    def use_plate(self, plate_id: str | None) -> None:
        """Take another stored plate, or none; no frame may be under way."""
        self._connection.send(json.dumps({"plate": plate_id}))
        self.receive()


def _read(upload: Upload) -> bytes:
    if isinstance(upload, bytes):
        return upload
    if isinstance(upload, np.ndarray):
        return encode_png(upload)
    return read_bytes(upload)


def _encode_form(parts: dict[str, bytes | str], boundary: str) -> bytes:
    """A multipart form (RFC 7578): bytes are files, texts are not."""
    lines: list[bytes] = []
    for name, value in parts.items():
        file = '; filename="upload"' if isinstance(value, bytes) else ""
        data = value if isinstance(value, bytes) else value.encode()
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        lines += [head.encode(), data, b"\r\n"]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()])


def _refusal(status: int, body: bytes | bytearray | None, headers: Any) -> ServerError:
    record: object = None
    with contextlib.suppress(ValueError):
        record = json.loads(body or b"")
    wait = headers.get("Retry-After", "")
    return ServerError(
        status,
        record if isinstance(record, dict) else {},
        float(wait) if wait.isdecimal() else None,
    )

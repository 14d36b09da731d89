"""Shows the newest predictions to browsers on this machine, as Motion JPEG."""

from __future__ import annotations

import contextlib
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

from maskdepth.errors import UsageError, first_line
from maskdepth.images import encode_jpeg
from maskdepth.inference.prediction import BackgroundSource, Prediction
from maskdepth.media.frames import Frame
from maskdepth.media.layers import render_layer

__all__ = ["MjpegSink"]

_HOST: Final = "127.0.0.1"
_NAMES: Final = frozenset({_HOST, "localhost"})
_QUALITY: Final = 85
_MAX_VIEWERS: Final = 8
_WAIT_S: Final = 0.2
_SEND_S: Final = 10.0  # a viewer that takes nothing for so long is left
_SEND_BYTES: Final = 1 << 17  # so few wait in the system that a slow viewer gets new pictures
_PAGE: Final = b"""<!doctype html><meta charset="utf-8"><title>maskdepth</title>
<style>body{margin:0;background:#222}img{width:100vw;height:100vh;object-fit:contain}</style>
<img src="/stream" alt="The newest prediction">
"""


class MjpegSink:
    """A server for browsers of this machine. Use it as a context.

    The page is at ``/``, the pictures alone at ``/stream``. Each viewer gets the newest picture
    whenever it has taken the one before; without a viewer none is encoded.

    Args:
        port: where it listens, on 127.0.0.1; 0 for any that is free.
        background: shown instead of the preview's four panels: the cutout on it.

    Attributes:
        url: the address of the page.

    Raises:
        UsageError: the port is in use, or may not be used.
    """

    def __init__(self, port: int, background: BackgroundSource | None = None) -> None:
        self._background = background
        self._kind = "preview" if background is None else "composite"
        self._changed = threading.Condition()
        self._picture, self._number, self._viewers, self._closing = b"", 0, 0, False
        try:
            self._server = ThreadingHTTPServer((_HOST, port), self._handler())
        except OSError as error:
            reason = first_line(error)
            raise UsageError(
                "a port that is free",
                str(port),
                "name another with --mjpeg",
                f"The port {port} cannot be used: {reason}.",
            ) from None
        self._server.daemon_threads = True
        self.url = f"http://{_HOST}:{self._server.server_port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_WAIT_S,), name="maskdepth-mjpeg", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Show one more."""
        if not self._viewers:
            return
        picture = encode_jpeg(render_layer(self._kind, prediction, self._background), _QUALITY)
        with self._changed:
            self._picture, self._number = picture, self._number + 1
            self._changed.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _SEND_S

            def do_GET(self) -> None:
                name = self.headers.get("Host", "").partition(":")[0]
                if name not in _NAMES:  # a page elsewhere whose name leads to this machine
                    self.send_error(HTTPStatus.FORBIDDEN)
                elif self.path == "/":
                    _send_head(self, "text/html; charset=utf-8")
                    self.wfile.write(_PAGE)
                elif self.path == "/stream":
                    sink._show(self)
                else:
                    self.send_error(HTTPStatus.NOT_FOUND)

            def log_message(self, *_: object) -> None:
                """Nothing: stderr is for the run."""

        return Handler

    def _show(self, viewer: BaseHTTPRequestHandler) -> None:
        """Send pictures to one viewer until it leaves."""
        with self._changed:
            if self._viewers >= _MAX_VIEWERS:
                viewer.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            self._viewers += 1
        viewer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        try:
            with contextlib.suppress(OSError):  # it left
                _send_head(viewer, "multipart/x-mixed-replace; boundary=next")
                number = self._number
                while (newer := self._wait_for_newer(number)) is not None:
                    picture, number = newer
                    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    viewer.wfile.write(b"--next\r\n" + head.encode() + picture + b"\r\n")
        finally:
            with self._changed:
                self._viewers -= 1

    def _wait_for_newer(self, number: int) -> tuple[bytes, int] | None:
        """A picture after one of some number, and its number; None when the sink is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > number or self._closing)
            return None if self._closing else (self._picture, self._number)


def _send_head(viewer: BaseHTTPRequestHandler, kind: str) -> None:
    viewer.send_response(HTTPStatus.OK)
    viewer.send_header("Content-Type", kind)
    viewer.send_header("Cache-Control", "no-store")
    viewer.end_headers()

"""Connections whose clients are slow: uvicorn waits for them for ever, these do not."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from maskdepth.server.settings import ServerSettings

_READ_CHECK_SECONDS: Final = 10.0


class TimedProtocol(H11Protocol):
    """Closes connections whose headers take too long, or whose answers are not read.

    It also closes a new connection where there are as many as may be.
    """

    settings: ClassVar[ServerSettings]
    _headers_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.settings.max_connections:
            transport.abort()
        else:
            self._expect_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._expect_headers()
        else:
            self._stop_expecting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_expecting()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_expecting()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._check_reading(None)

    def _expect_headers(self) -> None:
        if self._headers_due is None:
            seconds = self.settings.header_seconds
            self._headers_due = self.loop.call_later(seconds, self.transport.abort)

    def _stop_expecting(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _check_reading(self, unread_before: int | None) -> None:
        """Cut the connection if its client has read too little since the last check."""
        unread = self.transport.get_write_buffer_size()
        if unread == 0:
            return
        wanted = self.settings.min_rate * _READ_CHECK_SECONDS
        if unread_before is not None and unread > unread_before - wanted:
            self.transport.abort()
            return
        self.loop.call_later(_READ_CHECK_SECONDS, self._check_reading, unread)


def make_protocol(settings: ServerSettings) -> type[TimedProtocol]:
    """The protocol with a server's limits."""
    return type("_Protocol", (TimedProtocol,), {"settings": settings})

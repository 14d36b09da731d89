"""What every request passes first: its id, host, origin and token; and what every reply has.

A browser on the server's machine may show a page of anybody. Such a page must neither read nor
change anything here. A name that its owner points at 127.0.0.1 (DNS rebinding) fails by ``Host``;
a form or a socket that another page opens fails by ``Origin``. No reply allows other origins.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskdepth.server.log import log_event, log_failure
from maskdepth.server.metrics import ServerMetrics
from maskdepth.server.replies import (
    CLIENT_GONE,
    ClientGoneError,
    RequestError,
    busy,
    error_record,
    reply_headers,
    status_of,
)
from maskdepth.server.settings import LOCAL_OWNER, ServerSettings, is_loopback, token_hash

OPEN_PATHS: Final = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json"})
"""Paths that need no token."""
SUBPROTOCOL: Final = "maskdepth.v1"
"""The WebSocket subprotocol. Browsers, which cannot set headers, add ``bearer.TOKEN``."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DISCARD_SECONDS: Final = 2.0
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class Guard:
    """The outermost layer of the server.

    Args:
        app: the routes. It finds the owner of plates and the id of the request in the scope's
            state, as ``owner`` and ``request_id``.
        settings: names and tokens.
        metrics: counts the requests.
        is_draining: whether the server is about to stop.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        metrics: ServerMetrics,
        is_draining: Callable[[], bool],
    ) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._is_draining = is_draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, socket or the server's own lifespan."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        started = time.monotonic()
        status = CLIENT_GONE
        try:
            scope.setdefault("state", {})
            scope["state"]["request_id"] = exchange.request_id
            scope["state"]["owner"] = self._check(scope, exchange.headers)
            await self._app(scope, exchange.receive, exchange.send)
            status = exchange.status or status
        except ClientGoneError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a reply
            status = status_of(error)
            if status >= 500 and not (isinstance(error, RequestError)):
                log_failure("failure", error, request_id=exchange.request_id)
            await exchange.reply(error)
        finally:
            self._note(scope, exchange.request_id, status, time.monotonic() - started)

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """The owner whose token a request has.

        Raises:
            RequestError: 421, 403, 401 or 503.
        """
        host = headers.get("host", "")
        if not self._is_own_host(host):
            raise RequestError(
                421,
                f"This server is not called {host!r:.80}.",
                "use its address, or start it with --allow-host NAME",
                expected="a host name of this server",
                got=f"{host!r:.80}",
            )
        origin = headers.get("origin")
        foreign_site = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if (origin is not None and not _same_origin(origin, host)) or (
            foreign_site and scope.get("method") not in ("GET", "HEAD")
        ):
            raise RequestError(
                403,
                "Pages of other origins cannot use this server.",
                "call it from its own page, or from a program",
                expected=host,
                got=f"{origin!r:.80}",
            )
        owner = self._find_owner(scope, headers)
        if self._is_draining() and scope["path"].startswith("/v1/"):
            raise busy("The server is about to stop.", 5, 503)
        return owner

    def _is_own_host(self, host: str) -> bool:
        """Whether a host is a plain address, which cannot be rebound, or a name of this server."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if not name or "@" in host or "/" in host:
            return False
        if name == "localhost" or name in self._settings.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name == self._settings.host.lower()
        # A server for this machine alone has no other address.
        return address.is_loopback or not is_loopback(self._settings.host)

    def _find_owner(self, scope: Scope, headers: Mapping[str, str]) -> str:
        if not self._settings.tokens:
            return LOCAL_OWNER
        kind, _, token = headers.get("authorization", "").partition(" ")
        if scope["type"] == "websocket" and not token:
            offered = [each.partition(".") for each in scope.get("subprotocols", [])]
            tokens = [rest for name, _, rest in offered if name == "bearer"]
            kind, token = "bearer", tokens[0] if tokens else ""
        owner = self._settings.tokens.get(token_hash(token.strip()))
        if owner is not None and kind.lower() == "bearer":
            return owner
        if scope["path"] in OPEN_PATHS:
            return ""
        raise RequestError(
            401,
            "This server needs a token.",
            "send the header Authorization: Bearer TOKEN",
            expected="a token of the server's token file",
            got="another one" if token else "none",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        """Count and log a request that has ended."""
        route = scope.get("route")
        path = getattr(route, "path", "other")
        self._metrics.requests.labels(path, str(status)).inc()
        if scope["type"] == "http":
            self._metrics.seconds.labels(path).observe(seconds)
        level = logging.DEBUG if scope["path"] in OPEN_PATHS and status < 400 else logging.INFO
        log_event(
            "request",
            level,
            request_id=request_id,
            method=scope.get("method", "WEBSOCKET"),
            route=path,
            status=status,
            ms=round(seconds * 1000, 1),
            owner=scope["state"].get("owner", "")[:8],
        )


class _Exchange:
    """One request and its reply: adds headers, and notes how far both have come."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1").lower()
            earlier = f"{self.headers[key]}, " if key in self.headers else ""
            self.headers[key] = earlier + value.decode("latin-1")
        given = self.headers.get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.status: int | None = None
        self._is_socket = scope["type"] == "websocket"
        self._receive, self._send = receive, send
        has_body = "transfer-encoding" in self.headers or self.headers.get(
            "content-length", "0"
        ).strip("0")
        self._body_pending = bool(has_body) and not self._is_socket

    async def receive(self) -> Message:
        """The next message from the client."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or (
            message["type"] == "http.request" and not message.get("more_body", False)
        ):
            self._body_pending = False
        return message

    async def send(self, message: Message) -> None:
        """The next message to the client."""
        kind = message["type"]
        if CLIENT_GONE in (self.status, message.get("status")):
            self.status = CLIENT_GONE  # nobody reads it, and the status is none of HTTP's
            return
        if kind in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            added = {**_HEADERS, "X-Request-Id": self.request_id}
            if self._body_pending:
                added["Connection"] = "close"
            present = {name.lower() for name, _ in message.get("headers", [])}
            message["headers"] = [
                *message.get("headers", []),
                *(
                    (name.lower().encode(), value.encode("latin-1"))
                    for name, value in added.items()
                    if name.lower().encode() not in present
                ),
            ]
        elif kind == "websocket.accept":
            self.status = 101
        if (
            kind == "http.response.body"
            and self._body_pending
            and not message.get("more_body", False)
        ):
            await self._send({**message, "more_body": True})
            await self._discard_body()
            message = {"type": kind, "body": b"", "more_body": False}
        await self._send(message)

    async def reply(self, error: Exception) -> None:
        """Reply with an error, unless a reply has begun."""
        if self.status is not None:
            return
        body = json.dumps(error_record(error, self.request_id))
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        headers |= reply_headers(error)
        prefix = "websocket.http.response" if self._is_socket else "http.response"
        await self.send(
            {
                "type": f"{prefix}.start",
                "status": status_of(error),
                "headers": [
                    (name.lower().encode(), value.encode()) for name, value in headers.items()
                ],
            }
        )
        await self.send({"type": f"{prefix}.body", "body": body.encode()})

    async def _discard_body(self) -> None:
        """Take what is still on its way, or the client might not read the reply."""
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while self._body_pending:
                    await self.receive()
        except TimeoutError:
            pass


def _same_origin(origin: str, host: str) -> bool:
    """Whether an origin is that of the requested host, whatever the scheme before a proxy."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

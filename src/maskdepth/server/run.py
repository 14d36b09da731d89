"""Start the server, and stop it when it is asked to: what has begun is finished first."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

import cv2
import numpy as np
import uvicorn

from maskdepth.errors import UsageError, first_line
from maskdepth.inference.predictor import Predictor
from maskdepth.locks import writer_lock
from maskdepth.server.app import create_app
from maskdepth.server.connections import make_protocol
from maskdepth.server.log import log_event
from maskdepth.server.service import Service
from maskdepth.server.settings import ServerSettings
from maskdepth.server.store import PlateStore

_DRAIN_SECONDS: Final = 60.0  # that requests under way may take once the server is to stop
_WARM_UP_SIDE: Final = 224


def run_server(predictor: Predictor, settings: ServerSettings) -> bool:
    """Serve until a signal says to stop.

    Args:
        predictor: predicts for all clients; each of `ServerSettings.workers` threads calls it.

    Returns:
        Whether it was Ctrl-C that stopped the server.

    Raises:
        UsageError: the address cannot be listened on.
        StorageError: the folder of plates cannot be written, or another server uses it.
    """
    if settings.workers > 1:
        cv2.setNumThreads(1)  # the workers are the parallelism
    with writer_lock(settings.store), _listening_socket(settings) as listener:
        store = PlateStore(settings.store, settings.max_plates, settings.plate_seconds)
        blank = np.zeros((_WARM_UP_SIDE, _WARM_UP_SIDE, 3), np.uint8)
        predictor.predict(blank, blank)  # so that the first client need not wait
        return asyncio.run(_serve(predictor, settings, store, listener))


async def _serve(
    predictor: Predictor, settings: ServerSettings, store: PlateStore, listener: socket.socket
) -> bool:
    server = make_server(predictor, settings, store, listener)
    await server.serve(sockets=[listener])
    return server.interrupted


def make_server(
    predictor: Predictor, settings: ServerSettings, store: PlateStore, listener: socket.socket
) -> DrainingServer:
    """A server for a socket, to be made while an event loop runs."""
    service = Service(predictor, settings, store)
    config = uvicorn.Config(
        create_app(service),
        http=make_protocol(settings),
        ws="websockets-sansio",
        ws_max_size=settings.max_bytes,
        ws_per_message_deflate=False,  # frames are packed already, and bombs are not
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return DrainingServer(config, service, f"http://{shown}:{port}")


class DrainingServer(uvicorn.Server):
    """A server that answers what it has begun, and 503 to what is new, before it stops."""

    def __init__(self, config: uvicorn.Config, service: Service, address: str) -> None:
        super().__init__(config)
        self._service, self._address = service, address
        self._drained_by = 0.0
        self.interrupted = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and say so."""
        await super().startup(sockets)
        log_event("listening", url=self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first begins to stop the server, the second stops it at once."""
        self.interrupted = self.interrupted or sig == signal.SIGINT
        if self._service.draining:
            self.should_exit = self.force_exit = True
        self._drained_by = time.monotonic() + _DRAIN_SECONDS
        self._service.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop."""
        if self._service.draining and not self.should_exit:
            self.should_exit = self._service.idle or time.monotonic() > self._drained_by
            if self.should_exit:
                log_event("stopping", unfinished=self._service.requests)
        return await super().on_tick(counter)


@contextlib.contextmanager
def _listening_socket(settings: ServerSettings) -> Iterator[socket.socket]:
    """A socket at the address of the settings, which listens once the server is ready."""
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, settings.port))
        except (OSError, OverflowError) as error:
            reason = first_line(error)
            raise UsageError(
                f"a free address {host}, port {settings.port}",
                reason,
                "choose another --port, or stop what listens there",
                f"The server cannot listen on {host}, port {settings.port}: {reason}.",
            ) from None
        yield listener

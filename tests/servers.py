"""Start the server as users do, and as a thread of this process with a network of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from maskdepth.inference.predictor import Predictor
from maskdepth.server import run as server_run
from maskdepth.server.settings import ServerSettings
from maskdepth.server.store import PlateStore

START_SECONDS = 60


@pytest.fixture(autouse=True)
def quiet_afterwards() -> Iterator[None]:
    """A test that starts the server's log in this process leaves none behind."""
    loggers = [logging.getLogger(name) for name in ("maskdepth.server", "uvicorn")]
    kept = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    yield
    for logger, state in zip(loggers, kept, strict=True):
        logger.handlers, logger.propagate, logger.level = state


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def record(self) -> Any:
        return json.loads(self.body)


@dataclass
class ServerAddress:
    """A running server."""

    port: int
    process: subprocess.Popen[str] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    stop: Callable[[], None] | None = None  # as SIGTERM does

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(
        self,
        method: str,
        path: str,
        parts: dict[str, bytes | str] | None = None,
        headers: dict[str, str] | None = None,
        body: Any = None,
        timeout: float = 30,
    ) -> Reply:
        """One request; ``parts`` become a form."""
        headers = {**self.headers, **(headers or {})}
        if parts is not None:
            boundary = secrets.token_hex(8)
            body = form(parts, boundary)
            headers.setdefault("Content-Type", f"multipart/form-data; boundary={boundary}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, response.read())

    def listens_after(self, seconds: float) -> bool:
        """Whether it still listens; returns as soon as it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.open().close()
            except ConnectionRefusedError:
                return False
            time.sleep(0.05)
        return True

    def open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


def form(parts: dict[str, bytes | str], boundary: str) -> bytes:
    lines = []
    for name, value in parts.items():
        file = '; filename="../../x.jpg"' if isinstance(value, bytes) else ""
        data = value if isinstance(value, bytes) else value.encode()
        lines += [f"--{boundary}\r\nContent-Disposition: form-data; ".encode()]
        lines += [f'name="{name}"{file}\r\n\r\n'.encode(), data, b"\r\n"]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()])


@contextlib.contextmanager
def process_server(store: Path, *options: str) -> Iterator[ServerAddress]:
    """``maskdepth serve`` in a process of its own, with a log file beside its store."""
    log = store.with_suffix(".log")
    command = [sys.executable, "-m", "maskdepth", "serve", "--port", "0", "--store", str(store)]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, *options], stderr=file, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        yield ServerAddress(_wait_for_port(process, log), process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def _wait_for_port(process: subprocess.Popen[str], log: Path) -> int:
    waited = threading.Event()
    for _ in range(START_SECONDS * 20):
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                return int(json.loads(line)["url"].rpartition(":")[2])
        assert process.poll() is None, log.read_text()
        waited.wait(0.05)
    raise AssertionError("the server does not start: " + log.read_text())


@contextlib.contextmanager
def thread_server(
    predictor: Predictor, settings: ServerSettings, store: Path
) -> Iterator[ServerAddress]:
    """The server in a thread, with any predictor."""
    settings = replace(settings, port=0, store=store)
    ready: list[Any] = []
    started = threading.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]

        def serve() -> None:
            plates = PlateStore(store, settings.max_plates, settings.plate_seconds)

            async def go() -> None:
                server = server_run.make_server(predictor, settings, plates, listener)
                ready.append(server)
                serving = asyncio.create_task(server.serve(sockets=[listener]))
                while not server.started and not serving.done():
                    await asyncio.sleep(0.005)
                started.set()
                await serving

            asyncio.run(go())

        thread = threading.Thread(target=serve)
        thread.start()
        started.wait(START_SECONDS)
        try:
            stop = functools.partial(ready[0].handle_exit, signal.SIGTERM, None)
            yield ServerAddress(port, stop=stop)
        finally:
            ready[0].should_exit = True
            thread.join(START_SECONDS)

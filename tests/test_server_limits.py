"""The server under strain: what waits, what is turned away, and what is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskdepth.client import Client, ServerError
from maskdepth.images import decode_png, encode_png
from maskdepth.server.queue import WorkQueue
from maskdepth.server.settings import ServerSettings
from maskdepth.testing import FakeBackend
from servers import Reply, ServerAddress, form, quiet_afterwards, thread_server

PICTURE = encode_png(np.full((48, 64, 3), 90, np.uint8))
SETTINGS = ServerSettings(
    workers=1,
    queue=2,
    time_limit_s=1.5,
    max_bytes=200_000,
    body_memory=2_000_000,
    max_plates=2,
    max_streams=2,
    header_seconds=0.4,
    body_seconds=0.4,
    min_rate=10_000,
    idle_seconds=5,
)

__all__ = ["quiet_afterwards"]  # a fixture for all tests here


class GatedBackend(FakeBackend):
    """A network that waits, where it is asked to, until its gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def run(self, *inputs: Any) -> Any:
        assert self.gate.wait(30)
        return super().run(*inputs)

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()


@pytest.fixture(scope="module")
def backend() -> GatedBackend:
    return GatedBackend()


@pytest.fixture(scope="module")
def server(
    backend: GatedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerAddress]:
    store = tmp_path_factory.mktemp("limits") / "plates"
    with thread_server(backend.predictor(), SETTINGS, store) as address:
        yield address


@pytest.fixture
def client(server: ServerAddress) -> Client:
    return Client(server.url)


def post(server: ServerAddress, picture: bytes = PICTURE) -> Reply:
    return server.call("POST", "/v1/predict?only=alpha", {"image": picture})


def gauge(server: ServerAddress, name: str) -> float:
    text = server.call("GET", "/metrics").body.decode()
    line = next(line for line in text.splitlines() if line.startswith(f"maskdepth_{name} "))
    return float(line.split()[1])


def wait_for(server: ServerAddress, name: str, value: float) -> None:
    deadline = time.monotonic() + 10
    while gauge(server, name) != value:
        assert time.monotonic() < deadline, f"{name} is {gauge(server, name)}, not {value}"
        time.sleep(0.02)


def in_background(server: ServerAddress, count: int) -> tuple[list[threading.Thread], list[Reply]]:
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(post(server))) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, replies


def begin(server: ServerAddress) -> socket.socket:
    """A prediction whose answer is not read."""
    body = form({"image": PICTURE}, "b")
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    connection = server.open()
    connection.sendall(head.encode() + body)
    return connection


def test_a_full_queue_turns_away_at_once_and_says_when_to_come_back(
    server: ServerAddress, backend: GatedBackend
) -> None:
    with backend.closed():
        threads, replies = in_background(server, 3)
        wait_for(server, "waiting", 2)
        started = time.monotonic()
        reply = post(server)
        assert time.monotonic() - started < 0.5
    assert reply.status == 429
    assert int(reply.headers["retry-after"]) >= 1
    assert "waiting already" in reply.record["error"]
    for thread in threads:
        thread.join(10)
    assert [reply.status for reply in replies] == [200, 200, 200]


def test_a_queue_that_would_outlast_the_time_limit_turns_away_too() -> None:
    async def fill() -> list[int]:
        queue = WorkQueue(workers=1, capacity=100, max_wait_s=0.5)
        waits = [asyncio.create_task(queue.run(lambda: time.sleep(0.05))) for _ in range(10)]
        await asyncio.gather(*waits, return_exceptions=True)
        return [getattr(each.exception(), "status", 200) for each in waits]

    # The first guess is 0.2 s each: one runs, three wait, and the next would wait for 0.6 s.
    assert asyncio.run(fill()) == [200] * 4 + [429] * 6


def test_the_time_limit_is_504_and_frees_the_place(
    server: ServerAddress, backend: GatedBackend
) -> None:
    with backend.closed():
        threads, replies = in_background(server, 2)
        for thread in threads:
            thread.join(10)
        assert [reply.status for reply in replies] == [504, 504]
        assert "longer than 1.5 s" in replies[0].record["error"]
        assert gauge(server, "waiting") == 0
        assert gauge(server, "body_bytes") == 0
        assert gauge(server, "running") == 1  # what runs cannot be stopped
    wait_for(server, "running", 0)
    assert post(server).status == 200


def test_work_of_a_client_that_went_away_is_dropped(
    server: ServerAddress, backend: GatedBackend
) -> None:
    computed = len(backend.sizes)
    with backend.closed():
        connections = [begin(server) for _ in range(3)]
        wait_for(server, "waiting", 2)
        for connection in connections:
            connection.close()
        wait_for(server, "waiting", 0)
    wait_for(server, "running", 0)
    assert len(backend.sizes) - computed <= 2  # the one that ran, in two runs of the network


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET /healthz HTTP/1.1\r\nHost: local", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"],
)
def test_slow_headers_are_cut(server: ServerAddress, beginning: bytes) -> None:
    with server.open() as connection:
        connection.sendall(beginning)
        started = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
        assert 0.2 < time.monotonic() - started < 3


def test_headers_that_trickle_are_cut(server: ServerAddress) -> None:
    with server.open() as connection:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for letter in b"GET /healthz HTTP/1.1\r\nX-Padding: " + b"a" * 1000:
                connection.sendall(bytes([letter]))
                time.sleep(0.03)
        assert time.monotonic() - started < 3


def test_a_slow_body_is_408(server: ServerAddress) -> None:
    with server.open() as connection:
        head = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
        connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode())
        connection.sendall(b"--b\r\n")
        reply = connection.recv(10_000)
    assert reply.startswith(b"HTTP/1.1 408")
    assert gauge(server, "body_bytes") == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_413(server: ServerAddress, chunked: bool) -> None:
    body = form({"image": b"x" * 450_000}, "b")
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    data: Any = iter([body]) if chunked else body
    reply = server.call("POST", "/v1/predict", headers=headers, body=data)
    assert reply.status == 413
    assert chunked or reply.headers["connection"] == "close"


def test_a_file_that_is_too_long_is_413(server: ServerAddress) -> None:
    reply = post(server, b"x" * 200_001)
    assert reply.status == 413
    assert reply.record["error"].startswith("The image has 200001 bytes")


def test_uploads_share_a_budget_of_memory(server: ServerAddress) -> None:
    head = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    held = [server.open() for _ in range(2)]
    for connection in held:
        connection.sendall(head.encode())
    wait_for(server, "body_bytes", 4 * (2 * SETTINGS.max_bytes + 4096))
    reply = server.call(
        "POST",
        "/v1/predict",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        body=iter([b"--b"]),  # of a length that is not declared
    )
    assert (reply.status, reply.headers["retry-after"]) == (429, "1")
    assert post(server).status == 200  # a small body still fits
    for connection in held:
        connection.close()
    wait_for(server, "body_bytes", 0)


def test_large_uploads_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise AssertionError("a file outside the store")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", fail)
    settings = replace(SETTINGS, max_bytes=8_000_000, body_memory=64_000_000, time_limit_s=20)
    noise = np.random.default_rng(3).integers(0, 256, (900, 900, 3), np.uint8)
    with thread_server(FakeBackend().predictor(), settings, tmp_path / "plates") as server:
        picture = encode_png(noise)
        assert len(picture) > 2_000_000  # frameworks write parts of more than 1 MB to files
        assert post(server, picture).status == 200


def test_too_many_plates_are_409_and_a_plate_fits_or_is_422(
    server: ServerAddress, client: Client
) -> None:
    ids = [client.add_plate(PICTURE) for _ in range(2)]
    with pytest.raises(ServerError, match="2 stored plates already") as caught:
        client.add_plate(PICTURE)
    assert caught.value.status == 409
    tall = encode_png(np.zeros((90, 50, 3), np.uint8))
    with pytest.raises(ServerError, match="another shape") as caught:
        client.predict(tall, plate_id=ids[0])
    assert caught.value.status == 422
    for each in ids:
        client.remove_plate(each)
    assert gauge(server, "prepared_plates") == 0


def test_a_plate_is_prepared_once(server: ServerAddress, backend: GatedBackend) -> None:
    client = Client(server.url)
    plate_id = client.add_plate(PICTURE)
    before = len(backend.sizes)
    for _ in range(3):
        client.predict(PICTURE, plate_id=plate_id, only="alpha")
    assert len(backend.sizes) - before == 3
    client.remove_plate(plate_id)


def test_frames_are_answered_and_the_newest_wins(
    server: ServerAddress, client: Client, backend: GatedBackend
) -> None:
    plate = np.full((48, 64, 3), 90, np.uint8)
    picture = plate.copy()
    picture[10:30, 20:40] = 220
    plate_id = client.add_plate(plate)
    with client.stream(plate_id) as stream:
        answer = stream.predict(picture)
        assert answer.record["frame"] == 0
        assert answer.alpha_png is not None
        alpha = decode_png(answer.alpha_png)
        assert alpha[20, 30] == 255
        assert alpha[2, 2] == 0
        with backend.closed():
            stream.send(picture)
            wait_for(server, "running", 1)
            for _ in range(6):
                stream.send(picture)
            time.sleep(0.3)
        numbers = [stream.receive().record for _ in range(2)]
        assert [each["frame"] for each in numbers] == [1, 7]
        assert numbers[1]["skipped"] == 5
        with pytest.raises(ServerError, match="cannot be read as a picture"):
            stream.predict(b"no picture")
        with pytest.raises(ServerError, match="There is no plate"):
            stream.use_plate("0" * 32)
        stream.use_plate(None)
        assert stream.predict(picture).record["frame"] == 9
    wait_for(server, "streams", 0)
    client.remove_plate(plate_id)
    with client.stream(with_alpha=False) as stream:
        assert stream.predict(picture).alpha_png is None


def test_streams_are_counted_and_checked_before_they_open(
    server: ServerAddress, client: Client
) -> None:
    with client.stream(), client.stream():
        with pytest.raises(ServerError, match="2 streams are open") as caught, client.stream():
            pass
        assert caught.value.status == 429
        assert caught.value.retry_after_s == 5
    wait_for(server, "streams", 0)
    with pytest.raises(ServerError, match="There is no plate") as caught, client.stream("nope"):
        pass
    assert caught.value.status == 404
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"ws://127.0.0.1:{server.port}/v1/stream",
            additional_headers={"Origin": "http://evil.example"},
        )
    assert refused.value.response.status_code == 403


def test_a_server_about_to_stop_finishes_what_it_has_begun(tmp_path: Path) -> None:
    backend = GatedBackend()
    with thread_server(backend.predictor(), SETTINGS, tmp_path / "plates") as server:
        with backend.closed():
            threads, replies = in_background(server, 2)
            wait_for(server, "waiting", 1)
            assert server.stop is not None
            server.stop()
            time.sleep(0.3)
            assert server.call("GET", "/readyz").status == 503
            assert server.call("GET", "/healthz").status == 200
            refused = post(server)
            assert (refused.status, "retry-after" in refused.headers) == (503, True)
        for thread in threads:
            thread.join(10)
        assert [reply.status for reply in replies] == [200, 200]
        assert not server.listens_after(10)


def test_a_defect_is_a_500_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from maskdepth.server.log import start_log

    class Broken(FakeBackend):
        def run(self, *inputs: Any) -> Any:
            raise ZeroDivisionError("a secret of the machine")

    start_log(quiet=False)
    with thread_server(Broken().predictor(), SETTINGS, tmp_path / "plates") as server:
        reply = post(server)
    assert reply.status == 500
    assert "secret" not in reply.body.decode()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    failure = next(line for line in lines if line["event"] == "failure")
    assert failure["request_id"] == reply.record["request_id"]
    assert "a secret of the machine" in failure["traceback"]

"""Send damaged, hostile and odd requests to a server of its own, and check that it stands.

python tools/fuzz_server.py --count 5000          all kinds, in turn
python tools/fuzz_server.py --start 1234 --count 1    one again

No request may be answered with 5xx or a traceback, leave a file outside the store, or stop the
server; its memory has to stay within bounds. Ends with code 1 where something of that happened.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import re
import socket
import struct
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from load_server import jpeg, memory_mb, started_server

from maskdepth.images import encode_png

MAX_MEMORY_MB = 1000
MAX_PIXELS = 5_000_000
CLIENTS = 8
Random = np.random.Generator
_PATHS = (
    *("../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "C:\\a.png", "\0", "a\0.png"),
    *(
        "-",
        ".",
        "..",
        "~",
        "%2e%2e%2f",
        "file:///etc/passwd",
        "http://127.0.0.1:1/a.png",
        "a" * 5000,
    ),
    *("\u202egnp.exe", "con", "$(id)", "';drop table", "{{7*7}}", "\r\nX-Injected: 1", "\udcff"),
)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(random: Random) -> bytes:
    """A picture that is small as a file and huge, or hugely described, when it is opened."""
    side = int(random.integers(3000, 2**31 - 1))
    header = struct.pack(">IIBBBBB", side, side, 8, int(random.choice([0, 2, 3, 6])), 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000), 9)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000), 9))
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(20_000_000), 9))
    small = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    shapes = [
        chunk(b"IHDR", header) + chunk(b"IDAT", rows),
        chunk(b"IHDR", small) + text + chunk(b"IDAT", rows),
        chunk(b"IHDR", small) + profile + chunk(b"IDAT", rows),
    ]
    return b"\x89PNG\r\n\x1a\n" + shapes[int(random.integers(3))] + chunk(b"IEND", b"")


def archive_bomb(random: Random) -> bytes:
    """A plate profile that is not one."""
    buffer = io.BytesIO()
    side = int(random.choice([0, -1, 8, 60_000, 2**40]))
    record = {"format": "maskdepth-plate", "version": int(random.choice([0, 1, 99]))}
    record |= {"width": side, "height": 8, "source": {}, "sha256": {"picture.png": "0"}}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("profile.json", json.dumps(record) if side else bytes(5_000_000))
        archive.writestr("../../escaped.png", b"x")
        archive.writestr("picture.png", bytes(5_000_000))
    return buffer.getvalue()


def mutate(random: Random, data: bytes) -> bytes:
    """Bytes with some of them changed, removed, repeated, or cut off."""
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 12))):
        if not changed:
            break
        at = int(random.integers(len(changed)))
        how = int(random.integers(4))
        if how == 0:
            changed[at] = int(random.integers(256))
        elif how == 1:
            del changed[at : at + int(random.integers(1, 200))]
        elif how == 2:
            changed[at:at] = changed[at : at + int(random.integers(1, 200))]
        else:
            del changed[at + 1 :]
    return bytes(changed)


class Cases:
    """Makes requests from seeds."""

    def __init__(self) -> None:
        noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
        self._png, self._jpeg = encode_png(noise), jpeg("picture", 48, 64)

    def picture(self, random: Random) -> bytes:
        """A picture in some state."""
        good = [self._png, self._jpeg][int(random.integers(2))]
        makers: list[Callable[[], bytes]] = [
            lambda: good,
            lambda: mutate(random, good),
            lambda: good[: int(random.integers(len(good)))],
            lambda: bomb(random),
            lambda: archive_bomb(random),
            lambda: mutate(random, archive_bomb(random)),
            lambda: b"GIF89a" + good,
            lambda: good + archive_bomb(random),
            lambda: b"%PDF-1.7\n" + good,
            lambda: b"<svg onload=alert(1)>" + good,
            lambda: b"PK\x03\x04" + random.bytes(300),
            lambda: random.bytes(int(random.integers(0, 3000))),
            lambda: b"#!/bin/sh\nid\n",
        ]
        return makers[int(random.integers(len(makers)))]()

    def body(self, random: Random) -> tuple[bytes, str]:
        """A form in some state, and its content type."""
        boundary = "b" * int(random.choice([1, 10, 70, 200]))
        lines = []
        for _ in range(int(random.integers(1, 5))):
            name = str(random.choice(["image", "plate", "image", "x", "", "__proto__"]))
            file = str(random.choice(_PATHS)) if random.random() < 0.7 else None
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
            head += "" if file is None else f'; filename="{file}"'
            lines.append(head.encode("utf-8", "surrogateescape") + b"\r\n")
            if random.random() < 0.2:
                lines.append(b"X-Long: " + b"a" * int(random.integers(1, 9000)) + b"\r\n")
            value = self.picture(random) if random.random() < 0.8 else random.bytes(60)
            if file is None:
                value = str(random.choice(_PATHS)).encode("utf-8", "surrogateescape")
            lines += [b"\r\n", value, b"\r\n"]
        lines.append(f"--{boundary}--\r\n".encode())
        data = b"".join(lines)
        kind = f"multipart/form-data; boundary={boundary}"
        if random.random() < 0.3:
            data = mutate(random, data)
        if random.random() < 0.05:
            kind = mutate(random, kind.encode()).decode("latin-1").translate({10: " ", 13: " "})
        return data, kind

    def form_request(self, random: Random, *, damaged_length: bool) -> bytes:
        """A form to one of the routes that take one."""
        data, kind = self.body(random)
        path = str(random.choice(["/v1/predict", "/v1/plates", "/v1/predict?only=alpha,json"]))
        length = len(data)
        if damaged_length:
            length += int(random.integers(-50, 50))
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {max(0, length)}\r\n"
        return f"{head}Content-Type: {kind}\r\nConnection: close\r\n\r\n".encode("latin-1") + data

    def header_request(self, random: Random) -> bytes:
        """Odd lines and headers."""
        path = str(random.choice(_PATHS)).encode("utf-8", "surrogateescape").hex()
        post = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
        kind = "Content-Type: multipart/form-data; boundary=b"
        odd = [
            f"GET /v1/plates/{path} HTTP/1.1\r\nHost: localhost",
            f"DELETE /v1/plates/{path[:32]:0<32} HTTP/1.1\r\nHost: localhost",
            "GET /v1/plates/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: localhost",
            "GET //etc/passwd HTTP/1.1\r\nHost: localhost",
            "GET http://evil.example/v1/plates HTTP/1.1\r\nHost: localhost",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
            "GET /healthz HTTP/1.1\r\nHost: [::1",
            "GET /healthz HTTP/1.0",
            "GET /healthz HTTP/9.9\r\nHost: localhost",
            "GET",
            f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {'a' * 70_000}",
            "GET /healthz HTTP/1.1\r\nHost: localhost" + "\r\nA: b" * 3000,
            "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5",
            "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999",
            f"{post}{kind}\r\nContent-Length: 5\r\nContent-Length: 6",
            "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, gzip",
            f"{post}Transfer-Encoding: chunked\r\n{kind}\r\n\r\nZZZ\r\n",
            "GET /v1/plates HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\x01b\r\nOrigin: null",
            "GET /v1/plates HTTP/1.1\r\nHost: localhost\r\nAccept: ,;;q=,*/*;q=a",
            "POST /v1/predict?only=%00,%ff&only=x HTTP/1.1\r\nHost: localhost\r\nAccept: a/b;q=nan",
            "OPTIONS * HTTP/1.1\r\nHost: localhost",
            "TRACE / HTTP/1.1\r\nHost: localhost",
            "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c",
        ]
        data = f"{odd[int(random.integers(len(odd)))]}\r\nConnection: close\r\n\r\n".encode(
            "latin-1"
        )
        return mutate(random, data) if random.random() < 0.5 else data

    def socket_frames(self, random: Random) -> bytes:
        """A WebSocket's handshake, and frames that are hardly ones."""
        plate = str(random.choice(["", "plate=../../x&", "answer=exe&", "plate=" + "0" * 32 + "&"]))
        query = plate if random.random() < 0.2 else ""
        head = (
            f"GET /v1/stream?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n"
        ).encode()
        frames = []
        for _ in range(int(random.integers(1, 30))):
            opcode = int(random.choice([0, 1, 2, 2, 2, 8, 9, 10, 3, 15]))
            texts = [b'{"plate": "../x"}', b'{"reset": true}', b"[" * 5000, b"\xff\xfe", b"{}"]
            texts += [b'{"plate": 5}', b"null", b'{"plate": null}']
            data = self.picture(random) if opcode == 2 else texts[int(random.integers(len(texts)))]
            final = 128 if random.random() < 0.9 else 0
            frames.append(frame(opcode | final, data[:100_000], masked=random.random() < 0.97))
        data = b"".join(frames)
        return head + (mutate(random, data) if random.random() < 0.4 else data)


def frame(first: int, data: bytes, *, masked: bool) -> bytes:
    """A WebSocket frame (RFC 6455, section 5.2); the mask is zero."""
    mask = 128 if masked else 0
    if len(data) < 126:
        length = bytes([mask | len(data)])
    elif len(data) < 65_536:
        length = bytes([mask | 126]) + struct.pack(">H", len(data))
    else:
        length = bytes([mask | 127]) + struct.pack(">Q", len(data))
    return bytes([first]) + length + (bytes(4) if masked else b"") + data


def exchange(port: int, data: bytes, *, wait_s: float = 20.0) -> bytes:
    """Send bytes and read what comes; the other direction is closed once nothing more comes."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
        while True:
            try:
                part = connection.recv(65_536)
            except OSError:
                break
            if not part:
                break
            received += part
    return received


def check(reply: bytes) -> str | None:
    """What is wrong with a reply; None if nothing is."""
    if b"Traceback" in reply or b'File "/' in reply:
        return "a traceback"
    statuses = re.findall(rb"^HTTP/1\.1 (\d{3})", reply, flags=re.MULTILINE)
    if any(status.startswith(b"5") for status in statuses):
        return f"status {statuses}"
    return "an injected header" if b"\nX-Injected" in reply.partition(b"\r\n\r\n")[0] else None


def hold_slow_connections(port: int, count: int = 200) -> str | None:
    """Whether a server answers while many clients send nothing, or little."""
    held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(count)]
    for number, connection in enumerate(held):
        connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: loc"[: number % 40])
    reply = exchange(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    for connection in held:
        connection.close()
    return None if b" 200 " in reply else "no answer beside slow connections"


class Attack:
    """Requests by number to one server."""

    def __init__(self, port: int) -> None:
        cases, self._port = Cases(), port
        self._complete = functools.partial(cases.form_request, damaged_length=False)
        shorter = functools.partial(cases.form_request, damaged_length=True)
        others = [*[cases.header_request] * 5, *[cases.socket_frames] * 5]
        self._kinds = [*[self._complete] * 9, shorter, *others]

    def send(self, number: int) -> tuple[str, str | None]:
        """Send a request; what came back, in a word, and what was wrong."""
        random = np.random.default_rng([7, number])
        kind = self._kinds[number % len(self._kinds)]
        data = kind(random)
        # The others may keep the server waiting for more, which their client never sends.
        reply = exchange(self._port, data, wait_s=20.0 if kind is self._complete else 0.3)
        problem = check(reply)
        if number % 1000 == 999:
            problem = problem or hold_slow_connections(self._port)
        outcome = reply[9:12].decode("ascii", "replace") or "closed"
        return outcome, problem and f"{number}: {problem}: {reply[:300]!r}"


def fuzz(start: int, count: int) -> list[str]:
    """Send requests by number; the return value is what was wrong."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = os.environ["HOME"] = folder
        limits = ["--max-megapixels", str(MAX_PIXELS / 1e6), "--max-plates", "50"]
        with started_server(*limits, parent=folder) as (port, pid):
            (store,) = map(str, Path(folder).iterdir())  # the server's own folder
            with ThreadPoolExecutor(CLIENTS) as pool:
                results = list(pool.map(Attack(port).send, range(start, start + count)))
            found = [problem for _, problem in results if problem is not None]
            memory = memory_mb(pid, "VmHWM")
            log = Path(store, "log").read_text()
            found += [line[:2000] for line in log.splitlines() if '"level": "error"' in line][:5]
            written = {str(path) for path in Path(folder).rglob("*") if path.is_file()}
            owned = re.compile(re.escape(store) + r"/(log|plates/(\.lock|local/[0-9a-f]{32}-.*))")
            found += [f"the file {path}" for path in written if not owned.fullmatch(path)]
    if memory > MAX_MEMORY_MB:
        found.append(f"{memory:.0f} MB of memory")
    outcomes = dict(Counter(outcome for outcome, _ in results))
    print(json.dumps({"sent": count, "outcomes": outcomes, "peak_mb": round(memory)}))
    return found


def main() -> int:
    """Fuzz; the return value is the exit code."""
    parser = argparse.ArgumentParser(description="Send hostile requests to a server.")
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--count", type=int, default=5000)
    options = parser.parse_args()
    found = fuzz(options.start, options.count)
    print(*found, sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

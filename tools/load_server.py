"""Put load on a server of its own, and print what came of it as JSON.

python tools/load_server.py soak --requests 100000     does memory grow?  20 sizes of picture
python tools/load_server.py speed --seconds 20         32 clients, against two processes
python tools/load_server.py overload --seconds 20      128 clients at a queue of 32
python tools/load_server.py large --clients 200        many large pictures at once

``soak`` ends with code 1 if memory grows by 5 % or more after the first 2 000 requests.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskdepth import Predictor
from maskdepth.images import encode_jpeg, encode_png, load_picture, resize

PAIR = Path(__file__).resolve().parents[1] / "examples/pair"
BOUNDARY = "load"
NAMES = {"image": "picture", "plate": "plate"}
FIRST_REQUESTS = 2000
MAX_GROWTH = 0.05
CORES = 2


@contextlib.contextmanager
def started_server(*options: str, parent: str | None = None) -> Iterator[tuple[int, int]]:
    """A server's port and process id; its log and plates are in a new folder in ``parent``."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "maskdepth", "serve", "--port", "0"]
        with log.open("w") as file:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [*command, "--store", f"{folder}/plates", *options], stderr=file
            )
        try:
            while '"listening"' not in log.read_text():
                if process.poll() is not None:
                    sys.exit(log.read_text())
                time.sleep(0.05)
            line = next(line for line in log.read_text().splitlines() if "listening" in line)
            yield int(json.loads(line)["url"].rpartition(":")[2]), process.pid
        finally:
            process.terminate()
            process.wait(60)


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """A process' memory, or with VmHWM its peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def form(parts: dict[str, bytes | str]) -> bytes:
    """A multipart form: bytes are files."""
    lines = []
    for name, value in parts.items():
        file = '; filename="a"' if isinstance(value, bytes) else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        lines += [head.encode(), value if isinstance(value, bytes) else value.encode(), b"\r\n"]
    return b"".join([*lines, f"--{BOUNDARY}--\r\n".encode()])


def make_body(height: int, width: int) -> bytes:
    """The form of the sample pair, of a size."""
    return form({name: jpeg(pair, height, width) for name, pair in NAMES.items()})


def jpeg(name: str, height: int, width: int) -> bytes:
    """The sample pair's picture or plate, of a size."""
    return encode_jpeg(resize(load_picture(PAIR / f"{name}.jpg"), height, width), 90)


def post(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    """One request on a connection that is kept."""
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Accept": "image/png"}
    connection.request("POST", path, body, kind)
    response = connection.getresponse()
    return response.status, response.read()


class Clients:
    """Threads that send requests until there are enough, or time is over."""

    def __init__(self, port: int, bodies: Sequence[bytes], path: str = "/v1/predict?only=alpha"):
        self.port, self.bodies, self.path = port, bodies, path
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []  # of those that were answered
        self.refused_s: list[float] = []
        self._lock = threading.Lock()
        self._begun = 0

    def run(self, clients: int, *, requests: int | None = None, seconds: float = 1e9) -> None:
        """Send with a number of clients at once."""
        end = time.monotonic() + seconds
        target = None if requests is None else self._begun + requests
        threads = [threading.Thread(target=self._send, args=(target, end)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, target: int | None, end: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        while time.monotonic() < end:
            with self._lock:
                number = self._begun
                if target is not None and number >= target:
                    break
                self._begun += 1
            started = time.monotonic()
            try:
                status, _ = post(connection, self.path, self.bodies[number % len(self.bodies)])
            except (OSError, http.client.HTTPException):
                status = 0
                connection.close()
            taken = time.monotonic() - started
            with self._lock:
                self.statuses[status] += 1
                (self.seconds if status == 200 else self.refused_s).append(taken)
            if status == 429:
                time.sleep(0.1)
        connection.close()


def soak(requests: int) -> dict[str, Any]:
    """Memory over requests of 20 sizes."""
    rng = np.random.default_rng(5)
    sizes = [tuple(map(int, rng.integers(96, 320, 2))) for _ in range(20)]
    with started_server() as (port, pid):
        clients = Clients(port, [make_body(*size) for size in sizes])
        clients.run(8, requests=FIRST_REQUESTS)
        first = memory_mb(pid)
        print(f"{FIRST_REQUESTS} requests: {first:.0f} MB", file=sys.stderr)
        course = [round(first)]
        left = requests - FIRST_REQUESTS
        while left > 0:
            clients.run(8, requests=min(FIRST_REQUESTS, left))
            left -= FIRST_REQUESTS
            course.append(round(memory_mb(pid)))
            print(f"{requests - max(0, left)} requests: {course[-1]} MB", file=sys.stderr)
        last = memory_mb(pid)
        return {
            "requests": requests,
            "statuses": dict(clients.statuses),
            "after_first_mb": round(first, 1),
            "after_all_mb": round(last, 1),
            "growth": round(last / first - 1, 4),
            "course_mb": course,
        }


def predict_alone(count: int) -> None:
    """What a process without a server does: prepared plate, and the alpha as PNG."""
    cv2.setNumThreads(1)
    predictor = Predictor.from_pretrained(threads=1)
    plate = predictor.prepare(jpeg("plate", 224, 224), (224, 224))
    data = jpeg("picture", 224, 224)
    predictor.predict(data, plate)
    barrier.wait()
    for _ in range(count):
        encode_png(predictor.predict(data, plate).alpha_8_bit())
    barrier.wait()
    barrier.wait()  # its processor time is being read


def run_alone(count: int) -> tuple[float, float]:
    """Predictions a second of two processes without a server, and processor seconds of each."""
    processes = [multiprocessing.Process(target=predict_alone, args=(count,)) for _ in range(CORES)]
    for process in processes:
        process.start()
    barrier.wait()
    started = time.monotonic()
    used = sum(cpu_s(process.pid or 0) for process in processes)
    barrier.wait()
    used = sum(cpu_s(process.pid or 0) for process in processes) - used
    wall = time.monotonic() - started
    barrier.wait()
    for process in processes:
        process.join()
    return CORES * count / wall, used / (CORES * count)


def speed(seconds: float, rounds: int = 3) -> dict[str, Any]:
    """Requests a second of 32 clients, beside two processes that call `predict`, in turn."""
    results: list[dict[str, float]] = []
    with started_server() as (port, pid):
        clients = prepared_clients(port)
        clients.run(32, seconds=2)
        clients.seconds.clear()
        for _ in range(rounds):
            alone, alone_cpu_s = run_alone(int(seconds * 20))
            clients.statuses.clear()
            own, server, started = time.process_time(), cpu_s(pid), time.monotonic()
            clients.run(32, seconds=seconds)
            wall = time.monotonic() - started
            load, server = time.process_time() - own, cpu_s(pid) - server
            served = clients.statuses[200]
            results.append(
                {
                    "alone_per_s": alone,
                    "served_per_s": served / wall,
                    # As if the load came from another machine, without its seconds.
                    "share": served / (CORES * wall - load) * CORES / alone,
                    "alone_cpu_ms": 1000 * alone_cpu_s,
                    "served_cpu_ms": 1000 * server / served,
                    "share_by_cpu": alone_cpu_s / (server / served),
                }
            )
        medians = {key: float(np.median([each[key] for each in results])) for key in results[0]}
        return {
            **{key: round(value, 3) for key, value in medians.items()},
            "shares": [round(each["share"], 2) for each in results],
            "p50_s": round(float(np.percentile(clients.seconds, 50)), 3),
            "p99_s": round(float(np.percentile(clients.seconds, 99)), 3),
            "last_statuses": dict(clients.statuses),
            "memory_mb": round(memory_mb(pid)),
        }


def prepared_clients(port: int) -> Clients:
    """Clients of a stored plate of 224 px."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    _, data = post(connection, "/v1/plates", form({"plate": jpeg("plate", 224, 224)}))
    connection.close()
    body = form({"image": jpeg("picture", 224, 224), "plate": json.loads(data)["id"]})
    return Clients(port, [body])


def overload(seconds: float) -> dict[str, Any]:
    """Four times as many clients as the queue takes."""
    with started_server("--queue", "32") as (port, pid):
        clients = prepared_clients(port)
        clients.run(8, seconds=3)
        before = memory_mb(pid)
        clients.seconds.clear()
        clients.statuses.clear()
        clients.run(128, seconds=seconds)
        refused = clients.refused_s or [0.0]
        return {
            "statuses": dict(clients.statuses),
            "accepted_p50_s": round(float(np.percentile(clients.seconds, 50)), 3),
            "accepted_p99_s": round(float(np.percentile(clients.seconds, 99)), 3),
            "refused_p50_s": round(float(np.percentile(refused, 50)), 3),
            "memory_before_mb": round(before),
            "memory_after_mb": round(memory_mb(pid)),
            "memory_peak_mb": round(memory_mb(pid, "VmHWM")),
        }


def large(clients_count: int) -> dict[str, Any]:
    """Hundreds of large pictures at once: 12 megapixels each, without stored plates."""
    with started_server() as (port, pid):
        before = memory_mb(pid)
        clients = Clients(port, [make_body(3000, 4000)])
        clients.run(clients_count, requests=2 * clients_count)
        time.sleep(1)
        return {
            "clients": clients_count,
            "statuses": dict(clients.statuses),
            "memory_before_mb": round(before),
            "memory_after_mb": round(memory_mb(pid)),
            "memory_peak_mb": round(memory_mb(pid, "VmHWM")),
        }


def main() -> int:
    """Run one kind of load; the return value is the exit code."""
    parser = argparse.ArgumentParser(description="Put load on a server.")
    parser.add_argument("kind", choices=["soak", "speed", "overload", "large"])
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=200)
    options = parser.parse_args()
    if options.kind == "soak":
        result = soak(options.requests)
    elif options.kind == "large":
        result = large(options.clients)
    else:
        result = (speed if options.kind == "speed" else overload)(options.seconds)
    print(json.dumps(result, indent=2))
    return int(options.kind == "soak" and result["growth"] >= MAX_GROWTH)


barrier = multiprocessing.Barrier(CORES + 1)

if __name__ == "__main__":
    sys.exit(main())

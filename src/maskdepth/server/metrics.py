"""What a server counts, in Prometheus' format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["CONTENT_TYPE_LATEST", "ServerMetrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ServerMetrics:
    """The figures of one server; each server has its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "maskdepth_requests",
            "Requests by route and status; 499 are those whose client went away.",
            ["route", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "maskdepth_request_seconds",
            "Time from a request's headers to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.frames = Counter(
            "maskdepth_stream_frames",
            "Frames of streams: predicted, skipped for a newer one, or failed.",
            ["outcome"],
            registry=self._registry,
        )

    def add_gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A figure that is read when it is asked for."""
        Gauge(f"maskdepth_{name}", text, registry=self._registry).set_function(read)

    def text(self) -> bytes:
        """All figures."""
        return generate_latest(self._registry)

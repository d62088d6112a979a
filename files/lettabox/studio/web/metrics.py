"""What Prometheus is told. Labels are routes of the table, never paths: a scanner must not make series."""

from collections.abc import Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds
KIND = CONTENT_TYPE_LATEST
NO_ROUTE = "none"
GONE = 499  # the client went before its answer was whole; nginx calls it so too


class Metrics:
    """Made once for an app: the registry is its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "studio_requests", "Requests by route and status", ["method", "route", "status"], registry=self._registry
        )
        self._latency = Histogram(
            "studio_request_seconds", "From head to end of answer", ["route"], buckets=BUCKETS, registry=self._registry
        )
        self._decode = Histogram(
            "studio_frames_seconds", "Until a frame or sheet was there", buckets=BUCKETS, registry=self._registry
        )
        self._frames = self._gauge("studio_frames", "What the frames' cache and decoders report", "what")
        self._connections = self._gauge("studio_connections", "Open connections")
        self._database = self._gauge("studio_database_up", "1 when the database answers")
        self._queue = self._gauge("studio_jobs", "Jobs by state", "state")
        self._boxes = self._gauge("studio_box_up", "1 when a box's videos are seen", "box")
        self._videos = self._gauge("studio_videos", "Videos as last seen", "box")

    def done(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def decoded(self, seconds: float) -> None:
        self._decode.observe(seconds)

    def text(
        self,
        connections: int,
        queue: Mapping[str, int] | None,
        boxes: Mapping[str, bool],
        videos: Mapping[str, int],
        frames: Mapping[str, int],
    ) -> bytes:
        """All of it now. `queue` is None where the database does not answer."""
        self._connections.set(connections)
        self._database.set(queue is not None)
        for gauge, values in (
            (self._queue, queue or {}),
            (self._boxes, boxes),
            (self._videos, videos),
            (self._frames, frames),
        ):
            gauge.clear()
            for label, value in values.items():
                gauge.labels(label).set(value)
        return generate_latest(self._registry)

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(name, says, labels, registry=self._registry)

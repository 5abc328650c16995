"""The Prometheus metrics of /metrics: requests, jobs, the queue. Labels are few and hold no caller data."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ..database.queries import Lookup
from ..database.tables import JobRow

TIMES = (0.01, 0.05, 0.25, 1, 5, 20, 60, 300, 1200, 3600)


class Metrics:
    """The metrics of one application. Each has its own registry, so that tests and reloads do not share counts."""

    def __init__(self, store: Lookup):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "consistent_face_requests", "Answers by route and status.", ["route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "consistent_face_request_seconds", "Time to answer.", ["route"], buckets=TIMES, registry=self.registry
        )
        self.ended = Counter(
            "consistent_face_jobs_ended", "Jobs by workflow and end.", ["workflow", "state"], registry=self.registry
        )
        self.waited = Histogram(
            "consistent_face_queue_seconds", "From acceptance to start.", buckets=TIMES, registry=self.registry
        )
        self.ran = Histogram(
            "consistent_face_run_seconds", "ComfyUI's work.", ["workflow"], buckets=TIMES, registry=self.registry
        )
        self.webhooks = Counter(
            "consistent_face_webhooks", "Webhook attempts by outcome.", ["outcome"], registry=self.registry
        )
        self.registry.register(_Queue(store))

    def job(self, row: JobRow) -> None:
        """Counts a job that has ended."""
        self.ended.labels(row.workflow, row.state).inc()
        if row.started is not None:
            self.waited.observe(max(0.0, row.started - row.created))
        if row.seconds is not None:
            self.ran.labels(row.workflow).observe(row.seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Queue(Collector):
    """Counts the jobs in the store at each read, so that the numbers are right after a restart."""

    def __init__(self, store: Lookup):
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        gauge = GaugeMetricFamily("consistent_face_jobs", "Jobs by state.", labels=["state"])
        counts = self._store.counts()
        for state in ("queued", "running", "succeeded", "failed", "cancelled"):
            gauge.add_metric([state], counts.get(state, 0))
        yield gauge

    def describe(self) -> list[GaugeMetricFamily]:
        return []

"""Metrics of a server in Prometheus' format."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import HTTPException
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import multiprocess as several

from engine.fileio import runs

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # variable that prometheus_client reads when it is imported
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Meters:
    """Metrics of one process, or of all workers that share the folder in the variable FOLDER."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "lcnet_requests", "Answers by status.", ["model", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "lcnet_request_seconds", "From the head of a request to its answer.",
            ["model"], buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.inside = Gauge(
            "lcnet_requests_inside", "Requests arriving, waiting or worked on.",
            ["model"], multiprocess_mode="livesum", registry=self.registry,
        )  # fmt: skip
        self.batch_images = Histogram(
            "lcnet_batch_images", "Images of a batch.",
            ["model"], buckets=IMAGES, registry=self.registry,
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "lcnet_batch_seconds", "Decoding, network and results of a batch.",
            ["model"], buckets=SECONDS, registry=self.registry,
        )  # fmt: skip

    @contextmanager
    def batch(self, model: str, images: int) -> Iterator[None]:
        """Measure the block as the processing of one batch."""
        self.batch_images.labels(model).observe(images)
        with self.batch_seconds.labels(model).time():
            yield

    @contextmanager
    def request(self, model: str) -> Iterator[None]:
        """Measure the block as one request, counted by its final status."""
        start, status = time.perf_counter(), 500
        self.inside.labels(model).inc()
        try:
            yield
            status = 200
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            self.inside.labels(model).dec()
            self.requests.labels(model, status).inc()
            self.seconds.labels(model).observe(time.perf_counter() - start)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        if FOLDER not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        several.MultiProcessCollector(registry)
        return generate_latest(registry)


def forget_dead() -> None:
    """Remove the gauges of killed workers; their counters stay."""
    folder = os.environ.get(FOLDER)
    for path in Path(folder).glob("gauge_live*_*.db") if folder else ():
        number = path.stem.rpartition("_")[2]
        if not runs(number):
            several.mark_process_dead(int(number))

"""Starts a server and its worker processes."""

import logging
import math
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import torch
import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from engine import config
from engine.checkpoint.zoo import local
from engine.cli import USER_ERRORS, ModelSource
from engine.hardware import usable_cores
from engine.inference.predictor import load_model
from engine.runtime.content import read_content
from engine.serving.app import create_app
from engine.serving.metrics import FOLDER, forget_dead
from engine.serving.service import Limits, Served

PATIENCE = 30  # seconds without an answer after which a worker is replaced


@dataclass(frozen=True)
class Setup:
    """Settings of a server."""

    models: Sequence[ModelSource]
    limits: Limits
    host: str
    port: int
    workers: int
    threads: int = 0  # per worker; 0 is its share of the cores


def start(setup: Setup) -> FastAPI:
    """Load the models and make the application of one worker."""
    threads = setup.threads or max(1, len(usable_cores()) // setup.workers)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    models = [Served(s.name, load_model(s.config, s.checkpoint)) for s in setup.models]
    for model in models:
        model.warm_up()
    return create_app(models, setup.limits)


def check(setup: Setup) -> None:
    """Check that all models can be read, before any process starts.

    Raises:
        As `engine.load_model`.
    """
    for source in setup.models:
        read_content(config.load(source.config), local(source.checkpoint))


def serve(setup: Setup) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the accepted requests.

    Several workers are processes that share the port; a worker that dies is restarted.

    Raises:
        As `engine.load_model`.
    """
    settings = uvicorn.Config(
        partial(start if setup.workers == 1 else _start_worker, setup),
        factory=True,
        host=setup.host,
        port=setup.port,
        workers=setup.workers,
        access_log=False,
        timeout_graceful_shutdown=math.ceil(2 * setup.limits.timeout),
        timeout_worker_healthcheck=PATIENCE,
    )
    if setup.workers == 1:
        signal.signal(signal.SIGTERM, _stopped)
        uvicorn.Server(settings).run([settings.bind_socket()])
        return
    with tempfile.TemporaryDirectory(prefix="lcnet-meters-") as folder:
        os.environ[FOLDER] = folder  # before workers import prometheus_client, which reads it
        Supervisor(settings, [settings.bind_socket()]).run()


class Supervisor(Multiprocess):
    """Uvicorn's supervisor, which here notices at once that a worker died."""

    def keep_subprocess_alive(self) -> None:
        """Restart dead workers; called twice a second."""
        for process in self.processes:
            process.child_conn.close()  # the pipe ends when the worker's own copy is closed too
        super().keep_subprocess_alive()


def _start_worker(setup: Setup) -> FastAPI:
    """As `start`; on bad input, exit with the code that stops the parent from restarting it."""
    forget_dead()
    try:
        return start(setup)
    except USER_ERRORS as error:
        logging.getLogger("uvicorn.error").error(" ".join(str(error).split()))
        sys.exit(STARTUP_FAILURE)


def _stopped(*_: object) -> None:
    """Ignore the signal that uvicorn raises again after it stopped: exit code 0."""

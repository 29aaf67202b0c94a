"""Serve models over HTTP: python tools/serve.py CONFIG CKPT [CONFIG CKPT ...] [--port P].

A CKPT is a checkpoint, an exported file or zoo:NAME.
"""

import argparse

from engine import cli
from engine.extras import EXTRAS, require
from engine.serving.batching import BatchRule
from engine.serving.service import Limits


def main(arguments: argparse.Namespace) -> None:
    """Check the models, print their URLs, serve."""
    for name in EXTRAS["serve"]:
        require(name)
    from engine.serving.server import Setup, check, serve

    setup = Setup(
        models=cli.sources_of(arguments.models, arguments.names),
        limits=limits_of(arguments),
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        threads=arguments.threads,
    )
    check(setup)
    for source in setup.models:
        print(f"POST /v1/{source.name}  {source.checkpoint}", flush=True)
    serve(setup)


def limits_of(arguments: argparse.Namespace) -> Limits:
    """The limits from the options."""
    rule = BatchRule(
        max_batch=arguments.max_batch,
        max_weight=arguments.max_pixels,
        max_wait=arguments.max_wait / 1000,
        max_queue=arguments.max_queue,
    )
    return Limits(rule, arguments.max_bytes, arguments.timeout, arguments.score_thr)


def add_limits(options: argparse.ArgumentParser) -> None:
    """Add an option for every limit."""
    rule, positive, add = BatchRule(), cli.positive, options.add_argument
    add("--max-batch", type=positive, default=rule.max_batch, help="most images of a batch")
    add("--max-wait", type=float, default=1000 * rule.max_wait, help="ms to wait for a full batch")
    add("--max-queue", type=positive, default=rule.max_queue, help="most requests of a model")
    add("--max-pixels", type=positive, default=rule.max_weight, help="pixels of an image or batch")
    add("--max-bytes", type=positive, default=Limits.max_bytes, help="most bytes of a request")
    add("--timeout", type=float, default=Limits.timeout, help="seconds for upload, and for answer")
    add("--score-thr", type=float, default=Limits.threshold, help="lowest score by default")


if __name__ == "__main__":
    given = cli.parser(__doc__ or "")
    add = given.add_argument
    cli.add_sources(given)
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is all")
    add("--port", type=cli.port, default=8000, help="0 selects a free port (default: 8000)")
    add("--workers", type=cli.positive, default=1, help="number of processes (default: 1)")
    add("--threads", type=cli.positive, default=0, help="threads per worker; 0: its share of cores")
    add_limits(given)
    cli.run(main, given)

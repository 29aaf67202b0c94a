"""Serve models over HTTP: python tools/serve.py CONFIG CKPT [CONFIG CKPT ...] [--port P].

A CKPT is a checkpoint, an exported file or zoo:NAME.
"""

import argparse

from engine import cli
from engine.extras import EXTRAS, require
from engine.serving.batching import BatchRule
from engine.serving.service import Limits


def main(arguments: argparse.Namespace) -> None:
    """Check, say what is served, serve."""
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
    """The limits asked for."""
    rule = BatchRule(
        max_batch=arguments.max_batch,
        max_weight=arguments.max_pixels,
        max_wait=arguments.max_wait / 1000,
        max_queue=arguments.max_queue,
    )
    return Limits(rule, arguments.max_bytes, arguments.timeout, arguments.score_thr)


def add_limits(options: argparse.ArgumentParser) -> None:
    """Add an option for every limit."""
    rule, positive = BatchRule(), cli.positive
    options.add_argument(
        "--max-batch", type=positive, default=rule.max_batch, help="images worked on at once"
    )
    options.add_argument(
        "--max-wait", type=float, default=1000 * rule.max_wait, help="ms a batch waits for more"
    )
    options.add_argument(
        "--max-queue", type=positive, default=rule.max_queue, help="requests at once of a model"
    )
    options.add_argument(
        "--max-pixels", type=positive, default=rule.max_weight, help="of an image, and of a batch"
    )
    options.add_argument(
        "--max-bytes", type=positive, default=Limits.max_bytes, help="of a request"
    )
    options.add_argument(
        "--timeout", type=float, default=Limits.timeout, help="seconds to send, and to answer"
    )
    options.add_argument(
        "--score-thr", type=float, default=Limits.threshold, help="where a request has no threshold"
    )


if __name__ == "__main__":
    given = cli.parser(__doc__ or "")
    cli.add_sources(given)
    given.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 is all")
    given.add_argument("--port", type=cli.port, default=8000, help="0 takes a free one")
    given.add_argument("--workers", type=cli.positive, default=1, help="processes")
    given.add_argument(
        "--threads",
        type=cli.positive,
        default=0,
        help="of a worker; 0 is its share of cores",
    )
    add_limits(given)
    cli.run(main, given)

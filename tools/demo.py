"""Serve a page to try models: python tools/demo.py CONFIG CKPT [CONFIG CKPT ...] [--port P].

A CKPT is a checkpoint, an exported file or zoo:NAME.
"""

import argparse
import os
import signal
import tempfile

from engine import cli, load_model
from engine.extras import require
from engine.serving.service import Limits

MAX_PIXELS = 50_000_000
MAX_BYTES = 32 * 2**20


def main(arguments: argparse.Namespace) -> None:
    """Load the models, serve the page."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same as Ctrl-C
    with tempfile.TemporaryDirectory(prefix="lcnet-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # a private folder: its files can be fetched
        run(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Serve the page until stopped."""
    require("gradio")
    from engine.serving.page import Viewer, build, show

    sources = cli.sources_of(arguments.models, arguments.names)
    viewers = [Viewer(s.name, load_model(s.config, s.checkpoint)) for s in sources]
    page = build(viewers, arguments.score_thr, MAX_PIXELS)
    show(page, arguments.host, arguments.port, MAX_BYTES)


if __name__ == "__main__":
    given = cli.parser(__doc__ or "")
    add = given.add_argument
    cli.add_sources(given)
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is all")
    add("--port", type=cli.port, default=7860)
    add("--score-thr", type=float, default=Limits.threshold, help="initial lowest score")
    cli.run(main, given)

"""engine/progress.py: where the live line shows, and who hears the log lines."""

import io
import logging
from pathlib import Path

from rich.console import Console

from engine.progress import hush, live_line


def test_quiet_hides_the_line_on_a_terminal() -> None:
    stream = io.StringIO()
    with live_line(Console(file=stream, force_terminal=True), quiet=True) as bar:
        bar.add_task("x", total=1, note="")
    assert not stream.getvalue()


def test_hush_leaves_warnings_and_the_file(tmp_path: Path) -> None:
    stream, logger = io.StringIO(), logging.Logger("run")
    logger.addHandler(logging.StreamHandler(stream))
    logger.addHandler(logging.FileHandler(tmp_path / "log"))
    hush(logger)
    logger.info("fine")
    logger.warning("mind this")
    assert stream.getvalue() == "mind this\n"
    assert (tmp_path / "log").read_text() == "fine\nmind this\n"

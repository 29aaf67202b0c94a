"""Starts and ends a process of tools/serve.py for a benchmark."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SERVE = Path(__file__).parents[1] / "tools" / "serve.py"


class Server(NamedTuple):
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    said: list[str]  # lines of its log so far

    def started(self) -> int:
        """Number of workers that have started so far."""
        return sum("startup complete" in line for line in self.said)

    def workers(self) -> list[int]:
        """Processes that answer requests: those that serve.py started, or itself."""
        return [child for child in children(self.process.pid) if _serves(child)] or [
            self.process.pid
        ]


@contextmanager
def serving(workers: int, *options: str | Path) -> Iterator[Server]:
    """A server with these options on a free port of the loopback; it is ended afterwards."""
    command = [sys.executable, SERVE, *options, "--port", "0", "--workers", str(workers)]
    texts = list(map(str, command))
    process = subprocess.Popen(texts, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        yield _started(process, workers)
    finally:
        process.terminate()
        process.wait(60)


def _started(process: subprocess.Popen[str], workers: int) -> Server:
    """The server, once all its workers answer."""
    assert process.stderr is not None
    server = Server(process, port=_port(process.stderr), said=[])
    threading.Thread(target=server.said.extend, args=(process.stderr,), daemon=True).start()
    wait(lambda: server.started() == workers or process.poll() is not None)
    if process.poll() is not None:
        raise ValueError(f"the server ended with {process.wait()}; start tools/serve.py to see why")
    return server


def _port(lines: Iterable[str]) -> int:
    for line in lines:
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise ValueError("the server did not start; start tools/serve.py to see why")


def wait(condition: Callable[[], bool], seconds: float = 60) -> float:
    """Seconds until the condition holds."""
    start = time.perf_counter()
    while not condition():
        if time.perf_counter() - start > seconds:
            raise ValueError(f"no worker started within {seconds:g} s")
        time.sleep(0.05)
    return time.perf_counter() - start


def children(parent: int) -> list[int]:
    """Child processes of a process."""
    path = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(text) for text in path.read_text().split()]


def _serves(process: int) -> bool:
    """Whether the process is a worker, and not multiprocessing's resource tracker."""
    return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()


def resident(server: Server) -> float:
    """MB in RAM of all worker processes."""
    total = 0
    for process in server.workers():
        text = Path(f"/proc/{process}/status").read_text()
        total += int(re.findall(r"VmRSS:\s+(\d+)", text)[0])
    return total / 1024

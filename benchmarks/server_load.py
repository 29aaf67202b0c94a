"""A server under load: python benchmarks/server_load.py CONFIG CKPT IMAGES [--workers 2].

Starts tools/serve.py on the loopback, sends it the images of a folder, and compares each answer
with the model's result for that image alone. Three parts: requests per second and latency with
different numbers of clients; one long run with five in a hundred images broken, and the server's
memory before and after; and two workers, one of which is killed during the run.
"""

import argparse
import http.client
import itertools
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import MMLogger
from server_process import Server, resident, serving, wait

from engine import cli, load_model
from engine.data.image_files import find_sources
from engine.data.images import read_image
from engine.fileio import write_json
from engine.hardware import fingerprint

BROKEN_EVERY = 20  # requests: five in a hundred
NEAR = 2e-4  # allowed difference of a number, relative to the larger of itself and 1
THRESHOLD = 0.05
WARM_UP = 0.1  # fraction of the long run that runs before it and before memory is measured


class Case(NamedTuple):
    """A request, and the expected answer."""

    data: bytes
    status: int
    rows: list[dict[str, Any]]


class Outcome(NamedTuple):
    """The result of a run."""

    seconds: float
    latencies: list[float]  # of each answer in seconds
    counts: Counter[str]  # of answers by kind: right, wrong, refused, lost


def good_cases(config: Path, checkpoint: Path, files: Sequence[Path]) -> list[Case]:
    """The images, and the model's result for each alone."""
    model = load_model(config, checkpoint)
    cases = []
    for path in files:
        rows = model.describe(model.predict(read_image(path))[0], THRESHOLD)
        cases.append(Case(path.read_bytes(), 200, rows))
    return cases


def broken_cases(good: Case) -> list[Case]:
    """Four broken files: an empty one, noise, the start of an image, and a text."""
    noise = np.random.default_rng(0).bytes(5_000)
    return [Case(data, 422, []) for data in (b"", noise, good.data[:200], b"no image at all")]


def case_of(number: int, good: Sequence[Case], broken: Sequence[Case]) -> Case:
    """The request with this number."""
    if broken and number % BROKEN_EVERY == BROKEN_EVERY - 1:
        return broken[number // BROKEN_EVERY % len(broken)]
    return good[number % len(good)]


def alike(found: Any, wanted: Any) -> bool:
    """Whether two answers are equal, except for rounding."""
    if isinstance(wanted, float):
        return abs(found - wanted) <= NEAR * max(1.0, abs(wanted))
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(alike(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(alike, found, wanted))
    return bool(found == wanted)


def same_rows(found: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]) -> bool:
    """As `alike`; a row whose score is near the threshold may be in one answer alone."""
    sure = [[row for row in rows if _sure(row)] for rows in (found, wanted)]
    return alike(*sure)


def _sure(row: dict[str, Any]) -> bool:
    return abs(row.get("score", 1.0) - THRESHOLD) > NEAR


class Client(threading.Thread):
    """Sends requests one after the other over one connection, until `numbers` ends."""

    def __init__(
        self, port: int, numbers: Iterator[int], case: Callable[[int], Case], retry: bool
    ) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.numbers = numbers
        self.case = case
        self.retry = retry
        self.latencies: list[float] = []
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        for number in self.numbers:
            case = self.case(number)
            start = time.perf_counter()
            kind = self._send(case)
            while kind in ("refused", "lost") and self.retry:
                self.counts[kind] += 1
                time.sleep(0.1)
                kind = self._send(case)
            self.counts[kind] += 1
            self.latencies.append(time.perf_counter() - start)
        self.connection.close()

    def _send(self, case: Case) -> str:
        headers = {"Content-Type": "application/octet-stream"}
        try:
            self.connection.request("POST", "/v1/model", case.data, headers)
            answer = self.connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return "lost"
        if answer.status == 503:
            return "refused"
        if answer.status != case.status:
            return f"status {answer.status}"
        right = case.status != 200 or same_rows(json.loads(body), case.rows)
        return "right" if right else "wrong"


def run(
    server: Server,
    clients: int,
    numbers: Sequence[int],
    case: Callable[[int], Case],
    meanwhile: Callable[[], None] = lambda: None,
    retry: bool = False,
) -> Outcome:
    """Sends requests `numbers` by n clients at a time."""
    shared = Shared(numbers)
    threads = [Client(server.port, shared, case, retry) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    latencies = list(itertools.chain.from_iterable(thread.latencies for thread in threads))
    return Outcome(seconds, latencies, sum((thread.counts for thread in threads), Counter()))


class Shared:
    """An iterator that several threads can share."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = iter(numbers)
        self._lock = threading.Lock()

    def __iter__(self) -> "Shared":
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._numbers)


def told(what: str, outcome: Outcome) -> dict[str, Any]:
    """Prints the result of a run, and returns it as plain data."""
    p50, p99 = np.percentile(outcome.latencies, [50, 99]) * 1000
    row = {
        "requests": len(outcome.latencies),
        "rate": len(outcome.latencies) / outcome.seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "answers": dict(outcome.counts),
    }
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(outcome.counts.items()))
    print(f"{what}: {row['rate']:.1f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms; {counts}")
    return row


def given_to(arguments: argparse.Namespace) -> list[str]:
    """Options of every server here."""
    options = [arguments.config, arguments.checkpoint, "--names", "model", "--max-queue", "256"]
    if arguments.threads:
        options += ["--threads", arguments.threads]
    return [*map(str, options), "--score-thr", str(THRESHOLD)]


def sweep(arguments: argparse.Namespace, good: Sequence[Case]) -> list[dict[str, Any]]:
    """Rates with different numbers of clients, with batches and without."""
    rows = []
    for batch in arguments.batches:
        with serving(arguments.workers, *given_to(arguments), "--max-batch", str(batch)) as server:
            run(server, 4, range(len(good)), lambda number: case_of(number, good, []))
            for clients in arguments.clients:
                outcome = run(
                    server, clients, range(arguments.each), lambda n: case_of(n, good, [])
                )
                row = told(f"batches of up to {batch}, {clients} clients", outcome)
                rows.append({"max_batch": batch, "clients": clients, **row})
    return rows


def endure(arguments: argparse.Namespace, good: Sequence[Case]) -> dict[str, Any]:
    """Many requests, some of them broken, and the memory of the server before and after."""
    broken = broken_cases(good[0])
    before = int(arguments.requests * WARM_UP)

    def case(number: int) -> Case:
        return case_of(number, good, broken)

    with serving(arguments.workers, *given_to(arguments)) as server:
        clients = max(arguments.clients[-2:])
        run(server, clients, range(before), case)
        memory = [resident(server)]
        outcome = run(server, clients, range(arguments.requests), case)
        memory.append(resident(server))
    row = told(f"{arguments.requests} requests, 5 % broken, {clients} clients", outcome)
    print(
        f"memory: {memory[0]:.0f} MB after {before} requests, {memory[1]:.0f} MB after "
        f"{before + arguments.requests}"
    )
    return {**row, "memory_mb": memory}


def survive(arguments: argparse.Namespace, good: Sequence[Case]) -> dict[str, Any]:
    """Kills one of two workers; lost requests are sent again."""
    with serving(2, *given_to(arguments)) as server:
        first = server.workers()
        back: list[float] = []

        def kill() -> None:
            time.sleep(2)
            os.kill(first[0], signal.SIGKILL)
            back.append(wait(lambda: server.started() == 3))

        outcome = run(
            server, 8, range(arguments.each), lambda n: case_of(n, good, []), kill, retry=True
        )
        told("one of two workers killed", outcome)
        print(f"its successor took requests after {back[0]:.1f} s")
        after = run(server, 8, range(arguments.each), lambda n: case_of(n, good, []))
        row = told("afterwards", after)
    return {"back_s": back[0], "killed": dict(outcome.counts), "after": row}


def main(arguments: argparse.Namespace) -> int:
    """Measure, print, write; returns 1 if an answer was wrong or lost."""
    MMLogger.get_current_instance().setLevel("WARNING")
    machine = fingerprint()
    files = find_sources([str(arguments.images)])[: arguments.number]
    good = good_cases(arguments.config, arguments.checkpoint, files)
    twins = sum(same_rows(a.rows, b.rows) for a, b in itertools.combinations(good, 2))
    print(f"{len(good)} images, {twins} pairs of them with the same answer")
    report: dict[str, Any] = {"machine": machine, "images": len(good), "twins": twins}
    report["sweep"] = sweep(arguments, good)
    report["endure"] = endure(arguments, good)
    report["survive"] = survive(arguments, good)
    print(
        f"machine {machine['id']}, load average {machine['load']:.1f} before, "
        f"{fingerprint()['load']:.1f} after"
    )
    if arguments.out:
        write_json(arguments.out, report)
    rows = [*report["sweep"], report["endure"], report["survive"]["after"]]
    return int(any(row["answers"].keys() - {"right"} for row in rows))


if __name__ == "__main__":
    given = cli.parser(__doc__ or "")
    given.add_argument("config", type=Path)
    given.add_argument("checkpoint", type=Path, help="checkpoint or exported file")
    given.add_argument("images", type=Path, help="folder of images")
    given.add_argument("--number", type=int, default=100, help="images taken of the folder")
    given.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    given.add_argument(
        "--batches", type=int, nargs="+", default=[1, 8], help="values of --max-batch"
    )
    given.add_argument("--each", type=int, default=1_000, help="requests of a short run")
    given.add_argument("--requests", type=int, default=20_000, help="of the long run")
    given.add_argument("--workers", type=int, default=1)
    given.add_argument(
        "--threads", type=int, default=0, help="of each worker; 0: its share of the cores"
    )
    given.add_argument("--out", type=Path, metavar="JSON", help="write all numbers to this file")
    cli.run(main, given)

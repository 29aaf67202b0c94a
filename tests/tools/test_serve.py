"""tools/serve.py as a process: answers, stopping, restarted workers, errors in one line."""

import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn")
PATIENCE = 30  # seconds that a worker may be silent; dead ones are replaced earlier
ROOT = Path(__file__).parents[2]
DETECTOR = ROOT / "configs/picodet_lcnet_own.py"
THRESHOLD = "0.01"
Run = Callable[..., Any]
Pair = tuple[Path, Path]


class Server(NamedTuple):
    """A server that answers."""

    process: subprocess.Popen[str]
    port: int

    def ask(self, path: str, content: bytes | None = None) -> tuple[int, Any]:
        """Status and JSON of a GET, or of a POST if there is content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": "application/octet-stream"}
        connection.request("GET" if content is None else "POST", path, content, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        is_json = answer.headers["content-type"] == "application/json"
        return answer.status, json.loads(text) if is_json else text.decode()


@contextmanager
def serving(*arguments: str | Path, workers: int = 1) -> Iterator[Server]:
    command = [sys.executable, ROOT / "tools/serve.py", *arguments, "--port", "0"]
    command += ["--workers", str(workers)]
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield Server(process, _answering(process, workers))
    finally:
        process.terminate()
        process.wait(30)


def _answering(process: subprocess.Popen[str], workers: int) -> int:
    """The port of a server, once all its workers answer."""
    assert process.stderr is not None
    port = 0
    for line in process.stderr:
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
            port = int(found[1])
        workers -= "startup complete" in line
        if workers == 0:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            wait(partial(_listens, port))  # shortly after the startup
            return port
    raise AssertionError(f"ended with {process.wait()}")


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve files of several sizes and formats."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(12):
        noise = random.integers(0, 256, (6, 9, 3), np.uint8)
        image = cv2.resize(noise, (60 + 9 * number, 90 - 4 * number))
        cv2.imwrite(str(folder / f"{number:02}.{('jpg', 'png', 'webp')[number % 3]}"), image)
    return sorted(folder.iterdir())


def predicted(run_tool: Run, pair: tuple[Path, Path], pictures: list[Path], out: Path) -> list[Any]:
    """The rows of tools/predict.py, in the order of the pictures."""
    arguments = [*pair, *pictures, "--out-dir", out, "--score-thr", THRESHOLD]
    ran = run_tool("predict", *arguments)
    assert ran.code == 0, ran.err
    return list(json.loads((out / "predictions.json").read_text()).values())


def assert_close(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert [row["class"] for row in found] == [row["class"] for row in wanted]
    for row, other in zip(found, wanted, strict=True):
        assert row.keys() == other.keys()
        for key in row.keys() - {"class"}:
            assert row[key] == pytest.approx(other[key], rel=1e-4, abs=1e-3)


@pytest.mark.slow
def test_three_tasks_answer_what_predict_writes(
    run_tool: Run,
    small_detector_pair: Pair,
    small_segmenter_pair: Pair,
    small_classifier_pair: Pair,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    """Simultaneous requests, which share batches; then SIGTERM ends it with code 0."""
    pairs = [small_detector_pair, small_segmenter_pair, small_classifier_pair]
    wanted = [predicted(run_tool, pair, pictures, tmp_path / pair[0].stem) for pair in pairs]
    jobs = [(f"/v1/{pair[0].stem}", path.read_bytes()) for pair in pairs for path in pictures]
    with serving(*(part for pair in pairs for part in pair), "--score-thr", THRESHOLD) as server:
        with ThreadPoolExecutor(12) as pool:
            found = list(pool.map(lambda job: server.ask(*job), jobs))
        assert {status for status, _ in found} == {200}
        for (_, rows), other in zip(found, itertools.chain(*wanted), strict=True):
            assert_close(rows, other)
        assert sum(len(rows) for _, rows in found[: len(pictures)]) > 0  # detections
        listed = server.ask("/v1")[1]["models"]
        assert [row["batched"] for row in listed] == [True, False, True]
        counts = server.ask("/metrics")[1]
        batches = re.search(r'batch_images_count\{model="picodet_lcnet_own"\} (\d+)', counts)
        assert batches is not None
        assert int(batches[1]) < len(pictures)
        server.process.terminate()
        assert server.process.wait(30) == 0


@pytest.mark.slow
def test_stopping_loses_nothing_that_was_taken(small_segmenter_pair: Pair) -> None:
    """SIGTERM while sixteen wait: all get answers, later requests do not."""
    data = cv2.imencode(".jpg", np.full((300, 400, 3), 90, np.uint8))[1].tobytes()
    gather = ("--max-batch", "64", "--max-wait", "5000")  # so that none is finished too early
    with serving(*small_segmenter_pair, "--names", "m", *gather) as server:
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(server.ask, "/v1/m", data) for _ in range(16)]
            wait(lambda: 'inside{model="m"} 16.0' in server.ask("/metrics")[1])
            server.process.send_signal(signal.SIGTERM)
            answers = [one.result() for one in asked]
        assert server.process.wait(30) == 0
        assert [status for status, _ in answers] == [200] * 16
        assert all(rows == answers[0][1] for _, rows in answers)
        with pytest.raises(ConnectionRefusedError):
            server.ask("/health")


@pytest.mark.slow
def test_examples_of_the_page(
    small_detector_pair: Pair, pictures: list[Path], tmp_path: Path
) -> None:
    """The curl commands of docs/serving.md, with another port."""
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    text = (ROOT / "docs/serving.md").read_text()
    (examples,) = re.findall(r"```bash\n(.*?)```", text, re.S)
    shutil.copy(pictures[0], tmp_path / "photo.jpg")
    with serving(*small_detector_pair, "--names", "picodet_xs_lcnet") as server:
        answers = [
            subprocess.run(
                ["bash", "-c", line.replace(":8000", f":{server.port}") + " -sf"],
                cwd=tmp_path,
                capture_output=True,
                check=True,
            ).stdout
            for line in examples.splitlines()
        ]
    body, form, models, ready = map(json.loads, answers)
    assert [row for row in body if row["score"] >= 0.6] == form
    assert [model["name"] for model in models["models"]] == ["picodet_xs_lcnet"]
    assert ready == {"status": "ready"}


def workers_of(server: Server) -> set[int]:
    """The worker processes."""
    parent = server.process.pid
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return {int(n) for n in text.split() if b"spawn_main" in _command(int(n))}


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_workers_come_back(small_classifier_pair: Pair, pictures: list[Path]) -> None:
    """All at once; counters continue, and SIGTERM ends all."""
    data = pictures[0].read_bytes()
    with serving(*small_classifier_pair, "--names", "m", workers=2) as server:
        before = workers_of(server)
        first = server.ask("/v1/m", data)
        assert (first[0], len(before)) == (200, 2)
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        wait(lambda: len(workers_of(server) - before) == 2)
        young = min(workers_of(server))
        os.kill(young, signal.SIGKILL)  # while it starts and its parent waits for it
        wait(lambda: len(workers_of(server) - before - {young}) == 2, PATIENCE / 2)
        after = workers_of(server)
        assert server.ask("/v1/m", data) == first  # waits for one of them to listen
        counts = server.ask("/metrics")[1]
        assert 'lcnet_requests_total{model="m",status="200"} 2.0' in counts
        server.process.terminate()
        assert server.process.wait(30) == 0
        assert not any(_command(worker) for worker in after)


def error_line(ran: Any) -> str:
    assert ran.code == 1, ran
    assert ran.err.count("\n") == 1, ran.err
    return str(ran.err)


def test_errors(run_tool: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = tmp_path / "none.pth"
    assert "has no checkpoint; give CONFIG CKPT" in error_line(run_tool("serve", DETECTOR))
    assert "none.pth: no such checkpoint" in error_line(run_tool("serve", DETECTOR, none))
    twice = (DETECTOR, none, DETECTOR, none)
    assert "several models have this name; rename them with --names" in error_line(
        run_tool("serve", *twice)
    )
    assert "--names: give 2 names, one for each" in error_line(
        run_tool("serve", *twice, "--names", "a")
    )
    assert run_tool("serve", DETECTOR, none, "--max-batch", "0").code == 2
    monkeypatch.setitem(sys.modules, "fastapi", None)
    missing = error_line(run_tool("serve", DETECTOR, none))
    assert "fastapi is not installed; run: pip install 'lcnet-vision[serve]'" in missing

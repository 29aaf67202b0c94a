"""The page of tools/demo.py in a real Chromium, and which files it gives access to."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DETECTOR = ROOT / "configs/picodet_lcnet_own.py"
CHROMIUM = shutil.which("chromium")
Run = Callable[..., Any]
Pair = tuple[Path, Path]


class Page(NamedTuple):
    """A served page and its folder."""

    port: int
    folder: Path
    uploads: Path

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; the path is sent unchanged."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def post(self, path: str, content: bytes, kind: str) -> tuple[int, bytes]:
        """Status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path, content, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def look(self, photo: object) -> dict[str, Any]:
        """The answer to the page's own request for a prediction."""
        call = {"data": [photo, 0.4], "fn_index": 0, "session_hash": "s"}
        assert self.post("/gradio_api/queue/join", json.dumps(call).encode(), "application/json")
        text = self.get("/gradio_api/queue/data?session_hash=s")[1].decode()
        (line,) = re.findall(r'^data: (.*"process_completed".*)$', text, re.M)
        completed: dict[str, Any] = json.loads(line)
        return completed


@pytest.fixture(scope="module")
def models(small_detector_pair: Pair, small_classifier_pair: Pair) -> list[Path]:
    """A detector and a classifier, each a config and a checkpoint."""
    return [*small_detector_pair, *small_classifier_pair]


@pytest.fixture(scope="module")
def page(models: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    pytest.importorskip("gradio")
    folder, parent = tmp_path_factory.mktemp("from"), tmp_path_factory.mktemp("uploads")
    picture(folder / "private.png", 60, 80)
    command = [sys.executable, "-u", ROOT / "tools/demo.py", *models, "--port", str(free_port())]
    process = subprocess.Popen(
        list(map(str, [*command, "--score-thr", "0.01"])),
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(parent)},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            break
    else:
        raise AssertionError(f"ended with {process.wait()}")
    threading.Thread(target=process.stdout.read, daemon=True).start()
    (uploads,) = parent.glob("lcnet-demo-*")
    yield Page(int(found[1]), folder, uploads)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert not uploads.exists()  # no upload remains


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def picture(path: Path, height: int, width: int) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (width, height)))
    return path


@pytest.mark.slow
def test_files_of_the_machine(page: Page) -> None:
    """By every URL that gradio has had for files; links among the uploads are not followed."""
    secret = page.folder / "secret.txt"
    secret.write_text("secret")
    (page.uploads / "link.txt").symlink_to(secret)
    (page.uploads.parent / "beside.txt").write_text("secret")
    up = "/".join([".."] * 12)
    names = [
        str(secret), "secret.txt", "./secret.txt", f"{up}{secret}", f"{page.uploads}/{up}{secret}",
        str(page.uploads / "link.txt"), str(page.uploads.parent / "beside.txt"),
        f"{page.uploads}/../beside.txt", "/etc/passwd", f"{up}/etc/passwd", "/proc/self/environ",
        str(ROOT / "tools/demo.py"), f"file://{secret}",
    ]  # fmt: skip
    starts = ["/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/"]
    starts += ["/gradio_api/proxy=", "/gradio_api/stream/"]
    addresses = [s + form for s in starts for n in names for form in (n, quote(n), quote(n, ""))]
    given = {address: page.get(address) for address in addresses}
    assert len(given) > 150
    assert {
        a for a, (status, body) in given.items() if status == 200 and b"secret" in body
    } == set()
    assert {a for a, (status, _) in given.items() if status == 200} == set()
    assert page.get("/")[0] == 200


@pytest.mark.slow
def test_pictures_of_the_machine_are_not_looked_at(page: Page) -> None:
    """Uploaded files only: no others by name, relative path, link or URL."""
    private = page.folder / "private.png"
    link = page.uploads / "link.png"
    link.symlink_to(private)
    mark = {"meta": {"_type": "gradio.FileData"}}
    here = f"http://127.0.0.1:{page.port}/"
    for path in (private, "private.png", link, f"{page.uploads}/../../{private}"):
        for extra in ({}, mark, {"orig_name": "a.svg"}):
            assert not page.look({"path": str(path), **extra})["success"], (path, extra)
    for photo in ({"path": None, "url": str(private)}, {"path": here, "url": here, **mark}):
        assert not page.look(photo)["success"], photo

    form = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n%s\r\n--x--'
    )
    kind = "multipart/form-data; boundary=x"
    status, answer = page.post("/gradio_api/upload", form % private.read_bytes(), kind)
    assert status == 200
    (uploaded,) = json.loads(answer)
    assert page.look({"path": uploaded, **mark})[
        "success"
    ]  # so that the refusals above are meaningful
    status, _ = page.post("/gradio_api/upload", form % bytes(33 * 2**20), kind)
    assert status == 413


@pytest.fixture
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium")
    with api.sync_playwright() as player:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        yield player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])


def wait_for_size(sight: Any, number: int, width: int, height: int) -> None:
    """Wait until the picture of a column has this size."""
    sight.wait_for_function(
        """([number, ...wanted]) => {
          const image = document.querySelector(`#picture-${number} img`);
          return image && [image.naturalWidth, image.naturalHeight].join() === wanted.join();
        }""",
        arg=[number, width, height],
        timeout=60_000,
    )


@pytest.mark.slow
def test_camera(page: Page, browser: Any) -> None:
    """A shot of Chromium's fake camera; removing it removes the results too."""
    sight = browser.new_page()
    sight.goto(f"http://127.0.0.1:{page.port}/")
    sight.click("#photo button[aria-label='Capture from camera']")
    sight.click("text=Click to Access Webcam")
    sight.wait_for_function("document.querySelector('#photo video').videoWidth > 0")
    sides = sight.locator("#photo video").evaluate("video => [video.videoWidth, video.videoHeight]")
    sight.click("#photo button[aria-label='capture photo']")
    scale = min(1.0, 1600 / max(sides))
    wait_for_size(sight, 0, *(round(scale * side) for side in sides))
    sight.click("#photo button[aria-label='Remove Image']")
    sight.wait_for_selector("#picture-0 img", state="detached")
    assert sight.inner_text("#times-0") == ""


@pytest.mark.slow
def test_in_a_browser(
    page: Page, browser: Any, models: list[Path], run_tool: Run, tmp_path: Path
) -> None:
    """Upload, slider, two models, a broken file, 41 megapixels; no requests to other hosts."""
    asked: list[str] = []
    sight = browser.new_page(viewport={"width": 1400, "height": 1200})
    sight.on("request", lambda request: asked.append(request.url))
    sight.goto(f"http://127.0.0.1:{page.port}/")
    score = sight.locator("#score input[type=number]")

    def give(path: Path) -> None:
        sight.set_input_files("#photo input[type=file]", path)

    def shown() -> dict[str, Any]:
        with sight.expect_download() as download:
            sight.click("#save")
        results: dict[str, Any] = json.loads(Path(download.value.path()).read_text())
        return results

    small = picture(tmp_path / "small.png", 120, 160)
    give(small)
    for number in (0, 1):
        wait_for_size(sight, number, 160, 120)
    found, times = shown(), sight.inner_text("#times-0")
    assert re.fullmatch(r"ms: read [\d.]+, prepare [\d.]+, network [\d.]+", times)
    for pair in (models[:2], models[2:]):
        out = tmp_path / pair[0].stem
        ran = run_tool("predict", *pair, small, "--out-dir", out, "--score-thr", "0.01")
        assert ran.code == 0, ran.err
        wanted = json.loads((out / "predictions.json").read_text())["small.png"]
        assert wanted == found[pair[0].stem]

    scores = [row["score"] for row in found[DETECTOR.stem]]
    middle = round(sorted(scores)[len(scores) // 2] + 0.005, 2)
    before = sight.locator("#picture-0 img").get_attribute("src")
    score.fill(str(middle))
    score.press("Enter")
    sight.wait_for_function("b => document.querySelector('#picture-0 img').src !== b", arg=before)
    assert len(shown()[DETECTOR.stem]) == sum(s >= middle for s in scores) < len(scores)
    assert sight.inner_text("#times-0") == times  # no model was run

    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    give(tmp_path / "broken.jpg")
    sight.wait_for_selector(".toast-body")
    assert "not a readable JPEG, PNG, WEBP, BMP file" in sight.inner_text(".toast-body")

    give(picture(tmp_path / "large.jpg", 5500, 7500))
    wait_for_size(sight, 0, 1600, 1173)
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {
        f"127.0.0.1:{page.port}"
    }


def test_without_gradio(run_tool: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "")  # which is undone after the test
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setitem(sys.modules, "gradio", None)
    ran = run_tool("demo", DETECTOR, "none.pth")
    assert ran.code == 1
    assert ran.err.startswith(
        "error: gradio is not installed; run: pip install 'lcnet-vision[demo]'"
    )
    assert ran.err.count("\n") == 1

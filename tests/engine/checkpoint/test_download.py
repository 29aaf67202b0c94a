"""Downloads from a server with all kinds of errors."""

import gzip
import hashlib
import resource
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.checkpoint.download import Manners, download

CONTENT = bytes(range(256)) * 400  # 102,400 bytes, more than one chunk
OTHER = CONTENT[::-1]
NOTHING = hashlib.sha256(b"").hexdigest()
CUT = 70_000
WANTED = hashlib.sha256(CONTENT).hexdigest()
QUICK = Manners(timeout=0.2, attempts=1, pause=0.0, limit=200_000, loopback_http=True)

Answer = Callable[[BaseHTTPRequestHandler], None]


def send(
    handler: BaseHTTPRequestHandler, body: bytes, code: int = 200, **headers: str | int
) -> None:
    """Answer with `body` and its length; `headers` may override it."""
    handler.send_response(code)
    for name, value in {"Content_Length": len(body), **headers}.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)


def good(handler: BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT)


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection after CUT bytes."""
    send(handler, CONTENT[:CUT], Content_Length=len(CONTENT))


class Server(ThreadingHTTPServer):
    """Gives the answers of a list, one per request, then good ones."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.paths: list[str] = []
        self.released = threading.Event()  # ends stalls
        self.url = f"http://127.0.0.1:{self.server_port}/weights.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        answer = self.server.answers.pop(0) if self.server.answers else good
        answer(self)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running.answers, running.paths = [], []
    return running


def stall(handler: BaseHTTPRequestHandler) -> None:
    """Send the first half, then nothing."""
    cut(handler)
    handler.wfile.flush()
    handler.server.released.wait(5)


def crawl(handler: BaseHTTPRequestHandler) -> None:
    """Send a byte from time to time."""
    send(handler, CONTENT[:10], Content_Length=len(CONTENT))
    for value in CONTENT[10:40]:
        if handler.server.released.wait(0.05):
            return
        try:
            handler.wfile.write(bytes([value]))
        except OSError:
            return


def too_long(handler: BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT, Content_Length=len(CONTENT) + 10)


def too_short(handler: BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT, Content_Length=len(CONTENT) - 10)


def too_large(handler: BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT, Content_Length=QUICK.limit + 1)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Send more than allowed, without a length."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(CONTENT)
    except OSError:
        return


def wrong(handler: BaseHTTPRequestHandler) -> None:
    send(handler, OTHER)


def packed(handler: BaseHTTPRequestHandler) -> None:
    send(handler, gzip.compress(CONTENT), Content_Encoding="gzip")


def slam(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def code(number: int, **headers: str) -> Answer:
    return lambda handler: send(handler, b"", number, **headers)


def fetch(
    server: Server, path: Path, sha256: str | None = WANTED, attempts: int = 1
) -> list[tuple[int, int | None]]:
    """Download a file; gives the reported progress."""
    seen: list[tuple[int, int | None]] = []
    manners = replace(QUICK, attempts=attempts)
    download(server.url, path, sha256, manners, lambda *at: seen.append(at))
    return seen


def assert_then_succeeds(server: Server, path: Path) -> None:
    """A good server then gives the file, and no other file remains."""
    server.answers = []
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_file_arrives_whole_and_is_fetched_once(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "a.bin"
    assert fetch(server, path, None)[-1] == (102_400, 102_400)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert fetch(server, path) == fetch(server, path, None) == []
    assert len(server.paths) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (stall, "Read timed out; try again later, or check whether the file has moved"),
        (crawl, "bytes in 0 s; try again"),
        (cut, "70000 bytes read, 32400 more expected"),
        (too_long, "102400 bytes read, 10 more expected"),
        (too_short, f"expected {WANTED} but got"),
        (too_large, "refused, it has at least 200001 bytes; the limit is 200000"),
        (endless, "bytes; the limit is 200000"),
        (wrong, f"expected {WANTED} but got {hashlib.sha256(OTHER).hexdigest()}"),
        (packed, f"expected {WANTED} but got"),
        (slam, "Remote end closed connection without response"),
        (code(404), "404 Client Error: Not Found"),
        (code(500), "the server answers 500; try again later"),
        (code(302, Location="ftp://127.0.0.1/a"), "refused, ftp://127.0.0.1/a is not an https:"),
        (code(302, Location="http://example.org/a"), "refused, http://example.org/a is not an"),
        (code(302, Location="file:///etc/hostname"), "refused, file:///etc/hostname is not an"),
        (code(200, Content_Length="-4"), f"expected {WANTED} but got {NOTHING}"),
    ],
)
def test_bad_servers_leave_no_file_and_spoil_nothing(
    server: Server, tmp_path: Path, answer: Answer, message: str
) -> None:
    path = tmp_path / "a.bin"
    server.answers = [answer]
    with pytest.raises((ConnectionError, ValueError)) as error:
        fetch(server, path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{server.url}: ")
    assert len(server.paths) == 1
    assert list(tmp_path.iterdir()) == []
    assert_then_succeeds(server, path)


def test_redirections_are_followed(server: Server, tmp_path: Path) -> None:
    server.answers = [code(302, Location="/elsewhere.bin")]
    fetch(server, tmp_path / "a.bin")
    assert server.paths == ["/weights.bin", "/elsewhere.bin"]


def test_a_file_of_before_stays_until_the_new_one_is_whole(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    server.answers = [wrong]
    with pytest.raises(ValueError, match="refused"):
        fetch(server, path)
    assert path.read_bytes() == b"old"
    assert_then_succeeds(server, path)


def test_a_full_disk_is_named(server: Server, tmp_path: Path) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, old[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/a\.bin'"):
            fetch(server, tmp_path / "a.bin", attempts=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert len(server.paths) == 1
    assert_then_succeeds(server, tmp_path / "a.bin")


@pytest.mark.parametrize("answer", [stall, crawl, cut, too_long, slam, code(503), code(429)])
def test_what_may_pass_is_tried_again_from_the_start(
    server: Server, tmp_path: Path, answer: Answer
) -> None:
    server.answers = [cut, answer]
    fetch(server, tmp_path / "a.bin", attempts=3)
    assert len(server.paths) == 3
    assert list(tmp_path.iterdir()) == [tmp_path / "a.bin"]


@pytest.mark.parametrize("answer", [wrong, endless, code(404)])
def test_what_stays_is_not_tried_again(server: Server, tmp_path: Path, answer: Answer) -> None:
    server.answers = [answer]
    with pytest.raises((ConnectionError, ValueError)):
        fetch(server, tmp_path / "a.bin", attempts=3)
    assert len(server.paths) == 1


def test_it_goes_through_the_proxy_of_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/weights.bin"))
    monkeypatch.setenv("no_proxy", "")
    download("http://localhost:9/far.bin", tmp_path / "a.bin", WANTED, QUICK, print)
    assert server.paths == ["http://localhost:9/far.bin"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/a", "file:///etc/hostname", "ftp://h/a", "HTTP://h/a", "a", ""]
)
def test_only_https_is_taken(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match=r"refused, (.* is not an https: address|Invalid URL)"):
        download(url, tmp_path / "a.bin", None, Manners(), print)


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "localhost@h"])
def test_only_this_machine_may_be_asked_without_https(tmp_path: Path, host: str) -> None:
    with pytest.raises(ValueError, match="is not an https: address"):
        download(f"http://{host}/a", tmp_path / "a.bin", None, QUICK, print)


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9/a: .*refused.*; try again later"):
        download("http://127.0.0.1:9/a", tmp_path / "a.bin", None, QUICK, print)

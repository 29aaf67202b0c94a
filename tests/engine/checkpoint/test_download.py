"""Downloads from a server that does everything wrong, one thing at a time."""

import hashlib
import resource
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.checkpoint.download import Manners, Stamp, download, stamp

CONTENT = bytes(range(256)) * 400  # 102,400 bytes, more than one chunk
OTHER = CONTENT[::-1]
CUT = 70_000
WANTED = Stamp(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
QUICK = Manners(timeout=0.2, attempts=1, pause=0.0, limit=200_000, loopback_http=True)

Answer = Callable[[BaseHTTPRequestHandler], None]


def send(
    handler: BaseHTTPRequestHandler, body: bytes, code: int = 200, **headers: str | int
) -> None:
    """An answer with the length of `body` and the tag "one", but for what `headers` say."""
    handler.send_response(code)
    for name, value in {"Content_Length": len(body), "ETag": '"one"', **headers}.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)


def good(handler: BaseHTTPRequestHandler) -> None:
    """All of it, or what was asked for where it is still the same file."""
    wanted = handler.headers.get("Range")
    if wanted is None or handler.headers.get("If-Range") != '"one"':
        return send(handler, CONTENT)
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    place = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    return send(handler, CONTENT[start:], 206, Content_Range=place)


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Breaks off after CUT bytes."""
    send(handler, CONTENT[:CUT], Content_Length=len(CONTENT))


class Server(ThreadingHTTPServer):
    """Gives the answers of a list, one a request, and then good ones."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.requests: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.released = threading.Event()  # ends stalls
        self.url = f"http://127.0.0.1:{self.server_port}/weights.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(dict(self.headers))
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
    running.answers, running.requests, running.paths = [], [], []
    return running


def stall(handler: BaseHTTPRequestHandler) -> None:
    """Half, and then nothing more."""
    cut(handler)
    handler.wfile.flush()
    handler.server.released.wait(5)


def crawl(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then."""
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


def endless(handler: BaseHTTPRequestHandler) -> None:
    """More than allowed, without saying how much."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(CONTENT)
    except OSError:
        return


def wrong(handler: BaseHTTPRequestHandler) -> None:
    send(handler, OTHER)


def ignorant(handler: BaseHTTPRequestHandler) -> None:
    """Knows no ranges."""
    send(handler, CONTENT)


def changed(handler: BaseHTTPRequestHandler) -> None:
    """Another file since, and the server says so."""
    send(handler, OTHER, ETag='"two"')


def changed_in_secret(handler: BaseHTTPRequestHandler) -> None:
    """Continues with another file whatever If-Range says."""
    place = f"bytes {CUT}-{len(OTHER) - 1}/{len(OTHER)}"
    send(handler, OTHER[CUT:], 206, Content_Range=place, ETag='"two"')


def misplaced(handler: BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT[1:], 206, Content_Range=f"bytes 1-{len(CONTENT) - 1}/{len(CONTENT)}")


def packed(handler: BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT, Content_Encoding="gzip")


def slam(handler: BaseHTTPRequestHandler) -> None:
    """No answer at all."""
    handler.close_connection = True


def code(number: int, **headers: str) -> Answer:
    return lambda handler: send(handler, b"", number, **headers)


def assert_then_succeeds(server: Server, path: Path) -> None:
    """A good server gives the file after whatever was before, and nothing else is left."""
    server.answers = []
    assert download(server.url, path, WANTED, QUICK) == WANTED
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_file_arrives_whole_with_its_stamp(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = tmp_path / "new" / "a.bin"
    found = download(server.url, path, manners=QUICK, report=lambda *at: seen.append(at))
    assert found == WANTED == stamp(path)
    assert seen[-1] == (102_400, 102_400)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (stall, "interrupted (timed out) (attempts: 1); try again later"),
        (crawl, "bytes in 0 s"),
        (cut, "the connection ended after 70000 of 102400 bytes"),
        (too_long, "refused, it has 102410 bytes or more, expected 102400"),
        (too_short, "refused, it has 102390 bytes or more, expected 102400"),
        (endless, "bytes or more, allowed are 200000"),
        (wrong, f"refused, its sha256 is {hashlib.sha256(OTHER).hexdigest()}, expected"),
        (packed, "the server sends it packed"),
        (misplaced, "another part than asked for"),
        (slam, "no answer (Remote end closed connection without response)"),
        (code(404), "the server answers 404 Not Found; the file may have moved"),
        (code(500), "the server answers 500 Internal Server Error (attempts: 1)"),
        (code(416), "416"),
        (code(302, Location="ftp://127.0.0.1/a"), "ftp://127.0.0.1/a: refused, not an https:"),
        (code(302, Location="http://example.org/a"), "refused, not an https: address"),
        (code(302, Location="file:///etc/hostname"), "'file:///etc/hostname' is not allowed"),
        (code(200, Content_Length="-4"), "refused, its length is '-4'"),
    ],
)
def test_bad_servers_leave_no_file_and_spoil_nothing(
    server: Server, tmp_path: Path, answer: Answer, message: str
) -> None:
    path = tmp_path / "a.bin"
    server.answers = [answer]
    with pytest.raises((ConnectionError, ValueError)) as error:
        download(server.url, path, WANTED, QUICK)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert server.url in str(error.value) or "refused, not an https" in str(error.value)
    assert not path.exists()
    assert_then_succeeds(server, path)


def test_redirections_are_followed(server: Server, tmp_path: Path) -> None:
    server.answers = [code(302, Location="/elsewhere.bin")]
    assert download(server.url, tmp_path / "a.bin", WANTED, QUICK) == WANTED
    assert server.paths == ["/weights.bin", "/elsewhere.bin"]


def test_a_length_that_lies_is_noticed_without_knowing_the_file(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [too_long]
    with pytest.raises(ConnectionError, match="ended after 102400 of 102410 bytes"):
        download(server.url, tmp_path / "a.bin", manners=QUICK)
    server.answers = [too_short]  # so that the client stops early: only a hash can tell
    found = download(server.url, tmp_path / "a.bin", manners=QUICK)
    assert found.size == 102_390


def test_a_file_of_before_stays_until_the_new_one_is_whole(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    server.answers = [wrong]
    with pytest.raises(ValueError, match="refused"):
        download(server.url, path, WANTED, QUICK)
    assert path.read_bytes() == b"old"
    assert_then_succeeds(server, path)


def test_a_full_disk_is_named(server: Server, tmp_path: Path) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, old[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/\.a\.bin\.part'"):
            download(server.url, tmp_path / "a.bin", WANTED, QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert_then_succeeds(server, tmp_path / "a.bin")
    assert server.requests[1]["Range"].startswith("bytes=")


def test_it_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    server.answers = [cut]
    assert download(server.url, path, WANTED, Manners(**{**vars(QUICK), "attempts": 2})) == WANTED
    assert "Range" not in server.requests[0]
    assert server.requests[1]["Range"] == "bytes=70000-"
    assert server.requests[1]["If-Range"] == '"one"'
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        ([ignorant], 2),
        ([changed_in_secret, good], 3),
        ([misplaced, good], 3),
        ([code(416), good], 3),
        ([code(503), good], 3),
    ],
)
def test_what_cannot_be_continued_is_begun_anew(
    server: Server, tmp_path: Path, answers: list[Answer], requests: int
) -> None:
    server.answers = [cut, *answers]
    patient = Manners(**{**vars(QUICK), "attempts": 3})
    assert download(server.url, tmp_path / "a.bin", WANTED, patient) == WANTED
    assert len(server.requests) == requests
    assert list(tmp_path.iterdir()) == [tmp_path / "a.bin"]


def test_two_versions_are_never_mixed(server: Server, tmp_path: Path) -> None:
    """Nobody knows the hash here, so nothing but the tag can tell."""
    server.answers = [cut, changed]
    patient = Manners(**{**vars(QUICK), "attempts": 2})
    found = download(server.url, tmp_path / "a.bin", manners=patient)
    assert found.sha256 == hashlib.sha256(OTHER).hexdigest()


@pytest.mark.parametrize("tag", ['W/"one"', None])
def test_without_a_strong_tag_it_begins_anew(
    server: Server, tmp_path: Path, tag: str | None
) -> None:
    def weak(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if tag is not None:
            handler.send_header("ETag", tag)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:CUT])

    server.answers = [weak]
    download(server.url, tmp_path / "a.bin", WANTED, Manners(**{**vars(QUICK), "attempts": 2}))
    assert "Range" not in server.requests[1]


def test_a_part_of_another_address_is_not_continued(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    server.answers = [cut]
    with pytest.raises(ConnectionError):
        download(f"{server.url}?old", path, WANTED, QUICK)
    assert len(list(tmp_path.iterdir())) == 2  # part and note
    assert_then_succeeds(server, path)
    assert "Range" not in server.requests[1]


def test_it_goes_through_the_proxy_of_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/weights.bin"))
    monkeypatch.setenv("no_proxy", "")
    download("http://localhost:9/far.bin", tmp_path / "a.bin", WANTED, QUICK)
    assert server.paths == ["http://localhost:9/far.bin"]


@pytest.mark.parametrize("url", ["http://127.0.0.1/a", "file:///etc/hostname", "a", "ftp://h/a"])
def test_only_https_is_taken(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="refused, not an https: address"):
        download(url, tmp_path / "a.bin")


def test_only_this_machine_may_be_asked_without_https(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="refused, not an https: address"):
        download("http://example.org/a", tmp_path / "a.bin", manners=QUICK)


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9/a: no connection \(.*refused\)"):
        download("http://127.0.0.1:9/a", tmp_path / "a.bin", manners=QUICK)

"""One file over HTTPS: resumed after interruptions, checked, and there whole or not at all.

Of the libraries that fetch files, pooch and torch.hub start anew after an interruption, and that
of the Hugging Face hub, which resumes, does not ask whether the file is still the same one.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from engine.fileio import write_json

CHUNK = 1 << 16  # bytes
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PASSING = (408, 429, 500, 502, 503, 504)  # answers that another attempt may not get
RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

Report = Callable[[int, int | None], None]  # bytes there, bytes in all where known


class Stamp(NamedTuple):
    """What tells a file from others; None is unknown."""

    sha256: str | None = None
    size: int | None = None  # bytes

    def fault(self, found: "Stamp") -> str:
        """How a file differs from this one; empty where it does not."""
        for name, wanted, got in zip(self._fields, self, found, strict=True):
            if wanted is not None and got != wanted:
                return f"its {name} is {got}, expected {wanted}"
        return ""


UNKNOWN = Stamp()


@dataclass(frozen=True)
class Manners:
    """How patient a download is, and what it takes.

    Args:
        timeout: Seconds without a byte, or on average below `least_rate`, that end an attempt.
        least_rate: Bytes a second.
        attempts: How often it tries, going on where the one before ended.
        pause: Seconds before the second attempt; twice as long before each further one.
        limit: Bytes of the largest file.
        loopback_http: Take http: addresses of this very machine, which tests serve.
    """

    timeout: float = 30.0
    least_rate: float = 1024.0
    attempts: int = 4
    pause: float = 1.0
    limit: int = 256 << 20
    loopback_http: bool = False


class _InterruptionError(ConnectionError):
    """Another attempt may succeed."""


def _silent(*_: int | None) -> None:
    """Tell nobody of the progress."""


def stamp(path: Path) -> Stamp:
    """Hash and size of a file."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
        return Stamp(digest.hexdigest(), stream.tell())


def download(
    url: str,
    path: Path,
    wanted: Stamp = UNKNOWN,
    manners: Manners = Manners(),
    report: Report = _silent,
) -> Stamp:
    """Fetch `url` to `path`, through the proxies that the environment names.

    What arrived of a file stays beside `path` as `.<name>.part`, and the next call goes on with it
    where the server says that it still has the same file. One process at a time, please.

    Args:
        url: https: address; redirections must lead to such ones too.
        path: Where to; has the file of before, or none, until all is there and checked.
        wanted: What the file must be.
        manners: Patience and limits.
        report: Is told of the progress.

    Returns:
        What the file is.

    Raises:
        ConnectionError: the server refuses, or every attempt was interrupted.
        OSError: it cannot be written.
        ValueError: no https: address, a file too large, or another one than wanted.
    """
    _check_address(url, manners)
    part = path.with_name(f".{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, manners.attempts + 1):
        try:
            _transfer(url, part, wanted, manners, report)
            break
        except _InterruptionError as error:
            if attempt == manners.attempts:
                why = f"{url}: {error} (attempts: {attempt}); try again later"
                raise ConnectionError(why) from error
            time.sleep(manners.pause * 2 ** (attempt - 1))
        except ConnectionError:
            raise
        except OSError as error:
            error.filename = error.filename or str(part)  # a full disk does not say which file
            raise
    found = stamp(part)
    if fault := wanted.fault(found):
        _forget(part)
        raise ValueError(f"{url}: refused, {fault}; nothing was kept")
    part.replace(path)
    _forget(part)
    return found


def _forget(part: Path) -> None:
    """Remove what arrived, and the note about it."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    """File that says of which version of which address `part` is the start."""
    return part.with_name(f"{part.name}.json")


def _check_address(url: str, manners: Manners) -> None:
    address = urlsplit(url)
    local = address.scheme == "http" and address.hostname in LOOPBACK
    if address.scheme != "https" and not (local and manners.loopback_http):
        raise ValueError(f"{url}: refused, not an https: address")


def _transfer(url: str, part: Path, wanted: Stamp, manners: Manners, report: Report) -> None:
    """One attempt: append to `part` what it lacks, or begin anew.

    Raises:
        _InterruptionError: not all of it came; what did is in `part` where it can be gone on with.
    """
    validator = _validator_of(part, url)
    held = part.stat().st_size if validator else 0
    with _open(url, held, validator, part, manners) as response:
        done, total = _place(response, held, validator, part)
        _check_size(url, total, wanted, manners)
        if not done:
            _forget(part)
        write_json(_note(part), {"url": url, "validator": _validator(response.headers)})
        with part.open("ab" if done else "wb") as stream:
            for chunk in _chunks(response, manners):
                done += stream.write(chunk)
                _check_size(url, done, UNKNOWN, manners, part)
                report(done, total)
    if total is not None and done < total:
        raise _InterruptionError(f"the connection ended after {done} of {total} bytes")


def _validator_of(part: Path, url: str) -> str | None:
    """What names the version of `url` that `part` is the start of; None where nothing does."""
    try:
        note = json.loads(_note(part).read_text())
    except (OSError, ValueError):
        return None
    return note["validator"] if part.is_file() and note["url"] == url else None


def _validator(headers: HTTPMessage) -> str | None:
    """What If-Range may hold: a strong ETag, or where there is no ETag the date of the file."""
    tag = headers.get("ETag")
    if tag is None:
        return headers.get("Last-Modified")
    return None if tag.startswith("W/") else tag


class _Redirections(HTTPRedirectHandler):
    """Follows redirections to addresses that could have been given in the first place."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        """The request for the new address.

        Raises:
            ValueError: it leads away from https.
        """
        _check_address(newurl, self.manners)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, held: int, validator: str | None, part: Path, manners: Manners) -> HTTPResponse:
    """The answer to a request for what lies behind the first `held` bytes.

    Raises:
        ConnectionError: the server says no.
        _InterruptionError: it does not answer, or not now.
    """
    headers = {"User-Agent": "lcnet-vision", "Accept-Encoding": "identity"}
    if held and validator:
        headers |= {"Range": f"bytes={held}-", "If-Range": validator}
    opener = build_opener(_Redirections(manners))
    try:
        response: HTTPResponse = opener.open(Request(url, headers=headers), timeout=manners.timeout)
    except HTTPError as error:
        error.close()
        what = f"the server answers {error.code} {' '.join(str(error.reason).split())}"
        if error.code == 416:  # nothing lies behind what we hold
            _forget(part)
        if error.code == 416 or error.code in PASSING:
            raise _InterruptionError(what) from None
        raise ConnectionError(f"{url}: {what}; the file may have moved") from None
    except URLError as error:
        raise _InterruptionError(f"no connection ({error.reason})") from None
    except (OSError, HTTPException) as error:
        raise _InterruptionError(f"no answer ({_words(error)})") from None
    return response


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _place(
    response: HTTPResponse, held: int, validator: str | None, part: Path
) -> tuple[int, int | None]:
    """Where in the file the answer begins, and the length of the file where known.

    Raises:
        _InterruptionError: it is a part that does not continue what we hold.
        ValueError: it is packed, or its length is no number.
    """
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ValueError(f"{response.url}: refused, the server sends it packed")
    if response.status == 206:
        part_of = RANGE.fullmatch(response.headers.get("Content-Range", ""))
        same = _validator(response.headers) in (None, validator)
        if not held or not same or part_of is None or int(part_of[1]) != held:
            _forget(part)
            raise _InterruptionError("the server sends another part than asked for")
        return held, int(part_of[3])
    length = response.headers.get("Content-Length")
    if length is not None and not length.isdecimal():
        raise ValueError(f"{response.url}: refused, its length is {length!r}")
    return 0, None if length is None else int(length)


def _check_size(
    url: str, size: int | None, wanted: Stamp, manners: Manners, part: Path | None = None
) -> None:
    """ValueError where a file of `size` bytes is not taken; `part` of it is removed."""
    if size is None or (size <= manners.limit and size == (wanted.size or size)):
        return
    if part is not None:
        _forget(part)
    allowed = f"expected {wanted.size}" if wanted.size else f"allowed are {manners.limit}"
    raise ValueError(f"{url}: refused, it has {size} bytes or more, {allowed}")


def _chunks(response: HTTPResponse, manners: Manners) -> Iterator[bytes]:
    """The body.

    Raises:
        _InterruptionError: it stalls, crawls or breaks off.
    """
    begun, done = time.monotonic(), 0
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, HTTPException) as error:
            raise _InterruptionError(f"interrupted ({_words(error)})") from None
        if not chunk:
            return
        yield chunk
        done += len(chunk)
        elapsed = time.monotonic() - begun
        if elapsed > manners.timeout and done < manners.least_rate * elapsed:
            raise _InterruptionError(f"only {done} bytes in {elapsed:.0f} s")

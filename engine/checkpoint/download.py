"""One file over HTTPS, within limits: checked by pooch, and there whole or not at all."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import HTTPError

CHUNK = 1 << 16  # bytes
HEADERS = {"User-Agent": "lcnet-vision", "Accept-Encoding": "identity"}
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PASSING = (408, 429, 500, 502, 503, 504)  # answers that another attempt may not get
INTERRUPTED = (requests.ConnectionError, requests.Timeout, HTTPError)

Report = Callable[[int, int | None], None]  # bytes there, bytes in all where known


@dataclass(frozen=True)
class Manners:
    """How patient a download is, and what it takes.

    Args:
        timeout: Seconds without a byte, or on average below `least_rate`, that end an attempt.
        least_rate: Bytes a second.
        attempts: How often it tries, from the start each time.
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


class _Session(requests.Session):
    """Asks https: addresses only, also where it is redirected."""

    def __init__(self, manners: Manners) -> None:
        super().__init__()
        self.manners = manners

    def get_adapter(self, url: str) -> BaseAdapter:
        address = urlsplit(url)
        local = address.scheme == "http" and address.hostname in LOOPBACK
        if address.scheme != "https" and not (local and self.manners.loopback_http):
            raise ValueError(f"{url} is not an https: address")
        return super().get_adapter(url)


def download(url: str, path: Path, sha256: str | None, manners: Manners, report: Report) -> None:
    """Have the file of `url` at `path`, through the proxies that the environment names.

    A file that is there already stays where it has the hash, or none is known.

    Args:
        url: https: address; redirections must lead to such ones too.
        path: Where to; has the file of before, or none, until all is there and checked.
        sha256: What the file must have.
        manners: Patience and limits.
        report: Is told of the progress.

    Raises:
        ConnectionError: the server refuses, or every attempt was interrupted.
        OSError: it cannot be written.
        ValueError: not an https: address, a file too large, or another one than wanted.
    """
    pooch.get_logger().setLevel("WARNING")  # the bar of `report` says enough
    downloader = partial(_patiently, manners=manners, report=report)
    try:
        pooch.retrieve(url, sha256, path.name, path.parent, downloader=downloader)
    except ValueError as error:
        raise ValueError(f"{url}: refused, {error}") from error
    except (requests.RequestException, HTTPError) as error:
        why = str(error).rstrip(".")
        raise ConnectionError(f"{url}: {why}; try again later, or see if it has moved") from error
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say which file
        raise


def _patiently(url: str, aside: str, _: object, manners: Manners, report: Report) -> None:
    """Fetch `url` to `aside`; what pooch calls a downloader."""
    for attempt in range(1, manners.attempts + 1):
        try:
            _transfer(url, Path(aside), manners, report)
            break
        except INTERRUPTED:
            if attempt == manners.attempts:
                raise
            time.sleep(manners.pause * 2 ** (attempt - 1))


def _transfer(url: str, aside: Path, manners: Manners, report: Report) -> None:
    """One attempt."""
    with (
        _Session(manners) as session,
        session.get(url, stream=True, timeout=manners.timeout, headers=HEADERS) as response,
        aside.open("wb") as stream,
    ):
        if response.status_code in PASSING:
            raise requests.ConnectionError(f"the server answers {response.status_code}")
        response.raise_for_status()
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        begun, done = time.monotonic(), 0
        while chunk := response.raw.read1(CHUNK):
            done += stream.write(chunk)
            if max(done, total or 0) > manners.limit:
                size = max(done, total or 0)
                raise ValueError(f"it has {size} bytes or more, allowed are {manners.limit}")
            report(done, total)
            elapsed = time.monotonic() - begun
            if elapsed > manners.timeout and done < manners.least_rate * elapsed:
                raise requests.Timeout(f"only {done} bytes in {elapsed:.0f} s")

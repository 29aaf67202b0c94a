"""Downloads one file over HTTPS, within limits; pooch checks it and stores it complete."""

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
PASSING = (408, 429, 500, 502, 503, 504)  # HTTP statuses after which another attempt may work
INTERRUPTED = (requests.ConnectionError, requests.Timeout, HTTPError)

Report = Callable[[int, int | None], None]  # bytes received, total bytes if known


@dataclass(frozen=True)
class Manners:
    """Time-outs and limits of a download.

    Args:
        timeout: An attempt ends after this many seconds without a byte, or if it is slower than
            `least_rate` after that time.
        least_rate: Bytes per second, on average.
        attempts: Number of attempts; each starts from the beginning.
        pause: Seconds before the second attempt; doubled before each further one.
        limit: Largest size of a file in bytes.
        loopback_http: Accept http: addresses of this machine (for tests).
    """

    timeout: float = 30.0
    least_rate: float = 1024.0
    attempts: int = 4
    pause: float = 1.0
    limit: int = 256 << 20
    loopback_http: bool = False


class _Session(requests.Session):
    """Requests only https: addresses, also after a redirection."""

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
    """Download `url` to `path`, through the proxies that the environment names.

    An existing file is kept if it has the hash, or if no hash is known.

    Args:
        url: https: address; redirections must lead to https: addresses too.
        path: Where to write; not changed until the new file is complete and checked.
        sha256: Required hash of the file, or None.
        manners: Time-outs and limits.
        report: Called with the progress.

    Raises:
        ConnectionError: the server refuses, or every attempt was interrupted.
        OSError: the file cannot be written.
        ValueError: not an https: address, too large a file, or another hash.
    """
    pooch.get_logger().setLevel("WARNING")  # `report` shows the progress
    downloader = partial(_patiently, manners=manners, report=report)
    try:
        pooch.retrieve(url, sha256, path.name, path.parent, downloader=downloader)
    except ValueError as error:
        raise ValueError(f"{url}: refused, {error}") from error
    except (requests.RequestException, HTTPError) as error:
        why = str(error).rstrip(".")
        raise ConnectionError(
            f"{url}: {why}; try again later, or check whether the file has moved"
        ) from error
    except OSError as error:
        error.filename = error.filename or str(path)  # not set if the disk is full
        raise


def _patiently(url: str, aside: str, _: object, manners: Manners, report: Report) -> None:
    """Download `url` to `aside`, in several attempts (a downloader for pooch)."""
    for attempt in range(1, manners.attempts + 1):
        try:
            _transfer(url, Path(aside), manners, report)
            break
        except INTERRUPTED:
            if attempt == manners.attempts:
                raise
            time.sleep(manners.pause * 2 ** (attempt - 1))


def _transfer(url: str, aside: Path, manners: Manners, report: Report) -> None:
    """Download in one attempt."""
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
                raise ValueError(f"it has at least {size} bytes; the limit is {manners.limit}")
            report(done, total)
            elapsed = time.monotonic() - begun
            if elapsed > manners.timeout and done < manners.least_rate * elapsed:
                raise requests.Timeout(f"only {done} bytes in {elapsed:.0f} s")

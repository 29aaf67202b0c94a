"""Published checkpoints by name: downloaded once, checked, converted and cached."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch
from filelock import FileLock, Timeout
from mmengine.logging import print_log

from engine import config
from engine.checkpoint import checkpoint
from engine.checkpoint.download import Manners, download
from engine.checkpoint.foreign_weights import content
from engine.fileio import near, read_toml, write_json
from engine.progress import live_line
from engine.shipped_configs import config_folder
from engine.task import task_of

PREFIX = "zoo:"
CONFIGS = config_folder()
TABLE = CONFIGS / "zoo.toml"
COMMAND = "python tools/download_weights.py"
LONGEST_WAIT = 3600.0  # seconds to wait for another process that downloads the same file
MEGABYTE = 1e6


@dataclass(frozen=True)
class PublishedWeights:
    """A published weight file and its config; the fields are the keys of configs/zoo.toml."""

    name: str
    url: str
    source: str  # page of the publisher that lists it
    licence: str
    config: str  # file in configs/
    verified: bool  # whether this file was tested here and gave the published numbers
    options: Mapping[str, Any] = field(default_factory=dict)  # overrides of the config
    published: Mapping[str, float] = field(default_factory=dict)  # percent
    classes: tuple[str, ...] = ()  # if empty: those of the file, else of COCO, else numbers
    sha256: str | None = None

    @property
    def file(self) -> str:
        """Name of the published file."""
        return Path(urlsplit(self.url).path).name


def read_table(path: Path = TABLE) -> dict[str, PublishedWeights]:
    """The published files by name.

    Raises:
        ValueError: the file is not such a table.
    """
    return {name: _entry(name, row, path) for name, row in read_toml(path).items()}


def _entry(name: str, row: Mapping[str, Any], path: Path) -> PublishedWeights:
    known = [part.name for part in fields(PublishedWeights) if part.name != "name"]
    for key in row:
        if key not in known:
            raise ValueError(f"{path}: {name} has an unknown key {key!r}; {near(key, known)}")
    try:
        return PublishedWeights(name=name, **{**row, "classes": tuple(row.get("classes", ()))})
    except TypeError as error:
        raise ValueError(f"{path}: {name}: {error}") from error


def cache_folder() -> Path:
    """Folder of downloaded weights: $XDG_CACHE_HOME/lcnet-vision, by default in ~/.cache."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "lcnet-vision"


def is_offline() -> bool:
    """Whether LCNET_OFFLINE forbids network access."""
    return os.environ.get("LCNET_OFFLINE", "") not in ("", "0")


@dataclass(frozen=True)
class Zoo:
    """The table of published weights, and the cache folder.

    The folder has the published files, a checkpoint `<name>.pth` for each, and `zoo.lock.json`: the
    hashes of accepted files for which no hash is published.
    """

    table: Mapping[str, PublishedWeights] = field(default_factory=read_table)
    folder: Path = field(default_factory=cache_folder)
    offline: bool = field(default_factory=is_offline)
    manners: Manners = field(default_factory=Manners)

    def checkpoint(self, name: str, *, accept_unverified: bool = False) -> Path:
        """The converted checkpoint of a published file; it is downloaded if it is not cached.

        Args:
            name: A key of the table.
            accept_unverified: If no hash is known, accept the file and pin its hash.

        Raises:
            ConnectionError: the download failed.
            FileNotFoundError: offline, and the file is not cached.
            TimeoutError: another process has been downloading it for too long.
            ValueError: an unknown name, no known hash, or the file has another hash.
        """
        entry = self.entry(name)
        target = self.folder / f"{name}.pth"
        if self._is_current(entry, target):
            return target
        self._check_may_fetch(entry, accept_unverified)
        with _locked(self.folder / f".{name}.lock", name):
            if not self._is_current(entry, target):  # another process may have been faster
                self._make(entry, target)
        return target

    def entry(self, name: str) -> PublishedWeights:
        """The entry of a name; ValueError if the table does not have it."""
        if name not in self.table:
            raise ValueError(f"no published model is called {name!r}; {near(name, [*self.table])}")
        return self.table[name]

    def wanted(self, entry: PublishedWeights) -> str | None:
        """Required sha256 of the file: the published one, else the pinned one, else None."""
        pin = self._pins().get(entry.name, {})
        pinned: str | None = pin["sha256"] if pin.get("url") == entry.url else None
        return entry.sha256 or pinned

    @property
    def lock_file(self) -> Path:
        """File with the hashes of accepted files."""
        return self.folder / "zoo.lock.json"

    def _check_may_fetch(self, entry: PublishedWeights, accept_unverified: bool) -> None:
        wanted, raw = self.wanted(entry), self.folder / entry.file
        if self.offline and not raw.is_file():
            raise FileNotFoundError(
                f"{entry.name}: not in {self.folder}, and LCNET_OFFLINE is set; put "
                f"{entry.file} there ({entry.url}), or unset LCNET_OFFLINE"
            )
        if self.offline and wanted not in (None, pooch.file_hash(raw)):
            raise ValueError(
                f"{raw}: refused, its sha256 is not {wanted}; unset LCNET_OFFLINE to download it "
                "again"
            )
        if wanted is None and not accept_unverified:
            raise ValueError(
                f"{entry.name}: its publisher gives no hash, so the file cannot be checked; to "
                f"accept it once and pin its hash: {COMMAND} {entry.name} --accept-unverified"
            )

    def _is_current(self, entry: PublishedWeights, target: Path) -> bool:
        """Whether the cached checkpoint was made from the wanted file."""
        wanted = self.wanted(entry)
        if wanted is None or not target.is_file():
            return False
        try:
            return bool(checkpoint.read(target)["info"].get("sha256") == wanted)
        except ValueError:  # damaged, or of another format: it is converted again
            return False

    def _make(self, entry: PublishedWeights, target: Path) -> None:
        """Download, convert and pin; a refused file is deleted."""
        wanted, raw = self.wanted(entry), self.folder / entry.file
        with live_line() as bar:
            task = bar.add_task(entry.name, total=None, note="MB")
            download(
                entry.url, raw, wanted, self.manners,
                lambda done, total: bar.update(
                    task, completed=done / MEGABYTE, total=total and total / MEGABYTE
                ),
            )  # fmt: skip
        found = pooch.file_hash(raw)
        try:
            _convert(entry, raw, target, found)
        except ValueError:
            if wanted is None:
                raw.unlink(missing_ok=True)
            raise
        if wanted is None:
            self._pin(entry, found)

    def _pins(self) -> dict[str, dict[str, Any]]:
        """Accepted files by name."""
        try:
            pins = json.loads(self.lock_file.read_text(encoding="utf-8"))
            if all({"url", "sha256"} <= pin.keys() for pin in pins.values()):
                return dict(pins)
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError):
            pass
        raise ValueError(
            f"{self.lock_file}: damaged; restore it, or remove it and accept the files again"
        )

    def _pin(self, entry: PublishedWeights, found: str) -> None:
        with _locked(self.folder / ".zoo.lock", "the lock file"):
            pin = {"url": entry.url, "sha256": found}
            write_json(self.lock_file, {**self._pins(), entry.name: pin})


@contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock between processes inside the context.

    Raises:
        TimeoutError: another process holds it for too long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print_log(f"{what}: waiting for another process that downloads it", "current")
            lock.acquire(timeout=LONGEST_WAIT)
    except Timeout:
        raise TimeoutError(f"{path}: held by another process for {LONGEST_WAIT:.0f} s") from None
    try:
        yield
    finally:
        lock.release()


def _convert(entry: PublishedWeights, raw: Path, target: Path, found: str) -> None:
    """Convert a published file to a checkpoint.

    Raises:
        ValueError: not a weight file, or weights of the model are missing in it.
    """
    described = config.plain(config.load(CONFIGS / entry.config, entry.options).model)
    model: Any = checkpoint.build_model(described)
    fill = task_of(model).use("foreign_weights")
    foreign = fill(model, raw, entry.classes)
    if foreign.report.missing:
        raise ValueError(
            f"{raw}: refused, these are not the weights of {entry.name}; {foreign.report}"
        )
    info = {"source": entry.url, "licence": entry.licence, "sha256": found}
    checkpoint.save(target, content(model, described, foreign, info))


def local(path: Path | str) -> Path:
    """The path itself; for `zoo:NAME`, the checkpoint of that published model.

    Raises:
        As `Zoo.checkpoint`.
    """
    if not str(path).startswith(PREFIX):
        return Path(path)
    return Zoo().checkpoint(str(path).removeprefix(PREFIX))

"""constraints.txt pins all packages of a development installation to versions that fit."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest

packaging = pytest.importorskip("packaging")
from packaging.requirements import Requirement  # noqa: E402
from packaging.utils import canonicalize_name  # noqa: E402

ROOT = Path(__file__).parents[2]
LINES = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
]
PINS = {
    canonicalize_name(pin.name): pin for pin in LINES if pin.marker is None or pin.marker.evaluate()
}


def required(name: str, extras: set[str], seen: set[tuple[str, str]]) -> Iterator[Requirement]:
    """All direct and indirect requirements of an installed package."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:  # locked, but not installed here
        return
    for line in map(Requirement, lines):
        wanted = line.marker is None or any(
            line.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        key = (canonicalize_name(line.name), ",".join(sorted(line.extras)))
        if wanted and line.name != "lcnet-vision":
            yield line
            if key not in seen:
                seen.add(key)
                yield from required(line.name, set(line.extras), seen)


def test_every_line_pins_one_version_and_names_no_server() -> None:
    for pin in LINES:
        assert [spec.operator for spec in pin.specifier] == ["=="], pin
        assert pin.url is None, pin


def test_all_that_is_needed_is_pinned_to_a_version_that_fits() -> None:
    found = list(required("lcnet-vision", {"dev"}, set()))
    assert len({line.name for line in found}) > 60
    lacking = {line.name for line in found if canonicalize_name(line.name) not in PINS}
    assert lacking == set()
    for line in found:
        (pin,) = PINS[canonicalize_name(line.name)].specifier
        assert line.specifier.contains(pin.version, prereleases=True), line

"""Fetch published weights by name: python tools/download_weights.py NAME... ; no name lists them.

What was fetched is used by `zoo:NAME` wherever a command takes a checkpoint.
"""

import argparse

from rich.console import Console
from rich.table import Table

from engine import cli
from engine.checkpoint.zoo import PublishedWeights, Zoo


def main(arguments: argparse.Namespace) -> None:
    """Fetch, or list."""
    zoo = Zoo()
    if not arguments.names:
        Console().print(listing(zoo))
        return
    for entry in [zoo.entry(name) for name in arguments.names]:
        pinned = zoo.wanted(entry) is not None
        path = zoo.checkpoint(entry.name, accept_unverified=arguments.accept_unverified)
        print(f"{path}: {describe(entry)}")
        if not pinned:
            print(f"{zoo.lock_file}: pinned sha256 {zoo.wanted(entry)}")


def describe(entry: PublishedWeights) -> str:
    """What it is in a line."""
    checked = "" if entry.verified else " (not verified here)"
    return f"{entry.licence}, listed by {entry.source}; published {numbers(entry)}{checked}"


def numbers(entry: PublishedWeights) -> str:
    """The published numbers."""
    return ", ".join(f"{name} {value:g}" for name, value in entry.published.items()) or "no number"


def listing(zoo: Zoo) -> Table:
    """All names."""
    table = Table("name", "published, percent", "config", "hash")
    for entry in zoo.table.values():
        pinned = "pinned" if zoo.wanted(entry) else "none"
        known = pinned if entry.sha256 is None else "published"
        table.add_row(entry.name, numbers(entry), entry.config, known)
    return table


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    options.add_argument("names", nargs="*", metavar="NAME", help="as the list names them")
    options.add_argument(
        "--accept-unverified",
        action="store_true",
        help="take files whose hash nobody publishes, and pin what they are",
    )
    cli.run(main, options)

"""Download published weights: python tools/download_weights.py NAME... ; without NAME, list them.

All commands take the downloaded weights as zoo:NAME in place of a checkpoint.
"""

import argparse

from rich.console import Console
from rich.table import Table

from engine import cli
from engine.checkpoint.zoo import PublishedWeights, Zoo


def main(arguments: argparse.Namespace) -> None:
    """Download, or list."""
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
    """Licence, source and published numbers in one line."""
    checked = "" if entry.verified else " (not verified here)"
    return f"{entry.licence}, listed by {entry.source}; published {numbers(entry)}{checked}"


def numbers(entry: PublishedWeights) -> str:
    """The published numbers."""
    return ", ".join(f"{name} {value:g}" for name, value in entry.published.items()) or "no number"


def listing(zoo: Zoo) -> Table:
    """A table of all published weights."""
    table = Table("name", "published, percent", "config", "hash")
    for entry in zoo.table.values():
        pinned = "pinned" if zoo.wanted(entry) else "none"
        known = pinned if entry.sha256 is None else "published"
        table.add_row(entry.name, numbers(entry), entry.config, known)
    return table


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    add("names", nargs="*", metavar="NAME", help="names from the list")
    add(
        "--accept-unverified",
        action="store_true",
        help="accept files without published hash, pin it",
    )
    cli.run(main, options)

"""List published classifiers: python tools/list_models.py [NAME...]."""

import argparse
from fnmatch import fnmatch

from rich.console import Console
from rich.table import Table

from classification.factory import ENTRIES, published_cost
from engine import cli
from engine.checkpoint.zoo import read_table


def main(arguments: argparse.Namespace) -> None:
    """Compute the costs and print the table."""
    names = [name for name in ENTRIES if any(fnmatch(name, p) for p in arguments.names)]
    if not names:
        raise ValueError(
            f"no model matches {' or '.join(arguments.names)}; without a name, all are listed"
        )
    title = "1000 classes, 224 pixels; published accuracy on ImageNet-1k val, percent"
    table = Table("name", title=title)
    for column in ("parameters, M", "MACs, M", "top-1", "top-5"):
        table.add_column(column, justify="right")
    published = {name: entry.published for name, entry in read_table().items()}
    for name in names:
        accuracy, cost = published[name], published_cost(name)
        millions = (f"{cost.parameters / 1e6:.2f}", f"{cost.macs / 1e6:.1f}")
        table.add_row(name, *millions, f"{accuracy['top1']:.2f}", f"{accuracy['top5']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    options.add_argument(
        "names", nargs="*", default=["*"], help="names or patterns, e.g. 'pplcnet*' (default: all)"
    )
    cli.run(main, options)

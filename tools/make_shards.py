"""Pack a classifier's images into tar shards: python tools/make_shards.py DATA --out DIR."""

import argparse
from pathlib import Path

from classification.data.shard_writer import write_shards
from engine import cli


def main(arguments: argparse.Namespace) -> None:
    """Write the shards of the given splits."""
    for split in arguments.splits:
        counts = write_shards(
            arguments.data, split, arguments.out, per_shard=arguments.per_shard, seed=arguments.seed
        )
        print(f"{arguments.out / split}: {sum(counts.values())} images in {len(counts)} shards")


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    add("data", type=Path, help="class folders or list files, as for training")
    add("--out", type=Path, required=True, help="folder to create")
    add("--splits", nargs="+", default=["train"], help="default: train")
    add("--per-shard", type=int, default=1000, help="images per shard (default: 1000)")
    add("--seed", type=int, default=0, help="seed of the image order")
    cli.run(main, options)

"""Writes tar shards of a split, for `shards.ImageShards`."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classification.data.image_lists import Listing, find_images
from classification.data.shards import FORMAT, INDEX
from engine.fileio import write_json, written_whole


def write_shards(
    data_root: Path, split: str, out: Path, *, per_shard: int, seed: int
) -> dict[str, int]:
    """Write a split's images into `out/<split>/` in random order, `per_shard` images per tar.

    Files are not changed. The same images and seed give the same bytes. The index is written last,
    so a folder that has one is complete.

    Returns:
        Number of images by name of shard.

    Raises:
        FileNotFoundError: the split or an image is missing.
        ValueError: shards exist already, or `per_shard` is below 1.
    """
    folder = out / split
    if per_shard < 1:
        raise ValueError(f"expected 1 or more images per shard, got {per_shard}")
    if (folder / INDEX).exists():
        raise ValueError(f"{folder / INDEX}: shards exist already; give another --out")
    listing = find_images(data_root, split)
    order = np.random.default_rng(seed).permutation(len(listing.paths))  # (N,)
    counts = {}
    for number, start in enumerate(range(0, len(order), per_shard)):
        name = f"{split}-{number:06}.tar"
        part = order[start : start + per_shard]
        _write_shard(folder / name, data_root, listing, part.tolist())
        counts[name] = len(part)
    index = {"format": FORMAT, "classes": list(listing.classes), "shards": counts}
    write_json(folder / INDEX, index)
    return counts


def _write_shard(path: Path, data_root: Path, listing: Listing, images: Sequence[int]) -> None:
    with written_whole(path) as aside, tarfile.open(aside, "w") as tar:
        for image in images:
            source = data_root / listing.paths[image].decode(errors="surrogateescape")
            _add(tar, f"{image:09}{source.suffix.lower()}", source.read_bytes())
            _add(tar, f"{image:09}.cls", str(listing.labels[image]).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # without owner, time 0
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))

"""Loading images to train a classifier: python benchmarks/load_speed.py FOLDER.

Loads JPEG files as normalised float batches by this project's data set and preprocessing, by
torchvision's v2 transforms (decoding with Pillow, and with torchvision itself) and by timm's loader
(normalising in the transform, and by its prefetcher), all with the same augmentation. One thread,
no workers. The loaders take turns, batch by batch, on the same files. Processor time is measured,
so that other work on the machine matters little.
"""

import argparse
import importlib.util
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.logging import MMLogger
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2
from train_speed import Spread, machine, spread

from classification.data.dataset import ImageFolder
from classification.data.transforms import (
    AutoAugment,
    ColorJitter,
    HorizontalFlip,
    RandomResizedCrop,
)
from engine import cli
from engine.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess, collate
from engine.fileio import write_json

JITTER = 0.4  # of brightness, contrast and saturation
AUGMENTS = ("crop", "colour", "auto")  # crop and flip alone, with colours, with AutoAugment
SUFFIXES = {".jpg", ".jpeg"}
WARM_UP = 1  # uncounted rounds
Loader = Callable[[Sequence[Path]], DataLoader[Any]]


class Files(Dataset[tuple[Tensor, int]]):
    """Files read by a function and changed by transforms, as in torchvision's own data sets."""

    def __init__(
        self, files: Sequence[Path], read: Callable[[Path], Any], transform: Callable[[Any], Tensor]
    ) -> None:
        self.files, self.read, self.transform = files, read, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.read(self.files[index])), 0


class Ours(DataLoader[Any]):
    """This project's loader with the preprocessing that its models do."""

    def __init__(self, files: Sequence[Path], augment: str, size: int, batch: int) -> None:
        transforms: list[Any] = [RandomResizedCrop((size, size)), HorizontalFlip(p=0.5)]
        if augment == "colour":
            transforms.append(ColorJitter(*[(1 - JITTER, 1 + JITTER)] * 3, hue=0, p=1.0))
        if augment == "auto":
            transforms.append(AutoAugment())
        self.folder = tempfile.TemporaryDirectory()  # exists as long as the loader
        root, home = Path(self.folder.name), Path(os.path.commonpath([p.parent for p in files]))
        (root / "images").symlink_to(home.resolve())
        lines = (f"images/{p.relative_to(home)} {n % 2}\n" for n, p in enumerate(files))
        (root / "train_list.txt").write_text("".join(lines))
        data = ImageFolder(root, transforms=transforms, training=True)
        super().__init__(data, batch_size=batch, collate_fn=collate)
        self.prepare = Preprocess(size=None)

    def __iter__(self) -> Iterator[Any]:
        return (self.prepare(batch, True)["images"] for batch in super().__iter__())


def by_torchvision(
    files: Sequence[Path], augment: str, size: int, batch: int, *, pillow: bool
) -> DataLoader[Any]:
    """torchvision's v2 transforms after Pillow's or torchvision's decoder."""
    extra = {
        "crop": [],
        "colour": [v2.ColorJitter(JITTER, JITTER, JITTER)],
        "auto": [v2.AutoAugment()],
    }[augment]
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size),
            v2.RandomHorizontalFlip(),
            *extra,
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    read = read_by_pillow if pillow else read_by_torchvision
    return DataLoader(Files(files, read, transform), batch_size=batch)


def read_by_pillow(path: Path) -> Image.Image:
    """RGB picture."""
    return Image.open(path).convert("RGB")


def read_by_torchvision(path: Path) -> Tensor:
    """RGB picture (3, H, W) uint8."""
    return decode_image(str(path), mode=ImageReadMode.RGB)


class Reader(list[tuple[Path, int]]):
    """A list of files, as timm's data set expects it."""


def by_timm(
    files: Sequence[Path], augment: str, size: int, batch: int, *, prefetcher: bool
) -> DataLoader[Any]:
    """timm's data set and loader; with `prefetcher`, whole batches are normalised."""
    from timm.data import ImageDataset, create_loader

    return create_loader(
        ImageDataset("", reader=Reader((path, 0) for path in files)),
        input_size=(3, size, size),
        batch_size=batch,
        is_training=True,
        color_jitter=JITTER if augment == "colour" else 0.0,
        auto_augment="original" if augment == "auto" else None,
        interpolation="bilinear",
        num_workers=0,
        persistent_workers=False,
        use_prefetcher=prefetcher,
        device=torch.device("cpu"),
    )


def loaders(augment: str, size: int, batch: int) -> dict[str, Loader]:
    """Function of each worker that makes a loader of files."""
    made: dict[str, Any] = {
        "ours": Ours,
        "torchvision v2, Pillow": partial(by_torchvision, pillow=True),
        "torchvision v2, decode_image": partial(by_torchvision, pillow=False),
    }
    if importlib.util.find_spec("timm"):
        made["timm"] = partial(by_timm, prefetcher=False)
        made["timm, prefetcher"] = partial(by_timm, prefetcher=True)
    return {
        name: partial(make, augment=augment, size=size, batch=batch) for name, make in made.items()
    }


def seconds(make: Loader, files: Sequence[Path], size: int) -> float:
    """Processor time in which a loader makes a batch of `files`.

    Raises ValueError if the batch has a wrong shape or type.
    """
    loader = make(files)
    start = time.process_time()
    (batch,) = loader
    taken = time.process_time() - start
    images = batch[0] if isinstance(batch, list | tuple) else batch  # (B, 3, size, size)
    if images.shape != (len(files), 3, size, size) or images.dtype != torch.float32:
        raise ValueError(f"the loader made a batch of {tuple(images.shape)} {images.dtype}")
    return taken


def measure(
    workers: dict[str, Loader], files: Sequence[Path], batch: int, rounds: int, size: int
) -> dict[str, list[float]]:
    """Images per second of each worker in each of `rounds`; each round starts with another one."""
    names = list(workers)
    rates: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(WARM_UP + rounds):
        some = [files[(turn * batch + i) % len(files)] for i in range(batch)]
        for path in some:
            path.read_bytes()  # into the page cache, so that no worker waits for the disk
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            rates[name].append(batch / seconds(workers[name], some, size))
    return {name: values[WARM_UP:] for name, values in rates.items()}


def find_jpegs(folder: Path) -> list[Path]:
    """JPEG files below a folder, in random order.

    Raises FileNotFoundError if there is none.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{folder}: no JPEG file in it; give a folder of images")
    random.Random(0).shuffle(files)
    return files


def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    MMLogger.get_current_instance().setLevel("WARNING")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    files = find_jpegs(arguments.folder)
    sides = np.median([Image.open(path).size for path in files[:100]], axis=0).astype(int)
    print(machine())
    print(
        f"{len(files)} JPEG files, median {sides[0]} x {sides[1]}, to {arguments.size} pixels, "
        f"batches of {arguments.batch}, {arguments.rounds} rounds; images per second of one core, "
        "median [quartiles]"
    )
    found: dict[str, dict[str, Spread]] = {}
    for augment in arguments.augments:
        workers = loaders(augment, arguments.size, arguments.batch)
        rates = measure(workers, files, arguments.batch, arguments.rounds, arguments.size)
        found[augment] = {name: spread(values) for name, values in rates.items()}
        ours = found[augment]["ours"].median
        for name, rate in found[augment].items():
            print(f"{augment:8}{name:30} {rate!s:32} {ours / rate.median:.2f}")
    print("last column: ours / this one")
    if not importlib.util.find_spec("timm"):
        print("timm is not installed, so it is left out")
    if arguments.out is not None:
        numbers = {a: {k: v._asdict() for k, v in rows.items()} for a, rows in found.items()}
        options = {name: str(value) for name, value in vars(arguments).items()}
        write_json(arguments.out, {"machine": machine(), "options": options, "rates": numbers})


if __name__ == "__main__":
    command = cli.parser(__doc__ or "")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="JPEG files, at any depth")
    command.add_argument("--augments", nargs="+", choices=AUGMENTS, default=list(AUGMENTS))
    command.add_argument("--size", type=int, default=224, help="pixels of the input's side")
    command.add_argument("--batch", type=int, default=64, help="images per batch")
    command.add_argument("--rounds", type=int, default=15, help="batches of each loader")
    command.add_argument("--out", type=Path, metavar="JSON", help="write all numbers to this file")
    cli.run(main, command)

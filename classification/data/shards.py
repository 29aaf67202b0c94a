"""Streams images with one class each from tar shards, on disk or in object storage.

A split is a folder (or the start of a URL) with tar files and `shards.json`:

    {"format": "lcnet-vision-shards/1", "classes": [names], "shards": {"train-000000.tar": 1000}}

A tar holds, one after the other, pairs `KEY.jpg` (or another image suffix) and `KEY.cls`, the class
number in digits: webdataset's convention, so its own tools read it too. Nothing is unpacked to
disk: names inside a tar are never used as paths.
"""

import random
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from torch.utils.data import IterableDataset, get_worker_info

from classification.data.transforms import ImageAugment
from engine.data.augmentation import Transform
from engine.data.bad_images import BadImages, Policy
from engine.data.image_files import IMAGE_SUFFIXES
from engine.data.images import pixels_of
from engine.extras import require
from engine.fileio import parse_json

INDEX = "shards.json"
FORMAT = "lcnet-vision-shards/1"
MAX_MEMBER = 2**27  # bytes of a file inside a tar; photos are smaller
MAX_INDEX = 2**28  # bytes
_SHARD = re.compile(r"[\w][\w.-]*\.tar")  # without folder and scheme: it cannot lead elsewhere
_URL = re.compile(r"(https?|s3|gs|file)://")

Sample = dict[str, Any]


class ShardIndex(NamedTuple):
    """The content of `shards.json`."""

    classes: tuple[str, ...]
    names: tuple[str, ...]  # of the tar files
    counts: tuple[int, ...]  # images in each


class Raw(NamedTuple):
    """An image as stored in a shard."""

    number: int  # in the split
    image_id: str  # <shard>/<key>
    data: bytes
    label: int


@DATASETS.register_module()
class ImageShards(IterableDataset[Sample]):
    """A stream of the samples of `ImageFolder`, from tar shards (needs `webdataset`).

    In training it never ends: one pass over the shards follows the other, so it needs an
    iteration-based training loop and `sampler=None`. Seed and pass determine the order of shards;
    they are divided among processes and their workers, each of which shuffles images in a buffer.
    In evaluation it is one pass in order. The augmentation of an image depends on (seed, pass,
    image) alone, but its batch depends on the number of processes and workers.

    A resumed run reads what it had read, unless `train_cfg.fast_forward_on_resume=True`: then it
    begins with the first pass again.

    Args:
        data_root: Folder, or http(s), s3 or gs URL, that holds `<split>/shards.json`.
        split: Name of the split.
        transforms: albumentations transforms or their configs, applied in order.
        training: Shuffle, without end; else one pass in order.
        on_bad_image: What to do about an image that does not decode: "stop" raises ValueError;
            "skip" (in training only) logs it once and counts it in `num_bad_images`.
        seed: Seed of order and augmentation.
        buffer: Number of images from which a worker chooses the next one, about 0.1 MB each.

    Raises:
        FileNotFoundError: the index or a local shard is missing.
        ValueError: `webdataset` is missing, or index or shards are invalid.
    """

    def __init__(
        self,
        data_root: str | Path,
        *,
        split: str = "train",
        transforms: Sequence[Transform | dict[str, Any]] = (),
        training: bool = False,
        on_bad_image: Policy = "stop",
        seed: int = 0,
        buffer: int = 1000,
    ) -> None:
        self.root = _join(data_root, split)
        self._index = read_index(self.root)
        self._firsts = np.cumsum([0, *self._index.counts])  # number of each shard's first image
        self._bad = BadImages(on_bad_image, len(self), training=training)
        self._augment = ImageAugment(transforms)
        self._training = training
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # shared with workers
        self.seed = seed
        self.buffer = buffer
        self.rank, self.world_size = get_dist_info()
        print_log(
            f"{self.root}: {len(self)} images in {len(self._index.names)} shards, "
            f"{len(self._index.classes)} classes",
            logger="current",
        )

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names, for the metric and the checkpoint."""
        return {"classes": self._index.classes}

    @property
    def num_bad_images(self) -> int:
        """Number of different images that all workers skipped so far."""
        return self._bad.count

    def set_epoch(self, epoch: int) -> None:
        """Start the number of passes at `epoch`."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Number of images of one pass, over all processes and workers."""
        return int(self._firsts[-1])

    def __iter__(self) -> Iterator[Sample]:
        part, parts = self._part()
        number = int(self._epoch)
        while True:
            for raw in self._pass(number, part, parts):
                if (sample := self._sample(raw, number)) is not None:
                    yield sample
            if not self._training:
                return
            number += 1

    def _part(self) -> tuple[int, int]:
        """Index of this worker among all workers of all processes, and their number."""
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        parts = self.world_size * workers
        if self._training and parts > len(self._index.names):
            raise ValueError(
                f"{self.root}: {len(self._index.names)} shards are too few for {parts} readers "
                f"({self.world_size} processes of {workers}); write smaller shards, or lower "
                "train_dataloader.num_workers"
            )
        return self.rank * workers + number, parts

    def _pass(self, number: int, part: int, parts: int) -> Iterator[Raw]:
        """This worker's images of one pass."""
        shards = list(range(len(self._index.names)))
        if not self._training:
            return self._raw(shards[part::parts])
        shards = np.random.default_rng((self.seed, number)).permutation(len(shards)).tolist()
        source = random.Random(repr((self.seed, number, part)))
        mixed = require("webdataset").shuffle(self.buffer, initial=self.buffer, rng=source)
        return iter(mixed(self._raw(shards[part::parts])))

    def _raw(self, shards: Sequence[int]) -> Iterator[Raw]:
        """The images of some shards, as stored."""
        for shard in shards:
            name, first = self._index.names[shard], int(self._firsts[shard])
            count = 0
            for count, sample in enumerate(read_shard(_join(self.root, name)), 1):
                where = f"{name}/{sample['__key__']}"
                if count > self._index.counts[shard]:
                    break
                yield Raw(first + count - 1, where, *self._content(where, sample))
            if count != self._index.counts[shard]:
                raise ValueError(
                    f"{self.root}/{name}: holds {count} images or more, {INDEX} says "
                    f"{self._index.counts[shard]}; write the shards again"
                )

    def _content(self, where: str, sample: dict[str, Any]) -> tuple[bytes, int]:
        """Image file and class of one entry."""
        images = [key for key in sample if f".{key}" in IMAGE_SUFFIXES]
        text = sample.get("cls", b"")
        if len(images) != 1 or not re.fullmatch(rb"[0-9]{1,9}", text.strip()):
            raise ValueError(
                f"{self.root}/{where}: must be one image and a .cls file with its class number; "
                f"has {', '.join(key for key in sample if key[0] != '_') or 'neither'}"
            )
        label = int(text)
        if label >= len(self._index.classes):
            raise ValueError(
                f"{self.root}/{where}: class {label} is not one of the "
                f"{len(self._index.classes)} classes that {INDEX} has"
            )
        return sample[images[0]], label

    def _sample(self, raw: Raw, number: int) -> Sample | None:
        """The augmented sample of an image; None if it is skipped."""
        try:
            image = pixels_of(f"{self.root}/{raw.image_id}", raw.data)
        except ValueError as error:
            if self._bad.policy == "stop":
                raise
            self._bad.note(raw.number, error)
            return None
        image = self._augment(image, (self.seed, number, raw.number))
        targets = {"label": raw.label, "image_id": raw.image_id}
        return {"images": torch.from_numpy(image), "targets": targets}


def read_index(root: str) -> ShardIndex:
    """`shards.json` of a split, checked; local shards must exist.

    Raises:
        FileNotFoundError: the index or a local shard is missing.
        ValueError: it is not an index, or names a shard that is not a plain `.tar` beside it.
    """
    where = _join(root, INDEX)
    if not _URL.match(where) and not Path(where).is_file():
        raise FileNotFoundError(
            f"{where}: no such file; write shards with tools/make_shards.py DATA --out DIR"
        )
    with _open(where) as stream:
        text = stream.read(MAX_INDEX)
    content = parse_json(where, text)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{where}: is not an index of shards of the format {FORMAT}")
    classes, shards = content.get("classes"), content.get("shards")
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not isinstance(classes, list) or len(classes) < 2 or not named:
        raise ValueError(f"{where}: classes must be a list of two names or more")
    if not isinstance(shards, dict) or not shards:
        raise ValueError(f"{where}: shards must be names and numbers of images")
    for name, count in shards.items():
        if not _SHARD.fullmatch(name) or type(count) is not int or not 0 < count < 2**31:
            raise ValueError(
                f"{where}: shard {name!r} of {count!r} images; it must be the plain name of a .tar "
                "beside this file, and a number above 0"
            )
        if not _URL.match(root) and not Path(root, name).is_file():
            raise FileNotFoundError(f"{root}/{name}: no such shard, but {where} lists it")
    return ShardIndex(tuple(classes), tuple(shards), tuple(shards.values()))


def read_shard(where: str) -> Iterator[dict[str, Any]]:
    """The samples of a tar: `__key__`, and content by suffix. Other than regular files are ignored.

    Raises:
        ValueError: it is not an uncompressed tar, is truncated, or holds a huge file.
    """
    files = _files_of(where)
    return cast(Iterator[dict[str, Any]], require("webdataset").tariterators.group_by_keys(files))


def _files_of(where: str) -> Iterator[dict[str, Any]]:
    """Name and content of the files in a tar, in their order."""
    try:
        with _open(where) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if member.isreg() and (content := tar.extractfile(_of_size(where, member))):
                    yield {"fname": member.name, "data": content.read(), "__url__": where}
                tar.members = []  # type: ignore[attr-defined]  # it would keep all of them
    except tarfile.TarError as error:
        raise ValueError(f"{where}: not a tar that can be read ({error})") from error


def _of_size(where: str, member: tarfile.TarInfo) -> tarfile.TarInfo:
    if member.size > MAX_MEMBER:
        raise ValueError(
            f"{where}: {member.name!r} claims {member.size} bytes, more than the limit of "
            f"{MAX_MEMBER}"
        )
    return member


def _join(root: str | Path, name: str) -> str:
    return f"{str(root).rstrip('/')}/{name}"


def _open(where: str) -> Any:
    """A stream of a file, or, by webdataset, of a URL."""
    if _URL.match(where):
        return require("webdataset").gopen(where)
    return Path(where).open("rb")

"""Samples of a data set as stored, and as the model gets them in training.

The training views come from the same loader, transforms, preprocessing and random numbers as in a
training run: the first pictures of its first epoch, in order.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from numpy.typing import NDArray
from torch import Tensor

from engine.config import require
from engine.data.dataset import Objects, SeededData
from engine.data.preprocess import Preprocess
from engine.hooks.seeds import Clock
from engine.task import Task, task_of_config
from engine.types import Picture, Target


class View(NamedTuple):
    """A picture and its target in the pixels of the picture."""

    picture: Picture
    target: Target


class Pair(NamedTuple):
    """Two views of one sample."""

    name: str
    original: View
    pipeline: View


class DataTruth:
    """Counts and draws the targets of a task's data sets.

    Args:
        task: The task.
        classes: Class names by label.
    """

    def __init__(self, task: Task, classes: Sequence[str]) -> None:
        self.classes = classes
        self.counted = task.objects_counted
        self.objects: Callable[[Picture, Target], Objects] = task.use("objects")
        self._draw: Callable[[Picture, Target, Sequence[str]], Picture] = task.use("draw_truth")
        self.colours: NDArray[np.uint8] = task.use("colours")(classes)  # (K, 3), or (0, 3)

    def draw(self, view: View) -> Picture:
        """Copy of the picture with its target drawn on it."""
        return self._draw(view.picture, view.target, self.classes)


class Browser:
    """Gives the samples of one split of a config's data set.

    Args:
        cfg: Loaded config with the path of its data.
        split: "train": in the order and with the augmentation of a run with this seed. "val":
            images spread evenly over the split, as evaluation gets them.
        seed: Seed of the run.

    Raises:
        FileNotFoundError: the data does not exist.
        ValueError: the config has no loader of the split, or the data is a stream.
    """

    def __init__(self, cfg: Config, split: str, seed: int) -> None:
        require(cfg, ("model", f"{split}_dataloader"), "browsing")
        loader = deepcopy(cfg[f"{split}_dataloader"])
        loader.update(num_workers=0, persistent_workers=False)
        self.loader: Any = Runner.build_dataloader(loader, seed=seed)
        self.data: SeededData = self.loader.dataset
        if not isinstance(self.data, SeededData):
            raise ValueError(
                f"{split}_dataloader.dataset: {type(self.data).__name__} is a stream, whose images "
                "have no index; browse the folder that the shards were made from"
            )
        self.plain: SeededData = DATASETS.build({**loader.dataset, "transforms": []})
        self.classes: tuple[str, ...] = tuple(self.data.metainfo["classes"])
        self.task = task_of_config(cfg)
        self.truth = DataTruth(self.task, self.classes)
        self.data_root = Path(loader.dataset.data_root)
        self.split = split
        self.training = split == "train"
        self.seed = seed
        self.preprocess: Preprocess = MODELS.build(cfg.model.data_preprocessor)
        mix = cfg.model.get(self.task.mix_key) if self.training else None
        self.mix: Any = MODELS.build(mix) if mix else None

    def pairs(self, number: int) -> Iterator[Pair]:
        """The first `number` samples, or all samples of a smaller data set."""
        number = min(number, len(self.data))
        return islice(self._samples(number), number)

    def places(self, number: int, total: int) -> list[int]:
        """Indices of `number` of the first `total` samples, to show.

        In an unshuffled split they are spread evenly, because it is sorted by class or scene.
        """
        number = min(number, total)
        return [place if self.training else place * total // number for place in range(number)]

    def _samples(self, number: int) -> Iterator[Pair]:
        """At least `number` samples, in whole batches, which are mixed and resized together."""
        run, clock = self._run(), Clock()
        clock.before_train(run)
        clock.before_train_epoch(run)
        for run.iter, indices in enumerate(self._batches(number)):
            batch = self.loader.collate_fn([self.data[index] for index in indices])
            clock.before_train_iter(run)
            names = [str(target["image_id"]) for target in batch["targets"]]
            views = self._as_seen(batch)
            for index, name, view in zip(indices, names, views, strict=True):
                sample = self.plain[index]
                original = View(sample["images"].numpy(), sample["targets"])
                yield Pair(name, original, view)

    def _batches(self, number: int) -> Iterator[Sequence[int]]:
        """Indices batch by batch."""
        if self.training:
            self.loader.batch_sampler.drop_last = False  # show the last images too
            yield from self.loader.batch_sampler
            return
        chosen = [place * len(self.data) // number for place in range(number)]
        size = self.loader.batch_size
        yield from (chosen[start : start + size] for start in range(0, number, size))

    def _as_seen(self, batch: dict[str, Any]) -> list[View]:
        """The network input of a batch, as pictures."""
        batch = self.preprocess(batch, self.training)
        inputs, targets = batch["images"], batch["targets"]
        if self.mix is not None:
            inputs, targets = self.task.use("mix")(self.mix, inputs, targets, len(self.classes))
        return [
            View(_without_padding(picture, target, self.training), target)
            for picture, target in zip(self.preprocess.restored(inputs), targets, strict=True)
        ]

    def _run(self) -> Any:
        """The part of a runner that `Clock` reads."""
        model = SimpleNamespace(data_preprocessor=self.preprocess, epoch=0)
        return SimpleNamespace(
            train_dataloader=self.loader, model=model, seed=self.seed, epoch=0, iter=0
        )


def _without_padding(picture: Tensor, target: Target, training: bool) -> Picture:
    """The picture (H, W, 3); in evaluation without padding, because masks are not padded."""
    height, width = picture.shape[:2] if training else target.get("content", picture.shape[:2])
    return picture[:height, :width].numpy()

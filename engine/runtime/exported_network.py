"""Runs an exported file like the network of a task: the same results as from a checkpoint.

Shapes: B images; H, W size of the network input; h, w size of an image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor

from engine.runtime.exported import Exported, contiguous, open_exported
from engine.task import task_of
from engine.types import Result, Size, Target


class ExportedNetwork(BaseModel):
    """Runs an exported file instead of the layers of a task's network.

    The number of threads that may call it at the same time was given to `open_exported`.

    Args:
        described: Network that the file describes; its weights are deleted.
        exported: The opened file.
    """

    def __init__(self, described: Any, exported: Exported) -> None:
        content = exported.content
        described.data_preprocessor.planes = True  # the memory order of engines
        super().__init__(AsTheyAre() if content["with_preprocess"] else described.data_preprocessor)
        for parameter in described.parameters():
            parameter.data = torch.empty(0)
        task = task_of(described)
        self.described: Any = described
        self.exported = exported
        self.with_preprocess = bool(content["with_preprocess"])
        self.classes = tuple(content["classes"])
        self._make_results = task.use("results")
        self.head: Any = None
        if content["end2end"]:
            self.head = task.use("export_head")(described, batched=exported.batched)

    def forward(
        self,
        images: Tensor | Sequence[Tensor],
        targets: Sequence[Target] | None = None,
        mode: str = "predict",
    ) -> list[Result]:
        """Results of a batch from its data preprocessor; only mode="predict"."""
        if mode != "predict":
            raise ValueError(f"mode={mode!r}: an exported file can only predict")
        targets = targets or [{}] * len(images)
        if self.exported.batched:
            assert isinstance(images, Tensor)  # a file with preprocessing is not batched
            return self._results(images, targets)
        single = zip(images, targets, strict=True)
        return [self._results(_alone(image), [target])[0] for image, target in single]

    def _results(self, images: Tensor, targets: Sequence[Target]) -> list[Result]:
        """Results of (B, 3, H, W), or of one image (h, w, 3) that the file preprocesses."""
        if self.head is not None:
            outputs = dict(zip(self.exported.content["outputs"], self._run(images), strict=True))
            found: list[Result] = self.head.results(outputs, self._size(images), targets)
            return found
        if not self.with_preprocess:
            return self._make_results(self.described, self._run, images, targets)
        stand_in = torch.empty((1, 3, *self._network_size(images)))  # only its size is used
        return self._make_results(self.described, lambda _: self._run(images), stand_in, targets)

    def _run(self, images: Tensor) -> list[Tensor]:
        """The outputs of the file.

        Raises:
            ValueError: the images do not have the exported shape.
        """
        wanted = self.exported.content["shape"]
        if any(side not in (None, given) for side, given in zip(wanted, images.shape, strict=True)):
            sides = " x ".join("any" if side is None else str(side) for side in wanted)
            raise ValueError(
                f"{self.exported.path}: takes inputs of {sides}, got "
                f"{' x '.join(map(str, images.shape))}; keep model.data_preprocessor.size as "
                "exported, or export with --shape or --dynamic"
            )
        outputs = self.exported.run(contiguous(images))
        return [torch.from_numpy(np.asarray(output)) for output in outputs]

    def _size(self, images: Tensor) -> Size:
        """(height, width) for the outputs of the export head."""
        shape = images.shape[:2] if self.with_preprocess else images.shape[2:]
        return (shape[0], shape[1])

    def _network_size(self, image: Tensor) -> Size:
        size = self.described.data_preprocessor.size
        return size or (image.shape[0], image.shape[1])


def open_network(described: Any, path: Path | str, callers: int = 1) -> ExportedNetwork:
    """Open an exported file as a network in eval mode.

    `callers` is the number of threads that may call it at the same time.

    Raises:
        As `open_exported`.
    """
    network = ExportedNetwork(described, open_exported(path, callers=callers))
    network.eval()
    return network


class AsTheyAre(BaseDataPreprocessor):
    """Batches for a file with the preprocessing in its graph: uint8 RGB images (h, w, 3)."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return the images unchanged, and set `size` in the targets."""
        images = data["images"]
        targets = [dict(target) for target in data.get("targets") or [{} for _ in images]]
        for target, image in zip(targets, images, strict=True):
            target["size"] = (image.shape[0], image.shape[1])
        return {"images": images, "targets": targets}


def _alone(image: Tensor) -> Tensor:
    """One image of a batch as input for a file that is not batched."""
    return image[None] if image.dtype.is_floating_point else image

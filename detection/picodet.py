"""PicoDet (Yu et al. 2021, arXiv 2111.00902), both generations as ppdet has them."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from backbone.interface import check_choice
from detection.assigners import Assignment, assign_atss, assign_task_aligned, gather_truths
from detection.boxes import decode
from detection.head import PicoHead, Predictions
from detection.loss import PicoLoss
from detection.neck import PAN, CSPFusion, LCFusion
from detection.results import Detections, detections
from detection.simota import assign_simota

# Shapes: B images, P points over all levels, K classes.

BACKBONE_STRIDES = (8, 16, 32)
STRIDES = (*BACKBONE_STRIDES, 64)

Target = dict[str, Any]  # boxes (G, 4), labels (G,), image_id, size (height, width)


@MODELS.register_module()
class PicoDet(BaseModel):
    """One-stage detector: a backbone, a neck and a head on strides 8 to 64.

    Differences of the generations:
                        2 (2022-03, ppdet's `picodet_*_lcnet`)      1 (2021-10, ppdet's legacy)
        neck            LC-PAN                                      CSP-PAN
        head            gated tower, scores aligned with quality    plain tower, plain classes
        assigner        ATSS first, then task-aligned               SimOTA
        varifocal loss  over the sum of target scores               over the number of points
        box losses      weight: target score; DFL 0.5, GIoU 2.5     predicted score; 0.25, 2.0

    Args:
        backbone: Module (or its config) whose `strides` are (8, 16, 32).
        num_classes: Classes K of the data.
        neck_channels: Width of neck and head: 96 (XS, S), 128 (M), 160 (L).
        tower_convs: Depthwise-separable units per level before the outputs: 2 (XS, S), 4 (M, L).
        reg_max: Farthest side that a point can predict, in strides of its level.
        static_epochs: Epochs assigned by ATSS; the later ones are task-aligned (generation 2).
        generation: 2 or 1.
        data_preprocessor: mmengine's (config of a) module that makes batches of samples.

    `epoch` is the current training epoch; it decides which assigner the loss uses.
    `classes` are the names by label, if a checkpoint gave them, else numbers.

    Raises:
        ValueError: the backbone has other strides, the generation is unknown; in forward, a side of
            the input is not a multiple of 32.
    """

    size_divisor = BACKBONE_STRIDES[-1]  # so that C5 and C4 upsample to the size of the next level
    class_layers = ("head.cls.",)  # one output row a class
    outputs = ("boxes", "scores")
    last_layers = ("head.cls.", "head.reg.", "head.align.")

    def __init__(
        self,
        *,
        backbone: nn.Module | dict[str, Any],
        num_classes: int,
        neck_channels: int = 96,
        tower_convs: int = 2,
        reg_max: int = 7,
        static_epochs: int = 100,
        generation: int = 2,
        data_preprocessor: nn.Module | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        check_choice("generation", generation, (1, 2))
        first = generation == 1
        trunk: Any = MODELS.build(backbone) if isinstance(backbone, dict) else backbone
        if tuple(trunk.strides) != BACKBONE_STRIDES:
            raise ValueError(
                f"PicoDet wants a backbone with out_strides={BACKBONE_STRIDES}, "
                f"got {tuple(trunk.strides)}"
            )
        self.num_classes = num_classes
        self.generation = generation
        self.static_epochs = static_epochs
        self.epoch = 0
        self.classes: tuple[str, ...] = tuple(str(label) for label in range(num_classes))
        self.backbone = trunk
        self.neck = PAN(trunk.channels, neck_channels, CSPFusion if first else LCFusion)
        self.head = PicoHead(
            num_classes=num_classes,
            channels=neck_channels,
            tower_convs=tower_convs,
            reg_max=reg_max,
            strides=STRIDES,
            aligned=not first,
        )
        self.loss = (
            PicoLoss(dfl_weight=0.25, giou_weight=2.0, per_point=True) if first else PicoLoss()
        )

    def forward(
        self, images: Tensor, targets: Sequence[Target] | None = None, mode: str = "tensor"
    ) -> tuple[Tensor, Tensor] | dict[str, Tensor] | list[Detections]:
        """Runs the network on normalised `images` (B, 3, H, W); H and W are multiples of 32.

        Returns, by mode:
            "tensor": boxes (B, P, 4) in pixels of the network input, scores (B, P, K) in 0..1.
            "loss": the terms that sum to the objective (needs `targets`).
            "predict": one dict per image; boxes are in pixels of the image before it was resized if
                `targets` has its `size`, else in pixels of the network input.
        """
        predictions = self._run(images)
        if mode == "tensor":
            return _decode(predictions), predictions.scores
        if mode == "loss" and targets is not None:
            with torch.no_grad():
                boxes = _decode(predictions)
            return self._losses(predictions, boxes, targets)
        if mode == "predict":
            return detections(images, _decode(predictions), predictions.scores, targets)
        raise ValueError(f"expected mode tensor, loss (needs targets) or predict, got {mode!r}")

    def val_step(self, data: dict[str, Any]) -> list[Any]:
        """Detections of a batch, then its losses in the form that mmengine's loops collect.

        Both come from one forward pass. The losses are those of this process alone.
        """
        batch = self.data_preprocessor(data, False)
        images, targets = batch["images"], batch["targets"]
        predictions = self._run(images)
        boxes = _decode(predictions)
        losses = self._losses(predictions, boxes, targets)
        return [
            *detections(images, boxes, predictions.scores, targets),
            BaseDataElement(loss=losses),
        ]

    def _run(self, images: Tensor) -> Predictions:
        _check_size(images)
        return self.head(self.neck(self.backbone(images)))

    def _losses(
        self, predictions: Predictions, boxes: Tensor, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            assignment = self._assign(predictions, boxes, targets)
        return self.loss(predictions, assignment)

    def _assign(
        self, predictions: Predictions, boxes: Tensor, targets: Sequence[Target]
    ) -> Assignment:
        truths = gather_truths(targets)
        if self.generation == 1:
            return assign_simota(truths, predictions, boxes)
        if self.epoch < self.static_epochs:
            return assign_atss(truths, predictions, boxes)
        return assign_task_aligned(truths, predictions, boxes)


def _decode(predictions: Predictions) -> Tensor:
    """Boxes (B, P, 4) in pixels of the network input."""
    return decode(predictions.dist_logits, predictions.grid.points, predictions.grid.strides)


def _check_size(images: Tensor) -> None:
    """Raise ValueError unless height and width are multiples of 32."""
    height, width = images.shape[-2:]
    multiple = PicoDet.size_divisor
    if height % multiple or width % multiple:
        nearest = [max(1, round(side / multiple)) * multiple for side in (height, width)]
        raise ValueError(
            f"network input {height} x {width} (height x width) must be multiples of {multiple}; "
            f"the nearest valid size is {nearest[0]} x {nearest[1]}"
        )

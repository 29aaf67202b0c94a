"""DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611) as PaddleSeg computes it, on a light trunk."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from backbone.layers import init_convs
from segmentation.aspp import ASPP, BiasedConvBN, SeparableConv
from segmentation.loss import SegmentationLoss
from segmentation.results import Segmentation, image_scores, results, segmentation
from segmentation.sliding_window import Inference, resize

# Shapes: B images of H x W, K classes, C channels, h x w the size of a feature map.

LOW_STRIDE = 4
LOW_CHANNELS = 48
CHANNELS = 256
DROPOUT = 0.1

Target = dict[str, Any]  # mask (H, W) int64, image_id, size (height, width)


class Decoder(nn.Module):
    """Resizes the deep map to the fine one, mixes both, and predicts one logit per class.

    deep (B, C, h, w), low (B, C', 4h, 4w or so) -> logits (B, K, size of `low`).
    """

    def __init__(self, low_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.low = BiasedConvBN(low_channels, LOW_CHANNELS, 1)
        self.mix = nn.Sequential(
            SeparableConv(channels + LOW_CHANNELS, channels), SeparableConv(channels, channels)
        )
        self.classify = nn.Conv2d(channels, num_classes, 1)

    def forward(self, deep: Tensor, low: Tensor) -> Tensor:
        low = self.low(low)
        deep = resize(deep, (low.shape[-2], low.shape[-1]))
        return self.classify(self.mix(torch.cat([deep, low], dim=1)))


@MODELS.register_module()
class DeepLabV3Plus(BaseModel):
    """Semantic segmenter: a backbone, ASPP on its last map, a decoder with its stride-4 map.

    Images may have any size.

    Args:
        backbone: Module (or its config) with `out_strides=(4, 32)`; its `output_stride` is the
            stride that ASPP works at.
        num_classes: Classes K of the data, 2 to 255.
        aspp_rates: Dilations of ASPP, the first one 1. Published for ResNets: (1, 12, 24, 36) at
            output stride 8. For stride 32 none are published; these are the default of PaddleSeg.
        loss: SegmentationLoss or its config; None is plain cross-entropy.
        inference: Inference or its config; None is the whole image once.
        data_preprocessor: mmengine's (config of a) module that makes batches of samples.

    `classes` are the names by label, if a checkpoint gave them, else numbers.

    Raises:
        ValueError: the backbone has no map of stride 4, or class count, rates and class weights
            do not match.
    """

    size_divisor = 1
    class_layers = ("decoder.classify.",)  # one output row a class
    outputs = ("logits",)
    last_layers = ("decoder.classify",)

    def __init__(
        self,
        *,
        backbone: nn.Module | dict[str, Any],
        num_classes: int,
        aspp_rates: Sequence[int] = (1, 6, 12, 18),
        loss: nn.Module | dict[str, Any] | None = None,
        inference: Inference | dict[str, Any] | None = None,
        data_preprocessor: nn.Module | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        trunk: Any = _built(backbone)
        self.loss: Any = _built(loss) or SegmentationLoss()
        self.inference: Any = _built(inference) or Inference()
        _check(trunk.strides, num_classes, aspp_rates, self.loss.class_weights)
        self.num_classes = num_classes
        self.epoch = 0
        self.classes: tuple[str, ...] = tuple(str(label) for label in range(num_classes))
        self.low_index = trunk.strides.index(LOW_STRIDE)
        self.aspp = ASPP(trunk.channels[-1], CHANNELS, aspp_rates, DROPOUT)
        self.decoder = Decoder(trunk.channels[self.low_index], CHANNELS, num_classes)
        init_convs(self)
        self.backbone = trunk  # after the other layers are initialised

    def forward(
        self, images: Tensor, targets: Sequence[Target] | None = None, mode: str = "tensor"
    ) -> Tensor | dict[str, Tensor] | list[Segmentation]:
        """Runs the network on normalised `images` (B, 3, H, W).

        Returns, by mode:
            "tensor": logits (B, K, H, W).
            "loss": the terms that sum to the objective (needs `targets`, masks of H x W).
            "predict": one dict per image with its `mask` (H, W) uint8, at the size of the image
                before preprocessing if `targets` has its `size`.
        """
        if mode == "tensor":
            return self._logits(images)
        if mode == "loss" and targets is not None:
            masks = torch.stack([target["mask"] for target in targets])  # (B, H, W)
            return self.loss(self._logits(images), masks)
        if mode == "predict":
            targets = targets or [{}] * len(images)
            return results(self, lambda views: (self._logits(views),), images, targets)
        raise ValueError(f"expected mode tensor, loss (needs targets) or predict, got {mode!r}")

    def val_step(self, data: dict[str, Any]) -> list[Any]:
        """Masks of a batch, then its losses in the form that mmengine's loops collect.

        Both come from one forward pass. The losses are the mean over the images of this process.
        """
        batch = self.data_preprocessor(data, False)
        found: list[Any] = []
        losses = []
        images, targets = batch["images"], batch["targets"]
        for scores, target in image_scores(self.inference, self._logits, images, targets):
            found.append(segmentation(scores, target))
            losses.append(self.loss(scores, target["mask"][None]))
        means = {key: torch.stack([loss[key] for loss in losses]).mean() for key in losses[0]}
        return [*found, BaseDataElement(loss=means)]

    def _logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        maps = self.backbone(images)
        logits = self.decoder(self.aspp(maps[-1]), maps[self.low_index])  # (B, K, H / 4, W / 4)
        return resize(logits, (images.shape[-2], images.shape[-1]))


def _built(part: object) -> Any:
    return MODELS.build(part) if isinstance(part, dict) else part


def _check(
    strides: Sequence[int], num_classes: int, rates: Sequence[int], class_weights: Tensor | None
) -> None:
    """Raise ValueError if the parts of the model do not match."""
    if LOW_STRIDE not in strides or len(strides) < 2:
        raise ValueError(
            f"DeepLabV3Plus wants a backbone with out_strides=(4, 32), got {tuple(strides)}"
        )
    if not 2 <= num_classes <= 255:
        raise ValueError(f"num_classes is {num_classes}; masks of 8 bits hold 2 to 255 classes")
    if not rates or rates[0] != 1:
        raise ValueError(f"aspp_rates {tuple(rates)} must begin with 1, such as (1, 6, 12, 18)")
    if class_weights is not None and len(class_weights) != num_classes:
        raise ValueError(
            f"loss.class_weights has {len(class_weights)} entries for {num_classes} classes; "
            "give one per class, in label order"
        )

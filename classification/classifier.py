"""The image classifier of PP-LCNet and MobileNetV3 as PaddleClas computes them."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from backbone.interface import check_choice
from backbone.layers import ConvBN, init_convs
from backbone.pplcnet import ACTIVATIONS
from classification.distillation import Teacher
from classification.loss import ClassificationLoss, DistillationLoss
from classification.mixup import BatchMix
from classification.results import Classification, classifications

# Shapes: B images of H x W, K classes, C channels of the trunk's last map, h x w its size.

Target = dict[str, Any]  # label int, image_id, size (height, width)


@MODELS.register_module()
class Classifier(BaseModel):
    """Class scores of whole images: a backbone, global mean, one hidden layer, a linear one.

    If the backbone has `pre_pool_channels` (MobileNetV3 has), a 1x1 convolution with batch-norm
    widens its last map before the mean. Images may have any size.

    Paddle's dropout scales in evaluation; torch's scales in training. Both give the same result
    after 1 - dropout is multiplied into the last layer, which the weight converter does.

    Args:
        backbone: Module or its config; its coarsest map is used.
        num_classes: Classes K of the data, at least 2.
        hidden: Width of the hidden layer, which does not depend on the scale of the trunk; None: no
            such layer.
        hidden_act: Its activation, a key of `backbone.pplcnet.ACTIVATIONS`.
        dropout: Fraction of hidden units dropped in training.
        loss: Module or config: (logits, labels) -> dict of terms; None is ClassificationLoss.
        batch_mix: BatchMix or its config, which mixes the images and labels of a training batch.
        teacher: Teacher or its config, whose logits go to the loss (a DistillationLoss) as well.
        data_preprocessor: mmengine's (config of a) module that makes batches of samples.

    `classes` are the names by label, if a checkpoint gave them, else numbers.

    Raises:
        ValueError: fewer than two classes, an unknown activation, or a teacher with a loss that
            does not use it.
    """

    size_divisor = 1
    class_layers = ("classify.",)  # one output row a class
    outputs = ("logits",)
    last_layers = ("classify",)

    def __init__(  # noqa: PLR0913  # each is a key of the config
        self,
        *,
        backbone: nn.Module | dict[str, Any],
        num_classes: int,
        hidden: int | None = 1280,
        hidden_act: str = "hardswish",
        dropout: float = 0.2,
        loss: nn.Module | dict[str, Any] | None = None,
        batch_mix: BatchMix | dict[str, Any] | None = None,
        teacher: Teacher | dict[str, Any] | None = None,
        data_preprocessor: nn.Module | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        trunk: Any = _built(backbone)
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2 classes")
        check_choice("hidden_act", hidden_act, tuple(ACTIVATIONS))
        self.loss: Any = _built(loss) or ClassificationLoss()
        self.batch_mix: Any = _built(batch_mix)
        self.teacher: Any = _built(teacher)
        if teacher is not None and not isinstance(self.loss, DistillationLoss):
            raise ValueError(
                f"model.teacher is given, but model.loss is {type(self.loss).__name__}; "
                "take a DistillationLoss"
            )
        self.num_classes = num_classes
        self.epoch = 0
        self.classes: tuple[str, ...] = tuple(str(label) for label in range(num_classes))
        width = trunk.pre_pool_channels or trunk.channels[-1]
        wide = bool(trunk.pre_pool_channels)
        self.widen = ConvBN(trunk.channels[-1], width, 1) if wide else nn.Identity()
        self.hidden: nn.Module = nn.Identity()
        self.act: nn.Module = nn.Identity()
        self.dropout = nn.Dropout(dropout if hidden else 0.0)
        if hidden:
            self.hidden = nn.Conv2d(width, hidden, 1, bias=False)
            self.act = ACTIVATIONS[hidden_act]()
        self.classify = nn.Linear(hidden or width, num_classes)
        init_convs(self)
        nn.init.xavier_uniform_(self.classify.weight)  # Paddle's default for linear layers
        nn.init.zeros_(self.classify.bias)
        self.backbone = trunk  # after the other layers are initialised

    def forward(
        self, images: Tensor, targets: Sequence[Target] | None = None, mode: str = "tensor"
    ) -> Tensor | dict[str, Tensor] | list[Classification]:
        """Runs the network on normalised `images` (B, 3, H, W).

        Returns, by mode:
            "tensor": logits (B, K).
            "loss": the terms that sum to the objective (needs `targets` with labels).
            "predict": one dict per image with its `scores` (K,), the softmax of the logits, and the
                `label` of the highest.
        """
        if mode == "tensor":
            return self._logits(images)
        if mode == "loss" and targets is not None:
            return self._losses(images, _labels(targets, images.device))
        if mode == "predict":
            return classifications(self._logits(images), targets or [{}] * len(images))
        raise ValueError(f"expected mode tensor, loss (needs targets) or predict, got {mode!r}")

    def val_step(self, data: dict[str, Any]) -> list[Any]:
        """Results of a batch, then its losses in the form that mmengine's loops collect.

        Both come from one forward pass. The losses are those of this process.
        """
        batch = self.data_preprocessor(data, False)
        images, targets = batch["images"], batch["targets"]
        logits = self._logits(images)
        losses = self.loss(logits, _labels(targets, images.device))
        return [*classifications(logits, targets), BaseDataElement(loss=losses)]

    def _logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K)."""
        x = self.widen(self.backbone(images)[-1])  # (B, C, h, w)
        x = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        x = self.dropout(self.act(self.hidden(x)).flatten(1))  # (B, 1280)
        return self.classify(x)

    def _losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss terms of images (B, 3, H, W) with labels (B,), in training on mixed images."""
        if self.training and self.batch_mix is not None:
            images, labels = self.batch_mix(images, labels, self.num_classes)  # mixed: (B, K)
        if self.training and self.teacher is not None:
            taught = self.teacher(images, self.classes, self.data_preprocessor)  # (B, K)
            return self.loss(self._logits(images), labels, taught)
        return self.loss(self._logits(images), labels)


def _built(part: object) -> Any:
    return MODELS.build(part) if isinstance(part, dict) else part


def _labels(targets: Sequence[Target], device: torch.device) -> Tensor:
    """(B,) int64."""
    return torch.tensor([target["label"] for target in targets], device=device)

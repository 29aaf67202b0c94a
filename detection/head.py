"""The prediction head of both generations of PicoDet (ppdet's PicoHead and PicoHeadV2)."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from backbone.layers import ConvBN, DepthwiseSeparable
from detection.points import Grid, make_grid

# Shapes: B images, P points over all levels, K classes, R = reg_max + 1 bins per side, C channels.

KERNEL = 5
PRIOR_PROB = 0.01  # class probability at the start (focal loss, section 4.1)
SCORE_EPS = 1e-9  # keeps the gradient of the root finite where a probability is zero


class Predictions(NamedTuple):
    """What the head predicts for every point."""

    scores: Tensor  # (B, P, K) in 0..1, float32
    dist_logits: Tensor  # (B, P, 4 * R) side by side: left, top, right, bottom
    grid: Grid
    cls_logits: Tensor | None = None  # (B, P, K) if the scores are their sigmoid, else None


class PicoHead(nn.Module):
    """Class scores and side distributions at every cell of the levels with `strides`.

    Levels share no weights. Classes and distances come from one tower.

    With `aligned` (second generation) there is a channel gate in front of the outputs, and a score
    is the geometric mean of the class probability and the quality of the location, which the
    alignment branch predicts. Without (first generation), a score is the class probability.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        tower_convs: int,
        reg_max: int,
        strides: Sequence[int],
        aligned: bool = True,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.aligned = aligned
        levels = range(len(self.strides))
        branches = levels if aligned else ()
        self.towers = nn.ModuleList(_tower(channels, tower_convs) for _ in levels)
        self.se_gate = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in branches)
        self.se_conv = nn.ModuleList(ConvBN(channels, channels, 1) for _ in branches)
        self.cls = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in levels)
        self.reg = nn.ModuleList(nn.Conv2d(channels, 4 * (reg_max + 1), 1) for _ in levels)
        self.align = nn.ModuleList(_alignment(channels) for _ in branches)
        self._initialise()

    def _initialise(self) -> None:
        """Small normal weights; the alignment branch He-uniform; class bias at the prior.

        Without that branch the distances have the prior's bias too, because in the original they
        are outputs of the same convolution. An equal bias does not change a distribution.
        """
        at_prior = ("cls.",) if self.aligned else ("cls.", "reg.")
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():
            if name.startswith("se_gate.") and name.endswith("weight"):
                nn.init.normal_(parameter, std=0.001)
            elif name.startswith(at_prior) and name.endswith("bias"):
                nn.init.constant_(parameter, -math.log((1 - PRIOR_PROB) / PRIOR_PROB))
            elif name.startswith("align.") and name.endswith("conv.weight"):
                nn.init.kaiming_uniform_(parameter, nonlinearity="relu")

    def forward(self, features: Sequence[Tensor]) -> Predictions:
        sizes = [(x.shape[-2], x.shape[-1]) for x in features]
        grid = make_grid(sizes, self.strides, features[0].device)
        per_level = [self._level(level, x) for level, x in enumerate(features)]
        cls_logits, dist_logits, *quality = (
            torch.cat(maps, dim=1) for maps in zip(*per_level, strict=True)
        )
        if self.aligned:
            return Predictions(joint_score(cls_logits, quality[0]), dist_logits, grid)
        return Predictions(cls_logits.float().sigmoid(), dist_logits, grid, cls_logits)

    def _level(self, level: int, x: Tensor) -> list[Tensor]:
        """Class (B, HW, K), distance (B, HW, 4R) and, where aligned, quality (B, HW, 1) logits."""
        feature = self.towers[level](x)  # (B, C, H, W)
        branches, attended = [], feature
        if self.aligned:
            gate = self.se_gate[level](feature.mean((2, 3), keepdim=True)).sigmoid()  # (B, C, 1, 1)
            attended = self.se_conv[level](feature * gate)
            branches = [self.align[level](feature)]
        maps = [self.cls[level](attended), self.reg[level](attended), *branches]
        return [m.permute(0, 2, 3, 1).flatten(1, 2) for m in maps]


def joint_score(cls_logits: Tensor, quality_logits: Tensor) -> Tensor:
    """sqrt(class probability x quality) (B, P, K) in float32, of logits (B, P, K), (B, P, 1).

    It is computed in float32: half precision rounds probabilities near 1 to 1, whose loss is
    infinite.
    """
    product = cls_logits.float().sigmoid() * quality_logits.float().sigmoid()
    return (product + SCORE_EPS).sqrt()


def _tower(channels: int, length: int) -> nn.Sequential:
    return nn.Sequential(*(DepthwiseSeparable(channels, channels, KERNEL) for _ in range(length)))


def _alignment(channels: int) -> nn.Sequential:
    """One quality logit per cell.

    The original builds a depthwise unit with one output channel and one group, so its 5x5
    convolution is dense and its 1x1 convolution scales a single channel.
    """
    conv1 = ConvBN(channels, 1, KERNEL)
    conv2 = ConvBN(1, 1, 1, act=None)
    return nn.Sequential(OrderedDict(conv1=conv1, conv2=conv2))

"""Separable atrous spatial pyramid pooling of DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611).

Layer by layer as in PaddleSeg: convolutions in front of batch-norms keep a bias, and the depthwise
half of a separable convolution has no activation.

Shapes: B images, C channels, h x w the size of a feature map.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbone.layers import ConvBN

BiasedConvBN = partial(ConvBN, bias=True, act=nn.ReLU)


class SeparableConv(nn.Module):
    """3 x 3 depthwise without activation, then pointwise with ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.depthwise = BiasedConvBN(
            in_channels, in_channels, 3, dilation=dilation, groups=in_channels, act=None
        )
        self.pointwise = BiasedConvBN(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class ImagePooling(nn.Module):
    """Mean over the whole map, 1 x 1 convolution, batch-norm, ReLU: (B, C, h, w) -> (B, out, 1, 1).

    In a batch of one the batch-norm has one value per channel, which has no variance. Such a batch
    is normalised with the running statistics and does not change them.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.conv(x.mean((2, 3), keepdim=True))  # (B, out_channels, 1, 1)
        if self.training and len(pooled) == 1:
            return self.act(_with_running_statistics(self.norm, pooled))
        return self.act(self.norm(pooled))


def _with_running_statistics(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
    )


class ASPP(nn.Module):
    """One branch per rate and one of the pooled image, concatenated and projected.

    (B, in_channels, h, w) -> (B, channels, h, w).

    Args:
        in_channels: C of the backbone's last map.
        channels: Width of every branch and of the output.
        rates: Dilations; the first one stands for a plain 1 x 1 convolution.
        dropout: Fraction of the output's elements that training drops.
    """

    def __init__(
        self, in_channels: int, channels: int, rates: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([BiasedConvBN(in_channels, channels, 1)])
        for rate in rates[1:]:
            self.branches.append(SeparableConv(in_channels, channels, dilation=rate))
        self.pool = ImagePooling(in_channels, channels)
        self.project = BiasedConvBN((len(rates) + 1) * channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        maps = [branch(x) for branch in self.branches]
        # Bilinear resizing of a single value gives that value everywhere.
        maps.append(self.pool(x).expand(-1, -1, *x.shape[-2:]))
        return self.dropout(self.project(torch.cat(maps, dim=1)))

"""The path-aggregation neck of both generations of PicoDet, and the fusion block of each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbone.layers import ConvBN, DepthwiseSeparable, init_convs

KERNEL = 5


class LCFusion(nn.Sequential):
    """Second generation (LC-PAN): two depthwise-separable units, (B, 2C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            DepthwiseSeparable(2 * channels, 2 * channels, KERNEL),
            DepthwiseSeparable(2 * channels, channels, KERNEL),
        )


class CSPFusion(nn.Module):
    """First generation (CSP-PAN): half of the channels pass a bottleneck, half bypass it.

    (B, 2C, H, W) -> (B, C, H, W), a cross-stage-partial layer (arXiv 1911.11929) without the
    bottleneck's shortcut.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.main = ConvBN(2 * channels, half, 1)
        self.short = ConvBN(2 * channels, half, 1)
        self.final = ConvBN(2 * half, channels, 1)
        self.bottleneck = nn.Sequential(
            ConvBN(half, half, 1), DepthwiseSeparable(half, half, KERNEL)
        )

    def forward(self, pair: Tensor) -> Tensor:
        deep = self.bottleneck(self.main(pair))  # (B, C / 2, H, W)
        return self.final(torch.cat([deep, self.short(pair)], dim=1))


class PAN(nn.Module):
    """Mixes three backbone maps top-down and bottom-up and adds a coarser map.

    (B, C3, H, W), (B, C4, H / 2, W / 2), (B, C5, H / 4, W / 4)
    -> (B, channels, .., ..) at H x W, H / 2, H / 4 and H / 8 (ppdet's LCPAN or CSPPAN).

    Args:
        in_channels: Widths of the backbone maps, fine to coarse.
        channels: Width of all outputs.
        fusion: Block that reduces a concatenated pair of maps to `channels`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        fusion: type[LCFusion] | type[CSPFusion] = LCFusion,
    ) -> None:
        super().__init__()
        steps = len(in_channels) - 1
        self.laterals = nn.ModuleList(ConvBN(width, channels, 1) for width in in_channels)
        self.top_down = nn.ModuleList(fusion(channels) for _ in range(steps))
        self.downsamples = nn.ModuleList(_downsample(channels) for _ in range(steps))
        self.bottom_up = nn.ModuleList(fusion(channels) for _ in range(steps))
        self.extra_lateral = _downsample(channels)
        self.extra_output = _downsample(channels)
        self._initialise()

    def _initialise(self) -> None:
        """He-normal in the LC-PAN's blocks, He-uniform elsewhere, as the originals have it."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, LCFusion):
                init_convs(module)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        laterals = [layer(x) for layer, x in zip(self.laterals, features, strict=True)]
        outputs = self._aggregate_up(self._aggregate_down(laterals))
        extra = self.extra_lateral(laterals[-1]) + self.extra_output(outputs[-1])
        return (*outputs, extra)

    def _aggregate_down(self, laterals: list[Tensor]) -> list[Tensor]:
        """Adds coarse context to the finer maps; returns them fine to coarse."""
        maps = [laterals[-1]]
        for fuse, lateral in zip(self.top_down, reversed(laterals[:-1]), strict=True):
            upsampled = F.interpolate(maps[0], scale_factor=2.0, mode="nearest")
            maps.insert(0, fuse(torch.cat([upsampled, lateral], dim=1)))
        return maps

    def _aggregate_up(self, maps: list[Tensor]) -> list[Tensor]:
        """Adds fine detail to the coarser maps; returns them fine to coarse."""
        outputs = [maps[0]]
        for shrink, fuse, coarser in zip(self.downsamples, self.bottom_up, maps[1:], strict=True):
            outputs.append(fuse(torch.cat([shrink(outputs[-1]), coarser], dim=1)))
        return outputs


def _downsample(channels: int) -> DepthwiseSeparable:
    return DepthwiseSeparable(channels, channels, KERNEL, stride=2)

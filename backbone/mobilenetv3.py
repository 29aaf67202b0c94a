"""MobileNetV3 (Howard et al. 2019, arXiv 1905.02244) with the numerics of its Paddle originals."""

from collections.abc import Sequence

from mmengine.registry import MODELS
from torch import Tensor, nn

from backbone.interface import OUTPUT_STRIDES, check_choice, check_out_strides, dilate
from backbone.layers import ConvBN, SqueezeExcite, init_convs, make_divisible

SCALES = (0.35, 0.5, 0.75, 1.0, 1.25)
STRIDES = (4, 8, 16, 32)
STEM_CHANNELS = 16
ACTIVATIONS: dict[str, type[nn.Module]] = {"hardswish": nn.Hardswish, "relu": nn.ReLU}

# Paper, tables 1 and 2: kernel, expanded channels, out channels, squeeze-excite, activation,
# stride; one row per block, widths at scale 1.
BLOCKS = {
    "large": (
        (3, 16, 16, 0, "relu", 1),
        (3, 64, 24, 0, "relu", 2),  # stride 4
        (3, 72, 24, 0, "relu", 1),
        (5, 72, 40, 1, "relu", 2),  # stride 8
        (5, 120, 40, 1, "relu", 1),
        (5, 120, 40, 1, "relu", 1),
        (3, 240, 80, 0, "hardswish", 2),  # stride 16
        (3, 200, 80, 0, "hardswish", 1),
        (3, 184, 80, 0, "hardswish", 1),
        (3, 184, 80, 0, "hardswish", 1),
        (3, 480, 112, 1, "hardswish", 1),
        (3, 672, 112, 1, "hardswish", 1),
        (5, 672, 160, 1, "hardswish", 2),  # stride 32
        (5, 960, 160, 1, "hardswish", 1),
        (5, 960, 160, 1, "hardswish", 1),
    ),
    "small": (
        (3, 16, 16, 1, "relu", 2),  # stride 4
        (3, 72, 24, 0, "relu", 2),  # stride 8
        (3, 88, 24, 0, "relu", 1),
        (5, 96, 40, 1, "hardswish", 2),  # stride 16
        (5, 240, 40, 1, "hardswish", 1),
        (5, 240, 40, 1, "hardswish", 1),
        (5, 120, 48, 1, "hardswish", 1),
        (5, 144, 48, 1, "hardswish", 1),
        (5, 288, 96, 1, "hardswish", 2),  # stride 32
        (5, 576, 96, 1, "hardswish", 1),
        (5, 576, 96, 1, "hardswish", 1),
    ),
}
# The map of a stride is the output of the last block that has it.
TAPS = {
    "large": {4: 2, 8: 5, 16: 11, 32: 14},
    "small": {4: 0, 8: 2, 16: 7, 32: 10},
}


class SteepHardsigmoid(nn.Module):
    """clamp(0.2 x + 0.5, 0, 1): Paddle's squeeze-excite gate; torch's Hardsigmoid has x / 6."""

    def forward(self, x: Tensor) -> Tensor:
        return (0.2 * x + 0.5).clamp(0, 1)


class InvertedResidual(nn.Module):
    """1x1 expand, depthwise, optional squeeze-excite, linear 1x1; shortcut where shapes agree."""

    def __init__(
        self,
        in_channels: int,
        expanded: int,
        out_channels: int,
        *,
        kernel: int,
        stride: int,
        dilation: int,
        se: bool,
        act: type[nn.Module],
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and in_channels == out_channels
        self.expand = ConvBN(in_channels, expanded, 1, act=act)
        self.depthwise = ConvBN(
            expanded,
            expanded,
            kernel,
            stride=stride,
            dilation=dilation,
            groups=expanded,
            act=act,
        )
        self.se = SqueezeExcite(expanded, gate=SteepHardsigmoid) if se else nn.Identity()
        self.project = ConvBN(expanded, out_channels, 1, act=None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.se(self.depthwise(self.expand(x))))
        return x + y if self.shortcut else y


@MODELS.register_module()
class MobileNetV3(nn.Module):
    """MobileNetV3 trunk as PaddleClas, PaddleDetection and PaddleSeg compute it.

    Weights of timm or torchvision do not fit: there the gate of the squeeze-excite is x / 6 + 0.5
    (here 0.2 x + 0.5), its inner width is rounded to multiples of 8 (here channels // 4),
    batch-norm has eps 1e-3 and momentum 0.01 (here 1e-5 and 0.1), and the first block has no
    expanding convolution (here it has).

    Args:
        arch: "large" or "small".
        scale: multiplies every width, rounded to multiples of 8; one of SCALES.
        out_strides: which maps to return, ascending, out of 4, 8, 16, 32. Blocks behind the last
            map are neither built nor computed.
        output_stride: 32, 16 or 8: blocks that would be coarser are dilated instead, with the same
            weights. `out_strides` still names maps by their stride without this option; the
            attribute `strides` has their real strides.

    Raises:
        ValueError: unknown arch, scale or stride.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    pre_pool_channels: int

    def __init__(
        self,
        arch: str = "large",
        scale: float = 1.0,
        out_strides: Sequence[int] = (8, 16, 32),
        *,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        check_choice("arch", arch, tuple(BLOCKS))
        check_choice("scale", scale, SCALES)
        check_choice("output_stride", output_stride, OUTPUT_STRIDES)
        check_out_strides(tuple(out_strides), STRIDES)
        self.strides = tuple(min(stride, output_stride) for stride in out_strides)
        self.taps = tuple(TAPS[arch][stride] for stride in out_strides)
        channels = make_divisible(STEM_CHANNELS * scale)
        self.stem = ConvBN(3, channels, 3, stride=2)
        self.blocks = nn.ModuleList()
        widths = []
        rows = BLOCKS[arch][: self.taps[-1] + 1]
        steps = dilate([row[-1] for row in rows], 2, output_stride)
        for (kernel, expanded, width, se, act, _), (stride, dilation) in zip(
            rows, steps, strict=True
        ):
            out = make_divisible(width * scale)
            self.blocks.append(
                InvertedResidual(
                    channels,
                    make_divisible(expanded * scale),
                    out,
                    kernel=kernel,
                    stride=stride,
                    dilation=dilation,
                    se=bool(se),
                    act=ACTIVATIONS[act],
                )
            )
            channels = out
            widths.append(out)
        self.channels = tuple(widths[tap] for tap in self.taps)
        # As wide as the expansion of the last block (table 1: 960, table 2: 576).
        self.pre_pool_channels = make_divisible(BLOCKS[arch][-1][1] * scale)
        init_convs(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one (B, channels[i], H / strides[i], W / strides[i]) per stride."""
        maps = []
        x = self.stem(images)  # (B, 16 * scale, H / 2, W / 2)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                maps.append(x)
        return tuple(maps)

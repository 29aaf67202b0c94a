"""Layers that PP-LCNet, MobileNetV3 and the heads on them share."""

from torch import Tensor, nn

Stride = int | tuple[int, int]  # one number, or (vertical, horizontal)


def make_divisible(value: float, divisor: int = 8) -> int:
    """Channel count nearest to `value` that is a multiple of `divisor`, at least 90 % of it.

    The rounding of the Paddle originals: round half up, never below `divisor`, one step up where
    rounding lost more than a tenth.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class ConvBN(nn.Module):
    """Convolution, batch-norm, activation (`act=None`: none); padding keeps the size.

    (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: Stride = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        act: type[nn.Module] | None = nn.Hardswish,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=dilation * (kernel - 1) // 2,
            dilation=dilation,
            groups=groups,
            bias=bias,
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = nn.Identity() if act is None else act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class SqueezeExcite(nn.Module):
    """Channel gate: global mean, 1x1 to a quarter, ReLU, 1x1 back, `gate`, multiply.

    The squeeze width is `channels // 4`, without rounding to a multiple of 8.
    """

    def __init__(self, channels: int, *, gate: type[nn.Module] = nn.Hardsigmoid) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)
        self.act = nn.ReLU()
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        return x * self.gate(self.expand(self.act(self.reduce(squeezed))))


class DepthwiseSeparable(nn.Module):
    """Depthwise k x k ConvBN, optional squeeze-excite, pointwise ConvBN (PP-LCNet, figure 2)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: Stride = 1,
        dilation: int = 1,
        se: bool = False,
        act: type[nn.Module] = nn.Hardswish,
    ) -> None:
        super().__init__()
        self.depthwise = ConvBN(
            in_channels,
            in_channels,
            kernel,
            stride=stride,
            dilation=dilation,
            groups=in_channels,
            act=act,
        )
        self.se = SqueezeExcite(in_channels) if se else nn.Identity()
        self.pointwise = ConvBN(in_channels, out_channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.se(self.depthwise(x)))


def init_convs(module: nn.Module) -> None:
    """Initialise every convolution in `module`: Kaiming normal over the fan-in, biases zero.

    The Paddle originals of PP-LCNet do the same, squeeze-excite included. Those of MobileNetV3 use
    Paddle's default. It differs in depthwise kernels alone, which start sqrt(channels) smaller; the
    batch-norm behind them removes that scale.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)

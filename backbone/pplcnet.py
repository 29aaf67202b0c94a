"""PP-LCNet (Cui et al. 2021, arXiv 2109.15099), the CPU backbone of all three tasks."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import mul

from mmengine.registry import MODELS
from torch import Tensor, nn

from backbone.interface import OUTPUT_STRIDES, check_choice, check_out_strides, dilate
from backbone.layers import ConvBN, DepthwiseSeparable, Stride, init_convs, make_divisible

SCALES = (0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5)
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "hardswish": nn.Hardswish,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
}
STEM_CHANNELS = 16

# Architecture table of the paper by the stride of each stage's output, one row per block:
# kernel, out channels at scale 1, stride, squeeze-excite.
Row = tuple[int, int, int, int]
STAGES: dict[int, tuple[Row, ...]] = {
    2: ((3, 32, 1, 0),),
    4: ((3, 64, 2, 0), (3, 64, 1, 0)),
    8: ((3, 128, 2, 0), (3, 128, 1, 0)),
    16: (
        (3, 256, 2, 0),
        (5, 256, 1, 0),
        (5, 256, 1, 0),
        (5, 256, 1, 0),
        (5, 256, 1, 0),
        (5, 256, 1, 0),
    ),
    32: ((5, 512, 2, 1), (5, 512, 1, 1)),
}
NUM_BLOCKS = sum(map(len, STAGES.values()))  # 13


@MODELS.register_module()
class PPLCNet(nn.Module):
    """PP-LCNet trunk: a stride-2 stem and 13 depthwise separable blocks without shortcuts.

    Args:
        scale: multiplies every width, rounded to multiples of 8; one of SCALES.
        out_strides: which maps to return, ascending, out of 2, 4, 8, 16, 32. Stages coarser than
            the last one are neither built nor computed.
        output_stride: 32, 16 or 8: stages that would be coarser are dilated instead, with the same
            weights. `out_strides` still names stages by their stride without this option; the
            attribute `strides` has the real strides of the maps.
        downsampling: five strides, of the stem and of the first blocks of stages 4, 8, 16, 32; each
            a number or (vertical, horizontal). None: 2 everywhere. `out_strides` still names
            stages by their stride without this option; the attribute `strides` has the vertical
            ones. Where the two directions differ, `out_strides` must have one entry, as for a
            classifier.
        act: activation after every batch-norm, a key of ACTIVATIONS.
        se: 13 zeros and ones: which blocks have a squeeze-excite; None: the last two.
        large_kernel: 13 zeros and ones: which blocks are 5 x 5 instead of 3 x 3; None: the last
            seven. Both are the bit strings of the paper's ablations, first block first.

    Raises:
        ValueError: unknown scale, stride or activation, a switch without 13 entries, or
            `downsampling` that does not fit.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    pre_pool_channels = 0

    def __init__(
        self,
        scale: float = 1.0,
        out_strides: Sequence[int] = (8, 16, 32),
        *,
        output_stride: int = 32,
        downsampling: Sequence[Stride] | None = None,
        act: str = "hardswish",
        se: Sequence[int] | None = None,
        large_kernel: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.out_strides = tuple(out_strides)
        check_choice("scale", scale, SCALES)
        check_choice("output_stride", output_stride, OUTPUT_STRIDES)
        check_choice("act", act, tuple(ACTIVATIONS))
        check_out_strides(self.out_strides, tuple(STAGES))
        self.strides = tuple(min(stride, output_stride) for stride in self.out_strides)
        table = _apply_switches(se, large_kernel)
        channels = make_divisible(STEM_CHANNELS * scale)
        if downsampling is not None:
            self.strides = _vertical_strides(downsampling, self.out_strides, output_stride)
        steps = _steps(downsampling, output_stride)
        self.stem = ConvBN(3, channels, 3, stride=next(steps)[0], act=ACTIVATIONS[act])
        self.stages = nn.ModuleList()
        widths = {}
        for stage_stride, rows in table.items():
            if stage_stride <= self.out_strides[-1]:
                self.stages.append(_stage(channels, rows, scale, ACTIVATIONS[act], steps))
                channels = widths[stage_stride] = make_divisible(rows[-1][1] * scale)
        self.channels = tuple(widths[stride] for stride in self.out_strides)
        init_convs(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one (B, channels[i], H / strides[i], W / strides[i]) per stride."""
        maps = []
        x = self.stem(images)  # (B, 16 * scale, H / 2, W / 2)
        for stride, stage in zip(STAGES, self.stages, strict=False):
            x = stage(x)
            if stride in self.out_strides:
                maps.append(x)
        return tuple(maps)


def _stage(
    in_channels: int,
    rows: list[Row],
    scale: float,
    act: type[nn.Module],
    steps: Iterator[tuple[Stride, int]],
) -> nn.Sequential:
    """The blocks of one stage: (B, in_channels, H, W) -> (B, width of the last row, ...)."""
    blocks = nn.Sequential()
    for (kernel, width, _, se), (stride, dilation) in zip(rows, steps, strict=False):
        out = make_divisible(width * scale)
        blocks.append(
            DepthwiseSeparable(
                in_channels, out, kernel, stride=stride, dilation=dilation, se=bool(se), act=act
            )
        )
        in_channels = out
    return blocks


def _steps(
    downsampling: Sequence[Stride] | None, output_stride: int
) -> Iterator[tuple[Stride, int]]:
    """(stride, dilation) of the stem and then of every block."""
    strides = [2, *(row[2] for rows in STAGES.values() for row in rows)]
    if downsampling is None:
        return dilate(strides, 1, output_stride)
    given = iter(downsampling)
    return iter([(next(given) if stride == 2 else 1, 1) for stride in strides])


def _vertical_strides(
    downsampling: Sequence[Stride], out_strides: Sequence[int], output_stride: int
) -> tuple[int, ...]:
    """Vertical stride of each of `out_strides` with `downsampling`, which is checked first."""
    if len(downsampling) != len(STAGES) or output_stride != 32:
        raise ValueError(
            f"downsampling={downsampling!r} must hold {len(STAGES)} strides, of the stem and the "
            f"stages 4, 8, 16, 32, with output_stride=32, not {output_stride}"
        )
    pairs = [(one, one) if isinstance(one, int) else tuple(one) for one in downsampling]
    if len(out_strides) > 1 and any(vertical != horizontal for vertical, horizontal in pairs):
        raise ValueError(
            f"downsampling={downsampling!r} is for classifiers, which take one map; give "
            f"out_strides=({out_strides[-1]},) instead of {tuple(out_strides)}"
        )
    reached = dict(zip(STAGES, accumulate((pair[0] for pair in pairs), mul), strict=True))
    return tuple(reached[stride] for stride in out_strides)


def _apply_switches(
    se: Sequence[int] | None, large_kernel: Sequence[int] | None
) -> dict[int, list[Row]]:
    """STAGES with the given positions of squeeze-excite and 5 x 5 kernels instead of its own."""
    rows = [row for stage in STAGES.values() for row in stage]
    has_se = iter(_check_switch("se", se, [row[3] for row in rows]))
    is_large = iter(_check_switch("large_kernel", large_kernel, [row[0] == 5 for row in rows]))
    return {
        stage_stride: [
            (5 if next(is_large) else 3, width, stride, next(has_se))
            for _, width, stride, _ in stage
        ]
        for stage_stride, stage in STAGES.items()
    }


def _check_switch(name: str, given: Sequence[int] | None, default: Sequence[int]) -> Sequence[int]:
    """`given`, or `default` for None; ValueError unless it is 13 zeros and ones."""
    switch = default if given is None else given
    if len(switch) != NUM_BLOCKS or not set(switch) <= {0, 1}:
        raise ValueError(
            f"{name}={given!r} must hold {NUM_BLOCKS} zeros and ones, one per block, "
            f"such as {tuple(int(bit) for bit in default)}"
        )
    return switch

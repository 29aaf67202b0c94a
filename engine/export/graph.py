"""The graph to export: network with folded batch-norms, preprocessing and export head.

Shapes: B images, H, W the size of the network input, h, w the size of an image.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from engine.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from engine.types import Size

# Pixels that an interpolation mixes, as offsets from the pixel left of the position.
TAPS = {"linear": (0, 1), "cubic": (-1, 0, 1, 2)}
CUBIC_A = -0.75  # as in cv2.INTER_CUBIC

Extent: TypeAlias = Any  # an int, or its symbol in a graph for any size


def least(a: Extent, b: Extent) -> Extent:
    """The smaller of two numbers of pixels; tensors while TorchScript traces."""
    return a.clamp(max=b) if isinstance(a, Tensor) else torch.sym_min(a, b)


class Span(NamedTuple):
    """The range of pixels of one image side that is resized, and the range that is kept of it."""

    first: Extent  # first pixel that is resized
    length: Extent  # number of pixels that are resized
    resized: Extent  # number of pixels after resizing
    start: Extent  # first of these that is kept
    kept: int  # number of pixels kept

    @classmethod
    def whole(cls, side: Extent, count: int) -> Span:
        """The whole side, resized to `count` pixels."""
        return cls(0, side, count, 0, count)

    @classmethod
    def middle(cls, side: Extent, count: int, shortest: int, short: Extent) -> Span:
        """The middle `count` pixels after the image's short side becomes `shortest`.

        As `Preprocess` does it, with integers only, which a graph can hold. Halves are rounded to
        the even number, as round() does.
        """
        length = least(side, 8 * short)
        quotient, rest = length * shortest // short, length * shortest % short
        up = -least(-((2 * rest + quotient % 2 - 1) // short), 0)
        resized = quotient + up
        return cls((side - length) // 2, length, resized, (resized - count) // 2, count)


class Reading(nn.Module):
    """One uint8 RGB image (h, w, 3) of any size -> float32 (1, 3, H, W), as `Preprocess` does it.

    Resized pixels are rounded to integers, as in cv2. Only the mean is subtracted here; the
    division by the deviation is folded into the first convolution (`fold_scale`). The mean cannot
    be folded too: that convolution pads with zeros, which are the mean colour only after the
    subtraction.

    Args:
        size: (height, width) of the network input, or None to keep the size of images.
        resize_shortest: Short side in pixels before the centre crop to `size`, or None.
        interpolation: linear or cubic.
        mean: Channel means of RGB in 0..1.
        std: Channel deviations; kept as `scale` for `fold_scale`.

    Raises:
        ValueError: the interpolation is not in TAPS.
    """

    mean: Tensor  # (1, 3, 1, 1)
    scale: Tensor  # (1, 3, 1, 1)

    def __init__(
        self,
        *,
        size: Sequence[int] | None,
        resize_shortest: int | None = None,
        interpolation: str = "cubic",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        if size is not None and interpolation not in TAPS:
            raise ValueError(
                f"interpolation {interpolation!r} cannot be put in the graph; use one of "
                f"{', '.join(TAPS)}, or export without --with-preprocess"
            )
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.resize_shortest = resize_shortest
        self.interpolation = interpolation
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / (255 * torch.tensor(std)).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        if self.size is None:
            pixels = image.float().permute(2, 0, 1)[None]  # (1, 3, h, w)
        else:
            height, width = self._spans(image.shape[0], image.shape[1])
            pixels = resized(image, height, width, self.interpolation)
        return pixels - self.mean

    def _spans(self, height: int, width: int) -> tuple[Span, Span]:
        """The rows and columns of an image that the network gets."""
        assert self.size is not None
        if self.resize_shortest is None:
            return Span.whole(height, self.size[0]), Span.whole(width, self.size[1])
        short = least(height, width)
        cut = (self.resize_shortest, short)
        return Span.middle(height, self.size[0], *cut), Span.middle(width, self.size[1], *cut)


def raw_outputs(model: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """Outputs of `model(mode="tensor")`, as a tuple also if there is only one."""
    outputs = model(images, mode="tensor")
    return outputs if isinstance(outputs, tuple) else (outputs,)


class Graph(nn.Module):
    """Network, with optional preprocessing before it and export head after it.

    Input: float32 (B, 3, H, W) from `Preprocess`, or with `reading` one image (h, w, 3) uint8 RGB.
    Output: that of `model(mode="tensor")`, or with `head` that of the head.
    """

    def __init__(
        self, model: nn.Module, reading: Reading | None = None, head: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.reading = reading
        self.resizes = reading is not None and reading.size is not None
        self.head = head

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        given: Size | None = None
        if self.reading is not None:
            if self.resizes:
                given = (images.shape[0], images.shape[1])
            images = self.reading(images)
        outputs = raw_outputs(self.model, images)
        if self.head is None:
            return outputs
        size = (images.shape[2], images.shape[3])
        return self.head(*outputs, size, given or size)


def resized(image: Tensor, height: Span, width: Span, interpolation: str) -> Tensor:
    """Image (h, w, 3) uint8 as float32 (1, 3, *counts) of integer values, as cv2.resize does it.

    First rows, then columns, each a weighted sum of a few rows of a matrix: the engines' own cubic
    resize takes up to 11 times as long.
    """
    rows, row_weights = taps(height, interpolation)
    columns, column_weights = taps(width, interpolation)
    count = len(TAPS[interpolation])
    picked = image.index_select(0, rows).float().reshape(height.kept, count, -1)
    lines = torch.bmm(row_weights, picked)  # (H, 1, w * 3)
    upright = lines.reshape(height.kept, image.shape[1], 3).permute(1, 0, 2)  # (w, H, 3)
    picked = upright.reshape(image.shape[1], -1).index_select(0, columns)
    pixels = torch.bmm(column_weights, picked.reshape(width.kept, count, -1))  # (W, 1, H * 3)
    whole = pixels.reshape(width.kept, height.kept, 3).permute(2, 1, 0)[None].round()
    return whole.clamp(0, 255)


def taps(span: Span, interpolation: str) -> tuple[Tensor, Tensor]:
    """Source pixels of each output pixel: (count * T,) indices, (count, 1, T) weights.

    Beyond the border, the border pixel is repeated.
    """
    offsets = torch.tensor(TAPS[interpolation])  # (T,)
    numbers = torch.arange(span.kept, dtype=torch.float32) + 0.5 + span.start
    places = numbers * (span.length / span.resized) - 0.5  # (count,)
    first = places.floor()[:, None]  # (count, 1)
    distance = (places[:, None] - (first + offsets)).abs()  # (count, T)
    indices = (first.long() + offsets).clamp(min=0).clamp(max=span.length - 1) + span.first
    return indices.flatten(), _weights(distance, interpolation)[:, None, :]


def _weights(distance: Tensor, interpolation: str) -> Tensor:
    """Weight of a pixel at this `distance` (in pixels) from the position."""
    if interpolation == "linear":
        return 1 - distance
    d, a = distance, CUBIC_A  # Keys 1981, equation 15 for any a
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, far)


def folded(model: nn.Module) -> Any:
    """Copy of a model in eval mode with every batch-norm folded into its convolution.

    Expects convolution and norm as the children `conv` and `norm` of one module.
    """
    result = copy.deepcopy(model).eval()
    for module in result.modules():
        parts = dict(module.named_children())
        conv, norm = parts.get("conv"), parts.get("norm")
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            # In float64: one rounding instead of several.
            fused = fuse_conv_bn_eval(conv.double(), norm.double())
            module.conv, module.norm = fused.float(), nn.Identity()
            if _is_thin(module.conv):
                module.conv = split(module.conv)
    return result.requires_grad_(False)


def _is_thin(conv: nn.Conv2d) -> bool:
    """Whether it is a dense k x l convolution with one output channel, which engines run slowly."""
    plain = conv.stride == conv.dilation == (1, 1) and conv.groups == 1
    return plain and conv.out_channels == 1 < min(conv.kernel_size)


def split(conv: nn.Conv2d) -> nn.Sequential:
    """Split a k x l convolution to one channel into k x 1 to l channels, then 1 x l that sums them.

    Engines compute 8 or 16 output channels at once, so one channel costs as much as 8.
    """
    assert not isinstance(conv.padding, str)  # the layers here use numbers
    (height, width), (top, left) = conv.kernel_size, conv.padding
    columns = nn.Conv2d(conv.in_channels, width, (height, 1), padding=(top, 0), bias=False)
    columns.weight.data = conv.weight.data[0].permute(2, 0, 1)[..., None].contiguous()
    row = nn.Conv2d(width, 1, (1, width), padding=(0, left), bias=conv.bias is not None)
    row.weight.data = torch.eye(width)[None, :, None, :]  # (1, l, 1, l)
    if conv.bias is not None:
        row.bias = conv.bias
    return nn.Sequential(columns, row)


def fold_scale(model: nn.Module, scale: Tensor, example: Tensor) -> None:
    """Fold input factors (1, 3, 1, 1) into the model's first convolution, in place.

    Exact for any padding, because zeros stay zeros.

    Raises:
        ValueError: the first layer that runs on `example` (B, 3, H, W) is not an ungrouped
            convolution.
    """
    first = _first_layer(model, example)
    if not isinstance(first, nn.Conv2d) or first.groups != 1:
        raise ValueError(
            f"{type(model).__name__}: its first layer is not an ungrouped convolution, so the "
            "normalisation cannot be folded into it; export without --with-preprocess"
        )
    first.weight.data.mul_(scale)


def _first_layer(model: nn.Module, example: Tensor) -> nn.Module | None:
    """The first layer without children that a forward pass calls."""
    called: list[nn.Module] = []
    with ExitStack() as hooks, torch.inference_mode():
        for layer in model.modules():
            if not list(layer.children()):
                note = layer.register_forward_pre_hook(lambda layer, _: called.append(layer))
                hooks.enter_context(note)
        model(example, mode="tensor")
    return called[0] if called else None

"""A model as it is exported: folded, with what it takes and gives in the graph.

Shapes: B images, H, W the size of the network input, h, w the size of an image before it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from engine.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from engine.types import Size

# Offsets, from the pixel left of a position, of the pixels that an interpolation mixes.
TAPS = {"linear": (0, 1), "cubic": (-1, 0, 1, 2)}
CUBIC_A = -0.75  # cv2.INTER_CUBIC's


Extent: TypeAlias = Any  # an int, or in a graph of any size a symbol for one


def least(a: Extent, b: Extent) -> Extent:
    """The smaller of two numbers of pixels; TorchScript's tracing has tensors for them."""
    return a.clamp(max=b) if isinstance(a, Tensor) else torch.sym_min(a, b)


class Span(NamedTuple):
    """Pixels of one side of an image that are resized, and those of the result that are kept."""

    first: Extent  # pixels of the image left out before it
    length: Extent  # pixels of the image taken
    resized: Extent  # what these become
    start: Extent  # of those, the first that is kept
    kept: int  # and how many are

    @classmethod
    def whole(cls, side: Extent, count: int) -> Span:
        """All of it."""
        return cls(0, side, count, 0, count)

    @classmethod
    def middle(cls, side: Extent, count: int, shortest: int, short: Extent) -> Span:
        """The middle of a side once the image's short side is `shortest`, as `Preprocess` has it.

        In whole numbers, so that a graph holds it; round(x) goes to the even one of two as near.
        """
        length = least(side, 8 * short)
        quotient, rest = length * shortest // short, length * shortest % short
        up = -least(-((2 * rest + quotient % 2 - 1) // short), 0)
        resized = quotient + up
        return cls((side - length) // 2, length, resized, (resized - count) // 2, count)


class Reading(nn.Module):
    """One uint8 RGB image (h, w, 3) of any size -> float32 (1, 3, H, W), as `Preprocess` does it.

    Resized pixels are rounded to whole values, as cv2 leaves them. Of the normalisation only the
    mean is taken off here: the deviation belongs into the weights of the first convolution
    (`fold_scale`). The mean cannot go there too: that convolution pads with zeros, which stand for
    the mean colour only while the mean is taken off.

    Args:
        size: (height, width) of the network input, or None to leave images as they are.
        resize_shortest: Short side in pixels before `size` is cut out of the centre, or None.
        interpolation: linear or cubic.
        mean: Channel means, RGB on a scale of 0..1.
        std: Channel deviations; kept as `scale` for `fold_scale`.

    Raises:
        ValueError: an interpolation that no graph holds.
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
        """What of an image's rows and columns is seen."""
        assert self.size is not None
        if self.resize_shortest is None:
            return Span.whole(height, self.size[0]), Span.whole(width, self.size[1])
        short = least(height, width)
        cut = (self.resize_shortest, short)
        return Span.middle(height, self.size[0], *cut), Span.middle(width, self.size[1], *cut)


class Graph(nn.Module):
    """Network, with the preprocessing in front of it and the export head behind it, where given.

    Takes float32 (B, 3, H, W) as `Preprocess` makes it, or with `reading` one image (h, w, 3) uint8
    RGB. Gives what `model(mode="tensor")` gives, or with `head` what that makes of it.
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
        outputs = self.model(images, mode="tensor")
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        if self.head is None:
            return outputs
        size = (images.shape[2], images.shape[3])
        return self.head(*outputs, size, given or size)


def resized(image: Tensor, height: Span, width: Span, interpolation: str) -> Tensor:
    """Image (h, w, 3) uint8 as float32 (1, 3, *counts) of whole values, as cv2.resize makes it.

    Rows first, then columns, each a sum of few rows of a matrix: engines' own cubic resize takes
    up to eleven times as long.
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
    """Pixels that make each of a span: (count * T,) indices and their (count, 1, T) weights.

    Pixels beyond the border are the border's.
    """
    offsets = torch.tensor(TAPS[interpolation])  # (T,)
    numbers = torch.arange(span.kept, dtype=torch.float32) + 0.5 + span.start
    places = numbers * (span.length / span.resized) - 0.5  # (count,)
    first = places.floor()[:, None]  # (count, 1)
    distance = (places[:, None] - (first + offsets)).abs()  # (count, T)
    indices = (first.long() + offsets).clamp(min=0).clamp(max=span.length - 1) + span.first
    return indices.flatten(), _weights(distance, interpolation)[:, None, :]


def _weights(distance: Tensor, interpolation: str) -> Tensor:
    """Weight of a pixel that lies `distance` (in pixels) from the position."""
    if interpolation == "linear":
        return 1 - distance
    d, a = distance, CUBIC_A  # Keys 1981, equation 15 for any a
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, far)


def folded(model: nn.Module) -> Any:
    """Copy of a model in eval mode with every batch-norm multiplied into its convolution.

    Convolution and norm are the children `conv` and `norm` of one module, everywhere in this code.
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
    """Whether engines waste most of their vectors on it: a window, dense, one output channel."""
    plain = conv.stride == conv.dilation == (1, 1) and conv.groups == 1
    return plain and conv.out_channels == 1 < min(conv.kernel_size)


def split(conv: nn.Conv2d) -> nn.Sequential:
    """A k x l convolution to one channel as k x 1 to l channels and 1 x l, which adds those up.

    Engines compute eight or sixteen output channels at once, so one is as dear as eight.
    """
    assert not isinstance(conv.padding, str)  # our layers give numbers
    (height, width), (top, left) = conv.kernel_size, conv.padding
    columns = nn.Conv2d(conv.in_channels, width, (height, 1), padding=(top, 0), bias=False)
    columns.weight.data = conv.weight.data[0].permute(2, 0, 1)[..., None].contiguous()
    row = nn.Conv2d(width, 1, (1, width), padding=(0, left), bias=conv.bias is not None)
    row.weight.data = torch.eye(width)[None, :, None, :]  # (1, l, 1, l)
    if conv.bias is not None:
        row.bias = conv.bias
    return nn.Sequential(columns, row)


def fold_scale(model: nn.Module, scale: Tensor, example: Tensor) -> None:
    """Multiply the factors (1, 3, 1, 1) on the model's input into its first convolution, in place.

    Exact whatever its padding, because zeros stay zeros.

    Raises:
        ValueError: the first layer that sees the `example` (B, 3, H, W) is no plain convolution.
    """
    first = _first_layer(model, example)
    if not isinstance(first, nn.Conv2d) or first.groups != 1:
        raise ValueError(
            f"{type(model).__name__}: its first layer is no plain convolution, so that the "
            "normalisation cannot be folded into it; export without --with-preprocess"
        )
    first.weight.data.mul_(scale)


def _first_layer(model: nn.Module, example: Tensor) -> nn.Module | None:
    """The layer without parts that is called first in a forward pass."""
    called: list[nn.Module] = []

    def note(layer: nn.Module, _: Any) -> None:
        called.append(layer)

    leaves = [layer for layer in model.modules() if not list(layer.children())]
    handles = [layer.register_forward_pre_hook(note) for layer in leaves]
    try:
        with torch.inference_mode():
            model(example, mode="tensor")
    finally:
        for handle in handles:
            handle.remove()
    return called[0] if called else None

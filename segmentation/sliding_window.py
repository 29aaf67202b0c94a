"""Runs the network over an image in evaluation: whole or in windows, at one or several scales.

Shapes: B images of H x W, K classes.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import reduce

from mmengine.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

from engine.types import Size

Network = Callable[[Tensor], Tensor]  # (B, 3, H, W) -> logits (B, K, H, W)


@MODELS.register_module()
class Inference:
    """Runs a network over images and averages the class probabilities of all views of an image.

    Args:
        scales: Factors on height and width; each is one view. Published: 1 alone.
        flip: Add the mirrored image of every scale as a view.
        window: (height, width) in pixels of a sliding window, or None for the whole image. Logits
            are averaged where windows overlap; a window is never larger than the image.
        step: (vertical, horizontal) pixels between windows; None is two thirds of the window.

    Raises:
        ValueError: no scale, or one that is not positive; a step without a window or larger than
            it.
    """

    def __init__(
        self,
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: Sequence[int] | None = None,
        step: Sequence[int] | None = None,
    ) -> None:
        if not scales or min(scales) <= 0:
            raise ValueError(f"inference scales {list(scales)} must be one or more numbers above 0")
        self.scales = tuple(scales)
        self.flip = flip
        self.window = None if window is None else _pair("window", window)
        if step is not None and self.window is None:
            raise ValueError(f"inference step {list(step)} needs a window")
        self.step = None if step is None else _pair("step", step)
        if self.window and self.step and any(map(int.__gt__, self.step, self.window)):
            raise ValueError(
                f"inference step {self.step} is larger than the window {self.window}: pixels "
                "between windows would be left out"
            )

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        """Scores (B, K, H, W) of images (B, 3, H, W).

        They are the logits of one view, or the log of the mean probabilities of several. Either can
        be used as logits: for the largest class, and in cross-entropy.
        """
        if self.scales == (1.0,) and not self.flip:
            return self._run(network, images)
        probabilities = (
            restore(self._run(network, view)).softmax(dim=1)
            for view, restore in self._views(images)
        )
        num_views = len(self.scales) * (1 + self.flip)
        return reduce(Tensor.add_, probabilities).div_(num_views).clamp_(min=1e-30).log_()

    def _views(self, images: Tensor) -> Iterator[tuple[Tensor, Callable[[Tensor], Tensor]]]:
        """Every view, and the function that resizes its logits to (B, K, H, W)."""
        size = _size(images)
        for scale in self.scales:
            scaled = resize(
                images, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
            )
            yield scaled, lambda logits: resize(logits, size)
            if self.flip:
                yield scaled.flip(-1), lambda logits: resize(logits.flip(-1), size)

    def _run(self, network: Network, images: Tensor) -> Tensor:
        if self.window is None:
            return network(images)
        height, width = _size(images)
        window = (min(height, self.window[0]), min(width, self.window[1]))
        steps = self.step or (max(1, window[0] * 2 // 3), max(1, window[1] * 2 // 3))
        total: Tensor | None = None
        count = images.new_zeros(height, width)
        for top in _starts(height, window[0], steps[0]):
            for left in _starts(width, window[1], steps[1]):
                here = (..., slice(top, top + window[0]), slice(left, left + window[1]))
                logits = network(images[here])
                if total is None:
                    total = logits.new_zeros(*logits.shape[:2], height, width)
                total[here] += logits
                count[here] += 1
        assert total is not None  # there is at least one window
        return total.div_(count)


def resize(maps: Tensor, size: Size) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinear between pixel centres; unchanged if already so."""
    if _size(maps) == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _starts(length: int, window: int, step: int) -> list[int]:
    """First pixels of windows that cover `length`; the last window ends at its end."""
    return [*range(0, length - window, step), length - window]


def _size(maps: Tensor) -> Size:
    return (maps.shape[-2], maps.shape[-1])


def _pair(name: str, given: Sequence[int]) -> Size:
    if len(given) != 2 or min(given) < 1:
        raise ValueError(f"inference {name} {list(given)} must be (height, width) in pixels")
    return (int(given[0]), int(given[1]))

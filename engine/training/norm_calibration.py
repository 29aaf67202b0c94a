"""Computes batch-norm statistics from images, for weights whose batch-norms were folded.

A file with folded batch-norms has the function of the network but not its statistics: neutral
batch-norms compute x + bias in evaluation, but in training they normalise the folded scale away.
So the first training step would destroy the weights.

Shapes: B images, C channels.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.data.images import read_image


def network_inputs(
    preprocess: nn.Module, files: Sequence[Path], batch_size: int = 8
) -> Iterator[Tensor]:
    """Batches (B, 3, H, W) of image files, preprocessed as in evaluation."""
    for start in range(0, len(files), batch_size):
        batch = [torch.from_numpy(read_image(path)) for path in files[start : start + batch_size]]
        yield preprocess({"images": batch}, False)["images"]


class ChannelMoments:
    """Mean and variance of each channel over all batches, in float64 and one pass.

    Batches are merged pairwise (Chan, Golub, LeVeque 1983, equation 2.1), so memory and rounding
    error do not grow with the number of images.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)  # (C,)
        self.squares = torch.zeros(channels, dtype=torch.float64)  # (C,) sum of (x - mean)^2

    @property
    def variance(self) -> Tensor:
        """(C,) biased variance, as batch-norm uses it in training."""
        return self.squares / max(self.count, 1)

    def add(self, x: Tensor) -> None:
        """Add one batch (B, C, H, W)."""
        values = x.detach().double().transpose(0, 1).flatten(1).cpu()  # (C, B * H * W)
        count, mean = values.shape[1], values.mean(1)
        squares = (values - mean[:, None]).square().sum(1)
        total = self.count + count
        step = mean - self.mean
        self.squares += squares + step.square() * self.count * count / total
        self.mean += step * count / total
        self.count = total


@torch.no_grad()
def calibrate_norms(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Set the statistics of every batch-norm to those of its input; the function is unchanged.

    m and v are the mean and variance of the input over `batches`, measured in evaluation mode
    before any change. The statistics (mean, var), weight and bias become (m, v),
    weight * sqrt((v + eps) / (var + eps)) and bias + weight * (m - mean) / sqrt(var + eps).

    Args:
        model: Changed in place and left in evaluation mode.
        batches: Network inputs (B, 3, H, W), preprocessed as in evaluation.

    Returns:
        The number of images.

    Raises:
        ValueError: no images were given, or the model has no batch-norm.
    """
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    moments = [ChannelMoments(norm.num_features) for norm in norms]
    handles = [
        norm.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.add(inputs[0]))
        for norm, seen in zip(norms, moments, strict=True)
    ]
    model.eval()
    num_images = 0
    try:
        for images in batches:
            model(images)
            num_images += len(images)
    finally:
        for handle in handles:
            handle.remove()
    if not norms or not num_images:
        raise ValueError(f"cannot calibrate with {num_images} images and {len(norms)} batch-norms")
    for norm, seen in zip(norms, moments, strict=True):
        _restate(norm, seen)
    return num_images


def _restate(norm: nn.BatchNorm2d, seen: ChannelMoments) -> None:
    """Replace the statistics of `norm`; adapt weight and bias to compute the same function."""
    if seen.count == 0:  # not used in the forward pass
        return
    assert norm.running_mean is not None
    assert norm.running_var is not None
    slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # (C,)
    norm.bias.copy_(norm.bias.double() + slope * (seen.mean - norm.running_mean.double()))
    norm.weight.copy_(slope * (seen.variance + norm.eps).sqrt())
    norm.running_mean.copy_(seen.mean)
    norm.running_var.copy_(seen.variance)


@torch.no_grad()
def even_out_convolutions(model: nn.Module) -> int:
    """Scale convolutions before batch-norms to an output variance of 1; same function.

    The scale of the weights w before a batch-norm does not change the function, but it changes
    training: gradients grow with 1 / |w|. In a file with folded batch-norms the scales of channels
    differ up to 60,000-fold, so one step changes the smallest by many times their size. Call it
    before training with rebuilt batch-norms; their statistics must be correct.

    Returns:
        The number of convolutions changed, in place.
    """
    parts = list(model.modules())
    pairs = [
        (conv, norm)
        for conv, norm in pairwise(parts)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and conv.bias is None
    ]
    for conv, norm in pairs:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        deviation = (norm.running_var + norm.eps).sqrt()  # (C,)
        conv.weight.div_(deviation[:, None, None, None])
        norm.running_mean.div_(deviation)
        norm.running_var.div_(deviation.square())
        norm.weight.mul_((norm.running_var + norm.eps).sqrt())
    return len(pairs)

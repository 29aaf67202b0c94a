"""What necks and heads may rely on in a backbone."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, Protocol

from torch import Tensor

OUTPUT_STRIDES = (8, 16, 32)


class Backbone(Protocol):
    """An `nn.Module` that turns images into feature maps, fine to coarse.

    Map i has `channels[i]` channels and 1 / `strides[i]` of the height and width of the images,
    rounded up. Necks and heads read both, so that no config repeats a channel count.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    pre_pool_channels: int  # of the 1x1 conv that its classifier has before pooling; 0: no conv

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one (B, channels[i], H / strides[i], W / strides[i]) per stride."""
        ...


def check_choice(name: str, value: object, known: tuple[object, ...]) -> None:
    """Raise ValueError, which lists `known`, unless `value` is one of them."""
    if value not in known:
        raise ValueError(f"{name}={value!r} is unknown; known: {', '.join(map(str, known))}")


def check_out_strides(out_strides: tuple[int, ...], known: tuple[int, ...]) -> None:
    """Raise ValueError unless `out_strides` ascends, is not empty and holds strides of `known`."""
    if not out_strides or sorted(set(out_strides)) != list(out_strides):
        raise ValueError(
            f"out_strides={out_strides} must ascend without repeats, such as (8, 16, 32)"
        )
    for stride in out_strides:
        check_choice("out_strides entry", stride, known)


def dilate(block_strides: Iterable[int], stem_stride: int, limit: int) -> Iterator[tuple[int, int]]:
    """(stride, dilation) of each block, so that no map is coarser than 1 / `limit`.

    A stride that would exceed the limit becomes 1 and doubles the dilation of the blocks behind it.
    Every kernel then reads the samples it read before, and the finer map holds the coarser one at
    every second position (the algorithm "à trous"). Squeeze-excite is the exception: its mean is
    over more positions.

    Args:
        block_strides: Strides without a limit, first block first.
        stem_stride: Stride in front of the first block.
        limit: The wanted output stride.
    """
    reached, dilation = stem_stride, 1
    for stride in block_strides:
        if reached * stride <= limit:
            reached *= stride
            yield stride, dilation
        else:
            yield 1, dilation
            dilation *= stride


def require(name: str, extra: str) -> Any:
    """The module of a package that an extra of this project installs.

    As `engine.extras.require`, for this package imports nothing of the engine.

    Raises:
        ValueError: it is not installed; says how to install it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ValueError(
            f"{name} is not installed; run: pip install 'lcnet-vision[{extra}]' (in a checkout: "
            f"pip install -e '.[{extra}]')"
        ) from error

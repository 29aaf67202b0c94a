"""What necks and heads may rely on in a backbone."""

from typing import Protocol

from torch import Tensor


class Backbone(Protocol):
    """An `nn.Module` that turns images into feature maps, fine to coarse.

    Map i has `channels[i]` channels and 1 / `strides[i]` of the height and width of the images,
    rounded up. Necks and heads read both, so that no config repeats a channel count.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one (B, channels[i], H / strides[i], W / strides[i]) a stride."""
        ...


def check_choice(name: str, value: object, known: tuple[object, ...]) -> None:
    """ValueError that lists `known` where `value` is none of them."""
    if value not in known:
        raise ValueError(f"{name}={value!r} is unknown; known: {', '.join(map(str, known))}")


def check_out_strides(out_strides: tuple[int, ...], known: tuple[int, ...]) -> None:
    """ValueError where `out_strides` is empty, not ascending or holds one outside `known`."""
    if not out_strides or sorted(set(out_strides)) != list(out_strides):
        raise ValueError(
            f"out_strides={out_strides} must ascend without repeats, such as (8, 16, 32)"
        )
    for stride in out_strides:
        check_choice("out_strides entry", stride, known)

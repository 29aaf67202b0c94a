"""Ranks layers by the error that 8 bits cause in them.

Shapes: B images.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from engine.export.graph import raw_outputs

LEVELS = 255  # of an activation; one scale and offset per tensor
WEIGHT_LEVELS = 63  # of a weight above and below zero (7 bits); one scale per output channel

DEPTHWISE = "depthwise, gains little"
POOLED = "after a global mean, too small to gain"
FIRST = "first layer"
LAST = "makes an output"
SMALL = 100_000  # weights; reading fewer does not dominate a layer's time


class Layer(NamedTuple):
    """A convolution or linear layer of the exported graph."""

    name: str  # its path in the model, also the name of its node in the graph
    error: float  # relative change of the network's outputs with this layer alone in 8 bits
    reason: str  # to keep it in float; empty for most layers


def layers(
    model: nn.Module, inputs: Sequence[Tensor], last: Sequence[str], *, outputs: bool = False
) -> list[Layer]:
    """All layers with weights, the most sensitive first.

    Args:
        model: Network in eval mode with folded batch-norms.
        inputs: Network inputs (B, 3, H, W) to measure on.
        last: Name prefixes of the layers that make the outputs.
        outputs: Whether the engine also rounds a layer's outputs, before the activation.
    """
    with torch.inference_mode():
        wanted = [raw_outputs(model, x) for x in inputs]
        found = [
            Layer(name, _error(model, _in_eight_bits(layer, outputs), inputs, wanted), "")
            for name, layer in _weighted(model).items()
        ]
        reasons = _reasons(model, inputs[0], last)
    named = [layer._replace(reason=reasons.get(layer.name, "")) for layer in found]
    return sorted(named, key=lambda layer: -layer.error)


def _weighted(model: nn.Module) -> dict[str, Any]:
    kinds = nn.Conv2d | nn.Linear
    return {name: part for name, part in model.named_modules() if isinstance(part, kinds)}


def _error(
    model: nn.Module,
    rounded: AbstractContextManager[None],
    inputs: Sequence[Tensor],
    wanted: Sequence[tuple[Tensor, ...]],
) -> float:
    """Mean relative change of the outputs: norm of the change over norm of the output."""
    errors = []
    with rounded:
        for images, outputs in zip(inputs, wanted, strict=True):
            for one, other in zip(outputs, raw_outputs(model, images), strict=True):
                errors.append(float((one - other).norm() / one.norm().clamp(min=1e-12)))
    return sum(errors) / len(errors)


@contextmanager
def _in_eight_bits(layer: Any, outputs: bool) -> Iterator[None]:
    """While entered, rounds the layer's weights, inputs and maybe outputs as 8-bit engines do."""
    weight = layer.weight.data
    with (
        layer.register_forward_pre_hook(lambda _, given: (rounded_activations(given[0]),)),
        layer.register_forward_hook(
            lambda *call: rounded_activations(call[2]) if outputs else None
        ),
    ):
        layer.weight.data = rounded_weights(weight)
        try:
            yield
        finally:
            layer.weight.data = weight


def rounded_weights(weight: Tensor) -> Tensor:
    """Weights (out, ...) rounded to 127 levels around zero, with one scale per output channel."""
    flat = weight.flatten(1)
    scale = (flat.abs().amax(1, keepdim=True) / WEIGHT_LEVELS).clamp(min=1e-12)
    return ((flat / scale).round() * scale).view_as(weight)


def rounded_activations(x: Tensor) -> Tensor:
    """A tensor rounded to 256 levels over the range of its values and zero."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = ((high - low) / LEVELS).clamp(min=1e-12)
    offset = (-low / scale).round()
    return ((x / scale + offset).round().clamp(0, LEVELS) - offset) * scale


def _reasons(model: nn.Module, images: Tensor, last: Sequence[str]) -> dict[str, str]:
    """Layers with a reason to keep them in float: a large error or little gain."""
    reasons: dict[str, str] = {}
    called: list[str] = []
    parts = _weighted(model)

    def note(name: str, output: Tensor) -> None:
        called.append(name)
        pooled = output.dim() == 4 and output.shape[2:] == (1, 1)
        if pooled and parts[name].weight.numel() < SMALL:
            reasons[name] = POOLED

    with ExitStack() as hooks:
        for name, part in parts.items():
            hook = part.register_forward_hook(lambda _, __, out, name=name: note(name, out))
            hooks.enter_context(hook)
        model(images, mode="tensor")
    reasons |= {name: DEPTHWISE for name, part in parts.items() if getattr(part, "groups", 1) > 1}
    reasons |= {name: LAST for name in parts if name.startswith(tuple(last))}
    reasons[called[0]] = FIRST
    return reasons

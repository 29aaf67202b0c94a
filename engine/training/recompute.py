"""Activation checkpointing: the backward pass recomputes activations, which saves memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from engine.fileio import near


def recompute(model: nn.Module, names: Sequence[str] | str) -> None:
    """Checkpoint the activations inside the modules of these dotted names.

    Only their inputs and outputs are kept. Training runs their forward pass twice. Memory falls
    most with several modules of similar size in a row, not with one large module. Gradients,
    dropout and batch-norm statistics are the same as without it; mmengine's own key of that name
    updates the statistics twice.

    Raises:
        ValueError: the model does not have such a module.
    """
    modules = dict(model.named_modules())
    for name in [names] if isinstance(names, str) else names:
        if not name or name not in modules:
            raise ValueError(
                f"config key activation_checkpointing: no module {name!r} in the model; "
                f"{near(str(name), [known for known in modules if known])}"
            )
        module: Any = modules[name]
        module.forward = _checkpointed(module, module.forward)


def _checkpointed(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward` of a module that, in training, does not keep activations."""

    @wraps(forward)
    def run(*inputs: Any) -> Any:
        if not (module.training and torch.is_grad_enabled()):
            return forward(*inputs)
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(module)  # of the first and the second pass

    return run


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Restore the batch-norm statistics at the end of the context."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    buffers: list[Tensor] = [buffer.data for norm in norms for buffer in norm.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)

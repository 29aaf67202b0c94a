"""Activations that the backward pass computes again instead of keeping them: memory for time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from engine.fileio import near


def recompute(model: nn.Module, names: Sequence[str] | str) -> None:
    """Let the modules of these dotted names forget what is inside them until it is needed again.

    Kept are their inputs and outputs. Each costs a second forward pass in training, so memory falls
    most with several modules of similar size in a row, not with one that is everything. Gradients,
    dropout and the running statistics of batch-norms are what they would be without; mmengine's own
    key of that name lets the statistics move twice.

    Raises:
        ValueError: there is no such module.
    """
    modules = dict(model.named_modules())
    for name in [names] if isinstance(names, str) else names:
        if not name or name not in modules:
            raise ValueError(
                f"config key activation_checkpointing: no module {name!r} in the model; "
                f"{near(str(name), [known for known in modules if known])}"
            )
        module: Any = modules[name]
        module.forward = _forgetful(module, module.forward)


def _forgetful(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward` of a module, that keeps nothing inside where it trains."""

    @wraps(forward)
    def run(*inputs: Any) -> Any:
        if not (module.training and torch.is_grad_enabled()):
            return forward(*inputs)
        contexts = partial(_contexts, module)
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)

    return run


def _contexts(
    module: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What the first and the second pass run in."""
    return nullcontext(), _statistics_kept(module)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Put the statistics of batch-norms back as they were."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    buffers: list[Tensor] = [buffer.data for norm in norms for buffer in norm.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)

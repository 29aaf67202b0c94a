"""The private attributes of mmengine that this project uses, each with its reason."""

from mmengine.optim import OptimWrapper


def set_step_count(optimizer: OptimWrapper, steps: int) -> None:
    """Say that `steps` iterations are done: the wrapper updates the weights at multiples of the
    gathered batches.

    Its public `initialize_count_status` warns at every other count.
    """
    optimizer._inner_count = steps

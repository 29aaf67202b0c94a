"""Applies `torch.compile` to the backbone of a model."""

from typing import Any

from engine.fileio import near

OPTIONS = ("backend", "mode", "dynamic", "fullgraph", "options")  # of torch.compile


def compile_trunk(model: Any, options: bool | dict[str, Any]) -> None:
    """Compile the backbone at its first call; weights keep their names.

    mmengine would compile the whole training step. Torch cannot: it includes numpy images of many
    sizes and the optimiser.

    Args:
        model: A model with a `backbone`.
        options: True, or options of `torch.compile`, e.g. dict(mode="max-autotune").

    Raises:
        ValueError: an unknown option.
    """
    chosen = options if isinstance(options, dict) else {}
    for key in chosen:
        if key not in OPTIONS:
            raise ValueError(f"config key compile.{key} is unknown; {near(key, list(OPTIONS))}")
    model.backbone.compile(**chosen)

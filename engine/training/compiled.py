"""`torch.compile` for the part of a model that is worth it."""

from typing import Any

from engine.fileio import near

OPTIONS = ("backend", "mode", "dynamic", "fullgraph", "options")  # of torch.compile


def compile_trunk(model: Any, options: bool | dict[str, Any]) -> None:
    """Let torch compile the backbone at its first call; weights keep their names.

    mmengine would compile the whole training step, in which images are still numpy arrays of many
    sizes and the optimiser works: torch's compiler stops at those.

    Args:
        model: Has a `backbone`.
        options: True, or what `torch.compile` takes, e.g. dict(mode="max-autotune").

    Raises:
        ValueError: it does not take such an option.
    """
    chosen = options if isinstance(options, dict) else {}
    for key in chosen:
        if key not in OPTIONS:
            raise ValueError(f"config key compile.{key} is unknown; {near(key, list(OPTIONS))}")
    model.backbone.compile(**chosen)

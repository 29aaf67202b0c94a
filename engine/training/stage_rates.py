"""Learning rates by part of a model, for fine-tuning: lower rates for early stages."""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StageRates(DefaultOptimWrapperConstructor):
    """mmengine's constructor, which also reads `lr_mults` of `paramwise_cfg`: prefix -> factor.

    The rate of a parameter is multiplied by the factor of the longest matching prefix of its name.
    Weight decay is not changed; mmengine's `custom_keys` would decay batch-norms wherever they set
    a rate. PaddleClas' `lr_mult_list` of six numbers is, on PP-LCNet,
    {"backbone.stem.": ..., "backbone.stages.0.": ..., ..., "backbone.stages.4.": ...}.

    Raises:
        ValueError: a prefix without a parameter, or a negative factor.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        options = dict(paramwise_cfg or {})
        self.lr_mults: dict[str, float] = dict(options.pop("lr_mults", {}))
        # With any entry, mmengine creates a group, and so a rate, for each parameter.
        super().__init__(optim_wrapper_cfg, options or {"custom_keys": {}})

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimiser and multiply the rates."""
        names = {id(value): name for name, value in model.named_parameters()}
        for prefix, factor in self.lr_mults.items():
            if factor < 0 or not any(name.startswith(prefix) for name in names.values()):
                raise ValueError(
                    f"optim_wrapper.paramwise_cfg.lr_mults: {prefix!r}: {factor}: expected the "
                    "beginning of a parameter name, such as "
                    f"{next(iter(names.values()))}, and a factor of at least 0"
                )
        wrapper = super().__call__(model)
        for group in wrapper.optimizer.param_groups:
            (parameter,) = group["params"]
            fitting = [key for key in self.lr_mults if names[id(parameter)].startswith(key)]
            if fitting:
                group["lr"] *= self.lr_mults[max(fitting, key=len)]
        return wrapper

"""Learning rates by part of a model, for fine-tuning: early stages slower than late ones."""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StageRates(DefaultOptimWrapperConstructor):
    """mmengine's constructor, which also reads `lr_mults` of `paramwise_cfg`: prefix -> factor.

    The rate of a parameter is multiplied by the factor of the longest prefix of its name, if any.
    Decay stays what the other entries say; mmengine's `custom_keys` would lift the exemption of
    batch-norms wherever they set a rate. PaddleClas' `lr_mult_list` of six numbers is, on PP-LCNet,
    {"backbone.stem.": ..., "backbone.stages.0.": ..., ..., "backbone.stages.4.": ...}.

    Raises:
        ValueError: a prefix that no parameter has, or a negative factor.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        options = dict(paramwise_cfg or {})
        self.lr_mults: dict[str, float] = dict(options.pop("lr_mults", {}))
        # Any entry makes mmengine give each parameter a group, and so a rate, of its own.
        super().__init__(optim_wrapper_cfg, options or {"custom_keys": {}})

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The optimiser of the model's parameters, rates multiplied."""
        names = {id(value): name for name, value in model.named_parameters()}
        for prefix, factor in self.lr_mults.items():
            if factor < 0 or not any(name.startswith(prefix) for name in names.values()):
                raise ValueError(
                    f"optim_wrapper.paramwise_cfg.lr_mults: {prefix!r}: {factor} must be the "
                    "beginning of a parameter's name with a factor of at least 0; names are as "
                    f"{next(iter(names.values()))}"
                )
        wrapper = super().__call__(model)
        for group in wrapper.optimizer.param_groups:
            (parameter,) = group["params"]
            fitting = [key for key in self.lr_mults if names[id(parameter)].startswith(key)]
            if fitting:
                group["lr"] *= self.lr_mults[max(fitting, key=len)]
        return wrapper

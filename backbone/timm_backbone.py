"""Any network of the package timm as a backbone; channels and strides are read from it."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from backbone.interface import require

# What timm raises for a network that cannot give feature maps.
NO_FEATURES = (RuntimeError, AttributeError, AssertionError, TypeError, NotImplementedError)
# What a download of weights raises without a connection or without weights of that name.
NO_WEIGHTS = (OSError, RuntimeError, ValueError)


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """The network that timm calls `name`, without its classifier.

    Args:
        name: As in `timm.list_models()`, such as "mobilenetv2_100"; with the tag of its weights
            where it has several, such as "mobilenetv2_100.ra_in1k".
        out_strides: Which maps to return, ascending.
        pretrained: Download timm's ImageNet weights when training starts (mmengine's runner calls
            `init_weights`). Nothing is downloaded before, nor when a checkpoint is loaded.

    Raises:
        ValueError: timm is missing, it has no such network, or the network has no such maps.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    pre_pool_channels = 0  # a classifier pools the last map as it is

    def __init__(
        self, name: str, out_strides: Sequence[int] = (8, 16, 32), *, pretrained: bool = False
    ) -> None:
        super().__init__()
        self.name = name
        self.pretrained = pretrained
        self.strides = tuple(out_strides)
        self.net = _feature_net(name, pretrained=False)
        info: Any = self.net.feature_info  # timm's own table
        reached = info.reduction()
        missing = [stride for stride in self.strides if stride not in reached]
        if missing or list(self.strides) != sorted(set(self.strides)):
            raise ValueError(
                f"TimmBackbone: {name!r} has maps of strides {reached}, but out_strides is "
                f"{self.strides}; name some of them, ascending, or take another net"
            )
        last = {stride: index for index, stride in enumerate(reached)}
        self.taps = tuple(last[stride] for stride in self.strides)
        self.channels = tuple(info.channels()[tap] for tap in self.taps)

    def init_weights(self) -> None:
        """Download the pretrained weights if `pretrained` is set.

        Raises:
            ValueError: they could not be downloaded.
        """
        if not self.pretrained:
            return
        try:
            source = _feature_net(self.name, pretrained=True)
        except NO_WEIGHTS as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"TimmBackbone: no pretrained weights of {self.name!r}: {reason}; check the "
                "network connection, or set pretrained=False"
            ) from error
        self.net.load_state_dict(source.state_dict())

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> one (B, channels[i], H / strides[i], W / strides[i]) per stride."""
        maps = self.net(images)
        return tuple(maps[tap] for tap in self.taps)


def _feature_net(name: str, *, pretrained: bool) -> nn.Module:
    """timm's network in the form that returns its maps, fine to coarse."""
    timm = require("timm", "timm")
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), n=3, cutoff=0.4)
        raise ValueError(
            f"TimmBackbone: timm {timm.__version__} has no {name!r}; "
            f"nearest known: {', '.join(close) or 'none, see timm.list_models()'}"
        )
    try:
        return timm.create_model(name, features_only=True, pretrained=pretrained)
    except NO_FEATURES as error:
        if pretrained:
            raise
        raise ValueError(f"TimmBackbone: {name!r} gives no feature maps ({error})") from error

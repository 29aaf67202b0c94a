"""Classifiers with every published scale of both backbones, by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import nn

from backbone import mobilenetv3, pplcnet
from backbone.mobilenetv3 import MobileNetV3
from backbone.pplcnet import PPLCNet
from classification.classifier import Classifier
from engine.checkpoint import checkpoint as files
from engine.checkpoint.zoo import Zoo
from engine.data.preprocess import Preprocess
from engine.fileio import near
from engine.hardware import Cost, cost

IMAGENET_CLASSES = 1000

# Scales with published weights; configs/zoo.toml has their addresses and accuracy.
SCALES = {
    "pplcnet": pplcnet.SCALES,
    "mobilenetv3_large": mobilenetv3.SCALES,
    "mobilenetv3_small": mobilenetv3.SCALES,
}
DISTILLED = "_ssld"  # suffix of the names of distilled weights


class NamedTrunk(NamedTuple):
    """The trunk of a named network."""

    arch: str  # a key of SCALES
    scale: float

    def trunk(self) -> nn.Module:
        """A new trunk with initial weights."""
        if self.arch == "pplcnet":
            return PPLCNet(self.scale)
        return MobileNetV3(self.arch.removeprefix("mobilenetv3_"), self.scale)


def entry_name(arch: str, scale: float) -> str:
    """Name of a model: ("pplcnet", 0.25) -> "pplcnet_x0_25"."""
    return f"{arch}_x{float(scale)}".replace(".", "_")


ENTRIES = {
    entry_name(arch, scale): NamedTrunk(arch, scale)
    for arch, scales in SCALES.items()
    for scale in scales
}


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    checkpoint: Path | str | None = None,
    pretrained: bool = False,
    features_only: bool = False,
) -> Any:
    """A classifier, or its trunk alone, in evaluation mode.

    Args:
        name: A key of `ENTRIES`, such as "pplcnet_x1_0"; `tools/list_models.py` lists them. With
            `pretrained` also that of distilled weights, such as "pplcnet_x1_0_ssld".
        num_classes: None: those of the checkpoint, else ImageNet's 1000. With another number than
            the checkpoint's the last layer keeps its initial weights; what was loaded is logged.
        checkpoint: A checkpoint of this project: of a classifier, or with `features_only` of any
            task.
        pretrained: Load the published ImageNet weights of that name (see `engine.checkpoint.zoo`).
            Weights without a published hash must be accepted by tools/download_weights.py before.
        features_only: Return the trunk, whose forward returns its maps, fine to coarse: those of
            strides 8, 16, 32, or those of the checkpoint (see its `channels` and `strides`).

    Returns:
        A Classifier (`predict` takes pictures, `classes` are the names), or a trunk.

    Raises:
        ConnectionError: published weights cannot be downloaded.
        FileNotFoundError: no such checkpoint.
        ValueError: an unknown name, a checkpoint of something else, or weights not accepted yet.
    """
    network = name.removesuffix(DISTILLED) if pretrained else name
    if network not in ENTRIES:
        raise ValueError(f"model {name!r} is unknown; {near(name, list(ENTRIES))}")
    if pretrained:
        if checkpoint is not None:
            raise ValueError(f"pretrained=True and checkpoint={checkpoint}; give one of them")
        checkpoint = Zoo().checkpoint(name)
    if checkpoint is None:
        trunk = ENTRIES[network].trunk()
        wanted = IMAGENET_CLASSES if num_classes is None else num_classes
        model = trunk if features_only else _classifier(trunk, wanted)
        return model.eval()
    content = files.read(checkpoint)
    _check_content(content, network, str(checkpoint), features_only=features_only)
    if features_only:
        return _trunk_of(content, str(checkpoint)).eval()
    return _classifier_of(content, str(checkpoint), num_classes).eval()


def _classifier(trunk: nn.Module, num_classes: int) -> Classifier:
    """A new classifier with the published preprocessing in evaluation."""
    preprocess = Preprocess(size=(224, 224), resize_shortest=256, interpolation="linear")
    return Classifier(backbone=trunk, num_classes=num_classes, data_preprocessor=preprocess)


def _check_content(
    content: Mapping[str, Any], name: str, source: str, *, features_only: bool
) -> None:
    """Raise ValueError if a checkpoint has another trunk than `name`, or another task."""
    described = content["model"]
    files.check_description(described)
    if described["type"] != Classifier.__name__ and not features_only:
        raise ValueError(
            f"{source}: is a {described['type']}; use features_only=True to load its trunk alone"
        )
    trunk = described.get("backbone") or {}
    arch = str(trunk.get("type", "nothing")).lower()
    if arch == "mobilenetv3":
        arch = f"{arch}_{trunk.get('arch', 'large')}"
    found = entry_name(arch, trunk.get("scale", 1.0))
    if found != name:
        raise ValueError(f"{source}: its trunk is {found}, not {name}")


def _classifier_of(content: Mapping[str, Any], source: str, num_classes: int | None) -> Any:
    """The classifier that a checkpoint describes, with as many classes as wanted."""
    classes = tuple(content["classes"])
    wanted = len(classes) if num_classes is None else num_classes
    model: Any = files.build_model({**content["model"], "num_classes": wanted})
    model.classes = classes if wanted == len(classes) else model.classes
    report = files.load_weights(
        model,
        content["state_dict"],
        classes=classes,
        new_classes=model.classes,
        class_layers=model.class_layers,
        source=source,
    )
    _check_report(report, source)
    if report.reshaped:
        print_log(f"{source}: {report}", logger="current")
    return model


def _trunk_of(content: Mapping[str, Any], source: str) -> nn.Module:
    """The trunk that a checkpoint of any task describes."""
    trunk = MODELS.build(dict(content["model"]["backbone"]))
    weights = {k: v for k, v in content["state_dict"].items() if k.startswith("backbone.")}
    whole = nn.ModuleDict({"backbone": trunk})
    _check_report(files.load_weights(whole, weights, source=source), source)
    return trunk


def _check_report(report: files.LoadReport, source: str) -> None:
    if report.missing or report.mismatched or report.extra:
        raise ValueError(f"{source}: does not fit the model it describes; {report}")


def published_cost(name: str) -> Cost:
    """Cost of a model by name with 1000 classes at 224 pixels, counted without running it."""
    with torch.device("meta"):
        model = _classifier(ENTRIES[name].trunk(), IMAGENET_CLASSES).eval()
        return cost(model, torch.empty(1, 3, 224, 224))

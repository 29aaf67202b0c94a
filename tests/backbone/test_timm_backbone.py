"""Guests from timm: shapes, and that all three tasks train a step on them."""

import sys

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from backbone.timm_backbone import TimmBackbone
from classification.classifier import Classifier
from detection.picodet import PicoDet
from segmentation.deeplabv3plus import DeepLabV3Plus

timm = pytest.importorskip("timm", reason="the optional package timm is not installed")
# Channels at strides 4, 8, 16, 32, as the papers of these nets have them.
GUESTS = {
    "mobilenetv1_100": (128, 256, 512, 1024),
    "mobilenetv2_100": (24, 32, 96, 320),
    "ghostnet_100": (24, 40, 80, 160),
    "resnet18d": (64, 128, 256, 512),
}


def train_step(model: nn.Module, targets: list[dict]) -> None:
    """One step; every parameter of the trunk gets a finite slope."""
    losses = model.train()(torch.randn(2, 3, 64, 64), targets, mode="loss")
    sum(losses.values()).backward()
    for name, parameter in model.backbone.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    before = next(model.backbone.parameters()).detach().clone()
    torch.optim.SGD(model.parameters(), 0.1).step()
    assert not torch.equal(next(model.backbone.parameters()), before)


@pytest.mark.parametrize("name", GUESTS)
@pytest.mark.slow
def test_a_guest_in_all_three_tasks(name: str) -> None:
    torch.manual_seed(0)
    trunk = TimmBackbone(name, (4, 8, 16, 32)).eval()
    assert (trunk.channels, trunk.strides) == (GUESTS[name], (4, 8, 16, 32))
    with torch.no_grad():
        maps = trunk(torch.randn(1, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [
        (1, width, 64 // stride, 96 // stride)
        for width, stride in zip(trunk.channels, trunk.strides, strict=True)
    ]
    backbone = {"type": "TimmBackbone", "name": name}
    boxes = {"boxes": torch.tensor([[8.0, 8.0, 50.0, 50.0]]), "labels": torch.tensor([1])}
    detector = PicoDet(backbone=backbone, num_classes=3, neck_channels=16, tower_convs=1)
    train_step(detector, [boxes, boxes])
    mask = {"mask": torch.randint(0, 4, (64, 64))}
    segmenter = DeepLabV3Plus(backbone={**backbone, "out_strides": (4, 32)}, num_classes=4)
    train_step(segmenter, [mask, mask])
    classifier = Classifier(backbone={**backbone, "out_strides": (32,)}, num_classes=3, hidden=16)
    train_step(classifier, [{"label": 0}, {"label": 2}])


def test_unknown_names_maps_and_a_missing_package_are_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(
        ValueError, match=r"no 'mobilenet_v2_100'; nearest known: .*mobilenetv2_100"
    ):
        TimmBackbone("mobilenet_v2_100")
    with pytest.raises(ValueError, match=r"maps of strides \[16, 16, 16\].*\(8, 16, 32\)"):
        TimmBackbone("vit_tiny_patch16_224")
    with pytest.raises(ValueError, match=r"out_strides is \(16, 8\).*ascending"):
        TimmBackbone("mobilenetv1_100", (16, 8))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="timm is not installed; run: pip install"):
        MODELS.build({"type": "TimmBackbone", "name": "mobilenetv2_100"})


def test_weights_are_fetched_when_training_starts_and_only_if_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create, asked = timm.create_model, []

    def without_network(name: str, *, pretrained: bool, features_only: bool) -> nn.Module:
        asked.append(pretrained)
        net = create(name, features_only=features_only)
        if pretrained:
            nn.init.constant_(next(net.parameters()), 0.5)
        return net

    monkeypatch.setattr(timm, "create_model", without_network)
    plain = PicoDet(backbone=TimmBackbone("lcnet_050"), num_classes=2)
    plain.init_weights()
    assert asked == [False]
    wanted = PicoDet(backbone=TimmBackbone("lcnet_050", pretrained=True), num_classes=2)
    assert asked == [False, False]
    wanted.init_weights()
    assert asked == [False, False, True]
    assert next(wanted.backbone.parameters()).unique().tolist() == [0.5]

    def refuse(name: str, *, pretrained: bool, features_only: bool) -> nn.Module:
        raise OSError("no\nroute")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(ValueError, match=r"no pretrained weights of 'lcnet_050': no route; check"):
        wanted.backbone.init_weights()

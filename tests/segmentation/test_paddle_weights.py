"""Weights under PaddleSeg's names."""

import pytest
import torch

from backbone.pplcnet import PPLCNet
from segmentation.deeplabv3plus import DeepLabV3Plus
from segmentation.paddle_weights import load_foreign


def model(scale: float = 0.5, num_classes: int = 19) -> DeepLabV3Plus:
    return DeepLabV3Plus(backbone=PPLCNet(scale, (4, 32)), num_classes=num_classes).eval()


@pytest.mark.golden
@torch.no_grad()
def test_a_whole_file_fills_the_model_and_gives_the_official_logits(golden, assert_agrees) -> None:
    network, case = model(), golden("deeplabv3p_pplcnet_x0_5")
    report = load_foreign(network, case.weights(), "w.npz")
    assert not report.missing
    assert not report.mismatched
    found, wanted = network(torch.from_numpy(case.arrays["input/x"])), case.arrays["output/logits"]
    what = "deeplabv3p_pplcnet_x0_5: logits, by names"
    assert_agrees(what, "PaddleSeg", found, wanted, of_largest=1e-4)


def test_a_trunk_alone_leaves_the_head(golden) -> None:
    arrays = golden("deeplabv3p_pplcnet_x0_5").weights()
    trunk = {name: a for name, a in arrays.items() if name.startswith("backbone.")}
    network = model()
    report = load_foreign(network, trunk, "w.npz")
    heads = [n for n in network.state_dict() if not n.startswith("backbone.")]
    assert set(report.missing) <= set(heads)
    assert "decoder.classify.weight" in report.missing


def test_another_size_is_named(golden) -> None:
    arrays = golden("deeplabv3p_pplcnet_x0_5").weights()
    with pytest.raises(ValueError, match=r"w.npz: 2 arrays have another shape .*classify"):
        load_foreign(model(num_classes=11), arrays, "w.npz")

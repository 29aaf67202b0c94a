"""Weights under PaddleSeg's names."""

import numpy as np
import pytest
import torch

from backbone.pplcnet import PPLCNet
from segmentation.deeplabv3plus import DeepLabV3Plus
from segmentation.paddle_weights import load_foreign


def model(scale: float = 0.5, num_classes: int = 19) -> DeepLabV3Plus:
    return DeepLabV3Plus(backbone=PPLCNet(scale, (4, 32)), num_classes=num_classes).eval()


def test_a_whole_file_fills_the_model_and_gives_the_official_logits(
    golden_arrays, golden_dir
) -> None:
    network = model()
    arrays = golden_arrays("deeplabv3p_pplcnet_x0_5")
    report = load_foreign(network, arrays, "w.npz")
    assert not report.missing
    assert not report.mismatched
    with np.load(golden_dir / "deeplabv3p_pplcnet_x0_5.npz") as stored, torch.no_grad():
        found = network(torch.from_numpy(stored["input/x"])).numpy()
        np.testing.assert_allclose(
            found, stored["output/logits"], atol=1e-4 * np.abs(found).max(), rtol=0
        )


def test_a_trunk_alone_leaves_the_head(golden_arrays) -> None:
    arrays = golden_arrays("deeplabv3p_pplcnet_x0_5")
    trunk = {name: a for name, a in arrays.items() if name.startswith("backbone.")}
    network = model()
    report = load_foreign(network, trunk, "w.npz")
    heads = [n for n in network.state_dict() if not n.startswith("backbone.")]
    assert set(report.missing) <= set(heads)
    assert "decoder.classify.weight" in report.missing


def test_another_size_is_named(golden_arrays) -> None:
    arrays = golden_arrays("deeplabv3p_pplcnet_x0_5")
    with pytest.raises(ValueError, match=r"w.npz: 2 arrays have another shape .*classify"):
        load_foreign(model(num_classes=11), arrays, "w.npz")

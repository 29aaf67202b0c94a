"""Layers in simulated 8 bits: rounding computed by hand, and the ranking of layers."""

import pytest
import torch
from torch import Tensor, nn

from engine.export.formats import FORMATS
from engine.export.quantization import attempts
from engine.export.sensitivity import (
    DEPTHWISE,
    FIRST,
    LAST,
    POOLED,
    Layer,
    layers,
    rounded_activations,
    rounded_weights,
)


class Network(nn.Module):
    """A stem, a gate on the global mean, and an output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.gate = nn.Conv2d(8, 8, 1)
        self.spread = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor, mode: str) -> Tensor:  # noqa: ARG002
        x = self.spread(self.stem(images))
        x = self.body(x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid())
        return self.out(x)


def test_weights_by_hand() -> None:
    """One scale per row: 63 levels of 1 / 63 and of 2 / 63; 0.6 rounds to 38 of them, 0.02 to 1."""
    rounded = rounded_weights(torch.tensor([[1.0, 0.6], [-2.0, 0.02]]))
    wanted = torch.tensor([[1.0, 38 / 63], [-2.0, 2 / 63]])
    assert torch.allclose(rounded, wanted, atol=1e-6)


def test_activations_by_hand() -> None:
    """-1..4 in 255 steps of 1/51: zero stays zero, 0.5 becomes 26 / 51 (25.5 goes to even)."""
    rounded = rounded_activations(torch.tensor([-1.0, 0.0, 0.5, 4.0]))
    assert rounded.tolist() == pytest.approx([-1.0, 0.0, 25.5 / 51, 4.0], abs=0.51 / 51)
    assert rounded[1] == 0
    assert (51 * rounded).tolist() == pytest.approx([round(v) for v in (51 * rounded).tolist()])


def test_layers_are_ranked_and_reasons_given() -> None:
    torch.manual_seed(0)
    network = Network().eval()
    images = [torch.randn(1, 3, 16, 16)]
    sound = {layer.name: layer.error for layer in layers(network, images, ("out",))}
    before = network.body.weight.clone()
    network.body.weight.data[0, 0, 0, 0] = before.abs().max() * 300  # one weight takes all levels
    spoilt = network.body.weight.clone()
    ranked = layers(network, images, ("out",))
    errors = {layer.name: layer.error for layer in ranked}
    assert list(errors.values()) == sorted(errors.values(), reverse=True)
    assert errors["body"] > 2 * sound["body"]
    assert {layer.name: layer.reason for layer in ranked} == {
        "stem": FIRST,
        "gate": POOLED,
        "spread": DEPTHWISE,
        "body": "",
        "out": LAST,
    }
    assert torch.equal(network.body.weight, spoilt)  # no rounding remains


def test_a_channel_that_eats_the_levels_of_the_others() -> None:
    """One channel is 300 times as large as the others, which rounding of outputs then loses."""
    torch.manual_seed(0)
    network = Network().eval()
    images = [torch.randn(1, 3, 16, 16)]
    network.body.weight.data[0] *= 300  # one scale per row: weights lose nothing
    network.out.weight.data[:, 0] = 0  # only the other channels count
    found = [
        {layer.name: layer.error for layer in layers(network, images, ("out",), outputs=outputs)}
        for outputs in (False, True)
    ]
    assert found[1]["body"] > 2 * found[0]["body"]


def test_what_is_kept_doubles() -> None:
    reasons = {"b": LAST, "c": FIRST, "e": DEPTHWISE, "f": POOLED}
    ranked = [Layer(name, 0.1, reasons.get(name, "")) for name in "abcdefghij"]
    kept = ["".join(names) for names in attempts(ranked, FORMATS["onnx"].float_reasons)]
    assert kept == ["ef", "efc", "efcb", "efcba", "efcbad", "efcbadgh"]
    kept = ["".join(names) for names in attempts(ranked, FORMATS["openvino"].float_reasons)]
    assert kept == ["f", "fc", "fcb", "fcba", "fcbad", "fcbadgh"]


def test_nothing_has_a_reason() -> None:
    ranked = [Layer(name, 0.1, "") for name in "abc"]
    assert ["".join(names) for names in attempts(ranked, FORMATS["onnx"].float_reasons)] == [
        "",
        "a",
        "ab",
    ]

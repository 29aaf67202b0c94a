"""engine/hardware.py: description of a machine, size of a network."""

import json

import pytest
import torch
from torch import Tensor, nn

from engine import hardware
from engine.hardware import cost, fingerprint, peak, torch_threads


class Network(nn.Module):
    """One convolution and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1)
        self.linear = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.conv(images).mean((2, 3)))


def test_cost_by_hand() -> None:
    """4 x 4 positions of 8 x 27 and 5 x 8 multiply-adds; 216 + 8 + 40 + 5 numbers of 4 bytes."""
    found = cost(Network(), torch.zeros(1, 3, 8, 8))
    assert found == (216 + 8 + 40 + 5, 16 * 8 * 27 + 40, 4 * (216 + 8 + 40 + 5))


def test_cost_without_computing() -> None:
    """On the meta device; a layer that is not trained has bytes, but no trainable parameters."""
    network = Network().to("meta")
    network.linear.requires_grad_(False)
    found = cost(network, torch.empty(2, 3, 8, 8, device="meta"))
    assert found == (216 + 8, 2 * (16 * 8 * 27 + 40), 4 * (216 + 8 + 40 + 5))


def test_fingerprint_is_plain_and_stays() -> None:
    one, other = fingerprint(), fingerprint()
    assert json.loads(json.dumps(one))["id"] == other["id"]
    assert one["versions"]["torch"] == torch.__version__.split("+")[0] or one["versions"]["torch"]


def test_peak_is_that_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "REPEATS", 3)
    found = peak(1)
    assert 0.1 < found.gflops < 10_000
    assert 0.01 < found.gigabytes < 1000


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), torch_threads(before + 1):
        raise RuntimeError
    assert torch.get_num_threads() == before

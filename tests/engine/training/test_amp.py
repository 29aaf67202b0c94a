"""engine/training/amp.py: bfloat16 forward, float32 weights and gradients, a near loss."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor, nn
from torch.optim import SGD

from engine.training.amp import CPUAmpOptimWrapper
from engine.training.runner import use_amp


def test_forward_is_bfloat16_and_weights_stay_float32() -> None:
    torch.manual_seed(0)
    model, seen = nn.Conv2d(3, 4, 3), []
    model.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    wrapper = CPUAmpOptimWrapper(SGD(model.parameters(), lr=0.1))
    images = torch.randn(2, 3, 8, 8)
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        loss: Tensor = model(images).float().square().mean()
    expected = model(images).square().mean()
    wrapper.update_params(loss)
    assert seen == [torch.bfloat16, torch.float32]
    assert abs(loss.item() - expected.item()) < 1e-2 * expected.item()
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)


@pytest.mark.parametrize(
    ("on_gpu", "wanted"), [(True, AmpOptimWrapper), (False, CPUAmpOptimWrapper)]
)
def test_which_wrapper_trains(monkeypatch: pytest.MonkeyPatch, on_gpu: bool, wanted: type) -> None:
    """Only the class changes; that of GPUs is mmengine's, whose constructor takes our options."""
    options = {"type": OptimWrapper, "accumulative_counts": 4}
    cfg = Config({"optim_wrapper": options})
    with monkeypatch.context() as machine:
        machine.setattr(torch.cuda, "is_available", lambda: on_gpu)
        use_amp(cfg)
    assert OPTIM_WRAPPERS.get(cfg.optim_wrapper.type) is wanted
    assert cfg.optim_wrapper.accumulative_counts == 4

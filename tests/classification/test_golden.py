"""Network, loss and optimiser steps against the arrays of the official implementation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from backbone.weights import read_arrays
from classification.paddle_weights import classifier_state, load_foreign
from engine import config
from engine.training.schedules import WarmupCosineLR

CLASSIFIERS = [
    "PPLCNet_x0_25_c1000", "PPLCNet_x0_5_c10", "PPLCNet_x1_0_c10", "PPLCNet_x2_5_c1000",
    "MobileNetV3_large_x0_5_c10", "MobileNetV3_large_x1_0_c1000", "MobileNetV3_small_x1_0_c10",
]  # fmt: skip
TRAJECTORY = "PPLCNet_x0_25_train_traj"
CONFIG = Path(__file__).parents[2] / "configs/classifier_lcnet.py"


@pytest.mark.golden
@pytest.mark.parametrize("name", CLASSIFIERS)
@torch.no_grad()
def test_logits_and_what_leads_to_them_are_the_official_ones(
    name, golden_classifier, golden_arrays, stored, assert_close
) -> None:
    model, golden = golden_classifier(name), stored(name)
    report = load_foreign(model, golden_arrays(name), name)
    assert (report.missing, report.extra) == ([], [])
    seen = {}
    parts = {"last_second_conv": model.widen, "last_conv": model.hidden}
    parts |= {"act": model.act, "hardswish": model.act}
    for key, part in parts.items():
        part.register_forward_hook(lambda *call, key=key: seen.update({key: call[-1]}))
    assert_close(model.eval()(torch.from_numpy(golden["input/x"])), golden["output/logits"])
    compared = [key for key in seen if f"feat/{key}" in golden]
    assert len(compared) == 3 if name.startswith("MobileNetV3") else 2
    for key in compared:
        assert_close(seen[key], golden[f"feat/{key}"])
    if "input/x_odd" in golden:
        odd = model(torch.from_numpy(golden["input/x_odd"]))
        assert_close(odd, golden["output/logits_odd"])


@pytest.mark.golden
@torch.no_grad()
def test_logits_from_pdparams_are_the_official_ones(
    golden_classifier, golden_dir: Path, stored, assert_close
) -> None:
    name = "PPLCNet_x0_25_c7"
    model = golden_classifier(name)
    load_foreign(model, read_arrays(golden_dir / f"{name}.pdparams"), name)
    golden = stored(name)
    assert_close(model.eval()(torch.from_numpy(golden["input/x"])), golden["output/logits"])
    assert_close(model(torch.from_numpy(golden["input/x_odd"])), golden["output/logits_odd"])


@pytest.mark.golden
def test_four_training_steps_are_the_official_ones(
    golden_classifier: Callable, golden_dir: Path, stored: Callable, assert_close: Callable
) -> None:
    """The config's model, loss, optimiser and schedule, with the rates that the file was made with.

    Its decay of 1.0 makes a wrong exclusion move parameters by percents. Running variances differ
    by n / (n - 1): Paddle keeps the biased ones.
    """
    golden = stored(TRAJECTORY)
    cfg = config.load(CONFIG)
    model = golden_classifier(TRAJECTORY, dropout=0.0, loss={**cfg.model.loss}).train()
    load_foreign(model, read_arrays(golden_dir / f"{TRAJECTORY}.pdparams"), TRAJECTORY)
    cfg.optim_wrapper.optimizer.update(lr=0.004, weight_decay=1.0)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    options = {**cfg.param_scheduler[0], "epochs": 4, "warmup_epochs": 1}
    del options["type"], options["convert_to_iter_based"]
    schedule = WarmupCosineLR(wrapper, epoch_length=2, **options)
    losses, rates = [], []
    for images, labels in zip(golden["input/x"], golden["input/y"], strict=True):
        rates.append(wrapper.get_lr()["lr"][0])
        targets = [{"label": int(label)} for label in labels]
        loss = model(torch.from_numpy(images), targets, mode="loss")["loss_ce"]
        losses.append(float(loss.detach()))
        wrapper.update_params(loss)
        schedule.step()
    np.testing.assert_allclose(rates, golden["output/lrs"], rtol=1e-6)
    np.testing.assert_allclose(losses, golden["output/losses"], rtol=1e-4)
    final = {key.removeprefix("final/"): golden[key] for key in golden if key.startswith("final/")}
    wanted = classifier_state(final, model)
    assert wanted.keys() == model.state_dict().keys()
    for name, value in model.named_parameters():
        assert_close(value, wanted[name].numpy(), 1e-3)
    for name, part in model.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            assert_close(part.running_mean, wanted[f"{name}.running_mean"].numpy(), 1e-3)

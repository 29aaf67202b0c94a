"""Network, loss and optimiser steps against the arrays of the official implementation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from backbone.weights import read_arrays
from classification.classifier import Classifier
from classification.paddle_weights import classifier_name, load_foreign
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
    name, golden_classifier, golden, assert_agrees
) -> None:
    model, case = golden_classifier(name), golden(name)
    report = load_foreign(model, case.weights(), name)
    assert (report.missing, report.extra) == ([], [])
    seen = {}
    parts = {"last_second_conv": model.widen, "last_conv": model.hidden}
    parts |= {"act": model.act, "hardswish": model.act}
    for key, part in parts.items():
        part.register_forward_hook(lambda *call, key=key: seen.update({key: call[-1]}))
    model.eval()(torch.from_numpy(case.arrays["input/x"]))
    compared = [key for key in seen if f"feat/{key}" in case.arrays]
    assert len(compared) == 3 if name.startswith("MobileNetV3") else 2
    for key in compared:
        wanted = case.arrays[f"feat/{key}"]
        assert_agrees(f"classifier {name}: head", "PaddleClas", seen[key], wanted, of_largest=1e-4)
    check_logits(model, case, f"classifier {name}", assert_agrees)


def check_logits(model: Classifier, case: Any, what: str, assert_agrees: Callable) -> None:
    images = {"output/logits": "input/x", "output/logits_odd": "input/x_odd"}
    for logits, key in images.items():
        if key in case.arrays:
            found = model.eval()(torch.from_numpy(case.arrays[key]))
            wanted = case.arrays[logits]
            assert_agrees(f"{what}: logits", "PaddleClas", found, wanted, of_largest=1e-4)


@pytest.mark.golden
@torch.no_grad()
def test_logits_from_pdparams_are_the_official_ones(
    golden_classifier, golden, pdparams_file, assert_agrees
) -> None:
    name = "PPLCNet_x0_25_c7"
    model = golden_classifier(name)
    load_foreign(model, read_arrays(pdparams_file(name)), name)
    check_logits(model, golden(name), f"classifier {name} from .pdparams", assert_agrees)


@pytest.mark.golden
def test_four_training_steps_are_the_official_ones(
    golden_classifier, golden, pdparams_file, assert_agrees
) -> None:
    """The config's model, loss, optimiser and schedule, with the rates that the file was made with.

    Its decay of 1.0 makes a wrong exclusion move parameters by percents. Running variances differ
    by n / (n - 1): Paddle keeps the biased ones.
    """
    case = golden(TRAJECTORY)
    cfg = config.load(CONFIG)
    model = golden_classifier(TRAJECTORY, dropout=0.0, loss={**cfg.model.loss}).train()
    load_foreign(model, read_arrays(pdparams_file(TRAJECTORY)), TRAJECTORY)
    cfg.optim_wrapper.optimizer.update(lr=0.004, weight_decay=1.0)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    options = {**cfg.param_scheduler[0], "epochs": 4, "warmup_epochs": 1}
    del options["type"], options["convert_to_iter_based"]
    schedule = WarmupCosineLR(wrapper, epoch_length=2, **options)
    losses, rates = [], []
    for images, labels in zip(case.arrays["input/x"], case.arrays["input/y"], strict=True):
        rates.append(wrapper.get_lr()["lr"][0])
        targets = [{"label": int(label)} for label in labels]
        loss = model(torch.from_numpy(images), targets, mode="loss")["loss_ce"]
        losses.append(float(loss.detach()))
        wrapper.update_params(loss)
        schedule.step()
    what = "four training steps"
    assert_agrees(
        f"{what}: learning rates", "PaddleClas", rates, case.arrays["output/lrs"], rtol=1e-6
    )
    assert_agrees(f"{what}: losses", "PaddleClas", losses, case.arrays["output/losses"], rtol=1e-4)
    state = model.state_dict()
    names = {key: classifier_name(key) for key in case.info["state_dict"]}
    assert {name for name in state if "num_batches" not in name} == set(names.values())
    for theirs, ours in names.items():
        if not ours.endswith("running_var"):
            found = state[ours].T if theirs == "fc.weight" else state[ours]
            wanted = case.arrays[f"final/{theirs}"]
            assert_agrees(f"{what}: weights", "PaddleClas", found, wanted, of_largest=1e-3)

"""tools/download_weights.py and zoo:NAME, with a file put into the cache by hand."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from classification import create_model
from engine import load_model
from engine.checkpoint import checkpoint
from engine.checkpoint.zoo import CONFIGS

CONFIG = CONFIGS / "classifier_lcnet_x0_25.py"
FILE = "PPLCNet_x0_25_pretrained.pdparams"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LCNET_OFFLINE", "1")
    return tmp_path / "lcnet-vision"


@pytest.mark.slow
def test_a_name_is_accepted_listed_and_used(
    run_tool,
    cache: Path,
    tmp_path: Path,
    paddle_file: Callable[..., dict[str, np.ndarray]],
) -> None:
    paddle_file(cache / FILE, num_classes=1000)
    refused = run_tool("download_weights", "pplcnet_x0_25")
    assert refused.code == 1
    assert refused.err.count("\n") == 1
    assert refused.err.endswith("download_weights.py pplcnet_x0_25 --accept-unverified\n")
    done = run_tool("download_weights", "pplcnet_x0_25", "--accept-unverified")
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert first.startswith(f"{cache / 'pplcnet_x0_25.pth'}: Apache-2.0, listed by PaddleClas")
    assert first.endswith("published top1 51.86, top5 75.65 (not verified here)")
    assert second.startswith(f"{cache / 'zoo.lock.json'}: pinned sha256 ")
    rows = [line for line in run_tool("download_weights").out.splitlines() if "pplcnet_x0" in line]
    assert [row.split("│")[-2].strip() for row in rows[:2]] == ["pinned", "none"]

    model = create_model("pplcnet_x0_25", pretrained=True)
    stored = checkpoint.read(cache / "pplcnet_x0_25.pth")["state_dict"]
    assert torch.equal(model.classify.weight, stored["classify.weight"])
    assert len(load_model(CONFIG, "zoo:pplcnet_x0_25").classes) == 1000
    few = create_model("pplcnet_x0_25", pretrained=True, num_classes=4)
    assert torch.equal(few.hidden.weight, stored["hidden.weight"])
    assert few.classify.weight.shape == (4, 1280)

    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.zeros((32, 32, 3), np.uint8))
    named = run_tool("predict", CONFIG, "zoo:pplcnet_x0_25", picture)
    by_path = run_tool("predict", CONFIG, cache / "pplcnet_x0_25.pth", picture)
    assert named.code == 0, named.err
    assert named.out == by_path.out != ""


def test_wrong_names_and_no_network_are_one_line(run_tool, cache: Path) -> None:
    for arguments, message in (
        (("download_weights", "pplcnet_x9"), "no published model is called 'pplcnet_x9'; nearest"),
        (("download_weights", "picodet_s_320"), "picodet_s_320: not in "),
        (("test", CONFIG, "zoo:pplcnet_x0_5"), "pplcnet_x0_5: not in "),
        (("export", CONFIG, "zoo:a", "--format", "onnx", "--out", "a.onnx"), "is called 'a'"),
        (("train", CONFIG, "--load-from", "zoo:a"), "no published model is called 'a'"),
        (("train", CONFIG, "--backbone-from", "zoo:a"), "no published model is called 'a'"),
        (("benchmark", CONFIG, "zoo:a", "--backend", "torch"), "no published model is called 'a'"),
    ):
        ran = run_tool(*arguments)
        assert ran.code == 1, arguments
        assert message in ran.err
        assert ran.err.count("\n") == 1, ran.err


def test_pretrained_and_a_checkpoint_exclude_each_other(cache: Path) -> None:
    with pytest.raises(ValueError, match="give one of them"):
        create_model("pplcnet_x0_25", pretrained=True, checkpoint="a.pth")
    with pytest.raises(ValueError, match="published model is called 'pplcnet_x0_35_ssld'"):
        create_model("pplcnet_x0_35_ssld", pretrained=True)
    with pytest.raises(FileNotFoundError, match=r"PPLCNet_x1_0_ssld_pretrained.pdparams there"):
        create_model("pplcnet_x1_0_ssld", pretrained=True)
    with pytest.raises(ValueError, match="'pplcnet_x1_0_ssld' is unknown; nearest known: pplcnet"):
        create_model("pplcnet_x1_0_ssld")

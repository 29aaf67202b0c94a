"""The benchmark of training runs on little, and its numbers agree with each other."""

import json
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger

from engine.data.preprocess import collate
from engine.demo_data.writer import MiniData, make_mini_data

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "benchmarks" / "train_speed.py"
PHASES = ("wait", "prepare", "forward", "backward", "optimiser", "average")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small scenes."""
    out = tmp_path_factory.mktemp("train_speed") / "mini"
    make_mini_data(out, MiniData(train=4, val=1, side=128))
    return out / "detection"


@pytest.fixture
def exit_code(monkeypatch: pytest.MonkeyPatch, data: Path) -> Iterator[Callable[..., int]]:
    """Run the benchmark with arguments; gives its exit code."""
    logger = MMLogger.get_current_instance()
    level = logger.level

    def run(*arguments: str) -> int:
        config = ROOT / "configs" / "picodet_xs_lcnet_own.py"
        small = ("--config", str(config), "--data", str(data), "--size", "64")
        monkeypatch.setattr(sys, "argv", ["train_speed.py", *small, *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(BENCHMARK), run_name="__main__")
        return int(stop.value.code or 0)

    yield run
    logger.setLevel(level)  # which the benchmark raises


@pytest.mark.slow
def test_measures_variants_in_turns_and_the_loader(exit_code, tmp_path: Path, capsys) -> None:
    out = tmp_path / "speed.json"
    names = ["fp32/channels_last", "fp32/contiguous"]
    options = ("--batch", "2", "--rounds", "1", "--out", str(out))
    assert exit_code(*options, "--variants", *names) == 0
    content = json.loads(out.read_text())
    assert list(content["variants"]) == names
    for row in content["variants"].values():
        assert set(row) == {"images_per_second", "step", *PHASES}
        medians = {name: value["median"] for name, value in row.items()}
        # One round: the median is the step itself, so phases add up and the rate follows.
        assert sum(medians[name] for name in PHASES) == pytest.approx(medians["step"])
        assert medians["images_per_second"] == pytest.approx(2 * 1000 / medians["step"])
        assert min(medians.values()) > 0
    assert all(content["loader"][workers]["median"] > 0 for workers in "12")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == content["machine"]
    assert "threads" in printed[0]
    assert [line.split()[0] for line in printed[3:5]] == names
    assert printed[5].startswith("loader alone, 1 worker(s): ")


def test_spread_is_median_and_quartiles() -> None:
    spread = runpy.run_path(str(BENCHMARK))["spread"]
    assert spread([5.0]) == (5.0, 5.0, 5.0)
    assert spread([4.0, 1.0, 3.0, 2.0, 100.0]) == (2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("layout", "images_last", "weights_last"),
    [
        ("contiguous", False, False),
        ("channels_last_input", True, False),
        ("channels_last", True, True),
    ],
)
def test_layout_reaches_images_and_weights(
    layout: str, images_last: bool, weights_last: bool, data: Path
) -> None:
    names = runpy.run_path(str(BENCHMARK))
    options = ("--data", str(data), "--size", "64", "--batch", "2")
    arguments = names["arguments_of_command"]().parse_args(options)
    arguments.config = ROOT / arguments.config
    cfg, dataset = names["prepare"](arguments)
    variant = names["build_variant"](cfg, f"fp32/{layout}")
    seen = []
    variant.model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batches = iter([collate([dataset[0], dataset[1]])])
    assert len(names["step"](variant, batches)) == len(PHASES)
    stem = variant.model.backbone.stem.conv.weight  # (C, 3, 3, 3)
    last = torch.channels_last
    assert seen[0].is_contiguous(memory_format=last) is images_last
    assert stem.is_contiguous(memory_format=last) is weights_last


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--batch", "5"), 1, "4 training images are fewer than one batch of 5"),
        (("--size", "70"), 1, "use 64 or 96"),
        (("--variants", "fp16/contiguous"), 2, "invalid choice"),
    ],
)
def test_wrong_arguments(arguments, code: int, message: str, exit_code, capsys) -> None:
    assert exit_code(*arguments) == code
    assert message in capsys.readouterr().err

"""tools/test.py: metrics equal those of training and eval_map; errors in one line."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import config
from engine.checkpoint import checkpoint
from engine.data.images import read_image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OWN = ROOT / "configs/picodet_lcnet_own.py"
QUIET = ["--cfg-options", "test_dataloader.num_workers=0"]
Run = Callable[..., Any]


def error_line(ran: Any) -> str:
    assert ran.code == 1, ran
    assert ran.err.count("\n") == 1, ran.err
    return ran.err


@pytest.fixture
def evaluate(run_tool: Run, mini_coco: Path, tmp_path: Path) -> Run:
    """Runs the command on the mini data set."""

    def run(
        path: Path, *arguments: str | Path, data: Path = mini_coco, config_file: Path = OWN
    ) -> Any:
        work = ["--work-dir", tmp_path / "work"]
        return run_tool("test", config_file, path, "--data", data, *work, *arguments, *QUIET)

    return run


def test_repeats_the_validation_of_training(evaluate: Run, trained: Path, tmp_path: Path) -> None:
    """All twelve numbers of the best file, without repeating the overrides of the run."""
    (best,) = trained.glob("best_*.pth")
    ran = evaluate(best, "--out", tmp_path / "metrics.json")
    assert (ran.code, ran.err) == (0, "")
    logged = checkpoint.read(best)["info"]["metrics"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert len(metrics) == 12
    assert metrics == {name: logged[name] for name in metrics}
    assert "model.backbone.scale: config 0.75, checkpoint 0.25" in ran.out
    assert "model.num_classes: config 80, checkpoint 8" in ran.out


def test_shows_pictures_and_leaves_the_runs_config(
    evaluate: Run, trained: Path, tmp_path: Path, mini_coco: Path
) -> None:
    before = (trained / "picodet_lcnet_own.py").read_bytes()
    ran = evaluate(trained / "epoch_2.pth", "--show-dir", tmp_path / "shown")
    assert ran.code == 0, ran.err
    truth = json.loads((mini_coco / "annotations/instances_val.json").read_text())
    ids = {f"{record['id']}.jpg" for record in truth["images"]}
    assert {path.name for path in (tmp_path / "shown").iterdir()} == ids
    assert read_image(next((tmp_path / "shown").iterdir())).shape == (128, 128, 3)
    assert (trained / "picodet_lcnet_own.py").read_bytes() == before


def test_dump_and_eval_map_agree(
    evaluate: Run, run_tool: Run, trained: Path, tmp_path: Path, mini_coco: Path
) -> None:
    dump, out = tmp_path / "dump.json", tmp_path / "out.json"
    assert evaluate(trained / "epoch_2.pth", "--dump-predictions", dump, "--out", out).code == 0
    ran = run_tool("eval_map", mini_coco / "annotations/instances_val.json", dump)
    again = {line.split()[0]: float(line.split()[1]) for line in ran.out.splitlines()}
    assert {f"coco/{name}": value for name, value in again.items()} == json.loads(out.read_text())


def test_report_has_the_numbers_of_the_metric(
    evaluate: Run, trained: Path, tmp_path: Path, mini_coco: Path
) -> None:
    """Beside the page, to the last bit; no other file, and no URL in the page."""
    report, out = tmp_path / "report", tmp_path / "out.json"
    ran = evaluate(trained / "epoch_2.pth", "--report", report, "--out", out)
    assert (ran.code, ran.err) == (0, "")
    assert {path.name for path in report.iterdir()} == {"index.html", "report.json"}
    numbers = json.loads((report / "report.json").read_text())
    assert numbers["metrics"] == json.loads(out.read_text())
    truth = json.loads((mini_coco / "annotations/instances_val.json").read_text())
    assert numbers["images"] == len(truth["images"]) == len(numbers["worst"])
    assert sum(numbers["boxes"].values()) == len(truth["annotations"])
    page = (report / "index.html").read_text()
    assert page.count("<img") == len(truth["images"])
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page)


def test_a_report_that_cannot_be_written(evaluate: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = evaluate(trained / "epoch_2.pth", "--report", tmp_path / "file/sub")
    assert "file/sub: is a file or inside one; give a folder" in error_line(ran)
    assert not (tmp_path / "work").exists()


def test_a_report_is_on_one_metric(evaluate: Run, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    path = tmp_path / "configs/listed.py"
    several = "[dict(type='CocoMetric'), dict(type='CocoMetric', classwise=True)]"
    path.write_text(f"{OWN.read_text()}\ntest_evaluator = {several}\n")
    ran = evaluate(trained / "epoch_2.pth", "--report", tmp_path / "report", config_file=path)
    assert "--report: test_evaluator has 2 entries; give one metric" in error_line(ran)
    other = "dict(type='DumpResults', out_file_path='found.pkl')"
    path.write_text(f"{OWN.read_text()}\ntest_evaluator = {other}\n")
    ran = evaluate(trained / "epoch_2.pth", "--report", tmp_path / "report", config_file=path)
    assert "--report: none for the metric DumpResults, which keeps no outcome" in error_line(ran)


def test_a_report_of_a_list_of_one_metric(evaluate: Run, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    path = tmp_path / "configs/listed.py"
    path.write_text(f"{OWN.read_text()}\ntest_evaluator = [dict(type='CocoMetric')]\n")
    ran = evaluate(trained / "epoch_2.pth", "--report", tmp_path / "report", config_file=path)
    assert (ran.code, ran.err) == (0, "")
    assert len(json.loads((tmp_path / "report/report.json").read_text())["metrics"]) == 12


def test_a_report_that_fails_takes_no_numbers_along(
    evaluate: Run, trained: Path, tmp_path: Path
) -> None:
    """A folder has the name of the page: metrics are printed before."""
    (tmp_path / "report/index.html").mkdir(parents=True)
    out = tmp_path / "out.json"
    ran = evaluate(trained / "epoch_2.pth", "--report", tmp_path / "report", "--out", out)
    assert "index.html" in error_line(ran)
    assert len(json.loads(out.read_text())) == 12
    assert "bbox_mAP_50" in ran.out


def test_real_weights_give_real_numbers(run_tool: Run, real_dir: Path, tmp_path: Path) -> None:
    """Twenty COCO images: twelve numbers, none of them trivial, equal to the last digit."""
    config_file, weights = ROOT / "configs/picodet_xs_lcnet.py", tmp_path / "xs.pth"
    source = real_dir / "weights/picodet_xs_320_coco_lcnet/weights.npz"
    ran = run_tool("convert_weights", source, weights, "--config", config_file)
    assert ran.code == 0, ran.err
    data = real_dir / "data/coco_mini"
    truth = json.loads((data / "annotations/instances_val2017.json").read_text())
    truth["images"] = truth["images"][:20]
    kept = {record["id"] for record in truth["images"]}
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] in kept]
    (tmp_path / "coco/annotations").mkdir(parents=True)
    (tmp_path / "coco/val2017").symlink_to(data / "val2017")
    few = tmp_path / "coco/annotations/instances_val2017.json"
    few.write_text(json.dumps(truth))
    ran = run_tool(
        "test", config_file, weights, "--data", tmp_path / "coco", "--work-dir", tmp_path / "work",
        "--dump-predictions", tmp_path / "dump.json", "--out", tmp_path / "out.json", *QUIET,
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    metrics = json.loads((tmp_path / "out.json").read_text())
    assert 0.2 < metrics["coco/bbox_mAP"] < 0.5
    assert len({round(value, 6) for value in metrics.values()}) == 12
    ran = run_tool("eval_map", few, tmp_path / "dump.json")
    again = dict(line.split() for line in ran.out.splitlines())
    assert {f"coco/{name}": float(value) for name, value in again.items()} == metrics


def test_other_classes_than_the_checkpoints(
    evaluate: Run, trained: Path, mini_coco: Path, tmp_path: Path
) -> None:
    shutil.copytree(mini_coco, tmp_path / "data")
    path = tmp_path / "data/annotations/instances_val.json"
    truth = json.loads(path.read_text())
    truth["categories"][0]["name"] = "unicorn"
    path.write_text(json.dumps(truth))
    line = evaluate(trained / "epoch_2.pth", data=tmp_path / "data").err
    known = checkpoint.read(trained / "epoch_2.pth")["classes"]
    assert line.count("\n") == 1
    assert str(known) in line
    assert "'unicorn'" in line


def test_wrong_files(evaluate: Run, trained: Path, tmp_path: Path, run_tool: Run) -> None:
    assert "none.pth: no such checkpoint" in error_line(evaluate(tmp_path / "none.pth"))
    (tmp_path / "half.pth").write_bytes((trained / "epoch_2.pth").read_bytes()[:5000])
    assert "half.pth: not readable as a safe" in error_line(evaluate(tmp_path / "half.pth"))
    ran = evaluate(trained / "epoch_2.pth", data=tmp_path / "none")
    assert str(tmp_path / "none") in error_line(ran)
    ran = evaluate(trained / "epoch_2.pth", "--split", "moon")
    assert "moon" in error_line(ran)
    ran = run_tool("test", ROOT / "configs/_base/runtime.py", trained / "epoch_2.pth")
    assert "has no model, test_dataloader" in error_line(ran)
    assert run_tool("test", OWN).code == 2


@pytest.mark.parametrize("kind", ["os.system", "subprocess.check_output", "torch.nn.Linear"])
def test_a_checkpoint_that_names_a_foreign_class(
    evaluate: Run, trained: Path, tmp_path: Path, kind: str
) -> None:
    content = checkpoint.read(trained / "epoch_2.pth")
    content["model"] = {"type": kind, "args": ["touch", str(tmp_path / "ran")]}
    torch.save(content, tmp_path / "evil.pth")
    assert "which no imported task has" in error_line(evaluate(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_weights_that_do_not_fit_the_description(
    evaluate: Run, trained: Path, tmp_path: Path
) -> None:
    content = checkpoint.read(trained / "epoch_2.pth")
    content["model"]["neck_channels"] = 32
    torch.save(content, tmp_path / "x.pth")
    ran = evaluate(tmp_path / "x.pth")
    assert "does not fit the model it describes; weights: " in ran.err
    assert (ran.code, ran.err.count("\n")) == (1, 1)


def test_another_network_size_reaches_the_model(run_tool: Run, trained: Path) -> None:
    from engine.inference.predictor import load_model

    model = load_model(OWN, trained / "epoch_2.pth", {"model.data_preprocessor.size": [96, 128]})
    assert model.preprocess.size == (96, 128)
    plain = load_model(OWN, trained / "epoch_2.pth")
    assert plain.preprocess.size == (64, 64)
    assert config.load(OWN).model.data_preprocessor.size == (320, 320)

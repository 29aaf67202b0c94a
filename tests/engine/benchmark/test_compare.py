"""Rows compared under equal conditions: configs, costs and the saved state."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS

from engine import config
from engine.benchmark import compare
from engine.benchmark.paper import Published, Row, read_presets
from engine.hardware import cost

ROOT = Path(__file__).parents[3]
PRESETS = read_presets()
ROWS = (
    Row("quarter", str(ROOT / "configs/classifier_lcnet_x0_25.py")),
    Row("half", str(ROOT / "configs/classifier_lcnet_x0_5.py")),
)


def loaded(*rows: Row) -> list[compare.Entry]:
    return compare.entries(rows, recipe=None, data=None, options={})


# Multiply-adds and parameters of PP-LCNet x0.5 at 224 with one part changed.
ABLATIONS = {
    "classifier_lcnet_x0_5": (44_731_008, 1_879_576),
    "paper/classifier_lcnet_x0_5_se_first": (44_690_208, 1_838_326),
    "paper/classifier_lcnet_x0_5_se_middle": (44_706_432, 1_854_840),
    "paper/classifier_lcnet_x0_5_se_all": (44_777_248, 1_926_886),
    "paper/classifier_lcnet_x0_5_se_none": (44_690_048, 1_838_136),
    "paper/classifier_lcnet_x0_5_5x5_all": (50_150_016, 1_883_032),
    "paper/classifier_lcnet_x0_5_5x5_first": (48_243_328, 1_868_696),
    "paper/classifier_lcnet_x0_5_5x5_none": (42_422_912, 1_863_192),
    "paper/classifier_lcnet_x0_5_relu": (44_731_008, 1_879_576),
    "paper/classifier_lcnet_x0_5_no_hidden": (43_379_328, 527_896),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_costs_of_the_ablations(name: str) -> None:
    model = MODELS.build({**config.load(ROOT / f"configs/{name}.py").model}).eval()
    found = cost(model, torch.zeros(1, 3, 224, 224))
    assert (found.macs, found.parameters) == ABLATIONS[name]


def test_costs_of_the_ablations_by_hand() -> None:
    """A 5x5 kernel costs 16 more than a 3x3 for every value of its map.

    The last seven blocks are five of 128 channels at 14 x 14, one of 128 and one of 256 at 7 x 7.
    The layer of 1280 costs 256 * 1280, and its classes 1000 * (1280 - 256) more than without.
    """
    whole, _ = ABLATIONS["classifier_lcnet_x0_5"]
    large = 5 * 128 * 14**2 + 128 * 7**2 + 256 * 7**2
    assert whole - ABLATIONS["paper/classifier_lcnet_x0_5_5x5_none"][0] == 16 * large
    hidden = 256 * 1280 + 1000 * (1280 - 256)
    assert whole - ABLATIONS["paper/classifier_lcnet_x0_5_no_hidden"][0] == hidden


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_with_their_recipe(name: str) -> None:
    """The network is the row's; all training settings are the recipe's."""
    preset = PRESETS[name]
    recipe = config.load(preset.recipe)
    rows = preset.rows
    items = compare.entries(rows, recipe=Path(preset.recipe), data=None, options={})
    assert {label for pair in preset.pairs for label in pair} <= {row.label for row in rows}
    for item in items:
        own = config.load(item.row.config, {})
        assert config.plain(item.cfg.model.backbone) == config.plain(own.model.backbone)
        for key in ("optim_wrapper", "param_scheduler", "train_cfg", "train_dataloader"):
            assert str(item.cfg[key]) == str(recipe[key]), key
        prepared = (config.plain(cfg.model.data_preprocessor) for cfg in (item.cfg, recipe))
        assert next(prepared) == next(prepared)
    if "generation" in own.model:
        assert {item.cfg.model.generation for item in items} == {1}
    if name == "paper-ablations":
        assert items[-1].cfg.model.hidden is None


def test_the_papers_numbers() -> None:
    """Tables 4 and 5 and the ablations, as in their authors' documentation."""
    published = {
        name: {row.label: row.published for row in preset.rows} for name, preset in PRESETS.items()
    }
    assert published["paper-detection"]["PP-LCNet x1.0"] == Published(26.9, 7.9)
    assert published["paper-segmentation"]["MobileNetV3-large x0.75"] == Published(64.53, 151)
    assert published["paper-classification"]["MobileNetV3-large x0.35"] == Published(64.32, 3.68)
    assert published["paper-ablations"]["SE in all blocks"] == Published(64.27, 3.80)
    assert len(published["paper-ablations"]) == 10


def test_two_rows_of_one_label() -> None:
    with pytest.raises(ValueError, match="quarter: given twice; give each config once"):
        loaded(ROWS[0], ROWS[0])


def test_rows_of_two_tasks() -> None:
    detector = Row("detector", str(ROOT / "configs/picodet_lcnet.py"))
    with pytest.raises(ValueError, match=r"several tasks \(cls, det\); compare one"):
        loaded(ROWS[0], detector)


def test_options_reach_all_rows() -> None:
    items = compare.entries(ROWS, recipe=None, data=None, options={"model.dropout": 0.1})
    assert [item.cfg.model.dropout for item in items] == [0.1, 0.1]
    assert [item.cfg.model.backbone.scale for item in items] == [0.25, 0.5]


def test_costs_drop_rows_that_are_not_asked_for() -> None:
    state: dict[str, Any] = {"rows": {"old": {"latency": {}}, "half": {"latency": {"x": [1]}}}}
    compare.add_costs(state, loaded(*ROWS), (32, 32))
    assert list(state["rows"]) == ["quarter", "half"]
    quarter, half = state["rows"].values()
    assert quarter["parameters"] < half["parameters"]
    assert (quarter["latency"], half["latency"]) == ({}, {"x": [1]})
    assert quarter["bytes"] > 4 * quarter["parameters"]


@pytest.mark.parametrize("text", ["[", "[]", '{"rows": [], "done": {}}', '{"rows": {}}'])
def test_a_foreign_report_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / compare.STATE).write_text(text)
    with pytest.raises(ValueError, match=r"not a report of compare\.py; remove it or give --out"):
        compare.load_state(tmp_path)


def test_size_must_be_known() -> None:
    segmenter = Row("segmenter", str(ROOT / "configs/deeplabv3plus_lcnet.py"))
    with pytest.raises(ValueError, match="no fixed input size; give --shape HEIGHT WIDTH"):
        compare.add_costs({"rows": {}}, loaded(segmenter), None)


def test_sides_that_do_not_fit_the_strides() -> None:
    detector = Row("detector", str(ROOT / "configs/picodet_lcnet.py"))
    with pytest.raises(ValueError, match="input size 100 is not a multiple of 32; use 96 or 128"):
        compare.add_costs({"rows": {}}, loaded(detector), (100, 100))


def test_a_config_without_a_model() -> None:
    with pytest.raises(ValueError, match="has no model, which a comparison needs"):
        loaded(Row("base", str(ROOT / "configs/_base/runtime.py")))


def test_names_of_files_differ_where_labels_do() -> None:
    labels = ("a-b", "a_b", "A B", "网络")
    names = {compare.Entry(Row(label, ""), config.Config()).name for label in labels}
    assert len(names) == 4
    assert all(name.isascii() and name.replace("_", "").isalnum() for name in names)

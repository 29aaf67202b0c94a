"""The tables of the PP-LCNet paper (arXiv 2109.15099) as lists of rows to compare."""

from dataclasses import dataclass

from engine.shipped_configs import config_folder
from engine.types import Size

CONFIGS = config_folder()
PAPERS_MACHINE = "Intel Xeon Gold 6148 with MKL-DNN"


@dataclass(frozen=True)
class Published:
    """A row as the paper has it."""

    accuracy: float  # percent: top-1, AP or mIoU
    ms: float | None  # None: not in the table


@dataclass(frozen=True)
class Row:
    """A model to compare."""

    label: str
    config: str  # file
    published: Published | None = None


@dataclass(frozen=True)
class Preset:
    """A table of the paper, and which two of its rows to set against each other, by label.

    `recipe` is the config whose data, optimiser and schedule all rows are trained with; `shape` is
    the (height, width) latency is measured at, None for the configs' own.
    """

    rows: tuple[Row, ...]
    pairs: tuple[tuple[str, str], ...]
    recipe: str
    shape: Size | None = None


def _row(label: str, name: str, accuracy: float, ms: float | None) -> Row:
    """A row of configs/<name>.py."""
    return Row(label, str(CONFIGS / f"{name}.py"), Published(accuracy, ms))


# By label: top-1 and milliseconds of PP-LCNet x0.5 with one part changed.
ABLATIONS = (
    _row("PP-LCNet x0.5", "classifier_lcnet_x0_5", 63.14, 2.05),
    _row("SE in blocks 1-2", "paper/classifier_lcnet_x0_5_se_first", 61.73, 2.06),
    _row("SE in blocks 7-8", "paper/classifier_lcnet_x0_5_se_middle", 62.17, 2.03),
    _row("SE in all blocks", "paper/classifier_lcnet_x0_5_se_all", 64.27, 3.80),
    _row("5x5 in all blocks", "paper/classifier_lcnet_x0_5_5x5_all", 63.22, 2.08),
    _row("5x5 in blocks 1-7", "paper/classifier_lcnet_x0_5_5x5_first", 62.70, 2.07),
    _row("no h-swish", "paper/classifier_lcnet_x0_5_relu", 61.93, 1.94),
    _row("no SE", "paper/classifier_lcnet_x0_5_se_none", 62.51, 1.87),
    _row("no 5x5", "paper/classifier_lcnet_x0_5_5x5_none", 62.44, 2.01),
    _row("no 1280 layer", "paper/classifier_lcnet_x0_5_no_hidden", 59.91, 1.85),
)
PRESETS = {
    "paper-classification": Preset(
        rows=(
            _row("PP-LCNet x0.5", "classifier_lcnet_x0_5", 63.14, 2.05),
            _row("PP-LCNet x1.0", "classifier_lcnet", 71.32, 2.46),
            _row("MobileNetV3-large x0.35", "classifier_mobilenetv3_x0_35", 64.32, 3.68),
            _row("MobileNetV3-large x0.5", "classifier_mobilenetv3_x0_5", 69.24, None),
            _row("MobileNetV3-large x0.75", "classifier_mobilenetv3_x0_75", 73.14, None),
        ),
        pairs=(
            ("PP-LCNet x0.5", "MobileNetV3-large x0.35"),
            ("PP-LCNet x1.0", "MobileNetV3-large x0.5"),
            ("PP-LCNet x1.0", "MobileNetV3-large x0.75"),
        ),
        recipe=str(CONFIGS / "classifier_lcnet_own.py"),
    ),
    "paper-detection": Preset(
        rows=(
            _row("PP-LCNet x0.5", "paper/picodet_legacy_lcnet_x0_5", 20.3, 6.0),
            _row("PP-LCNet x1.0", "paper/picodet_legacy_lcnet_x1_0", 26.9, 7.9),
            _row("MobileNetV3-large x0.35", "paper/picodet_legacy_mobilenetv3_x0_35", 19.2, 8.1),
            _row("MobileNetV3-large x0.75", "paper/picodet_legacy_mobilenetv3_x0_75", 25.8, 11.1),
        ),
        pairs=(
            ("PP-LCNet x0.5", "MobileNetV3-large x0.35"),
            ("PP-LCNet x1.0", "MobileNetV3-large x0.75"),
        ),
        recipe=str(CONFIGS / "picodet_lcnet_own.py"),
    ),
    "paper-segmentation": Preset(
        rows=(
            _row("PP-LCNet x0.5", "deeplabv3plus_lcnet_x0_5", 58.36, 82.0),
            _row("PP-LCNet x1.0", "deeplabv3plus_lcnet", 66.03, 96.0),
            _row("MobileNetV3-large x0.5", "deeplabv3plus_mobilenetv3_x0_5", 55.42, 135.0),
            _row("MobileNetV3-large x0.75", "deeplabv3plus_mobilenetv3", 64.53, 151.0),
        ),
        pairs=(
            ("PP-LCNet x0.5", "MobileNetV3-large x0.5"),
            ("PP-LCNet x1.0", "MobileNetV3-large x0.75"),
        ),
        recipe=str(CONFIGS / "deeplabv3plus_lcnet_own.py"),
        shape=(512, 1024),
    ),
    "paper-ablations": Preset(
        rows=ABLATIONS,
        pairs=tuple(("PP-LCNet x0.5", row.label) for row in ABLATIONS[1:]),
        recipe=str(CONFIGS / "classifier_lcnet_own.py"),
    ),
}

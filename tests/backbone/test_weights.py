"""Readers of foreign files and the names of Paddle's trunks."""

import collections
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from backbone import MobileNetV3, PPLCNet
from backbone.weights import (
    creation_names,
    fill_norms,
    is_creation_order,
    is_folded,
    read_arrays,
    read_classes,
    rename,
    trunk_name,
    trunk_state,
)


@pytest.fixture
def write_pickle(tmp_path: Path) -> Callable[..., Path]:
    def write(content: object, protocol: int = 4) -> Path:
        path = tmp_path / "file.pdparams"
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        return path

    return write


class Hostile:
    """Unpickled by pickle itself, this creates a file."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call[0], tuple(self.call[1:])


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_arrays_survive_every_pickle_protocol_and_order(write_pickle, protocol: int) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
    content = collections.OrderedDict(
        {"c": values, "f": np.asfortranarray(values), "big": values.astype(">f8")},
        pair=("conv2d_0.w_0", values[0]),
    )
    content["StructuredToParameterName@@"] = {"c": "conv2d_0.w_0"}
    arrays = read_arrays(write_pickle(content, protocol))
    assert list(arrays) == ["c", "f", "big", "pair"]
    for name in ("c", "f", "big"):
        np.testing.assert_array_equal(arrays[name], values)
    np.testing.assert_array_equal(arrays["pair"], values[0])
    assert arrays["big"].dtype == np.float64


@pytest.mark.golden
def test_file_of_the_original_gives_the_arrays_that_it_was_made_of(
    golden, pdparams_file, assert_agrees
) -> None:
    arrays, wanted = read_arrays(pdparams_file("PPLCNet_x0_25_c7")), golden("PPLCNet_x0_25_c7")
    assert {name: list(array.shape) for name, array in arrays.items()} == wanted.info["state_dict"]
    for name, array in wanted.weights().items():
        assert_agrees("weights read from a .pdparams file", "PaddleClas", arrays[name], array)


@pytest.mark.parametrize("where", ["value", "key", "array", "nested"])
def test_hostile_pickle_is_refused_and_does_not_run(write_pickle, tmp_path, where: str) -> None:
    trap = tmp_path / "trap"
    hostile = Hostile(os.mkdir, str(trap))
    content = {
        "value": {"conv1.conv.weight": hostile},
        "key": {("x", hostile): np.zeros(1)},
        "array": {"conv1.conv.weight": np.array([hostile, None], dtype=object)},
        "nested": {"StructuredToParameterName@@": {"a": [hostile]}},
    }[where]
    path = write_pickle(content)
    with pytest.raises(ValueError, match=r"refused.*mkdir") as caught:
        read_arrays(path)
    assert not trap.exists()
    assert "\n" not in str(caught.value)
    pickle.loads(path.read_bytes())  # the trap does work
    assert trap.exists()


@pytest.mark.parametrize(
    "call",
    [
        (eval, "1"),
        (getattr, "x", "upper"),
        (np.load, "x"),
        (np.dtype, "O"),
        (collections.deque,),
    ],
    ids=["eval", "getattr", "numpy.load", "object dtype", "deque"],
)
def test_any_other_name_is_refused(write_pickle, call: tuple) -> None:
    with pytest.raises(ValueError, match="refused"):
        read_arrays(write_pickle({"conv1.conv.weight": Hostile(*call)}))


@pytest.mark.parametrize(
    "content",
    [
        [np.zeros(3)],
        {"a": "text"},
        {"a": np.array([None])},
        {"a": np.zeros(2, dtype=[("x", "f4")])},
        {"a": np.array(["text"])},
    ],
    ids=["list", "string", "objects", "records", "texts"],
)
def test_what_is_no_dict_of_numbers_is_refused(write_pickle, content: object) -> None:
    with pytest.raises(ValueError, match="refused"):
        read_arrays(write_pickle(content))


def test_array_with_too_few_bytes_is_refused(tmp_path: Path) -> None:
    whole = pickle.dumps({"a": np.zeros(4, np.float32)}, protocol=4)
    for end in range(0, len(whole), 7):
        path = tmp_path / f"{end}.pdparams"
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="refused"):
            read_arrays(path)


def test_npz_of_plain_arrays_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"conv2d_0.w_0_deepcopy_3": np.ones(2), "eager_tmp_1": 1})
    arrays = read_arrays(tmp_path / "a.npz")
    assert list(arrays) == ["conv2d_0.w_0"]
    np.testing.assert_array_equal(arrays["conv2d_0.w_0"], [1, 1])


def test_npz_with_objects_is_refused_and_does_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    hostile = np.array([Hostile(os.mkdir, str(trap))], dtype=object)
    np.savez(tmp_path / "a.npz", a=hostile)
    with pytest.raises(ValueError, match=r"not a \.npz file of plain arrays"):
        read_arrays(tmp_path / "a.npz")
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"text"])
def test_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: not a \.npz file"):
        read_arrays(tmp_path / "a.npz")


def test_npz_of_texts_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array(["text"]))
    with pytest.raises(ValueError, match="array 'a' holds <U4"):
        read_arrays(tmp_path / "a.npz")


def test_missing_and_unknown_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.npz: no such weight file"):
        read_arrays(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"cannot read '\.h5'; known: \.pdparams, \.npz"):
        read_arrays(tmp_path / "a.h5")


def write_onnx(path: Path, *, external: bool = False) -> Path:
    """A graph with a weight as constant, one as initialiser, a constant of the exporter's."""
    weight = onnx.numpy_helper.from_array(np.full((2, 3), 0.5, np.float32), "conv2d_0.w_0")
    bias = onnx.numpy_helper.from_array(np.arange(2, dtype=np.float32), "conv2d_0.b_0")
    if external:
        bias.data_location = onnx.TensorProto.EXTERNAL
        bias.external_data.add(key="location", value="../secret.bin")
    nodes = [
        onnx.helper.make_node("Constant", [], ["conv2d_0.w_0"], value=weight),
        onnx.helper.make_node("Constant", [], ["p2o.helper.constant.7"], value=bias),
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], [bias]))
    onnx.helper.set_model_props(model, {"character": "cat\nsmall dog\n"})
    path.write_bytes(model.SerializeToString())
    return path


def test_onnx_gives_its_arrays_and_class_names(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx")
    arrays = read_arrays(path)
    assert set(arrays) == {"conv2d_0.w_0", "conv2d_0.b_0"}
    np.testing.assert_array_equal(arrays["conv2d_0.w_0"], np.full((2, 3), 0.5))
    np.testing.assert_array_equal(arrays["conv2d_0.b_0"], [0, 1])
    assert read_classes(path) == ("cat", "small dog")
    assert read_classes(tmp_path / "a.npz") == ()


def test_onnx_that_is_damaged_or_points_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"no graph at all")
    with pytest.raises(ValueError, match=r"a\.onnx: not an \.onnx file"):
        read_arrays(path)
    with pytest.raises(ValueError, match=r"'conv2d_0\.b_0' is in another file"):
        read_arrays(write_onnx(path, external=True))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match="onnx is not installed; run: pip install"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1.conv.weight", "stem.conv.weight"),
        ("conv.bn._mean", "stem.norm.running_mean"),
        ("blocks2.0.dw_conv.conv.weight", "stages.0.0.depthwise.conv.weight"),
        ("blocks6.1.se.conv2.bias", "stages.4.1.se.expand.bias"),
        ("blocks5.3.pw_conv.bn._variance", "stages.3.3.pointwise.norm.running_var"),
        ("blocks.3.mid_se.conv1.weight", "blocks.3.se.reduce.weight"),
        ("blocks.14.linear_conv.bn.bias", "blocks.14.project.norm.bias"),
        ("conv16.expand_conv.conv.weight", "blocks.14.expand.conv.weight"),
        ("conv2.bottleneck_conv.bn.weight", "blocks.0.depthwise.norm.weight"),
        ("last_conv.weight", "last_conv.weight"),
    ],
)
def test_structured_names(theirs: str, ours: str) -> None:
    assert trunk_name(theirs) == ours


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "build", "head"),
    [
        ("PPLCNet_x1_0_c10", lambda: PPLCNet(1.0), {"last_conv", "fc"}),
        (
            "MobileNetV3_small_x1_0_c10",
            lambda: MobileNetV3("small"),
            {"last_second_conv", "last_conv", "fc"},
        ),
    ],
)
def test_only_the_classifier_is_left_over(golden, name, build, head) -> None:
    model = build()
    state = trunk_state(golden(name).weights(), model)
    ours = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert {key: tuple(state[key].shape) for key in ours} == ours
    assert {key.split(".")[0] for key in set(state) - set(ours)} == head


def test_creation_order_counts_norms_apart_from_convolutions() -> None:
    """Unit 0 has a norm, the squeeze-excite none, number 3 was never used, unit 4 has norm 1."""
    name = creation_names(["a.conv", "se.reduce", "se.expand", None, "b.conv"])
    assert name("conv2d_0.w_0") == "a.conv.weight"
    assert name("batch_norm2d_0.w_1") == "a.norm.running_mean"
    assert name("conv2d_2.b_0") == "se.expand.bias"
    assert name("conv2d_3.w_0") == "conv2d_3.w_0"
    assert name("batch_norm2d_1.w_2") == "b.norm.running_var"
    assert name("conv2d_4.w_0") == "b.conv.weight"


def test_real_file_in_creation_order_fits_the_trunk(real_dir: Path) -> None:
    """Text-line classifier x0.25; left over: its last convolution and the fc."""
    arrays = read_arrays(real_dir / "weights/pplcnet_x0_25_textline_ori/weights.npz")
    assert is_creation_order(arrays)
    assert not is_folded(arrays)
    model = PPLCNet(0.25)
    state = trunk_state(arrays, model)
    report = model.load_state_dict(state, strict=False)
    assert report.missing_keys == []
    assert report.unexpected_keys == ["conv2d_31.w_0", "linear_0.b_0", "linear_0.w_0"]
    np.testing.assert_array_equal(
        model.stages[4][1].pointwise.norm.running_var, arrays["batch_norm2d_26.w_2"]
    )


def test_two_different_arrays_of_one_name_are_refused() -> None:
    arrays = {"a": np.ones(2), "b": np.ones(2)}
    assert list(rename(arrays, lambda _: "x")) == ["x"]
    with pytest.raises(ValueError, match="b: a different array is already stored for x"):
        rename({**arrays, "b": np.zeros(2)}, lambda _: "x")


def test_folded_norm_adds_its_offset_and_nothing_else() -> None:
    state = fill_norms({"norm.bias": torch.tensor([0.5, -2.0])})
    norm = torch.nn.BatchNorm2d(2).eval()
    norm.load_state_dict({key.removeprefix("norm."): value for key, value in state.items()})
    x = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    expected = x + torch.tensor([0.5, -2.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(norm(x), expected, rtol=1e-6, atol=1e-6)


def test_full_norm_keeps_what_the_file_has() -> None:
    given = {f"norm.{part}": torch.full((1,), 7.0) for part in ("weight", "bias", "running_var")}
    state = fill_norms(given)
    assert {key: value.item() for key, value in state.items()} == {
        "norm.weight": 7.0,
        "norm.bias": 7.0,
        "norm.running_var": 7.0,
        "norm.running_mean": 0.0,
        "norm.num_batches_tracked": 0,
    }


@pytest.mark.parametrize("old", [b"conv2d_0.b_0", b"conv2d_0.w_0", b"small dog"])
def test_onnx_with_a_name_that_is_not_utf8_is_refused(tmp_path: Path, old: bytes) -> None:
    """Such a name comes as bytes. Found by fuzzing."""
    path = write_onnx(tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes().replace(old, old[:-1] + b"\xff"))
    with pytest.raises(ValueError, match=r"a\.onnx: a name in it is not UTF-8"):
        (read_classes if old == b"small dog" else read_arrays)(path)

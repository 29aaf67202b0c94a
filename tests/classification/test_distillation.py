"""Teachers: what they are handed, what they give, and that they stay as they are."""

import argparse
import copy
import importlib
from pathlib import Path

import pytest
import torch

from backbone.mobilenetv3 import MobileNetV3
from backbone.pplcnet import PPLCNet
from classification.classifier import Classifier
from classification.distillation import Teacher, _read_foreign
from classification.loss import DistillationLoss
from engine.checkpoint import checkpoint
from engine.data.preprocess import Preprocess

NAMES = ("ant", "bee", "cat", "dog")
CONFIG = {
    "type": "Classifier",
    "num_classes": 4,
    "backbone": {"type": "PPLCNet", "scale": 0.25},
    "data_preprocessor": {"type": "Preprocess", "size": [32, 32]},
}


@pytest.fixture
def teacher_file(tmp_path: Path) -> Path:
    """A checkpoint of a random classifier that knows NAMES."""
    torch.manual_seed(5)
    model = checkpoint.build_model(CONFIG)
    path = tmp_path / "teacher.pth"
    checkpoint.save(path, checkpoint.describe(model, CONFIG, NAMES, {}))
    return path


def loaded(path: Path) -> Classifier:
    model = checkpoint.build_model(CONFIG)
    model.load_state_dict(checkpoint.read(path)["state_dict"])
    return model.eval()


def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def plain() -> Preprocess:
    return Preprocess(size=(32, 32))


@torch.no_grad()
def test_logits_are_those_of_the_file_by_class_name(teacher_file: Path) -> None:
    expected = loaded(teacher_file)(images())
    teacher = Teacher(checkpoint=str(teacher_file))
    torch.testing.assert_close(teacher(images(), NAMES, plain()), expected)
    fewer = Teacher(checkpoint=str(teacher_file))(images(), ("dog", "ant"), plain())
    torch.testing.assert_close(fewer, expected[:, [3, 0]])


@torch.no_grad()
def test_images_are_normalised_as_the_teacher_wants(teacher_file: Path) -> None:
    """The same uint8 pictures, brought in by a student that has 0.5 / 0.5."""
    pictures = [torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8) for _ in range(2)]
    student = Preprocess(size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    expected = loaded(teacher_file)(plain()({"images": pictures})["images"])
    seen = student({"images": pictures})["images"]
    ours = Teacher(checkpoint=str(teacher_file))(seen, NAMES, student)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_bf16_is_near_and_float32_outside(teacher_file: Path) -> None:
    exact = Teacher(checkpoint=str(teacher_file))(images(), NAMES, plain())
    rough = Teacher(checkpoint=str(teacher_file), precision="bf16")(images(), NAMES, plain())
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.05 * exact.abs().max()


def student_of(path: Path, **options: object) -> Classifier:
    torch.manual_seed(1)
    model = Classifier(
        backbone=MobileNetV3("small", 0.35),
        num_classes=4,
        dropout=0.0,
        loss=DistillationLoss(label_weight=0.0, **options),
        teacher=Teacher(checkpoint=str(path)),
        data_preprocessor=plain(),
    )
    model.classes = NAMES
    return model


def test_only_the_student_learns_and_is_saved(teacher_file: Path) -> None:
    model = student_of(teacher_file, temperature=2.0)
    names, count = list(model.state_dict()), len(list(model.parameters()))
    batch = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    targets = [{"label": 0}] * 8
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.02)
    network = None
    losses = []
    for _ in range(8):
        terms = model(batch, targets, mode="loss")
        losses.append(terms["loss_distill"].item())
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        network = network or copy.deepcopy(model.teacher.network.state_dict())
    assert losses[-1] < 0.5 * losses[0]
    assert terms["loss_ce"].item() == 0
    assert (list(model.state_dict()), len(list(model.parameters()))) == (names, count)
    assert not model.teacher.network.training
    for name, value in model.teacher.network.state_dict().items():
        assert torch.equal(value, network[name]), name
    assert all(p.grad is None for p in model.teacher.network.parameters())


def test_a_student_is_built_and_evaluated_without_its_teacher(tmp_path: Path) -> None:
    config = {
        **CONFIG,
        "loss": {"type": "DistillationLoss"},
        "teacher": {"type": "Teacher", "checkpoint": str(tmp_path / "gone.pth")},
    }
    model = checkpoint.build_model(config).eval()
    batch = {"images": [torch.zeros(32, 32, 3, dtype=torch.uint8)], "targets": [{"label": 2}]}
    *_, last = model.val_step(batch)
    assert last.loss.keys() == {"loss_ce"}
    with pytest.raises(FileNotFoundError, match=r"gone.pth: no such checkpoint"):
        model.train()(images(), [{"label": 0}] * 2, mode="loss")


def test_a_teacher_of_other_classes_or_another_task_is_refused(teacher_file: Path) -> None:
    importlib.import_module("detection.picodet")  # registers PicoDet
    with pytest.raises(ValueError, match=r"does not have 1 of the student's classes \(fox, ...\)"):
        Teacher(checkpoint=str(teacher_file))(images(), ("ant", "fox"), plain())
    content = checkpoint.read(teacher_file)
    backbone = {"type": "PPLCNet", "scale": 0.25}
    content["model"] = {"type": "PicoDet", "backbone": backbone, "num_classes": 2}
    del content["format"]
    checkpoint.save(teacher_file, content)
    with pytest.raises(ValueError, match=r"is a PicoDet; a teacher is a Classifier"):
        Teacher(checkpoint=str(teacher_file))(images(), NAMES, plain())


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "needs a checkpoint of this project"), ({"timm_name": "x", "precision": "fp8"}, "'fp8'")],
)
def test_wrong_options_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Teacher(**options)


def test_a_teacher_needs_a_loss_that_listens() -> None:
    with pytest.raises(ValueError, match=r"model.loss is ClassificationLoss; take a Distillation"):
        Classifier(backbone=PPLCNet(0.25), num_classes=4, teacher=Teacher(timm_name="resnet18"))


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_model_of_timm_teaches(tmp_path: Path, suffix: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model("lcnet_050", num_classes=4).eval()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": network.state_dict()}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(network.state_dict(), path)
    teacher = Teacher(timm_name="lcnet_050", checkpoint=str(path))
    torch.testing.assert_close(teacher(images(), NAMES, plain()), network(images()))
    with pytest.raises(ValueError, match=r"does not fit the teacher"):
        Teacher(timm_name="lcnet_075", checkpoint=str(path))(images(), NAMES, plain())
    with pytest.raises(ValueError, match="timm has no such model; it has lcnet_035"):
        Teacher(timm_name="lcnet_999")(images(), NAMES, plain())
    with pytest.raises(FileNotFoundError, match=r"none.pth: no such file of teacher weights"):
        Teacher(timm_name="lcnet_050", checkpoint="none.pth")(images(), NAMES, plain())


def test_options_in_a_file_of_timms_are_let_through_and_damage_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}, "args": argparse.Namespace(lr=1)}, path)
    assert _read_foreign(path)["state_dict"]["w"].tolist() == [1, 1]
    for name in ("t.pth", "t.safetensors"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match=f"{name}: damaged, or more than a state dict"):
            _read_foreign(tmp_path / name)

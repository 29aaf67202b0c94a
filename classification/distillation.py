"""A trained classifier whose logits for the student's images a student learns from.

Shapes: B images of H x W, K classes of the student.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from engine.checkpoint import checkpoint
from engine.checkpoint.bounds import check_unpacked
from engine.checkpoint.restore import fill
from engine.data.preprocess import Preprocess
from engine.extras import require
from engine.task import task_of

PRECISIONS = ("fp32", "bf16")


@MODELS.register_module()
class Teacher:
    """Logits of a fixed classifier: one of this project, or one of timm's by name.

    It is in evaluation mode and gets no gradients. It is not a Module, so it is neither trained nor
    saved with the student. Its file is read at first use, so a student's checkpoint works without.

    If the student normalises images in another way, they are normalised again. The classes of a
    checkpoint are matched by name, and it may have more classes than the student. Those of timm's
    models have no names and must be the student's, in its order.

    Args:
        checkpoint: A checkpoint of this project; with `timm_name` a state dict of that model (.pth
            or .safetensors), or None for the weights that timm downloads.
        timm_name: A model of timm's, such as "resnet50d"; None: one of this project.
        precision: "fp32", or "bf16" if the processor supports it.

    Raises:
        ValueError: no model is given, or an unknown precision.
    """

    def __init__(
        self,
        *,
        checkpoint: str | None = None,
        timm_name: str | None = None,
        precision: str = "fp32",
    ) -> None:
        if checkpoint is None and timm_name is None:
            raise ValueError(
                "model.teacher needs a checkpoint of this project, or the timm_name of a model"
            )
        if precision not in PRECISIONS:
            raise ValueError(f"teacher precision {precision!r} is unknown; use fp32 or bf16")
        self.checkpoint = checkpoint
        self.timm_name = timm_name
        self.bf16 = precision == "bf16"
        self.network: nn.Module | None = None
        self._columns: list[int] | None = None  # logits of the student's classes; None: all
        self._factor = self._shift = torch.zeros(())  # (1, 3, 1, 1) of the second normalisation

    @torch.no_grad()
    def __call__(self, images: Tensor, classes: Sequence[str], student: Preprocess) -> Tensor:
        """Logits (B, K) for images (B, 3, H, W).

        Args:
            images: The input of the student.
            classes: Names of the student's K classes, in label order.
            student: The student's preprocessing, which made the images.

        Raises:
            FileNotFoundError: the teacher's file is missing.
            ValueError: it is not a classifier, or its classes do not match.
        """
        if self.network is None:
            with torch.random.fork_rng(devices=[]):  # so that it does not change the next dropout
                self._load(classes, student)
            assert self.network is not None
        if self._factor.device != images.device:
            self.network.to(images.device)
            self._factor, self._shift = self._factor.to(images), self._shift.to(images)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.network(torch.addcmul(self._shift, images, self._factor))
        return logits.float() if self._columns is None else logits.float()[:, self._columns]

    def _load(self, classes: Sequence[str], student: Preprocess) -> None:
        """Build the network, and compute how to convert images and classes for it."""
        if self.timm_name is not None:
            network, own = _from_timm(self.timm_name, self.checkpoint, len(classes))
        else:
            assert self.checkpoint is not None
            network, known, own = _from_ours(self.checkpoint)
            self._columns = _columns(known, classes, self.checkpoint)
        # For pixels u both have x = u scale + offset; this converts the student's x.
        self._factor = (own.scale / student.scale.cpu()).float()
        self._shift = own.offset - student.offset.cpu() * self._factor
        self.network = network.eval().requires_grad_(False)


def _from_ours(path: str) -> tuple[nn.Module, tuple[str, ...], Preprocess]:
    """Model, class names and preprocessing of a checkpoint of this project."""
    content = checkpoint.read(path)
    model: Any = checkpoint.build_model(content["model"])
    if task_of(model) != task_of(Teacher):
        raise ValueError(f"{path}: is a {content['model']['type']}; a teacher is a Classifier")
    fill(model, content, path)
    return model, model.classes, model.data_preprocessor


def _columns(known: Sequence[str], wanted: Sequence[str], source: str) -> list[int] | None:
    """Index in `known` of each of the `wanted` classes; None if the lists are equal."""
    if tuple(known) == tuple(wanted):
        return None
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ValueError(
            f"{source}: the teacher does not have {len(missing)} of the student's classes "
            f"({', '.join(missing[:3])}, ...); it has {', '.join(known[:5])}, ..."
        )
    return [list(known).index(name) for name in wanted]


def _from_timm(name: str, weights: str | None, num_classes: int) -> tuple[nn.Module, Preprocess]:
    """A model of timm's and the normalisation it was trained with."""
    timm = require("timm")
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:3])
        raise ValueError(f"teacher {name}: timm has no such model; it has {near or 'others'}")
    if weights is None:
        model: Any = timm.create_model(name, pretrained=True)
    else:
        model = timm.create_model(name, pretrained=False, num_classes=num_classes)
        _fill_timm(model, Path(weights))
    if model.num_classes != num_classes:
        raise ValueError(
            f"teacher {name}: has {model.num_classes} classes, the student has {num_classes}; "
            "give a checkpoint of it that was trained on the student's data"
        )
    usual = model.pretrained_cfg
    return model, Preprocess(size=None, mean=usual["mean"], std=usual["std"])


def _fill_timm(model: nn.Module, path: Path) -> None:
    """Load a state dict, which must have exactly the tensors of the model."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of teacher weights")
    state = _read_foreign(path)
    for key in ("state_dict", "model"):  # as timm's train.py and torchvision's wrap them
        state = state.get(key, state)
    report = checkpoint.load_weights(model, state, source=str(path))
    if report.missing or report.mismatched or report.extra:
        raise ValueError(f"{path}: does not fit the teacher; {report}")


def _read_foreign(path: Path) -> Mapping[str, Any]:
    """Content of a foreign .safetensors or .pth file; nothing in it is executed."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load

            return load(path.read_bytes())
        with path.open("rb") as stream:
            if is_zipfile(stream):  # older files are not
                check_unpacked(path, stream)
        with torch.serialization.safe_globals([argparse.Namespace]):  # timm's options, plain data
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors has its own class of errors
        raise ValueError(f"{path}: damaged, or more than a state dict of tensors") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path}: holds a {type(state).__name__}; expected a state dict")
    return state

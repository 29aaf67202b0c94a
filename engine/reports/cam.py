"""Class activation maps by the `grad-cam` library: which places of a picture support a class.

Shapes: (H, W) the size of a picture, (h, w) that of the network input; K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.data.images import read_image
from engine.extras import require
from engine.fileio import near
from engine.inference.predictor import Predictor
from engine.reports.lettering import PAPER, ROW, shortened, text_size, write_text
from engine.types import Picture

LIBRARY = "pytorch_grad_cam"
METHODS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGradCAM",
}
OPACITY = 0.75  # of the highest heat
HEIGHT = 400  # of a panel's picture, pixels
WIDEST = 1600  # limit for pictures that are strips, pixels
GAP = 6
BAR = (10, 160)  # height and width of the colour bar, pixels
Heat = NDArray[np.float32]  # 0..1
Outputs = Sequence[Tensor]  # outputs of mode="tensor" for one image


class Score(Protocol):
    """Computes the scalar score of a label from outputs, without boxes below `threshold`."""

    def __call__(self, outputs: Outputs, label: int, threshold: float) -> Tensor:
        """Differentiable."""
        ...


@dataclass(frozen=True)
class CamTarget:
    """How to explain the outputs of a task.

    Args:
        layer: Name of the default layer.
        method: Default method, a key of METHODS.
        shown: Number of labels explained by default.
        found: Returns the labels in the outputs with at least a score 0..1, the highest first.
        score: Score to differentiate, for a label that was found.
    """

    layer: str
    method: str
    shown: int
    found: Callable[[Outputs, float], list[int]]
    score: Score


class _PerImage(nn.Module):
    """Returns the model's outputs as a list with one entry: the library expects one per image."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> list[Outputs]:
        outputs = self.model(images, mode="tensor")
        parts = (outputs,) if isinstance(outputs, Tensor) else outputs
        return [[part[0] for part in parts]]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The layer of that name.

    Raises:
        ValueError: the name is unknown; the message has the nearest ones.
    """
    layers = dict(model.named_modules())
    if not name or name not in layers:
        raise ValueError(f"--layer {name}: no such layer; {near(name, list(layers)[1:])}")
    return layers[name]


def heat_of(
    model: nn.Module, inputs: Tensor, score: Callable[[Outputs], Tensor], layer: str, method: str
) -> Heat:
    """Contribution of each place of the network input (1, 3, h, w) to a score: (h, w) in 0..1.

    Args:
        model: Network in eval mode, whose parameters require gradients.
        inputs: Normalised network input.
        score: Computes the scalar score from the outputs of the image.
        layer: Name of a layer whose output is a map.
        method: A key of METHODS.

    Raises:
        ValueError: the library or the layer is missing, the layer's output is not a map, or the
            score does not depend on it.
    """
    kind = getattr(require(LIBRARY), METHODS[method])
    place, explained = find_layer(model, layer), _PerImage(model)
    with torch.enable_grad():
        _check_place(explained, inputs, score, place, layer)
        cam = kind(explained, [place])
        try:
            heat: Heat = cam(inputs, [score])[0]
        finally:
            cam.activations_and_grads.release()
    model.zero_grad()
    return heat


def _check_place(
    model: nn.Module,
    inputs: Tensor,
    score: Callable[[Outputs], Tensor],
    place: nn.Module,
    name: str,
) -> None:
    """Raise ValueError if the output of `place` is not a map or the score does not depend on it."""
    given: list[Any] = []
    handle = place.register_forward_hook(lambda _, __, output: given.append(output))
    try:
        value = score(model(inputs)[0])
    finally:
        handle.remove()
    side = f"{inputs.shape[2]} x {inputs.shape[3]}"
    if len(given) != 1 or not isinstance(given[0], Tensor) or min(_size(given[0])) < 2:
        raise ValueError(
            f"--layer {name}: its output is not a map for an input of {side}; give another layer"
        )
    if torch.autograd.grad(value, given[0], allow_unused=True)[0] is None:
        raise ValueError(
            f"--layer {name}: the class's score does not depend on it; give another layer"
        )


def _size(output: Tensor) -> tuple[int, ...]:
    """Height and width of a map (B, C, h, w); (0,) of anything else."""
    return tuple(output.shape[2:]) if output.ndim == 4 else (0,)


def overlay(picture: Picture, heat: Heat) -> Picture:
    """The RGB picture (H, W, 3) in grey, blended with the colours of the heat map (h, w).

    From dark violet over orange to yellow (matplotlib's inferno): brightness rises with heat, so
    that it can be read without colours too.
    """
    size = picture.shape[1::-1]
    share = cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR)[..., None].clip(0, 1)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float64)
    mixed = grey * (1 - OPACITY * share) + colours(share[..., 0]) * OPACITY * share
    return mixed.round().astype(np.uint8)


def colours(heat: Heat) -> NDArray[np.float64]:
    """RGB (H, W, 3) of heat (H, W)."""
    from matplotlib import colormaps

    return 255 * colormaps["inferno"](0.15 + 0.85 * heat)[..., :3]


class Wish(NamedTuple):
    """The wanted explanation."""

    classes: Sequence[str]  # empty: the first classes that the model finds
    layer: str  # "": the task's default
    method: str  # "": the task's default
    threshold: float  # lowest score of a box, 0..1


def explain(model: Predictor, path: Path, wish: Wish) -> tuple[Picture, list[str]]:
    """A picture of an image's prediction beside the heat map of each class, and the class names.

    The names are empty if no wanted class was found. Raises ValueError as `heat_of`.
    """
    image = read_image(path)
    target: CamTarget = model.task.use("cam_target")
    inputs = model.preprocess({"images": [torch.from_numpy(image)]})["images"]
    labels = _labels(model, target, inputs, wish)
    seen = _seen(model, image, inputs)
    layer, method = wish.layer or target.layer, wish.method or target.method
    prediction = model.draw(image, model.predict(image)[0], wish.threshold)
    panels = [_panel(prediction, f"prediction for {path.name}")]
    for label in labels:
        score = partial(target.score, label=label, threshold=wish.threshold)
        heat = heat_of(model.network, inputs, score, layer, method)
        name = model.classes[label]
        panels.append(_panel(overlay(seen, heat), f"{name}: {method} at {layer}"))
    row = np.hstack(panels)[:, GAP:]
    return np.vstack([row, _key(row.shape[1])]), [model.classes[label] for label in labels]


def check_classes(known: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise ValueError for a name that is not a class of the model."""
    for name in wanted:
        if name not in known:
            raise ValueError(f"--class {name}: not a class of the model; {near(name, list(known))}")


@torch.no_grad()
def _labels(model: Predictor, target: CamTarget, inputs: Tensor, wish: Wish) -> list[int]:
    """Labels of the wanted classes that were found, or of the first classes found."""
    found = target.found(_PerImage(model.network)(inputs)[0], wish.threshold)
    if not wish.classes:
        return found[: target.shown]
    return [label for name in wish.classes if (label := model.classes.index(name)) in found]


def _seen(model: Predictor, image: Picture, inputs: Tensor) -> Picture:
    """The picture under the heat map: the image, or the centre crop that the network gets."""
    preprocess = model.preprocess
    if preprocess.resize_shortest is None:
        return image
    return preprocess.restored(inputs)[0].numpy()


def _panel(picture: Picture, caption: str) -> Picture:
    """The picture scaled to the common height, with a gap to its left and a caption below."""
    width = min(WIDEST, max(1, round(picture.shape[1] * HEIGHT / picture.shape[0])))
    how = cv2.INTER_AREA if picture.shape[0] > HEIGHT else cv2.INTER_LINEAR
    panel = np.full((HEIGHT + ROW, width + GAP, 3), PAPER, np.uint8)
    panel[:HEIGHT, GAP:] = cv2.resize(picture, (width, HEIGHT), interpolation=how)
    write_text(panel, shortened(caption, width - 4), (HEIGHT + 2, GAP + 2))
    return panel


def _key(width: int) -> Picture:
    """The colour bar with its texts, (ROW, width, 3)."""
    strip = np.full((ROW, width, 3), PAPER, np.uint8)
    left, right = "heat: adds nothing to the class's score", "adds most"
    start = text_size(left)[1] + 8
    write_text(strip, left, (2, 2))
    levels = np.tile(np.linspace(0, 1, BAR[1], dtype=np.float32), (BAR[0], 1))
    room = strip[5 : 5 + BAR[0], start : start + BAR[1]]
    room[:] = colours(levels)[:, : room.shape[1]]
    write_text(strip, right, (2, start + BAR[1] + 6))
    return strip

"""Where in a picture a model looked for a class: class activation maps of the `grad-cam` library.

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
OPACITY = 0.75  # of the hottest place
HEIGHT = 400  # of a panel's picture, pixels
WIDEST = 1600  # narrower than a strip would be
GAP = 6
BAR = (10, 160)  # height and width of the key to the colours
Heat = NDArray[np.float32]  # 0..1
Outputs = Sequence[Tensor]  # of mode="tensor", those of one image


class Score(Protocol):
    """The scalar that speaks for a label in outputs; boxes count from a lowest score on."""

    def __call__(self, outputs: Outputs, label: int, threshold: float) -> Tensor:
        """Differentiable."""
        ...


@dataclass(frozen=True)
class CamTarget:
    """What a task's outputs say of a class.

    Args:
        layer: Name of the layer that is looked at unless another is wanted.
        method: A key of METHODS, used unless another is wanted.
        shown: Labels explained unless some are wanted.
        found: Labels that the outputs show, the clearest first, for a lowest score of 0..1.
        score: What is differentiated, for a label that was found.
    """

    layer: str
    method: str
    shown: int
    found: Callable[[Outputs, float], list[int]]
    score: Score


class _PerImage(nn.Module):
    """The model's outputs as a list with those of the only image, which the library asks for."""

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
        ValueError: there is none; names the nearest.
    """
    layers = dict(model.named_modules())
    if not name or name not in layers:
        raise ValueError(f"--layer {name}: no such layer; {near(name, list(layers)[1:])}")
    return layers[name]


def heat_of(
    model: nn.Module, inputs: Tensor, score: Callable[[Outputs], Tensor], layer: str, method: str
) -> Heat:
    """How much each place of the network input (1, 3, h, w) adds to a score: (h, w) in 0..1.

    Args:
        model: In eval mode, with parameters that take gradients.
        inputs: Normalised.
        score: Scalar of the outputs of the image.
        layer: Name of one whose output is a map.
        method: A key of METHODS.

    Raises:
        ValueError: the library or the layer is missing, or the layer gives no map, or one that the
            score does not depend on.
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
    """ValueError where the layer `place` gives no map, or one that the score does not hang on."""
    given: list[Any] = []
    handle = place.register_forward_hook(lambda _, __, output: given.append(output))
    try:
        value = score(model(inputs)[0])
    finally:
        handle.remove()
    side = f"{inputs.shape[2]} x {inputs.shape[3]}"
    if len(given) != 1 or not isinstance(given[0], Tensor) or min(_size(given[0])) < 2:
        raise ValueError(
            f"--layer {name}: its output is no map of an input of {side}; take another"
        )
    if torch.autograd.grad(value, given[0], allow_unused=True)[0] is None:
        raise ValueError(f"--layer {name}: the class's score does not hang on it; take another")


def _size(output: Tensor) -> tuple[int, ...]:
    """Height and width of a map (B, C, h, w); (0,) of anything else."""
    return tuple(output.shape[2:]) if output.ndim == 4 else (0,)


def overlay(picture: Picture, heat: Heat) -> Picture:
    """The RGB picture (H, W, 3) in grey, under the colours of heat (h, w) where that is not 0.

    Dark violet over orange to yellow (matplotlib's inferno), which rises in brightness alone, too.
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
    """What is to be explained, and how."""

    classes: Sequence[str]  # none: the first of those that the model finds
    layer: str  # "": the task's own
    method: str  # "": the task's own
    threshold: float  # lowest score of a box, 0..1


def explain(model: Predictor, path: Path, wish: Wish) -> tuple[Picture, list[str]]:
    """A picture of an image file's prediction beside the heat of each class, and their names.

    Without names there is none of those wanted. Raises ValueError where the layer gives no map.
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
    """Raise ValueError for a name that the model does not know."""
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"--class {name}: the model does not know it; {near(name, list(known))}"
            )


@torch.no_grad()
def _labels(model: Predictor, target: CamTarget, inputs: Tensor, wish: Wish) -> list[int]:
    """Labels of the classes that are wanted and found, or of those found first."""
    outputs = model.network(inputs, mode="tensor")
    parts = (outputs,) if isinstance(outputs, Tensor) else outputs
    found = target.found([part[0] for part in parts], wish.threshold)
    if not wish.classes:
        return found[: target.shown]
    return [label for name in wish.classes if (label := model.classes.index(name)) in found]


def _seen(model: Predictor, image: Picture, inputs: Tensor) -> Picture:
    """What heat of the network input lies on: the image, or the part that was cut out of it."""
    preprocess = model.preprocess
    if preprocess.resize_shortest is None:
        return image
    return preprocess.restored(inputs)[0].numpy()


def _panel(picture: Picture, caption: str) -> Picture:
    """The picture at the height of all, a gap to its left, its caption below."""
    width = min(WIDEST, max(1, round(picture.shape[1] * HEIGHT / picture.shape[0])))
    how = cv2.INTER_AREA if picture.shape[0] > HEIGHT else cv2.INTER_LINEAR
    panel = np.full((HEIGHT + ROW, width + GAP, 3), PAPER, np.uint8)
    panel[:HEIGHT, GAP:] = cv2.resize(picture, (width, HEIGHT), interpolation=how)
    write_text(panel, shortened(caption, width - 4), (HEIGHT + 2, GAP + 2))
    return panel


def _key(width: int) -> Picture:
    """What the colours mean, in a strip (ROW, width, 3)."""
    strip = np.full((ROW, width, 3), PAPER, np.uint8)
    left, right = "heat: adds nothing to the class's score", "adds most"
    start = text_size(left)[1] + 8
    write_text(strip, left, (2, 2))
    levels = np.tile(np.linspace(0, 1, BAR[1], dtype=np.float32), (BAR[0], 1))
    room = strip[5 : 5 + BAR[0], start : start + BAR[1]]
    room[:] = colours(levels)[:, : room.shape[1]]
    write_text(strip, right, (2, start + BAR[1] + 6))
    return strip

"""Classes and class scores of the segmenter's outputs, for class activation maps.

Shapes: (H, W) the size of the network input; the output is logits (K, H, W) of one image.
"""

from torch import Tensor

from engine.reports.cam import CamTarget, Outputs


def _found(outputs: Outputs, threshold: float) -> list[int]:  # noqa: ARG001  # pixels have one class
    """Labels of the mask, the one with most pixels first."""
    counts = outputs[0].argmax(0).flatten().bincount(minlength=len(outputs[0]))  # (K,)
    order = counts.argsort(descending=True, stable=True).tolist()
    return [label for label in order if counts[label]]


def _score(outputs: Outputs, label: int, threshold: float) -> Tensor:  # noqa: ARG001
    """Sum of the class's logits over its pixels in the mask."""
    logits = outputs[0]
    return logits[label][logits.argmax(0) == label].sum()


CAM_TARGET = CamTarget(layer="aspp", method="gradcam", shown=3, found=_found, score=_score)

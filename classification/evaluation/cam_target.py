"""Classes and class scores of the classifier's outputs, for class activation maps.

Shapes: the output is logits (K,) of one image.
"""

from torch import Tensor

from engine.reports.cam import CamTarget, Outputs


def _found(outputs: Outputs, threshold: float) -> list[int]:  # noqa: ARG001
    """All labels, the one with the highest score first."""
    return outputs[0].argsort(descending=True, stable=True).tolist()


def _score(outputs: Outputs, label: int, threshold: float) -> Tensor:  # noqa: ARG001
    """The class's logit."""
    return outputs[0][label]


CAM_TARGET = CamTarget(layer="widen", method="gradcam", shown=1, found=_found, score=_score)

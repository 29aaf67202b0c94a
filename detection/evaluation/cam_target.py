"""Classes and class scores of the detector's outputs, for class activation maps.

Shapes: P points, K classes; outputs are boxes (P, 4) and scores (P, K) of one image.
"""

from torch import Tensor

from detection.postprocess import detect
from engine.reports.cam import CamTarget, Outputs


def _found(outputs: Outputs, threshold: float) -> list[int]:
    """Labels of the boxes with at least that score, the label of the best box first."""
    boxes, scores = outputs
    found = detect(boxes.detach(), scores.detach())
    labels = found["labels"][found["scores"] >= threshold]
    return list(dict.fromkeys(labels.tolist()))


def _score(outputs: Outputs, label: int, threshold: float) -> Tensor:
    """Sum of the scores of the label's boxes that are kept; suppressed boxes do not count."""
    boxes, scores = outputs
    found = detect(boxes.detach(), scores)
    wanted = (found["labels"] == label) & (found["scores"] >= threshold)
    return found["scores"][wanted].sum()


# Boxes are scored at each position. Grad-CAM has one weight per channel for the whole picture,
# which scatters their heat; LayerCAM has one per position. C5's lateral feeds every level.
CAM_TARGET = CamTarget(
    layer="neck.laterals.2", method="layercam", shown=3, found=_found, score=_score
)

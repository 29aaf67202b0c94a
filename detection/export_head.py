"""The detector's post-processing as a part of an exported graph.

Shapes: B images, P points over all levels, K classes, N detections.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from detection.postprocess import (
    IOU_THRESHOLD,
    MAX_PER_IMAGE,
    SCORE_THRESHOLD,
    suppress,
    to_image_size,
)
from detection.results import Detections, in_image
from engine.export.head import ExportHead
from engine.export.parity import Gap, rows_apart
from engine.types import Size, Target


class SuppressionHead(ExportHead):
    """Boxes (B, P, 4) and scores (B, P, K) -> boxes (N, 4), scores (N,), labels (N,), best first.

    As `postprocess.detect`, but without its limit of 1000 candidates per class. Boxes are in pixels
    of the image whose size is given.

    Args:
        batched: Add the index in the batch of the image that each detection belongs to, (N,).
    """

    def __init__(self, *, batched: bool) -> None:
        super().__init__()
        self.batched = batched
        self.outputs = ("boxes", "scores", "labels", *(("image",) if batched else ()))

    def forward(
        self, boxes: Tensor, scores: Tensor, network: Size, given: Size
    ) -> tuple[Tensor, ...]:
        by_class = scores.permute(0, 2, 1)  # (B, K, P)
        # A traced file must run without this module, so it holds the arithmetic itself.
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined]
        suppress = suppressed if tracing else suppressed_in_graph
        image, labels, points = suppress(boxes, by_class).unbind(1)  # (N,) each
        order, scores = _best(image, by_class[image, labels, points], boxes.shape[0])
        image, labels, points = image[order], labels[order], points[order]
        found = to_image_size(boxes[image, points], network, given)
        return (found, scores, labels, *((image,) if self.batched else ()))

    def onnx_operators(self) -> dict[Any, Any]:
        """ONNX code of the operators that torch cannot translate."""
        return {torch.ops.lcnet_vision.suppressed_in_graph.default: _suppressed_in_onnx}

    def apart(self, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> Gap:
        """Largest difference of two sets of outputs in any order: pixels and scores."""
        return rows_apart(_rows(wanted), _rows(found), keys=2)

    def results(
        self, outputs: Mapping[str, Tensor], size: Size, targets: Sequence[Target]
    ) -> list[Detections]:
        """Detections of every image in pixels of the image before the resize."""
        found = []
        for index, target in enumerate(targets):
            own = outputs["image"] == index if "image" in outputs else slice(None)
            boxes, scores, labels = (outputs[key][own] for key in ("boxes", "scores", "labels"))
            one: Detections = {"boxes": boxes, "scores": scores, "labels": labels}
            found.append(in_image(one, size, {"size": size, **target}))
        return found


def export_head(network: Any, *, batched: bool) -> SuppressionHead:  # noqa: ARG001
    """Suppression as a part of the graph of a PicoDet."""
    return SuppressionHead(batched=batched)


def suppressed(boxes: Tensor, scores: Tensor) -> Tensor:
    """(N, 3) image, class and point that suppression keeps of boxes (B, P, 4), scores (B, K, P).

    Boxes with a score above the threshold suppress others of their class above the IoU threshold.
    """
    rows = (scores > SCORE_THRESHOLD).nonzero()  # (N', 3)
    image, labels, points = rows.unbind(1)
    corners = boxes.double() - boxes.double().min()
    groups = image * scores.shape[1] + labels
    confidence = scores[image, labels, points]
    return rows[suppress(corners[image, points], confidence, groups, IOU_THRESHOLD)]


@torch.library.custom_op("lcnet_vision::suppressed_in_graph", mutates_args=())
def suppressed_in_graph(boxes: Tensor, scores: Tensor) -> Tensor:
    """`suppressed`, as one operator of a graph."""
    return suppressed(boxes, scores)


@suppressed_in_graph.register_fake
def _shape_of_suppressed(boxes: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG001
    count = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty((count, 3), dtype=torch.int64)


def _suppressed_in_onnx(boxes: Any, scores: Any) -> Any:
    """The same as an ONNX operator; one class can fill the image's limit, but not exceed it."""
    import onnxscript  # an optional dependency

    operators: Any = onnxscript.opset18
    limit = operators.Constant(value_int=MAX_PER_IMAGE)
    iou = operators.Constant(value_float=IOU_THRESHOLD)
    score = operators.Constant(value_float=SCORE_THRESHOLD)
    return operators.NonMaxSuppression(boxes, scores, limit, iou, score)


def _best(image: Tensor, scores: Tensor, num_images: int) -> tuple[Tensor, Tensor]:
    """Order (N,) by score that keeps the best of each image, and their scores (N,).

    Equal scores keep their order. The graph's sort does so by itself, and the exporter supports no
    stable sort.
    """
    graph = torch.compiler.is_compiling()
    scores, order = scores.sort(-1, True) if graph else scores.sort(stable=True, descending=True)
    own = image[order][:, None] == torch.arange(num_images)  # (N, B)
    rank = (own.long().cumsum(0) * own).sum(1)  # (N,) from 1 inside an image
    kept = (rank <= MAX_PER_IMAGE).nonzero()[:, 0]
    return order[kept], scores[kept]


def _rows(outputs: Sequence[Tensor]) -> Tensor:
    """(N, 7): image, label, box, 100 x score, so that scores count as much as pixels."""
    boxes, scores, labels = outputs[:3]
    image = outputs[3] if len(outputs) > 3 else torch.zeros_like(labels)
    keys = torch.stack([image, labels], dim=1).float()
    return torch.cat([keys, boxes, 100 * scores[:, None]], dim=1)

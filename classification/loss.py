"""Cross-entropy with label smoothing, and distillation losses.

Shapes: B images, K classes.
"""

from collections.abc import Callable

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F


@MODELS.register_module()
class ClassificationLoss(nn.Module):
    """Mean cross-entropy of a batch; labels are smoothed in training, not in evaluation.

    A smoothed target is (1 - label_smoothing) times the given one plus label_smoothing / K.

    Args:
        label_smoothing: 0..1, published 0.1.

    Raises:
        ValueError: it is negative, or not below 1.
    """

    def __init__(self, *, label_smoothing: float = 0.1) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing {label_smoothing} must be at least 0 and below 1")
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`loss_ce` of logits (B, K) for labels (B,) int64 or class probabilities (B, K)."""
        smoothing = self.label_smoothing if self.training else 0.0
        return {"loss_ce": F.cross_entropy(logits, labels, label_smoothing=smoothing)}


def soft_label_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of softened probabilities (Hinton et al. 2015), mean over B.

    Both are logits (B, K); T^2 keeps the gradient's size independent of the temperature T.
    """
    student = F.log_softmax(logits / temperature, dim=1)
    soft = F.log_softmax(teacher / temperature, dim=1)
    return temperature**2 * F.kl_div(student, soft, reduction="batchmean", log_target=True)


def symmetric_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 / 2 (KL(teacher || student) + KL(student || teacher)), mean over B.

    SSLD calls it Jensen-Shannon divergence; PaddleClas computes it in dmlloss.py.
    """
    both = soft_label_loss(logits, teacher, temperature)
    return (both + soft_label_loss(teacher, logits, temperature)) / 2


def jensen_shannon_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 / 2 (KL(student || m) + KL(teacher || m)), m the mean of both distributions, over B.

    Lin 1991; unlike `symmetric_loss` it never exceeds T^2 log 2.
    """
    student = F.log_softmax(logits / temperature, dim=1)
    soft = F.log_softmax(teacher / temperature, dim=1)
    middle = torch.logaddexp(student, soft) - torch.log(torch.tensor(2.0))  # (B, K)
    divergences = [
        F.kl_div(middle, one, reduction="batchmean", log_target=True) for one in (student, soft)
    ]
    return temperature**2 * torch.stack(divergences).mean()


DIVERGENCES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "soft": soft_label_loss,
    "symmetric": symmetric_loss,
    "js": jensen_shannon_loss,
}


@MODELS.register_module()
class DistillationLoss(nn.Module):
    """Divergence of the student from its teacher plus cross-entropy with the labels.

    In evaluation, which has no teacher, it is plain cross-entropy.

    Args:
        divergence: "soft" (Hinton's soft labels), "symmetric" (SSLD as PaddleClas computes it) or
            "js" (the Jensen-Shannon divergence proper).
        temperature: Both logits are divided by it; SSLD has 1.
        weight: Factor on the divergence.
        label_weight: Factor on the cross-entropy; 0, as in SSLD, ignores the labels.
        label_smoothing: 0..1, in training.

    Raises:
        ValueError: an unknown divergence, or a number out of its range.
    """

    def __init__(
        self,
        *,
        divergence: str = "soft",
        temperature: float = 1.0,
        weight: float = 1.0,
        label_weight: float = 1.0,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__()
        if divergence not in DIVERGENCES:
            raise ValueError(f"divergence {divergence!r} is unknown; use one of {[*DIVERGENCES]}")
        if temperature <= 0 or weight < 0 or label_weight < 0:
            raise ValueError(
                f"temperature {temperature} must be above 0, weight {weight} and label_weight "
                f"{label_weight} at least 0"
            )
        self.cross_entropy = ClassificationLoss(label_smoothing=label_smoothing)
        self.divergence = DIVERGENCES[divergence]
        self.temperature = temperature
        self.weight = weight
        self.label_weight = label_weight

    def forward(
        self, logits: Tensor, labels: Tensor, teacher: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`loss_ce`, and in training `loss_distill`, of logits (B, K) and the teacher's (B, K).

        Raises:
            ValueError: no teacher in training.
        """
        losses = self.cross_entropy(logits, labels)
        if not self.training:
            return losses
        if teacher is None:
            raise ValueError("loss DistillationLoss needs model.teacher; set it, as dict(...)")
        divergence = self.divergence(logits, teacher, self.temperature)
        return {
            "loss_ce": self.label_weight * losses["loss_ce"],
            "loss_distill": self.weight * divergence,
        }

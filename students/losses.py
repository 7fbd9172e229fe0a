"""Distillation losses. B batch, K classes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from edgekd.errors import EdgeKDError


class ShapeError(EdgeKDError):
    """Two tensors that must agree in shape do not."""


def kd_loss(
    student_logits_BK: torch.Tensor,
    target_probs_BK: torch.Tensor,
    weight_B: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Mean soft-target loss over the batch (scalar, float32), rows weighted by `weight_B`.

    Targets are probabilities at temperature 1; they are softened as p**(1/T), normalized, and
    the loss is the KL divergence scaled by T**2, so gradients keep their size
    (arXiv:1503.02531, sec. 2).

    Raises:
        ShapeError: the class counts differ.
    """
    if student_logits_BK.shape != target_probs_BK.shape:
        raise ShapeError(
            f"student logits {tuple(student_logits_BK.shape)}, "
            f"targets {tuple(target_probs_BK.shape)}: expected the same shape"
        )
    softened = target_probs_BK.clamp_min(1e-8) ** (1 / temperature)
    softened = softened / softened.sum(dim=1, keepdim=True)
    log_student = F.log_softmax(student_logits_BK / temperature, dim=1)
    divergence_B = F.kl_div(log_student, softened, reduction="none").sum(dim=1)
    return temperature**2 * (divergence_B * weight_B).sum() / len(weight_B)


def label_loss(
    student_logits_BK: torch.Tensor, labels_B: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Mean cross-entropy over the labelled rows of the batch (scalar); label -1 means none."""
    labelled = labels_B >= 0
    if not bool(labelled.any()):
        return student_logits_BK.sum() * 0.0
    return F.cross_entropy(
        student_logits_BK[labelled], labels_B[labelled], label_smoothing=label_smoothing
    )

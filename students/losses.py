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
    _check_shapes(student_logits_BK, target_probs_BK)
    softened = target_probs_BK.clamp_min(1e-8) ** (1 / temperature)
    softened = softened / softened.sum(dim=1, keepdim=True)
    log_student = F.log_softmax(student_logits_BK / temperature, dim=1)
    divergence_B = F.kl_div(log_student, softened, reduction="none").sum(dim=1)
    return temperature**2 * (divergence_B * weight_B).sum() / len(weight_B)


def multilabel_kd_loss(
    student_logits_BK: torch.Tensor,
    target_probs_BK: torch.Tensor,
    weight_B: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """The same where each class has a probability of its own: the mean over B of the sum over K.

    Targets are softened as sigmoid(logit(p) / T); the loss is the KL divergence of the two Bernoulli
    distributions of each class, scaled by T**2.

    Raises:
        ShapeError: the class counts differ.
    """
    _check_shapes(student_logits_BK, target_probs_BK)
    softened = torch.sigmoid(torch.logit(target_probs_BK, eps=1e-6) / temperature)
    entropy = F.binary_cross_entropy(softened, softened, reduction="none")
    logits = student_logits_BK / temperature
    crossed = F.binary_cross_entropy_with_logits(logits, softened, reduction="none")
    divergence_B = (crossed - entropy).sum(dim=1)
    return temperature**2 * (divergence_B * weight_B).sum() / len(weight_B)


def label_loss(
    student_logits_BK: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Mean cross-entropy over the labelled rows of the batch (scalar); label -1 means none.

    Of labels [B, K] of 0 and 1: the binary cross-entropies, summed over K.
    """
    labelled = labelled_rows(labels)
    if not bool(labelled.any()):
        return student_logits_BK.sum() * 0.0
    logits, labels = student_logits_BK[labelled], labels[labelled]
    if labels.ndim == 1:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    smoothed = labels.float() * (1 - label_smoothing) + label_smoothing / 2
    crossed = F.binary_cross_entropy_with_logits(logits, smoothed, reduction="none")
    return crossed.sum(dim=1).mean()


def labelled_rows(labels: torch.Tensor) -> torch.Tensor:
    """Returns which rows of labels [B] or [B, K] carry one, bool [B]."""
    return (labels >= 0).reshape(len(labels), -1).all(dim=1)


def _check_shapes(logits: torch.Tensor, targets: torch.Tensor) -> None:
    if logits.shape != targets.shape:
        raise ShapeError(
            f"student logits {tuple(logits.shape)}, targets {tuple(targets.shape)}: expected the "
            "same shape"
        )

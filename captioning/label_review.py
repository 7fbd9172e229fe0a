"""Given labels that the teacher contradicts, listed for a person to look at.

Confident learning (arXiv:1911.00068): an image counts as another class than its label says where
the teacher is as sure of that class as it is, on average, of images with that label. Forty lines of
numpy count as cleanlab 2.9 does, which would bring pandas along.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.errors import DataError
from edgekd.store import atomic_path

COLUMNS = ("item", "given", "suggested", "given_probability", "suggested_probability", "keep")


@dataclass(frozen=True)
class Suspect:
    """A label to look at: what was given, what the teacher sees, and how probable it finds each."""

    item_id: str
    given: str
    suggested: str
    given_probability: float
    suggested_probability: float


@dataclass(frozen=True)
class Review:
    """The suspects, the worst first, and what share of all labels is estimated to be wrong.

    `joint_KK` is the estimated joint distribution of (given, true) class and sums to 1;
    `thresholds_K` are the mean probabilities of a class over its images, nan for one without any.
    """

    suspects: tuple[Suspect, ...]
    wrong_share: float
    joint_KK: np.ndarray
    thresholds_K: np.ndarray


def review(
    item_ids: Sequence[str], labels_N: np.ndarray, probs_NK: np.ndarray, classes: Sequence[str]
) -> Review:
    """Returns the labels that the teacher contradicts confidently.

    Probabilities must be of images that the teacher was not fitted on (as by cross-validation), or
    it repeats the labels it was given. Suspects are ordered by how much more probable the suggested
    class is.

    Raises:
        DataError: the shapes differ, or the probabilities of an image do not sum to 1.
    """
    _check(item_ids, labels_N, probs_NK, classes)
    thresholds_K = _thresholds(labels_N, probs_NK)
    confident_N = _confident_class(probs_NK, thresholds_K)
    counts_KK = _counts(labels_N, confident_N, len(classes))
    joint_KK = _joint(counts_KK, np.bincount(labels_N, minlength=len(classes)))
    rows = np.flatnonzero((confident_N >= 0) & (confident_N != labels_N))
    given_R = probs_NK[rows, labels_N[rows]]
    suggested_R = probs_NK[rows, confident_N[rows]]
    order = np.lexsort((rows, given_R - suggested_R))
    suspects = tuple(
        Suspect(
            item_ids[rows[at]],
            classes[labels_N[rows[at]]],
            classes[confident_N[rows[at]]],
            float(given_R[at]),
            float(suggested_R[at]),
        )
        for at in order
    )
    return Review(suspects, float(joint_KK.sum() - np.trace(joint_KK)), joint_KK, thresholds_K)


def review_multilabel(
    item_ids: Sequence[str], labels_NK: np.ndarray, probs_NK: np.ndarray, classes: Sequence[str]
) -> Review:
    """Returns the same of labels of 0 and 1: each class is shown or not, and reviewed by itself.

    The joint is that of showing or not, over all classes; thresholds are those of showing each.
    """
    found = [
        review(item_ids, labels_NK[:, k], np.stack([1 - p, p], axis=1), (f"no {name}", name))
        for k, (name, p) in enumerate(zip(classes, probs_NK.T.astype(np.float64), strict=True))
    ]
    suspects = [suspect for one in found for suspect in one.suspects]
    suspects.sort(key=lambda each: each.given_probability - each.suggested_probability)
    joint = np.mean([one.joint_KK for one in found], axis=0)
    wrong = float(np.mean([one.wrong_share for one in found]))
    return Review(tuple(suspects), wrong, joint, np.array([one.thresholds_K[1] for one in found]))


def write(suspects: Iterable[Suspect], path: Path) -> Path:
    """Writes a sheet for a person, `keep` left empty; opens in any spreadsheet."""
    text = io.StringIO(newline="")
    sheet = csv.writer(text, lineterminator="\r\n")
    sheet.writerow(COLUMNS)
    for one in suspects:
        probabilities = (f"{one.given_probability:.3f}", f"{one.suggested_probability:.3f}")
        names = map(_harmless, (one.item_id, one.given, one.suggested))
        sheet.writerow([*names, *probabilities, ""])
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8-sig", newline="")
    return path


def _check(
    item_ids: Sequence[str], labels_N: np.ndarray, probs_NK: np.ndarray, classes: Sequence[str]
) -> None:
    expected = (len(item_ids), len(classes))
    if probs_NK.shape != expected or labels_N.shape != expected[:1]:
        raise DataError(
            f"label review: found labels {labels_N.shape} and probabilities {probs_NK.shape}, "
            f"expected ({expected[0]},) and {expected}: a row an item, a column a class"
        )
    if len(labels_N) and not (labels_N.min() >= 0 and labels_N.max() < len(classes)):
        raise DataError(f"label review: expected labels from 0 to {len(classes) - 1}")
    if not np.allclose(probs_NK.sum(axis=1), 1, atol=1e-3):
        raise DataError("label review: expected probabilities that sum to 1 for every image")


def _thresholds(labels_N: np.ndarray, probs_NK: np.ndarray) -> np.ndarray:
    """Returns how sure the teacher is of a class, on average, where it is the label."""
    num_classes = probs_NK.shape[1]
    own_N = probs_NK[np.arange(len(labels_N)), labels_N]
    sums_K = np.bincount(labels_N, weights=own_N, minlength=num_classes)
    counts_K = np.bincount(labels_N, minlength=num_classes)
    return np.where(counts_K > 0, sums_K / np.maximum(counts_K, 1), np.nan)


def _confident_class(probs_NK: np.ndarray, thresholds_K: np.ndarray) -> np.ndarray:
    """Returns the most probable of the classes whose threshold is reached, -1 for none."""
    reached_NK = probs_NK >= thresholds_K - 1e-9  # nan is never reached
    best_N = np.where(reached_NK, probs_NK, -1).argmax(axis=1)
    return np.where(reached_NK.any(axis=1), best_N, -1)


def _counts(labels_N: np.ndarray, confident_N: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns how many images of a label count confidently as each class, int [K, K]."""
    counted = confident_N >= 0
    counts_KK = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts_KK, (labels_N[counted], confident_N[counted]), 1)
    return counts_KK


def _joint(counts_KK: np.ndarray, given_K: np.ndarray) -> np.ndarray:
    """Returns the counts as a distribution whose rows have the shares of the given labels."""
    rows_K = counts_KK.sum(axis=1)
    # Where nothing of a class is confident, its labels are taken as they are.
    filled_KK = np.where(rows_K[:, None] > 0, counts_KK, np.eye(len(counts_KK)))
    scaled_KK = filled_KK / filled_KK.sum(axis=1, keepdims=True) * given_K[:, None]
    return scaled_KK / max(scaled_KK.sum(), 1)


def _harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text

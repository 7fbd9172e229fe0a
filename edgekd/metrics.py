"""Accuracy, its interval, calibration, rejection and agreement; numpy only.

N items, M outliers, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Z95 = 1.959963984540054


def softmax(logits_NK: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns probabilities [N, K] float64; rows sum to 1."""
    scaled = np.asarray(logits_NK, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    exps = np.exp(scaled)
    return exps / exps.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities float64 of the same shape, each by itself."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64))))


def logit(probs: np.ndarray) -> np.ndarray:
    """Returns the log odds of probabilities, float64 of the same shape; these are kept 1e-6 from 0 and 1."""
    inside = np.asarray(probs, dtype=np.float64).clip(1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def right(scores_NK: np.ndarray, labels: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Returns bool [N]: whether the largest score is the label's [N].

    Of labels [N, K] of 0 and 1, as multi-label tasks have them: whether exactly those classes are
    above the threshold that the image shows; 0 is that of logits, 0.5 that of probabilities.
    """
    if labels.ndim == 1:
        return np.asarray(scores_NK.argmax(axis=1) == labels)
    return ((scores_NK > threshold) == (labels > 0)).all(axis=1)


def accuracy(probs_NK: np.ndarray, labels: np.ndarray) -> float:
    """Returns the share of rows that are `right`; nan for no rows."""
    if len(labels) == 0:
        return float("nan")
    return float(right(probs_NK, labels, 0.5).mean())


def wilson_interval(num_right: float, num_all: int) -> tuple[float, float]:
    """Returns the 95% interval of a share (Wilson, JASA 22, 1927); (nan, nan) for no items."""
    if num_all == 0:
        return float("nan"), float("nan")
    share = num_right / num_all
    centre = (share + Z95**2 / (2 * num_all)) / (1 + Z95**2 / num_all)
    half = (
        Z95
        * np.sqrt(share * (1 - share) / num_all + Z95**2 / (4 * num_all**2))
        / (1 + Z95**2 / num_all)
    )
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors [..., D] of length 1, of the dtype they came in; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12))


def share(true_N: np.ndarray) -> dict[str, Any] | None:
    """Returns {value, low, high, n} of the True ones with a Wilson interval; None for no items."""
    if len(true_N) == 0:
        return None
    low, high = wilson_interval(int(true_N.sum()), len(true_N))
    return {"value": float(true_N.mean()), "low": low, "high": high, "n": len(true_N)}


def paired_difference_interval(
    candidate_right_N: np.ndarray, reference_right_N: np.ndarray, seed: int = 0, draws: int = 2000
) -> tuple[float, float, float]:
    """Returns (difference, low, high) of two accuracies on the same items, percentile bootstrap."""
    differences = candidate_right_N.astype(np.float64) - reference_right_N.astype(np.float64)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(differences), size=(draws, len(differences)))
    means = differences[picks].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(differences.mean()), float(low), float(high)


def expected_calibration_error(
    probs_NK: np.ndarray, labels: np.ndarray, num_bins: int = 15
) -> float:
    """Returns the mean gap between confidence and accuracy, equal-width bins (arXiv:1706.04599).

    Of labels [N, K]: between the probability of each class and how often images show it.
    """
    if len(labels) == 0:
        return float("nan")
    if labels.ndim == 2:
        confidence_N, right_N = probs_NK.ravel(), labels.ravel() > 0
    else:
        confidence_N, right_N = probs_NK.max(axis=1), right(probs_NK, labels)
    bin_N = np.minimum((confidence_N * num_bins).astype(int), num_bins - 1)
    gap = 0.0
    for index in range(num_bins):
        members = bin_N == index
        if members.any():
            gap += members.mean() * abs(right_N[members].mean() - confidence_N[members].mean())
    return float(gap)


def coverage_curve(
    scores_N: np.ndarray, right_N: np.ndarray, max_points: int = 101
) -> list[dict[str, float]]:
    """Returns {threshold, coverage, accuracy} at thresholds that some item reaches, from few answers to all.

    Items whose score is at least the threshold are answered; `accuracy` is theirs. Equal scores
    are answered together. At most `max_points`, evenly spread over the coverage.
    """
    if len(scores_N) == 0:
        return []
    order = np.argsort(-scores_N, kind="stable")
    ranked, right = scores_N[order], np.cumsum(right_N[order])
    last = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))  # of each group of equals
    wanted = np.linspace(0, len(ranked), max_points)
    picked = last[np.unique(np.minimum(np.searchsorted(last + 1, wanted), len(last) - 1))]
    return [
        {
            "threshold": float(ranked[index]),
            "coverage": float((index + 1) / len(ranked)),
            "accuracy": float(right[index] / (index + 1)),
        }
        for index in picked
    ]


def auroc(inlier_scores_N: np.ndarray, outlier_scores_M: np.ndarray) -> float:
    """Returns the chance that an inlier scores above an outlier, ties half; nan without both."""
    if len(inlier_scores_N) == 0 or len(outlier_scores_M) == 0:
        return float("nan")
    ranked = np.sort(outlier_scores_M)
    below = np.searchsorted(ranked, inlier_scores_N, side="left")
    not_above = np.searchsorted(ranked, inlier_scores_N, side="right")
    return float((below + not_above).mean() / (2 * len(ranked)))


def false_positive_rate(
    inlier_scores_N: np.ndarray, outlier_scores_M: np.ndarray, true_positive_rate: float = 0.95
) -> float:
    """Returns the share of outliers answered where at least this share of inliers is (FPR at TPR).

    nan without both.
    """
    if len(inlier_scores_N) == 0 or len(outlier_scores_M) == 0:
        return float("nan")
    threshold = reached_by(inlier_scores_N, true_positive_rate)
    return float((outlier_scores_M >= threshold).mean())


def reached_by(scores_N: np.ndarray, share: float) -> float:
    """Returns the largest score that at least this share of the items reaches."""
    # 0.95 * 20 is a little above 19 in binary.
    num_kept = max(1, int(np.ceil(share * len(scores_N) - 1e-9)))
    return float(np.sort(scores_N)[len(scores_N) - num_kept])


def negative_log_likelihood(probs_NK: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean of -log p(label) in nats; p is floored at 1e-9.

    Of labels [N, K]: the mean over images and classes, each class being shown or not.
    """
    if labels.ndim == 2:
        picked = np.where(labels > 0, probs_NK, 1 - probs_NK)
    else:
        picked = probs_NK[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(picked, 1e-9)).mean())


def agreement(
    reference_NK: np.ndarray, candidate_NK: np.ndarray, multilabel: bool = False
) -> float:
    """Returns the share of rows on which both logits have the same largest entry.

    Where `multilabel`: the same entries above 0.
    """
    if multilabel:
        return float(((reference_NK > 0) == (candidate_NK > 0)).all(axis=1).mean())
    return float((reference_NK.argmax(axis=1) == candidate_NK.argmax(axis=1)).mean())


def average_precision(scores_N: np.ndarray, shown_N: np.ndarray) -> float:
    """Returns the mean precision at each image that shows the class, best score first.

    Equal scores count together. nan where no image shows it.
    """
    if not shown_N.any():
        return float("nan")
    order = np.argsort(-scores_N, kind="stable")
    ranked, hits = scores_N[order], np.cumsum(shown_N[order])
    last = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))  # of each group of equals
    precision = hits[last] / (last + 1)
    return float((np.diff(hits[last], prepend=0) * precision).sum() / hits[-1])


def multilabel_quality(probs_NK: np.ndarray, labels_NK: np.ndarray) -> dict[str, Any]:
    """Returns mean average precision, micro and macro F1 at 0.5, and the same of each class.

    A class that no image shows has no recall and no average precision (None), and counts in no mean.
    """
    shown_NK, said_NK = labels_NK > 0, probs_NK > 0.5
    both_K, said_K, shown_K = ((a).sum(axis=0) for a in (shown_NK & said_NK, said_NK, shown_NK))
    classes = []
    for index, (both, said, shown) in enumerate(zip(both_K, said_K, shown_K, strict=True)):
        precise = average_precision(probs_NK[:, index], shown_NK[:, index])
        classes.append(
            {
                "shown": int(shown),
                "said": int(said),
                "precision": float(both / said) if said else None,
                "recall": float(both / shown) if shown else None,
                "f1": float(2 * both / (said + shown)) if shown else None,
                "average_precision": precise if shown else None,
            }
        )
    total = said_K.sum() + shown_K.sum()
    return {
        "mean_average_precision": _mean_known(classes, "average_precision"),
        "micro_f1": float(2 * both_K.sum() / total) if total else None,
        "macro_f1": _mean_known(classes, "f1"),
        "classes": classes,
    }


def _mean_known(rows: list[dict[str, Any]], key: str) -> float | None:
    known = [row[key] for row in rows if row[key] is not None]
    return float(np.mean(known)) if known else None


def confusion_matrix(predicted_N: np.ndarray, labels_N: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns counts [K, K] int64; row: the label, column: the prediction."""
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (labels_N, predicted_N), 1)
    return counts


def latency_summary(latencies_ms: np.ndarray) -> dict[str, float]:
    """Returns median, avg, p5, p95, min, max, stddev in ms; p99 only from 100 runs on."""
    latencies_ms = np.asarray(latencies_ms, dtype=np.float64)
    summary = {
        "median": np.median(latencies_ms),
        "avg": latencies_ms.mean(),
        "p5": np.percentile(latencies_ms, 5),
        "p95": np.percentile(latencies_ms, 95),
        "min": latencies_ms.min(),
        "max": latencies_ms.max(),
        "stddev": latencies_ms.std(),
    }
    if len(latencies_ms) >= 100:
        summary["p99"] = np.percentile(latencies_ms, 99)
    return {name: float(value) for name, value in summary.items()}

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


def accuracy(probs_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Returns the share of rows whose largest entry is the label; nan for no rows."""
    if len(labels_N) == 0:
        return float("nan")
    return float((probs_NK.argmax(axis=1) == labels_N).mean())


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
    probs_NK: np.ndarray, labels_N: np.ndarray, num_bins: int = 15
) -> float:
    """Returns the mean gap between confidence and accuracy, equal-width bins (arXiv:1706.04599)."""
    if len(labels_N) == 0:
        return float("nan")
    confidence_N = probs_NK.max(axis=1)
    right_N = probs_NK.argmax(axis=1) == labels_N
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


def negative_log_likelihood(probs_NK: np.ndarray, labels_N: np.ndarray) -> float:
    """Returns the mean of -log p(label) in nats; p is floored at 1e-9."""
    picked = probs_NK[np.arange(len(labels_N)), labels_N]
    return float(-np.log(np.maximum(picked, 1e-9)).mean())


def agreement(reference_NK: np.ndarray, candidate_NK: np.ndarray) -> float:
    """Returns the share of rows on which both have the same largest entry."""
    return float((reference_NK.argmax(axis=1) == candidate_NK.argmax(axis=1)).mean())


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

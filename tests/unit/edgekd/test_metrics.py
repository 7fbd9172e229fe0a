"""Metrics against published and hand-worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd import metrics


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score, no continuity
        # correction): four decimals.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # By hand: all of n right is n / (n + z**2).
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_wilson_interval_is_the_published_one(
    right: int, total: int, low: float, high: float
) -> None:
    assert metrics.wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


def test_no_items_give_nan_and_not_zero() -> None:
    none = np.zeros((0, 3)), np.zeros(0, dtype=int)
    assert all(map(math.isnan, metrics.wilson_interval(0, 0)))
    assert math.isnan(metrics.accuracy(*none))
    assert math.isnan(metrics.expected_calibration_error(*none))


def test_softmax_by_hand() -> None:
    probs = metrics.softmax(np.log([[1.0, 3.0], [2.0, 2.0]]))
    assert probs == pytest.approx(np.array([[0.25, 0.75], [0.5, 0.5]]))
    # At temperature 1/2 the odds are squared: 1 to 9.
    assert metrics.softmax(np.log([[1.0, 3.0]]), 0.5) == pytest.approx(np.array([[0.1, 0.9]]))
    assert metrics.softmax(np.array([[1e4, 0.0]])).tolist() == [[1.0, 0.0]]


def test_accuracy_and_confusion_by_hand() -> None:
    probs = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    labels = np.array([0, 1, 1, 1])
    assert metrics.accuracy(probs, labels) == 0.75
    counts = metrics.confusion_matrix(probs.argmax(axis=1), labels, 3)
    assert counts.tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]


def test_expected_calibration_error_by_hand() -> None:
    # Two bins of width 1/2. Below: one row at 0.45, wrong: gap 0.45. Above: rows at 0.6 (right),
    # 0.8 (wrong), 1.0 (right): mean confidence 0.8, accuracy 2/3, gap 2/15.
    probs = np.array([[0.45, 0.3, 0.25], [0.6, 0.4, 0], [0.8, 0.2, 0], [1.0, 0, 0]])
    labels = np.array([1, 0, 1, 0])
    expected = 1 / 4 * 0.45 + 3 / 4 * (2 / 15)
    assert metrics.expected_calibration_error(probs, labels, 2) == pytest.approx(expected)


def test_a_sure_and_right_model_is_calibrated() -> None:
    assert metrics.expected_calibration_error(np.eye(3), np.arange(3)) == 0


def test_negative_log_likelihood_by_hand() -> None:
    probs = np.array([[0.5, 0.5], [0.25, 0.75]])
    expected = (math.log(2) + math.log(4)) / 2
    assert metrics.negative_log_likelihood(probs, np.array([0, 0])) == pytest.approx(expected)
    floored = metrics.negative_log_likelihood(np.array([[0.0, 1.0]]), np.array([0]))
    assert floored == pytest.approx(9 * math.log(10))


def test_agreement_by_hand() -> None:
    first = np.array([[1.0, 0], [0, 1], [3, 2], [0, 5]])
    second = np.array([[0.1, 0], [1, 0], [1, 0], [0, 9]])
    assert metrics.agreement(first, second) == 0.75


def test_paired_difference_counts_what_changed() -> None:
    candidate = np.array([True] * 80 + [False] * 20)
    reference = np.array([True] * 60 + [False] * 40)
    value, low, high = metrics.paired_difference_interval(candidate, reference)
    assert value == pytest.approx(0.2)
    # The differences are 20 ones in 100: standard error .04, so about .12 to .28.
    assert (low, high) == pytest.approx((0.12, 0.28), abs=0.015)
    assert metrics.paired_difference_interval(candidate, candidate) == (0, 0, 0)
    again = metrics.paired_difference_interval(candidate, reference)
    assert again == (value, low, high)


def test_latency_summary_by_hand() -> None:
    summary = metrics.latency_summary(np.array([1.0, 2.0, 3.0, 4.0, 10.0]))
    assert summary == {
        "median": 3.0,
        "avg": 4.0,
        "p5": pytest.approx(1.2),
        "p95": pytest.approx(8.8),
        "min": 1.0,
        "max": 10.0,
        "stddev": pytest.approx(math.sqrt(10)),
    }


@pytest.mark.parametrize(("runs", "given"), [(99, False), (100, True)])
def test_p99_only_from_a_hundred_runs(runs: int, given: bool) -> None:
    assert ("p99" in metrics.latency_summary(np.arange(runs))) is given


def test_coverage_curve_answers_equal_scores_together() -> None:
    curve = metrics.coverage_curve(
        np.array([0.8, 0.3, 0.9, 0.8]), np.array([True, False, True, False])
    )
    assert curve == [
        {"threshold": 0.9, "coverage": 0.25, "accuracy": 1.0},
        {"threshold": 0.8, "coverage": 0.75, "accuracy": pytest.approx(2 / 3)},
        {"threshold": 0.3, "coverage": 1.0, "accuracy": 0.5},
    ]
    assert metrics.coverage_curve(np.array([]), np.array([], bool)) == []


def test_coverage_curve_keeps_to_its_points_and_ends_with_all() -> None:
    scores = np.arange(1000) / 1000
    curve = metrics.coverage_curve(scores, scores >= 0.5)
    assert len(curve) == 101
    coverages = [point["coverage"] for point in curve]
    assert coverages == sorted(coverages)
    assert coverages[1] == 0.01  # the ten surest of a thousand
    assert curve[-1] == {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.5}


@pytest.mark.parametrize(
    ("inliers", "outliers", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], 1.0),
        ([0.0], [1.0, 2.0], 0.0),
        ([1.0, 1.0], [1.0], 0.5),
        # 3 beats both, 2 beats one and ties one, 1 beats one: 4.5 of 6 pairs.
        ([3.0, 2.0, 1.0], [2.0, 0.0], 0.75),
    ],
)
def test_auroc_by_hand(inliers: list[float], outliers: list[float], expected: float) -> None:
    assert metrics.auroc(np.array(inliers), np.array(outliers)) == pytest.approx(expected)


def test_false_positive_rate_by_hand() -> None:
    """19 of 20 inliers are 1 or more; so are two of the four outliers."""
    inliers = np.arange(20.0)[::-1]
    outliers = np.array([0.0, 1.0, 1.5, -1.0])
    assert metrics.reached_by(inliers, 0.95) == 1.0
    assert metrics.false_positive_rate(inliers, outliers) == 0.5
    assert metrics.false_positive_rate(inliers, outliers, true_positive_rate=1.0) == 0.75


def test_without_inliers_or_outliers_nothing_is_measured() -> None:
    some, none = np.array([1.0]), np.array([])
    for function in (metrics.auroc, metrics.false_positive_rate):
        assert math.isnan(function(some, none))
        assert math.isnan(function(none, some))


def test_a_share_carries_its_interval_and_count() -> None:
    # 3 of 4: Wilson's interval by hand, (0.75 + z2/8 +- z * sqrt(0.75 * 0.25 / 4 + z2/64)) / (1 + z2/4).
    found = metrics.share(np.array([True, True, False, True]))
    assert found is not None
    assert (found["value"], found["n"]) == (0.75, 4)
    assert (found["low"], found["high"]) == pytest.approx((0.3006, 0.9544), abs=1e-4)
    assert metrics.share(np.array([], dtype=bool)) is None


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_several_labels_an_image_are_scored_as_scikit_learn_does(seed: int) -> None:
    from sklearn import metrics as reference

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size=(12, 4))
    labels[:, 0] = 0  # a class that no image shows
    labels[0, 1:] = 1
    probs = rng.integers(0, 8, size=(12, 4)) / 7  # with ties
    found = metrics.multilabel_quality(probs, labels)
    said, shown = probs[:, 1:] > 0.5, labels[:, 1:]
    assert found["mean_average_precision"] == pytest.approx(
        reference.average_precision_score(shown, probs[:, 1:], average="macro")
    )
    assert found["macro_f1"] == pytest.approx(
        reference.f1_score(shown, said, average="macro", zero_division=0)
    )
    assert found["micro_f1"] == pytest.approx(
        reference.f1_score(labels, probs > 0.5, average="micro", zero_division=0)
    )
    assert metrics.accuracy(probs, labels) == pytest.approx(
        reference.accuracy_score(labels, probs > 0.5)
    )
    assert metrics.negative_log_likelihood(probs.clip(0.01, 0.99), labels) == pytest.approx(
        reference.log_loss(labels.ravel(), probs.clip(0.01, 0.99).ravel(), labels=[0, 1])
    )
    first = found["classes"][0]
    assert (first["recall"], first["f1"], first["average_precision"]) == (None, None, None)


def test_several_labels_are_right_only_all_together() -> None:
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    logits = np.array([[2.0, -1, 0.1], [-3, -2, -1], [1, 2, -1]])
    assert metrics.right(logits, labels).tolist() == [True, True, False]
    assert metrics.agreement(logits, -logits, multilabel=True) == 0
    assert metrics.sigmoid(np.array([-1000.0, 0, 1000])).tolist() == [0, 0.5, 1]
    # One in four is said for sure and is there in half of the cases, and so on: by hand.
    probs, shown = np.array([[0.9, 0.9], [0.1, 0.1]]), np.array([[1, 0], [0, 0]])
    assert metrics.expected_calibration_error(probs, shown) == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)

"""How sure a model is, and what preprocess.json says of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgekd import confidence, metrics
from edgekd.confidence import Confidence, from_json, scores
from edgekd.errors import EdgeKDError

# softmax gives 0.8, 0.2 at temperature 1; at 2 the odds of 4 become their root: 2/3, 1/3.
LOGITS = np.array([[math.log(4), 0.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("by", "temperature", "expected"),
    [
        ("probability", 1.0, [0.8, 0.5]),
        ("probability", 2.0, [2 / 3, 0.5]),
        ("max_logit", 2.0, [math.log(4), 0.0]),
        ("energy", 2.0, [math.log(5), math.log(2)]),
    ],
)
def test_scores_by_hand(by: Any, temperature: float, expected: list[float]) -> None:
    assert scores(LOGITS, by, temperature) == pytest.approx(expected)


def test_energy_of_large_logits_does_not_overflow() -> None:
    assert scores(np.array([[1000.0, 1000.0]]), "energy") == pytest.approx(1000 + math.log(2))


def test_a_score_at_the_threshold_is_answered_and_nan_is_not() -> None:
    found = Confidence(reject_below=0.5).rejects(np.array([0.5, 0.49999, 0.9, np.nan]))
    assert found.tolist() == [False, True, False, True]
    assert Confidence().rejects(np.array([0.0, np.nan])).tolist() == [False, False]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"outputs": [{"activation": "logits"}]}, Confidence()),
        ({}, Confidence()),
        (
            {"outputs": [{"temperature": 1.5}], "reject_by": "energy", "reject_below": -3},
            Confidence(1.5, "energy", -3.0),
        ),
        ({"outputs": [{}], "reject_below": 0.4}, Confidence(1.0, "probability", 0.4)),
        ({"reject_by": None, "reject_below": None}, Confidence()),
    ],
)
def test_what_preprocess_json_says(settings: dict[str, Any], expected: Confidence) -> None:
    assert from_json(settings) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"outputs": [{"temperature": 0}]}, "outputs[0].temperature is 0, expected more than 0"),
        ({"outputs": [{"temperature": "warm"}]}, "outputs[0].temperature is 'warm', expected a n"),
        ({"outputs": [{"temperature": math.inf}]}, "outputs[0].temperature is inf, expected a nu"),
        ({"reject_below": True}, "reject_below is True, expected a number"),
        ({"reject_below": 1.2}, "reject_below is 1.2, expected a probability"),
        ({"reject_by": "enegy"}, "max_logit, energy. Closest: 'energy'."),
    ],
)
def test_what_it_may_not_say(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EdgeKDError) as caught:
        from_json(settings)
    assert str(caught.value).startswith("preprocess.json: ")
    assert message in str(caught.value)


def test_platt_scaling_finds_slope_and_offset_again() -> None:
    """Against scikit-learn without a penalty, on labels drawn from sigmoid(2 z - 1)."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    labels = (rng.random(logits.shape) < metrics.sigmoid(2 * logits - 1)).astype(np.int8)
    slope, offset = confidence.fit_platt(logits, labels)
    reference = LogisticRegression(C=1e6).fit(logits.reshape(-1, 1), labels.ravel())
    assert slope == pytest.approx(reference.coef_[0, 0], rel=1e-2)
    assert offset == pytest.approx(reference.intercept_[0], rel=1e-2)


def test_platt_scaling_of_what_it_cannot_fit_changes_nothing() -> None:
    logits = np.array([[3.0, -3.0], [2.0, -4.0]])
    assert confidence.fit_platt(logits, np.zeros((2, 2))) == (1.0, 0.0)
    assert confidence.fit_platt(logits, np.array([[0, 1], [0, 1]])) == (1.0, 0.0)  # upside down
    slope, offset = confidence.fit_platt(logits, np.array([[1, 0], [1, 0]]))  # apart: stays finite
    assert 0 < slope < 10
    assert abs(offset) < 10

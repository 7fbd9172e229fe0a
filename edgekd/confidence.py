"""How sure a model is of its answer, and whether that is enough to give it.

N images, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from edgekd.errors import EdgeKDError, closest
from edgekd.metrics import sigmoid, softmax

ScoreName = Literal["probability", "max_logit", "energy"]
SCORE_NAMES: tuple[ScoreName, ...] = get_args(ScoreName)
_TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class Confidence:
    """What preprocess.json says of it. An answer whose score is below `reject_below` is rejected.

    `temperature` divides the logits before the softmax; 1 changes nothing. `reject_by` names the
    score; a `reject_below` of None rejects nothing.
    """

    temperature: float = 1.0
    reject_by: ScoreName = "probability"
    reject_below: float | None = None

    def rejects(self, scores_N: np.ndarray) -> np.ndarray:
        """Returns bool [N]; a score equal to the threshold is answered, nan is not."""
        if self.reject_below is None:
            return np.zeros(len(scores_N), dtype=bool)
        return ~(scores_N >= self.reject_below)


def scores(logits_NK: np.ndarray, by: ScoreName, temperature: float = 1.0) -> np.ndarray:
    """Returns how sure the model is of each image, float64 [N]; more is surer.

    `probability` is the largest of softmax(logits / temperature) (arXiv:1610.02136), `max_logit`
    the largest logit (arXiv:1911.11132), `energy` the log of their summed exponentials
    (arXiv:2010.03759); the last two do without the temperature.
    """
    logits_NK = np.asarray(logits_NK, dtype=np.float64)
    if by == "probability":
        return softmax(logits_NK, temperature).max(axis=1)
    largest = logits_NK.max(axis=1)
    if by == "max_logit":
        return largest
    return largest + np.log(np.exp(logits_NK - largest[:, None]).sum(axis=1))


def fit_temperature(logits_NK: np.ndarray, targets_NK: np.ndarray) -> float:
    """Returns the temperature with the least cross-entropy to the targets (arXiv:1706.04599).

    Between 0.05 and 20. The cross-entropy is convex in 1 / temperature, so its slope has one root.
    """
    logits_NK = np.asarray(logits_NK, dtype=np.float64)
    meant_N = (logits_NK * targets_NK).sum(axis=1)

    def slope(inverse: float) -> float:
        said_N = (softmax(logits_NK * inverse) * logits_NK).sum(axis=1)
        return float((said_N - meant_N).mean())

    low, high = 1 / _TEMPERATURES[1], 1 / _TEMPERATURES[0]
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / float(np.sqrt(low * high))


def fit_platt(logits_NK: np.ndarray, labels_NK: np.ndarray) -> tuple[float, float]:
    """Returns (slope, offset) of which sigmoid(slope * logit + offset) fits labels of 0 and 1 best.

    Platt scaling (Advances in Large Margin Classifiers, 1999) with his smoothed targets, one pair for
    all classes, by damped Newton steps on a convex loss. Without both kinds of label, or where scores
    that rise would say less, it is (1, 0).
    """
    z, shown = np.asarray(logits_NK, dtype=np.float64).ravel(), labels_NK.ravel() > 0
    num_shown, num_not = int(shown.sum()), int((~shown).sum())
    if not num_shown or not num_not:
        return 1.0, 0.0
    wanted = np.where(shown, (num_shown + 1) / (num_shown + 2), 1 / (num_not + 2))
    inputs = np.stack([z, np.ones_like(z)])

    def loss(values: np.ndarray) -> float:
        total = values @ inputs
        return float((np.logaddexp(0, total) - wanted * total).mean())

    values = np.array([1.0, 0.0])
    for _ in range(100):
        said = sigmoid(values @ inputs)
        gradient = inputs @ (said - wanted) / len(z)
        hessian = (inputs * (said * (1 - said))) @ inputs.T / len(z) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        while loss(values - step) > loss(values) and np.abs(step).max() > 1e-9:
            step = step / 2
        values = values - step
        if np.abs(step).max() < 1e-7:
            break
    return (float(values[0]), float(values[1])) if values[0] > 0 else (1.0, 0.0)


def from_json(settings: dict[str, Any]) -> Confidence:
    """Returns what a preprocess.json says; one without these keys rejects nothing.

    Raises:
        EdgeKDError: a key holds something else than a number, or names an unknown score.
    """
    outputs = settings.get("outputs") or [{}]
    temperature = _number("outputs[0].temperature", outputs[0].get("temperature", 1.0))
    if temperature <= 0:
        raise EdgeKDError(
            f"preprocess.json: outputs[0].temperature is {temperature:g}, expected more than 0"
        )
    by = settings.get("reject_by") or "probability"
    if by not in SCORE_NAMES:
        raise EdgeKDError(
            f"preprocess.json: reject_by is '{by}', expected one of {', '.join(SCORE_NAMES)}."
            f"{closest(str(by), SCORE_NAMES)}"
        )
    below = settings.get("reject_below")
    return Confidence(
        temperature, by, None if below is None else _threshold(_number("reject_below", below), by)
    )


def from_metrics(metrics: dict[str, Any]) -> Confidence:
    """Returns what was fitted for an exported file; what rejects nothing where nothing was."""
    found = metrics.get("confidence")
    if found is None:
        return Confidence()
    return Confidence(found["temperature"], found["reject_by"], found["reject_below"])


def _threshold(below: float, by: ScoreName) -> float:
    if by == "probability" and not 0 <= below <= 1:
        raise EdgeKDError(f"preprocess.json: reject_below is {below:g}, expected a probability")
    return below


def _number(key: str, value: Any) -> float:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not math.isfinite(value):
        raise EdgeKDError(f"preprocess.json: {key} is {value!r}, expected a number")
    return float(value)

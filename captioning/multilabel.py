"""Captions and scores to targets where an image shows any number of the classes.

The counterpart of `captioning.soft_targets` for multi-label tasks, function for function: each class
has a probability of its own, and what is fitted, is fitted by the likelihood of showing or not
showing each class (binary relevance). A caption speaks for every class that it names.

N items, K classes, T teachers, M tune items. Labels are rows of 0 and 1 [K].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from captioning.attributes import WORDS
from captioning.soft_targets import (
    MIN_LABELS_TO_FIT,
    CaptionTargets,
    Source,
    Statement,
    abstaining_as_zero,
    as_shares,
    best_heard,
    of_heard,
    overlaps,
    read_trust,
)
from edgekd.mapped import Zeros, blocks, by_rows
from edgekd.metrics import logit, negative_log_likelihood, sigmoid, softmax

# What is added to how often a class was named and was not: one caption of three leaves room.
_SMOOTHING = 0.25


@dataclass(frozen=True)
class CaptionModel:
    """How captions are trusted: reliability by source, and what naming a class is worth.

    P(class) = sigmoid(slope * log odds of being named + offset) (Platt, 1999).
    """

    reliability: dict[Source, float]
    slope: float = 1.0
    offset: float = 0.0
    heard: frozenset[Source] | None = None
    attribute_weight: float = 0.0  # attributes describe the image, not one of its classes


def fit(
    statements: Iterable[Statement],
    given: Mapping[int, np.ndarray],
    tune: Mapping[int, np.ndarray],
    num_classes: int,
    choose: bool = False,
    hear: Callable[[Source], bool] | None = None,
) -> CaptionModel:
    """Returns the caption model, as `captioning.soft_targets.fit` does; `given` labels are not used.

    A source is as reliable as the classes are right that it names on tune.
    """
    by_labels = len(tune) >= MIN_LABELS_TO_FIT
    judged = partial(_hits, labels=tune) if by_labels else overlaps
    reliability, of_tune = read_trust(statements, judged, tune)
    heard = None if hear is None else frozenset(filter(hear, reliability))
    model = CaptionModel(reliability, heard=heard)
    if not by_labels:
        return model
    if choose:
        heard = best_heard(
            frozenset(model.reliability),
            lambda heard: _fitted(replace(model, heard=heard), of_tune, tune, num_classes)[1],
        )
        model = replace(model, heard=heard)
    return _fitted(model, of_tune, tune, num_classes)[0]


def caption_targets(
    statements: Iterable[Statement],
    model: CaptionModel,
    num_items: int,
    num_classes: int,
    zeros: Zeros = np.zeros,
) -> CaptionTargets:
    """Returns what each item's captions come to, class by class, and the words they say of it."""
    named = zeros((num_items, num_classes), np.float32)
    total = zeros(num_items, np.float32)
    counts = zeros(num_items, np.int32)
    words = zeros((num_items, len(WORDS)), np.float32)
    for statement in of_heard(statements, model.heard):
        trust = model.reliability.get(statement.source, 0.5)
        named[statement.row] += trust * _said(statement, num_classes)
        total[statement.row] += trust
        counts[statement.row] += 1
        words[statement.row, list(statement.mentions.words)] += 1
    for some in blocks(num_items):
        odds = _log_odds(named[some], total[some, None])
        named[some] = sigmoid(model.slope * odds + model.offset)
        named[some][counts[some] == 0] = 1 / num_classes
        as_shares(words[some])
    return CaptionTargets(named, counts, words)


def pooled_scores(
    logits: Sequence[np.ndarray],
    tune: Mapping[int, np.ndarray],
    calibrate: bool = False,
    zeros: Zeros = np.zeros,
) -> tuple[np.ndarray, list[float]]:
    """Returns (probs [N, K], a weight for each teacher) of the class scores of several teachers.

    Scores are log odds [N, K] (`log_odds`). The pool is sigmoid of their weighted sum and an offset,
    both of the highest likelihood on tune, for a single teacher too: scores that compare classes do
    not say how many an image shows. With fewer than 20 labels weights are equal, and there is no
    offset. A teacher that abstains (a row that is not finite) leaves its weight to the others; where
    all do, each class has 1 / K.
    """
    weights, offset = np.full(len(logits), 1 / len(logits)), 0.0
    if len(tune) >= MIN_LABELS_TO_FIT:
        rows, labels = np.array(list(tune)), np.stack(list(tune.values()))
        of_tune = np.stack([abstaining_as_zero(z[rows])[0] for z in logits]).astype(np.float64)
        weights, offset = _logistic(of_tune, labels)

    def pooled(*logits_nK: np.ndarray) -> np.ndarray:
        filled, spoke = zip(*map(abstaining_as_zero, logits_nK), strict=True)
        share_n = ((weights @ np.stack(spoke)) / max(weights.sum(), 1e-9)).clip(min=1e-9)
        total_nK = np.tensordot(weights, np.stack(filled), axes=1) / share_n[:, None] + offset
        probs = sigmoid(total_nK)
        probs[~np.any(spoke, axis=0)] = 1 / logits[0].shape[1]
        return probs

    return by_rows(pooled, *logits, zeros=zeros), weights.tolist()


def log_odds(logits_NK: np.ndarray) -> np.ndarray:
    """Returns scores whose softmax is a probability as log odds of each class, float32 [N, K].

    Rows that are not finite stay so.
    """
    odds = logit(softmax(np.nan_to_num(logits_NK)))
    odds[~np.isfinite(logits_NK).all(axis=1)] = np.nan
    return odds.astype(np.float32)


def _said(statement: Statement, num_classes: int) -> np.ndarray:
    """Which classes a caption speaks for [K]: 1 for each it names, else what it means."""
    if statement.mentions.classes:
        said = np.zeros(num_classes)
        said[list(statement.mentions.classes)] = 1
        return said
    return np.zeros(num_classes) if statement.names_K is None else statement.names_K


def _hits(of_item: list[Statement], labels: Mapping[int, np.ndarray]) -> dict[Source, list[float]]:
    """Which of the classes that each statement names the image shows, where that is known."""
    found: dict[Source, list[float]] = {statement.source: [] for statement in of_item}
    for statement in of_item:
        if statement.row in labels:
            shown = labels[statement.row]
            found[statement.source] += [float(shown[k]) for k in statement.mentions.classes]
    return found


def _log_odds(named: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.log(named + _SMOOTHING) - np.log((total - named).clip(min=0) + _SMOOTHING)


def _fitted(
    model: CaptionModel,
    of_tune: list[Statement],
    tune: Mapping[int, np.ndarray],
    num_classes: int,
) -> tuple[CaptionModel, float]:
    """The model with slope and offset of the highest likelihood on tune, and the loss there."""
    rows, labels = np.array(list(tune)), np.stack(list(tune.values()))
    plain = replace(model, slope=1.0, offset=0.0)
    found = caption_targets(of_tune, plain, int(rows.max()) + 1, num_classes)
    spoke = found.counts_N[rows] > 0
    if not spoke.any():
        return plain, float("inf")
    odds_MK = logit(found.probs_NK[rows])
    (slope,), offset = _logistic(odds_MK[None, spoke], labels[spoke])
    model = replace(model, slope=float(slope), offset=offset)
    probs = sigmoid(np.where(spoke[:, None], slope * odds_MK + offset, odds_MK))
    return model, negative_log_likelihood(probs, labels)


def _logistic(scores_TMK: np.ndarray, labels_MK: np.ndarray) -> tuple[np.ndarray, float]:
    """Non-negative weights [T] and an offset of the highest likelihood; a convex problem."""
    from scipy.optimize import minimize

    num = len(scores_TMK)
    shown = labels_MK > 0

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        total = np.tensordot(values[:num], scores_TMK, axes=1) + values[num]
        residual = sigmoid(total) - shown
        slope = [(residual * scores).mean() for scores in scores_TMK]
        value = (np.logaddexp(0, total) - shown * total).mean()
        return float(value), np.array([*slope, residual.mean()])

    start = np.append(np.full(num, 1 / num), 0.0)
    bounds = [(0.0, None)] * num + [(None, None)]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found[:num], float(found[num])

"""From what captions say to a probability over the user's classes for every image.

Each kept caption becomes a distribution: the classes it names, trusted as far as captions of its
teacher and temperature are right, times how likely its attribute words are for each class. An image's target is
the mean over its captions, then mixed with the teacher's scores. Everything fitted is fitted on
given and tune labels; without any, trust comes from how far captions of one image agree.

N items, K classes, A attribute words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from captioning.attributes import ATTRIBUTES, WORDS, split
from captioning.matching import Lexicon, Mentions
from edgekd.metrics import negative_log_likelihood, softmax
from edgekd.records import Caption

FIRST_NAME_WEIGHT = 0.7
_ATTRIBUTE_WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
_CAPTION_SHARES = tuple(np.round(np.arange(0.1, 0.91, 0.1), 2))
_MIN_LABELS_TO_FIT = 20


# Captions are trusted alike that one teacher said at one temperature.
Source = tuple[str, float]


@dataclass(frozen=True)
class Statement:
    """One kept caption, read: what it names, who said it and at which temperature."""

    row: int
    source: Source
    names_K: np.ndarray | None
    mentions: Mentions


@dataclass(frozen=True)
class CaptionModel:
    """How captions are trusted: reliability by source, attribute evidence and its weight."""

    reliability: dict[Source, float]
    log_word_AK: np.ndarray
    attribute_weight: float


def read_statements(
    captions: Iterable[Caption],
    ids: list[str],
    lexicon: Lexicon,
    by_meaning: Callable[[str], np.ndarray | None],
) -> list[Statement]:
    """Returns the kept captions, read. `by_meaning` gives class weights [K] where no class is
    named, or None."""
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    num_classes = lexicon.num_classes
    statements = []
    for caption in captions:
        if caption.dropped is not None or caption.item_id not in row_of:
            continue
        mentions = lexicon.parse(caption.text)
        names = _named(mentions, num_classes)
        if names is None:
            names = by_meaning(caption.text)
        row = row_of[caption.item_id]
        source = (caption.teacher, caption.temperature)
        statements.append(Statement(row, source, names, mentions))
    return statements


def fit(
    statements: list[Statement], given: dict[int, int], tune: dict[int, int], num_classes: int
) -> CaptionModel:
    """Returns the caption model; `given` and `tune` map rows to labels, either may be empty."""
    reliability = (
        _reliability_by_labels(statements, tune)
        if len(tune) >= _MIN_LABELS_TO_FIT
        else _reliability_by_agreement(statements)
    )
    log_word_AK = _word_evidence(statements, given, num_classes)
    model = CaptionModel(reliability, log_word_AK, 0.0)
    if len(tune) < _MIN_LABELS_TO_FIT or not given:
        return model
    rows, labels = np.array(list(tune)), np.array(list(tune.values()))
    of_tune = [s for s in statements if s.row in tune]

    def loss(weight: float) -> float:
        candidate = CaptionModel(reliability, log_word_AK, weight)
        probs, _ = caption_probs(of_tune, candidate, int(rows.max()) + 1, num_classes)
        return negative_log_likelihood(probs[rows], labels)

    return CaptionModel(reliability, log_word_AK, min(_ATTRIBUTE_WEIGHTS, key=loss))


def caption_probs(
    statements: list[Statement], model: CaptionModel, num_items: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (probs [N, K], number of captions used [N]); uniform where there are none."""
    total = np.zeros((num_items, num_classes))
    counts = np.zeros(num_items, dtype=np.int64)
    for statement in statements:
        total[statement.row] += _distribution(statement, model, num_classes)
        counts[statement.row] += 1
    probs = np.full((num_items, num_classes), 1 / num_classes)
    spoken = counts > 0
    probs[spoken] = total[spoken] / counts[spoken, None]
    return probs, counts


def caption_share(
    captions_NK: np.ndarray, scores_NK: np.ndarray, tune: dict[int, int], default: float
) -> float:
    """Returns the captions' share of the mixture with the highest likelihood on tune.

    Never below 0.1: a caption that a person edited must move its image's target.
    """
    if len(tune) < _MIN_LABELS_TO_FIT:
        return default
    rows, labels = np.array(list(tune)), np.array(list(tune.values()))

    def loss(share: float) -> float:
        mixed = share * captions_NK[rows] + (1 - share) * scores_NK[rows]
        return negative_log_likelihood(mixed, labels)

    return float(min(_CAPTION_SHARES, key=loss))


def pooled_scores(
    logits: Sequence[np.ndarray], tune: dict[int, int], calibrate: bool = False
) -> tuple[np.ndarray, list[float]]:
    """Returns (probs [N, K], a weight for each teacher) of the class scores of several teachers.

    A logarithmic opinion pool: softmax of the weighted sum of the logits [N, K], so that a weight
    is a temperature as well. The weights have the highest likelihood on tune; with fewer than 20
    labels there they are equal and sum to 1. A single teacher keeps weight 1 unless `calibrate`.
    Where a teacher abstains (a row that is not finite) the others speak; where all do, the row is
    uniform.
    """
    spoke_TN = np.stack([np.isfinite(each).all(axis=1) for each in logits])
    logits = [np.where(spoke[:, None], z, 0) for z, spoke in zip(logits, spoke_TN, strict=True)]
    fitting = len(tune) >= _MIN_LABELS_TO_FIT and (calibrate or len(logits) > 1)
    if fitting:
        rows, labels = np.array(list(tune)), np.array(list(tune.values()))
        weights = _pool_weights(np.stack([z[rows] for z in logits]), labels)
    else:
        weights = np.full(len(logits), 1 / len(logits))
        # Those who abstain leave their weight to the others.
        share_N = (weights @ spoke_TN).clip(min=1e-9)
        logits = [z / share_N[:, None] for z in logits]
    total = sum(w * z for w, z in zip(weights, logits, strict=True))
    return softmax(np.asarray(total)), [float(w) for w in weights]


def spread_over_neighbours(
    probs_NK: np.ndarray,
    features_ND: np.ndarray,
    bank: np.ndarray,
    num_neighbours: int,
    block: int = 1024,
) -> np.ndarray:
    """Returns the mean of each row's probs with those of its nearest rows of the bank (cosine).

    `bank` are the rows that may be neighbours, the training images: held-out images must not
    shape a training target, not even without their labels. A row is not its own neighbour.
    """
    if num_neighbours == 0 or len(bank) <= num_neighbours:
        return probs_NK
    unit = features_ND / np.linalg.norm(features_ND, axis=1, keepdims=True)
    column_of = {int(row): column for column, row in enumerate(bank)}
    spread = np.empty_like(probs_NK)
    for start in range(0, len(unit), block):
        similarity = unit[start : start + block] @ unit[bank].T
        for index in range(len(similarity)):
            if start + index in column_of:
                similarity[index, column_of[start + index]] = -np.inf
        nearest = bank[np.argpartition(-similarity, num_neighbours, axis=1)[:, :num_neighbours]]
        total = probs_NK[start : start + block] + probs_NK[nearest].sum(axis=1)
        spread[start : start + block] = total / (num_neighbours + 1)
    return spread


def attribute_targets(statements: list[Statement], num_items: int) -> np.ndarray:
    """Returns how often each word was said of an item, each attribute summing to 1 or 0; [N, A]."""
    counts = np.zeros((num_items, len(WORDS)), dtype=np.float32)
    for statement in statements:
        counts[statement.row, list(statement.mentions.words)] += 1
    parts = [
        part / np.maximum(part.sum(axis=1, keepdims=True), 1) for part in split(counts).values()
    ]
    return np.concatenate(parts, axis=1)


def _named(mentions: Mentions, num_classes: int) -> np.ndarray | None:
    """Weights [K] of the named classes: most on the first, the rest shared by the others."""
    if not mentions.classes:
        return None
    weights = np.zeros(num_classes)
    first, *others = mentions.classes
    weights[first] = FIRST_NAME_WEIGHT if others else 1.0
    for other in others:
        weights[other] = (1 - FIRST_NAME_WEIGHT) / len(others)
    return weights


def _distribution(statement: Statement, model: CaptionModel, num_classes: int) -> np.ndarray:
    trust = model.reliability.get(statement.source, 0.5)
    names = statement.names_K
    probs = np.full(num_classes, 1 / num_classes)
    if names is not None:
        probs = trust * names + (1 - trust) * probs
    words = list(statement.mentions.words)
    if model.attribute_weight and words:
        probs = probs * np.exp(model.attribute_weight * model.log_word_AK[words].sum(axis=0))
        probs = probs / probs.sum()
    return probs


def _reliability_by_labels(
    statements: list[Statement], labels: dict[int, int]
) -> dict[Source, float]:
    """Share of the weight that captions of each source put on the label, smoothed."""
    sums: dict[Source, list[float]] = defaultdict(list)
    for statement in statements:
        sums[statement.source]
        if statement.row in labels and statement.names_K is not None:
            sums[statement.source].append(float(statement.names_K[labels[statement.row]]))
    return {source: (sum(hits) + 1) / (len(hits) + 2) for source, hits in sums.items()}


def _reliability_by_agreement(statements: list[Statement]) -> dict[Source, float]:
    """Mean overlap of a caption's names with those of the same image's other captions."""
    by_row: dict[int, list[Statement]] = defaultdict(list)
    for statement in statements:
        if statement.names_K is not None:
            by_row[statement.row].append(statement)
    overlaps: dict[Source, list[float]] = {s.source: [] for s in statements}
    for group in by_row.values():
        for statement in group:
            others = [o for o in group if o is not statement]
            if others:
                mean = np.mean([_overlap(statement, other) for other in others])
                overlaps[statement.source].append(float(mean))
    return {source: (sum(values) + 1) / (len(values) + 2) for source, values in overlaps.items()}


def _pool_weights(logits_TMK: np.ndarray, labels_M: np.ndarray) -> np.ndarray:
    """Non-negative weights [T] of the highest likelihood; a convex problem."""
    from scipy.optimize import minimize

    num = len(logits_TMK)
    of_label_TM = np.take_along_axis(logits_TMK, labels_M[None, :, None], axis=2)[..., 0]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        total_MK = np.tensordot(weights, logits_TMK, axes=1)
        top_M = total_MK.max(axis=1)
        partition_M = top_M + np.log(np.exp(total_MK - top_M[:, None]).sum(axis=1))
        probs_MK = np.exp(total_MK - partition_M[:, None])
        expected_TM = (logits_TMK * probs_MK).sum(axis=2)
        value = (partition_M - weights @ of_label_TM).mean()
        return float(value), (expected_TM - of_label_TM).mean(axis=1)

    start = np.full(num, 1 / num)
    found = minimize(loss, start, jac=True, bounds=[(0, None)] * num, method="L-BFGS-B")
    return np.asarray(found.x)


def _overlap(first: Statement, second: Statement) -> float:
    assert first.names_K is not None
    assert second.names_K is not None
    return float(np.minimum(first.names_K, second.names_K).sum())


def _word_evidence(
    statements: list[Statement], given: dict[int, int], num_classes: int
) -> np.ndarray:
    """log P(word | class, attribute) - log P(word | attribute), Laplace-smoothed; [A, K]."""
    counts_AK = np.zeros((len(WORDS), num_classes))
    for statement in statements:
        if statement.row in given:
            counts_AK[list(statement.mentions.words), given[statement.row]] += 1
    parts = []
    start = 0
    for words in ATTRIBUTES.values():
        part = counts_AK[start : start + len(words)]
        start += len(words)
        smoothed = part + 1.0
        of_class = smoothed / smoothed.sum(axis=0)
        overall = smoothed.sum(axis=1, keepdims=True) / smoothed.sum()
        parts.append(np.log(of_class) - np.log(overall))
    return np.concatenate(parts)

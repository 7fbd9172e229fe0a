"""From what captions say to a probability over the user's classes for every image.

Each kept caption becomes a distribution: the classes it names, trusted as far as captions of its
teacher and temperature are right, times how likely its attribute words are for each class. An image's target is
the mean over its captions, then mixed with the teacher's scores. Everything fitted is fitted on
given and tune labels; without any, trust comes from how far captions of one image agree.

N items, K classes, A attribute words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from captioning.attributes import WORDS, split
from captioning.matching import Lexicon, Mentions
from edgekd.mapped import Zeros, blocks, by_rows
from edgekd.metrics import negative_log_likelihood, softmax, unit
from edgekd.records import Caption

FIRST_NAME_WEIGHT = 0.7
_ATTRIBUTE_WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
_CAPTION_SHARES = tuple(np.round(np.arange(0.1, 0.91, 0.1), 2))
MIN_LABELS_TO_FIT = 20


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
class CaptionTargets:
    """What the captions of N items come to, float32; uniform and 0 where an item has none.

    `attributes` say how often each word was said of an item, each attribute summing to 1 or 0.
    """

    probs_NK: np.ndarray
    counts_N: np.ndarray
    attributes_NA: np.ndarray


@dataclass(frozen=True)
class CaptionModel:
    """How captions are trusted: reliability by source, attribute evidence and its weight."""

    reliability: dict[Source, float]
    log_word_AK: np.ndarray
    attribute_weight: float
    heard: frozenset[Source] | None = None  # whose captions count; None: all


def read_statements(
    captions: Iterable[Caption],
    row_of: Mapping[str, int],
    lexicon: Lexicon,
    by_meaning: Callable[[str], np.ndarray | None],
) -> Iterator[Statement]:
    """Yields the kept captions of known items, read. `by_meaning` gives class weights [K] where no
    class is named, or None."""
    for caption in captions:
        row = row_of.get(caption.item_id)
        if caption.dropped is not None or row is None:
            continue
        mentions = lexicon.parse(caption.readable)
        names = _named(mentions, lexicon.num_classes)
        if names is None:
            names = by_meaning(caption.readable)
        yield Statement(row, (caption.teacher, caption.temperature), names, mentions)


def fit(
    statements: Iterable[Statement],
    given: dict[int, int],
    tune: dict[int, int],
    num_classes: int,
    choose: bool = False,
    hear: Callable[[Source], bool] | None = None,
) -> CaptionModel:
    """Returns the caption model; `given` and `tune` map rows to labels, either may be empty.

    `hear` says whose captions count. With `choose`, only those teachers and temperatures are heard
    whose captions together have the highest likelihood on tune, where there are labels enough to say.
    Only the statements on tune are kept in memory. Those of one item must stand together.
    """
    by_labels = len(tune) >= MIN_LABELS_TO_FIT
    words_AK = np.zeros((len(WORDS), num_classes))

    def judged(of_item: list[Statement]) -> dict[Source, list[float]]:
        for statement in of_item:
            if statement.row in given:
                words_AK[list(statement.mentions.words), given[statement.row]] += 1
        return _hits(of_item, tune) if by_labels else overlaps(of_item)

    reliability, of_tune = read_trust(statements, judged, tune)
    heard = None if hear is None else frozenset(filter(hear, reliability))
    model = CaptionModel(reliability, _word_evidence(words_AK), 0.0, heard)
    if not by_labels:
        return model
    if choose:
        sources = frozenset(model.reliability)

        def loss(heard: frozenset[Source]) -> float:
            return _tune_loss(replace(model, heard=heard), of_tune, tune, num_classes)

        model = replace(model, heard=best_heard(sources, loss))
    if not given:
        return model
    return replace(model, attribute_weight=_attribute_weight(model, of_tune, tune, num_classes))


def read_trust(
    statements: Iterable[Statement],
    judged: Callable[[list[Statement]], dict[Source, list[float]]],
    tune: Container[int],
) -> tuple[dict[Source, float], list[Statement]]:
    """Returns how reliable each source is, and the statements on tune.

    `judged` says of the statements of one item how good each source's are, 0 to 1; a source's
    reliability is their mean, of one more that is good and one that is not.
    """
    sums: dict[Source, float] = defaultdict(float)
    numbers: dict[Source, int] = defaultdict(int)
    of_tune: list[Statement] = []
    for row, group in groupby(statements, key=lambda statement: statement.row):
        of_item = list(group)
        for source, values in judged(of_item).items():
            sums[source] += sum(values)
            numbers[source] += len(values)
        if row in tune:
            of_tune += of_item
    return {source: (sums[source] + 1) / (numbers[source] + 2) for source in sums}, of_tune


def of_heard(
    statements: Iterable[Statement], heard: frozenset[Source] | None
) -> Iterator[Statement]:
    """Yields the statements of the sources that count; None is all."""
    return (each for each in statements if heard is None or each.source in heard)


def caption_targets(
    statements: Iterable[Statement],
    model: CaptionModel,
    num_items: int,
    num_classes: int,
    zeros: Zeros = np.zeros,
) -> CaptionTargets:
    """Returns the mean distribution of each item's captions and the words they say of it."""
    probs = zeros((num_items, num_classes), np.float32)
    counts = zeros(num_items, np.int32)
    words = zeros((num_items, len(WORDS)), np.float32)
    for statement in of_heard(statements, model.heard):
        probs[statement.row] += _distribution(statement, model, num_classes)
        counts[statement.row] += 1
        words[statement.row, list(statement.mentions.words)] += 1
    for some in blocks(num_items):
        probs[some] /= np.maximum(counts[some], 1)[:, None]
        probs[some][counts[some] == 0] = 1 / num_classes
        as_shares(words[some])
    return CaptionTargets(probs, counts, words)


def as_shares(words_NA: np.ndarray) -> np.ndarray:
    """Returns counts of attribute words, divided in place so that each attribute sums to 1 or 0."""
    for part in split(words_NA).values():
        part /= np.maximum(part.sum(axis=1, keepdims=True), 1)
    return words_NA


def caption_share(
    captions_NK: np.ndarray, scores_NK: np.ndarray, tune: dict[int, int], default: float
) -> float:
    """Returns the captions' share of the mixture with the highest likelihood on tune.

    Never below 0.1: a caption that a person edited must move its image's target.
    """
    if len(tune) < MIN_LABELS_TO_FIT:
        return default
    rows, labels = np.array(list(tune)), np.array(list(tune.values()))

    def loss(share: float) -> float:
        mixed = share * captions_NK[rows] + (1 - share) * scores_NK[rows]
        return negative_log_likelihood(mixed, labels)

    return float(min(_CAPTION_SHARES, key=loss))


def pooled_scores(
    logits: Sequence[np.ndarray],
    tune: dict[int, int],
    calibrate: bool = False,
    zeros: Zeros = np.zeros,
) -> tuple[np.ndarray, list[float]]:
    """Returns (probs [N, K], a weight for each teacher) of the class scores of several teachers.

    A logarithmic opinion pool: softmax of the weighted sum of the logits [N, K], so that a weight
    is a temperature as well. The weights have the highest likelihood on tune; with fewer than 20
    labels there they are equal and sum to 1. A single teacher keeps weight 1 unless `calibrate`.
    Where a teacher abstains (a row that is not finite) the others speak; where all do, the row is
    uniform.
    """
    fitted = is_pool_fitted(len(logits), tune, calibrate)
    weights = np.full(len(logits), 1 / len(logits))
    if fitted:
        rows, labels = np.array(list(tune)), np.array(list(tune.values()))
        weights = _pool_weights(np.stack([abstaining_as_zero(z[rows])[0] for z in logits]), labels)

    def pooled(*logits_nK: np.ndarray) -> np.ndarray:
        filled, spoke = zip(*map(abstaining_as_zero, logits_nK), strict=True)
        # Those who abstain leave their weight to the others, unless it was fitted.
        share_n = 1 if fitted else (weights @ np.stack(spoke)).clip(min=1e-9)
        total = sum(w * z for w, z in zip(weights, filled, strict=True))
        return softmax(np.asarray(total) / np.reshape(share_n, (-1, 1)))

    return by_rows(pooled, *logits, zeros=zeros), weights.tolist()


def is_pool_fitted(num_teachers: int, tune: dict[int, int], calibrate: bool) -> bool:
    """Whether `pooled_scores` fits its weights; else those who abstain leave theirs to the others."""
    return len(tune) >= MIN_LABELS_TO_FIT and (calibrate or num_teachers > 1)


def spread_over_neighbours(
    probs_NK: np.ndarray,
    features_ND: np.ndarray,
    bank: np.ndarray,
    num_neighbours: int,
    block: int = 256,
    rows: np.ndarray | None = None,
    zeros: Zeros = np.zeros,
) -> np.ndarray:
    """Returns the mean of each row's probs with those of its nearest rows of the bank (cosine).

    `bank` are the rows that may be neighbours, of the training images: held-out images must not
    shape a training target, not even without their labels. A row is not its own neighbour.
    Features may be float16; a block of them and the bank are widened. With `rows`, only those are
    returned.
    """
    if num_neighbours == 0 or len(bank) <= num_neighbours:
        return probs_NK if rows is None else probs_NK[rows]
    unit_bank = _unit(features_ND[bank])
    column_of = {int(row): column for column, row in enumerate(bank)}
    num_rows = len(probs_NK) if rows is None else len(rows)
    spread = zeros((num_rows, probs_NK.shape[1]), probs_NK.dtype)
    for place in blocks(num_rows, block):
        some = np.arange(place.start, place.stop) if rows is None else rows[place]
        similarity = _unit(features_ND[some]) @ unit_bank.T
        for index, row in enumerate(some.tolist()):
            if row in column_of:
                similarity[index, column_of[row]] = -np.inf
        nearest = bank[np.argpartition(-similarity, num_neighbours, axis=1)[:, :num_neighbours]]
        total = probs_NK[some] + probs_NK[nearest].sum(axis=1)
        spread[place] = total / (num_neighbours + 1)
    return spread


def _unit(features_ND: np.ndarray) -> np.ndarray:
    return unit(features_ND.astype(np.float32))


def abstaining_as_zero(logits_nK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the logits, 0 in rows where a teacher abstains, and in which rows it does not."""
    spoke_n = np.isfinite(logits_nK).all(axis=1)
    return np.where(spoke_n[:, None], logits_nK, 0), spoke_n


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


def _hits(of_item: list[Statement], labels: dict[int, int]) -> dict[Source, list[float]]:
    """How much of its weight each statement puts on the label, where there is one."""
    found: dict[Source, list[float]] = {statement.source: [] for statement in of_item}
    for statement in of_item:
        if statement.row in labels and statement.names_K is not None:
            found[statement.source].append(float(statement.names_K[labels[statement.row]]))
    return found


def overlaps(of_item: list[Statement]) -> dict[Source, list[float]]:
    """Returns the mean overlap of each statement's names with those of the item's others."""
    found: dict[Source, list[float]] = {statement.source: [] for statement in of_item}
    naming = [statement for statement in of_item if statement.names_K is not None]
    for statement in naming:
        others = [other for other in naming if other is not statement]
        if others:
            overlap = np.mean([_overlap(statement, other) for other in others])
            found[statement.source].append(float(overlap))
    return found


def best_heard(
    heard: frozenset[Source], loss: Callable[[frozenset[Source]], float]
) -> frozenset[Source]:
    """Returns the sources to hear: each is left out in turn while that lowers the loss on tune."""
    best = loss(heard)
    while len(heard) > 1:
        losses = {source: loss(heard - {source}) for source in sorted(heard)}
        least = min(losses, key=lambda source: losses[source])
        if losses[least] >= best:
            break
        heard, best = heard - {least}, losses[least]
    return heard


def _tune_loss(
    model: CaptionModel, of_tune: list[Statement], tune: dict[int, int], num_classes: int
) -> float:
    rows, labels = np.array(list(tune)), np.array(list(tune.values()))
    found = caption_targets(of_tune, model, int(rows.max()) + 1, num_classes)
    return negative_log_likelihood(found.probs_NK[rows], labels)


def _attribute_weight(
    model: CaptionModel, of_tune: list[Statement], tune: dict[int, int], num_classes: int
) -> float:
    def loss(weight: float) -> float:
        return _tune_loss(replace(model, attribute_weight=weight), of_tune, tune, num_classes)

    return min(_ATTRIBUTE_WEIGHTS, key=loss)


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


def _word_evidence(counts_AK: np.ndarray) -> np.ndarray:
    """log P(word | class, attribute) - log P(word | attribute), Laplace-smoothed; [A, K]."""
    parts = []
    for part in split(counts_AK.T).values():
        smoothed = part.T + 1.0
        of_class = smoothed / smoothed.sum(axis=0)
        overall = smoothed.sum(axis=1, keepdims=True) / smoothed.sum()
        parts.append(np.log(of_class) - np.log(overall))
    return np.concatenate(parts)

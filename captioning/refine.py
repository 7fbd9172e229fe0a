"""What happens to soft targets after captions and scores are mixed: each part can be left out.

Swapped captions as negative evidence, neighbours, the prior of the classes, and hard labels to
compare with, in this order. N items, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pydantic

from captioning.balance_report import attribute_balance, class_balance, match_prior, prior_of
from captioning.label_review import Review, review, review_multilabel
from captioning.matching import Lexicon, Mentions
from captioning.rows import Rows
from captioning.soft_targets import MIN_LABELS_TO_FIT, spread_over_neighbours
from captioning.swaps import (
    Judged,
    Swapper,
    against,
    detection,
    fit_weight,
    judge,
    likeness_by_targets,
    match,
    negative_evidence,
)
from edgekd.config import Section
from edgekd.manifest import Manifest
from edgekd.mapped import Zeros, by_rows
from edgekd.records import Caption

MOST_NEIGHBOURS = 20_000  # training images among which they are sought
_REVIEWERS = 10  # neighbours that are asked about a given label


class RefineConfig(Section):
    """What is done to the mixture of captions and scores."""

    swaps: Literal["off", "hard", "random"] = pydantic.Field(
        "off",
        description="count captions with a class swapped in against that class, weighted on tune; "
        "hard: the class that the targets confuse most with the one said",
    )
    neighbours: int = pydantic.Field(
        0,
        ge=0,
        description="average each target with this many nearest training images (by features; of "
        "more than 20,000 images these are sought among that many)",
    )
    prior: Literal["uniform", "tune"] | list[float] | None = pydantic.Field(
        None, description="shares of the classes that the training images' targets are brought to"
    )
    prior_by: Literal["targets", "weights"] = pydantic.Field(
        "targets", description="change the targets, or how much each image counts"
    )
    hard: bool = pydantic.Field(
        False, description="keep the most likely class alone, as pseudo-labels do: to compare"
    )


@dataclass(frozen=True)
class Refined:
    """Targets [N, K] and how much each image counts [N], float32, and what was done."""

    probs_NK: np.ndarray
    weight_N: np.ndarray
    provenance: dict[str, Any]


def refined(
    mixed_NK: np.ndarray,
    weight_N: np.ndarray,
    manifest: Manifest,
    config: RefineConfig,
    captions: Callable[[], Iterable[Caption]],
    features_ND: np.ndarray | None,
    zeros: Zeros = np.zeros,
) -> Refined:
    """Returns the refined targets and weights; images of weight 0 abstain and stay so.

    `captions` reads them anew, for swaps; features are for neighbours. What is fitted is fitted on
    tune labels; the prior is that of the training images.
    """
    provenance: dict[str, Any] = {"neighbours": config.neighbours, "hard": config.hard}
    if config.swaps != "off":
        tune = manifest.labels("tune")
        swapped = _swapped(mixed_NK, manifest, captions, config, zeros)
        provenance["swaps_detected"] = detection(swapped(), tune)
        found = negative_evidence(swapped(), len(mixed_NK), mixed_NK.shape[1], zeros)
        weight = provenance["swaps_weight"] = fit_weight(mixed_NK, found, tune)
        mixed_NK = by_rows(partial(against, weight=weight), mixed_NK, found, zeros=zeros)
    if config.neighbours and features_ND is not None:
        bank = manifest.rows("train", MOST_NEIGHBOURS)
        mixed_NK = spread_over_neighbours(
            mixed_NK, features_ND, bank, config.neighbours, zeros=zeros
        )
    if config.prior is not None:
        train = manifest.is_of("train")
        prior = prior_of(config.prior, mixed_NK.shape[1], list(manifest.labels("tune").values()))
        matched = match_prior(mixed_NK, prior, weight_N * train, zeros=zeros)
        provenance["prior"] = prior.tolist()
        if config.prior_by == "targets":
            mixed_NK = matched.probs_NK
        else:  # images that are not of train count as they did
            weight_N = np.where(train, matched.weight_N, weight_N)
    if config.hard:
        hard = _several if manifest.task.multilabel else _one
        mixed_NK = by_rows(hard, mixed_NK, zeros=zeros)
    probs_NK = by_rows(np.asarray, mixed_NK, zeros=zeros)
    return Refined(probs_NK, weight_N.astype(np.float32), provenance)


def _one(probs_nK: np.ndarray) -> np.ndarray:
    return np.eye(probs_nK.shape[1])[probs_nK.argmax(axis=1)]


def _several(probs_nK: np.ndarray) -> np.ndarray:
    return probs_nK > 0.5


def balance(
    probs_NK: np.ndarray,
    weight_N: np.ndarray,
    attributes_NA: np.ndarray,
    measured_NA: np.ndarray,
    manifest: Manifest,
) -> dict[str, Any] | None:
    """Returns how far the training images' targets lean from tune: figures and warnings.

    Attributes are compared with what was measured on tune images. None with fewer than 20 labels
    on tune.
    """
    tune = manifest.labels("tune")
    if len(tune) < MIN_LABELS_TO_FIT:
        return None
    train = manifest.is_of("train")
    labels = np.array(list(tune.values()))
    shown_at_all = not manifest.task.multilabel or (labels.any() and probs_NK.any())
    classes = (
        class_balance(probs_NK, labels, manifest.task.classes, weight_N * train)
        if shown_at_all
        else None
    )
    of_words = attribute_balance(attributes_NA, measured_NA[list(tune)], train)
    found = [*([] if classes is None else [classes]), *of_words.values()]
    return {
        "classes": None if classes is None else classes.summary(),
        "attributes": {name: each.summary() for name, each in of_words.items()},
        "warnings": [line for each in found for line in each.warnings()],
    }


def labels_to_review(
    mixed_NK: np.ndarray, features_ND: np.ndarray | None, manifest: Manifest
) -> Review | None:
    """Returns the given labels of train and tune that the teacher contradicts; None without any.

    What the teacher thinks of an image is taken from its nearest training images, itself left out:
    a probe repeats the labels that it was fitted on. Without features it is the image's target.
    """
    labels = manifest.labels("train") | manifest.labels("tune")
    if not labels:
        return None
    rows = np.array(sorted(labels))
    bank = manifest.rows("train", MOST_NEIGHBOURS)
    probs_RK = mixed_NK[rows]
    if features_ND is not None and len(bank) > _REVIEWERS:
        with_own = spread_over_neighbours(mixed_NK, features_ND, bank, _REVIEWERS, rows=rows)
        probs_RK = (with_own * (_REVIEWERS + 1) - probs_RK) / _REVIEWERS
    paths = [manifest.items[row].path for row in rows]
    given = np.array([labels[int(row)] for row in rows])
    judge_labels = review_multilabel if manifest.task.multilabel else review
    return judge_labels(paths, given, probs_RK, manifest.task.classes)


def _swapped(
    probs_NK: np.ndarray,
    manifest: Manifest,
    captions: Callable[[], Iterable[Caption]],
    config: RefineConfig,
    zeros: Zeros,
) -> Callable[[], Iterable[Judged]]:
    """The swaps of all captions, made and judged anew at each call: they may be too many to hold."""
    lexicon, row_of = Lexicon(manifest.task), Rows(manifest.ids, zeros)
    likeness = likeness_by_targets(probs_NK) if config.swaps == "hard" else None
    swapper = Swapper(manifest.task, lexicon, likeness_KK=likeness)

    def matched(row: int, mentions: Mentions) -> float:
        return match(mentions, np.log(np.maximum(probs_NK[row], 1e-9)))

    return lambda: judge(captions(), row_of, swapper, lexicon, matched)

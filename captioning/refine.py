"""What happens to soft targets after captions and scores are mixed: each part can be left out.

Swapped captions as negative evidence, neighbours, the prior of the classes, and hard labels to
compare with, in this order. N items, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pydantic

from captioning.balance_report import attribute_balance, class_balance, match_prior, prior_of
from captioning.label_review import Review, review, review_multilabel
from captioning.matching import Lexicon
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
    matcher,
    negative_evidence,
)
from edgekd.config import Section
from edgekd.manifest import Manifest
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
) -> Refined:
    """Returns the refined targets and weights; images of weight 0 abstain and stay so.

    `captions` reads them anew, for swaps; features are for neighbours. What is fitted is fitted on
    tune labels; the prior is that of the training images.
    """
    provenance: dict[str, Any] = {"neighbours": config.neighbours, "hard": config.hard}
    if config.swaps != "off":
        likeness = likeness_by_targets(mixed_NK) if config.swaps == "hard" else None
        swapped = _swapped(mixed_NK, manifest, captions(), likeness)
        provenance["swaps_detected"] = detection(swapped, manifest.labels("tune"))
        found = negative_evidence(swapped, *mixed_NK.shape)
        provenance["swaps_weight"] = fit_weight(mixed_NK, found, manifest.labels("tune"))
        mixed_NK = against(mixed_NK, found, provenance["swaps_weight"])
    if config.neighbours and features_ND is not None:
        bank = manifest.rows("train", MOST_NEIGHBOURS)
        mixed_NK = spread_over_neighbours(mixed_NK, features_ND, bank, config.neighbours)
    if config.prior is not None:
        train = np.array([item.split == "train" for item in manifest.items])
        prior = prior_of(config.prior, mixed_NK.shape[1], list(manifest.labels("tune").values()))
        matched = match_prior(mixed_NK, prior, weight_N * train)
        provenance["prior"] = prior.tolist()
        if config.prior_by == "targets":
            mixed_NK = matched.probs_NK
        else:  # images that are not of train count as they did
            weight_N = np.where(train, matched.weight_N, weight_N)
    if config.hard:
        mixed_NK = (
            mixed_NK > 0.5
            if manifest.task.multilabel
            else np.eye(mixed_NK.shape[1])[mixed_NK.argmax(axis=1)]
        )
    return Refined(mixed_NK.astype(np.float32), weight_N.astype(np.float32), provenance)


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
    train = np.array([row for row, item in enumerate(manifest.items) if item.split == "train"])
    classes = class_balance(
        probs_NK[train], list(tune.values()), manifest.task.classes, weight_N[train]
    )
    of_words = attribute_balance(attributes_NA[train], measured_NA[list(tune)])
    found = [classes, *of_words.values()]
    return {
        "classes": classes.summary(),
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
    captions: Iterable[Caption],
    likeness_KK: np.ndarray | None,
) -> list[Judged]:
    lexicon = Lexicon(manifest.task)
    swapper = Swapper(manifest.task, lexicon, likeness_KK=likeness_KK)
    row_of = Rows([item.id for item in manifest.items])
    matched = matcher(np.log(np.maximum(probs_NK, 1e-9)))
    return list(judge(captions, row_of, swapper, lexicon, matched))

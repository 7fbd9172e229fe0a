"""Labels for unlabelled images that say little of any one labelled example: PATE with GNMax.

The labelled examples are split into disjoint parts, one probe a part votes on each image asked
about, and the winner after Gaussian noise on the counts is the answer (arXiv:1610.05755,
arXiv:1802.08908). One example sits in one part, so it can change one vote of each image. Only the
answers and the statement may be kept: see `MUST_NOT_BE_WRITTEN`.

M images asked about, L labelled examples, P parts, K classes, D features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydantic

from edgekd.config import Section
from edgekd.errors import ConfigError, UsageError
from edgekd.metrics import unit
from edgekd.store import digest

ABSTAINS = -1
MUST_NOT_BE_WRITTEN: dict[str, str] = {
    "captions": "a teacher fitted on the labels speaks them",
    "features and scores of the labelled images": "they show which examples there were",
    "the non-private probe or head": "its weights hold the labels it was fitted on",
    "the probes of the parts": "each is a function of a few examples",
    "votes, counts, margins, or noise": "without its noise an answer is the votes' own",
    "which images the check turned away by how much": "only that it turned them away is paid for",
    "the given labels and which images have one": "they are what is protected",
    "the labels-alone baseline, and a student trained on given labels": "they learn them directly",
    "accuracies, temperatures or weights fitted or measured on the same labels": "not paid for",
    "the state of the noise's generator": "whoever has it takes the noise off",
}
"""What a run with private labels must not leave behind: {what: why}."""

_ORDERS = np.concatenate([np.arange(1.05, 12, 0.05), np.arange(12, 64), 2 ** np.arange(6.0, 21)])


class PrivateLabelsConfig(Section):
    """How private the answers are. Give `sigma`, or `epsilon` and it is worked out."""

    parts: int = pydantic.Field(100, ge=2, description="disjoint parts of the labelled examples")
    epsilon: float | None = pydantic.Field(None, gt=0, description="for all answers together")
    sigma: float | None = pydantic.Field(None, gt=0, description="of the noise on each count")
    delta: float = pydantic.Field(1e-5, gt=0, lt=1, description="below 1 / number of examples")
    threshold: float | None = pydantic.Field(
        None, gt=0, description="votes the winner needs (with noise); else the image gets no answer"
    )
    threshold_sigma: float | None = pydantic.Field(
        None, gt=0, description="of the noise on that check; larger than sigma costs little"
    )
    max_answers: int | None = pydantic.Field(
        None, ge=1, description="then it abstains; epsilon is that of so many answers"
    )

    @pydantic.model_validator(mode="after")
    def _one_of_each(self) -> PrivateLabelsConfig:
        if (self.epsilon is None) == (self.sigma is None):
            raise ValueError("give either epsilon or sigma")
        if (self.threshold is None) != (self.threshold_sigma is None):
            raise ValueError("threshold and threshold_sigma go together")
        return self


@dataclass(frozen=True)
class Private:
    """Answers and what they cost. `labels_M` is -1 where it abstains; nothing else may be kept."""

    labels_M: np.ndarray
    statement: dict[str, Any]

    def targets(self, num_classes: int, trust: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Returns (probs [M, K], weight [M]): `trust` on the answer, the rest spread; 0 abstains.

        `trust` must not be fitted on the labels that were protected.
        """
        answered = self.labels_M != ABSTAINS
        probs = np.full((len(self.labels_M), num_classes), 1 / num_classes)
        probs[answered] = (1 - trust) / num_classes
        probs[np.flatnonzero(answered), self.labels_M[answered]] += trust
        return probs, answered.astype(np.float32)


def private_labels(
    asked_MD: np.ndarray,
    labelled_LD: np.ndarray,
    labels_L: np.ndarray,
    ids_L: Sequence[str],
    num_classes: int,
    config: PrivateLabelsConfig,
    rng: np.random.Generator | None = None,
) -> Private:
    """Returns a label, or an abstention, for every image asked about, and the statement for people.

    Features must come from a network that never saw the labels; `ids_L` are the examples' digests,
    `asked_MD` other images, chosen without the labels. The noise is drawn from the operating
    system's entropy unless `rng` is given: a seed that is known takes it off. Asking again costs
    again.

    Raises:
        UsageError: arrays that do not fit together.
        ConfigError: an epsilon that the check alone uses up.
    """
    _check(asked_MD, labelled_LD, labels_L, ids_L, num_classes)
    rng = rng or np.random.default_rng()
    votes_MK = votes(asked_MD, labelled_LD, labels_L, ids_L, num_classes, config.parts)
    num_asked = len(asked_MD)
    answers = min(num_asked, config.max_answers or num_asked)
    checks = num_asked if config.threshold is not None else 0
    sigma = config.sigma or noise_for(
        float(config.epsilon or 0), config.delta, answers, checks, config.threshold_sigma
    )
    labels_M = _noisy(votes_MK, sigma, config, rng)
    spent = epsilon(sigma, config.delta, answers, checks, config.threshold_sigma)
    return Private(labels_M, _statement(config, sigma, spent, labels_M, answers))


def votes(
    asked_MD: np.ndarray,
    labelled_LD: np.ndarray,
    labels_L: np.ndarray,
    ids_L: Sequence[str],
    num_classes: int,
    parts: int,
) -> np.ndarray:
    """Returns how many parts vote for each class, [M, K]. Not private: never keep it.

    A part's probe is the mean of the unit feature vectors of each class it has, the nearest one
    (cosine) wins; an empty part does not vote. A part depends on its own examples only.
    """
    asked, labelled = _unit(asked_MD), _unit(labelled_LD)
    part_of = np.array([part(item_id, parts) for item_id in ids_L], dtype=np.int64)
    counts = np.zeros((len(asked), num_classes), dtype=np.int64)
    for index in np.unique(part_of):
        own = part_of == index
        classes = np.unique(labels_L[own])
        means = np.stack([labelled[own & (labels_L == label)].mean(axis=0) for label in classes])
        nearest = classes[(asked @ _unit(means).T).argmax(axis=1)]
        counts[np.arange(len(asked)), nearest] += 1
    return counts


def part(item_id: str, parts: int) -> int:
    """Returns the part an example belongs to: by its digest, whatever other examples there are."""
    return int(digest(["part", item_id])[:16], 16) % parts


def epsilon(
    sigma: float,
    delta: float,
    num_answers: int,
    num_checks: int = 0,
    threshold_sigma: float | None = None,
) -> float:
    """Returns the epsilon of so many answers, and checks of the winner's count, at this delta.

    RDP of order a: an answer costs a / sigma**2 (two counts change by one, arXiv:1802.08908,
    proposition 8), a check a / (2 threshold_sigma**2), and costs add up (arXiv:1702.07476). The
    best order turns them into epsilon (arXiv:2004.00010, proposition 12).
    """
    cost = num_answers / sigma**2
    if num_checks:
        cost += num_checks / (2 * float(threshold_sigma or 0) ** 2)
    if cost == 0:
        return 0.0
    # The best order lies near 1 + sqrt(log(1 / delta) / cost), which the grid may not reach.
    near = 1 + np.sqrt(math.log(1 / delta) / cost) * np.linspace(0.5, 1.5, 101)
    orders = np.concatenate([_ORDERS, near])
    found = (
        orders * cost + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    )
    return float(max(0.0, found.min()))


def noise_for(
    target: float,
    delta: float,
    num_answers: int,
    num_checks: int = 0,
    threshold_sigma: float | None = None,
) -> float:
    """Returns the least sigma whose epsilon stays within the target.

    Raises:
        ConfigError: the checks alone use the target up.
    """
    checks_alone = epsilon(math.inf, delta, num_answers, num_checks, threshold_sigma)
    if checks_alone >= target:
        raise ConfigError(
            [
                f"epsilon: {target}, and {num_checks:,} checks with threshold_sigma "
                f"{threshold_sigma} alone come to {checks_alone:.2f}. Ask about fewer images, or "
                "raise threshold_sigma or epsilon"
            ],
            "private labels",
        )
    low, high = 0.0, 1.0
    while epsilon(high, delta, num_answers, num_checks, threshold_sigma) > target:
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        if epsilon(middle, delta, num_answers, num_checks, threshold_sigma) > target:
            low = middle
        else:
            high = middle
    return high


def _noisy(
    votes_MK: np.ndarray, sigma: float, config: PrivateLabelsConfig, rng: np.random.Generator
) -> np.ndarray:
    """GNMax in the order asked; Confident-GNMax where there is a threshold."""
    confident = np.ones(len(votes_MK), dtype=bool)
    if config.threshold is not None and config.threshold_sigma is not None:
        checked = votes_MK.max(axis=1) + rng.normal(0, config.threshold_sigma, len(votes_MK))
        confident = checked >= config.threshold
    if config.max_answers is not None:
        confident &= confident.cumsum() <= config.max_answers
    noisy = votes_MK + rng.normal(0, sigma, votes_MK.shape)
    return np.where(confident, noisy.argmax(axis=1), ABSTAINS)


def _statement(
    config: PrivateLabelsConfig, sigma: float, spent: float, labels_M: np.ndarray, answers: int
) -> dict[str, Any]:
    """For people and the report; holds nothing that is not public or already answered."""
    return {
        "mechanism": "GNMax" if config.threshold is None else "Confident-GNMax",
        "epsilon": spent,
        "delta": config.delta,
        "sigma": sigma,
        "threshold": config.threshold,
        "threshold_sigma": config.threshold_sigma,
        "parts": config.parts,
        "num_asked": len(labels_M),
        "num_answered": int((labels_M != ABSTAINS).sum()),
        "num_answers_paid_for": answers,
        "covers": (
            "One labelled example: whether it was among the labelled ones, and its label. Whoever "
            "sees all answers and whatever is made from them alone, and knows all other examples, "
            f"can tell it with a likelihood ratio of at most e**{spent:.2f}, but for a chance of "
            f"{config.delta:g}. An example replaced by another counts as two."
        ),
        "does_not_cover": (
            "The images asked about and what a public teacher says of them; class names; captions; "
            "how many examples there are; several examples of one person together; anything else "
            "fitted or measured on the same labels; a second round of answers, which is added; "
            "attacks on floating-point noise, timing or memory."
        ),
        "must_not_be_written": dict(MUST_NOT_BE_WRITTEN),
    }


def _check(
    asked_MD: np.ndarray,
    labelled_LD: np.ndarray,
    labels_L: np.ndarray,
    ids_L: Sequence[str],
    num_classes: int,
) -> None:
    if len(asked_MD) == 0:
        raise UsageError("private labels: no image to ask about")
    if asked_MD.shape[1:] != labelled_LD.shape[1:]:
        raise UsageError(
            f"private labels: features of {asked_MD.shape[1:]} asked about and "
            f"{labelled_LD.shape[1:]} labelled, expected the same number"
        )
    if not len(labelled_LD) == len(labels_L) == len(ids_L):
        raise UsageError(
            f"private labels: {len(labelled_LD)} features, {len(labels_L)} labels and "
            f"{len(ids_L)} ids, expected one of each an example"
        )
    if len(set(ids_L)) < len(ids_L):
        raise UsageError("private labels: an example is there twice, and one may have one vote")
    if len(labels_L) and not 0 <= labels_L.min() <= labels_L.max() < num_classes:
        raise UsageError(
            f"private labels: labels {labels_L.min()} to {labels_L.max()}, expected 0 to "
            f"{num_classes - 1}"
        )


def _unit(vectors: np.ndarray) -> np.ndarray:
    return unit(np.asarray(vectors, dtype=np.float64))

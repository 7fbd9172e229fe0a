"""How far targets lean to some classes and attribute words against tune, and how to set them upright.

N images, K classes, T tune images, A attribute words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from captioning.attributes import ATTRIBUTES, split
from edgekd.errors import DataError, UsageError
from edgekd.mapped import Zeros, blocks, by_rows
from edgekd.metrics import wilson_interval
from edgekd.records import to_dict

MAX_DISTANCE = 0.1
MAX_RATIO = 2.0
_MOST_NAMED = 10


@dataclass(frozen=True)
class Ratio:
    """A class's or word's share of the targets over that of tune, with what so few images allow.

    `low` and `high` come from the Wilson intervals of both shares, the one's end over the other's;
    `high` is inf where tune may have none.
    """

    name: str
    targets: float
    tune: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Balance:
    """Two distributions beside each other.

    `distance` is their total variation; `by_chance` what so few tune labels show on average of
    targets that lean nowhere.
    """

    what: str
    num_targets: int
    num_tune: int
    distance: float
    by_chance: float
    ratios: tuple[Ratio, ...]

    def warnings(
        self, max_distance: float = MAX_DISTANCE, max_ratio: float = MAX_RATIO
    ) -> list[str]:
        """Returns a line where the distance, or a ratio with all of its interval, is beyond."""
        found = []
        if self.distance - self.by_chance > max_distance:
            found.append(
                f"{self.what}: {self.distance:.0%} of the targets lie elsewhere than tune's labels "
                f"({self.by_chance:.0%} by chance, {max_distance:.0%} allowed)"
            )
        beyond = [r for r in self.ratios if r.low > max_ratio or r.high < 1 / max_ratio]
        by_size = sorted(beyond, key=lambda ratio: -abs(math.log(max(ratio.value, 1e-9))))
        found += [
            f"{self.what} '{ratio.name}': {ratio.targets:.1%} of the targets, {ratio.tune:.1%} of "
            f"tune, over {max_ratio:g} times {'more' if ratio.low > max_ratio else 'less'}"
            for ratio in by_size[:_MOST_NAMED]
        ]
        if len(beyond) > _MOST_NAMED:
            found.append(f"{self.what}: {len(beyond) - _MOST_NAMED} more are as far apart")
        return found

    def summary(self) -> dict[str, Any]:
        """Returns it for the report, with infinite bounds as None."""
        values = to_dict(self)
        for ratio in values["ratios"]:
            ratio["high"] = ratio["high"] if math.isfinite(ratio["high"]) else None
            ratio["value"] = ratio["value"] if math.isfinite(ratio["value"]) else None
        return values


@dataclass(frozen=True)
class Matched:
    """Targets matched to a prior, in two ways of which one is to be used.

    `probs_NK` are new targets whose mean is the prior. `weight_N` counts the old ones so that
    their weighted mean comes near it: mean 1 over the images that counted, 0 for those that did
    not.
    """

    probs_NK: np.ndarray
    weight_N: np.ndarray


def class_balance(
    probs_NK: np.ndarray,
    tune_labels: Sequence[int] | np.ndarray,
    classes: Sequence[str],
    weight_N: np.ndarray | None = None,
) -> Balance:
    """Returns the classes of the targets against tune's labels; `weight_N` 0 abstains.

    Give the rows of the training images: what students learn from. Of labels [T, K] of 0 and 1,
    shares are those of all classes that are shown.
    """
    share = _mean(probs_NK, weight_N)
    share = share / share.sum()
    labels = np.asarray(tune_labels, dtype=np.int64)
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(classes))
    if len(share) != len(classes) or len(counts) != len(classes):
        raise DataError(
            f"balance: {len(share)} classes in the targets and labels up to {len(counts) - 1}, "
            f"expected {len(classes)} classes"
        )
    return _balance("class", classes, share, counts.astype(np.float64), _num(probs_NK, weight_N))


def attribute_balance(
    said_NA: np.ndarray, measured_TA: np.ndarray, counted_N: np.ndarray | None = None
) -> dict[str, Balance]:
    """Returns each attribute's words in the targets against what was measured on tune images.

    `said_NA` are attribute targets: an attribute that nothing was said of sums to 0 and is left
    out of its row. Rows that are not `counted_N` are left out whole.
    """
    total, spoken = np.zeros(said_NA.shape[1]), dict.fromkeys(ATTRIBUTES, 0)
    for some in blocks(len(said_NA)):
        said = said_NA[some].astype(np.float64)
        if counted_N is not None:
            said = said[counted_N[some]]
        total += said.sum(axis=0)
        for name, part in split(said).items():
            spoken[name] += int((part.sum(axis=1) > 0).sum())
    found = {}
    measured = split(np.asarray(measured_TA, dtype=np.float64))
    for name, share in split(total).items():
        if spoken[name] and len(measured_TA):
            counts = measured[name].sum(axis=0)
            share = share / share.sum()
            found[name] = _balance(name, ATTRIBUTES[name], share, counts, spoken[name])
    return found


def prior_of(
    which: Literal["uniform", "tune"] | Sequence[float],
    num_classes: int,
    tune_labels: Sequence[int] | np.ndarray = (),
) -> np.ndarray:
    """Returns a prior [K] that sums to 1: uniform, tune's (one more of each class), or the one given.

    Raises:
        UsageError: not one positive number a class, or tune without labels.
    """
    if isinstance(which, str):
        if which == "uniform":
            return np.full(num_classes, 1 / num_classes)
        if len(tune_labels) == 0:
            raise UsageError("prior: tune has no labels. Take 'uniform', or give one share a class")
        counts = np.bincount(np.asarray(tune_labels, dtype=np.int64), minlength=num_classes) + 1.0
        return counts / counts.sum()
    prior = np.asarray(which, dtype=np.float64)
    if prior.shape != (num_classes,) or not (prior > 0).all():
        raise UsageError(f"prior: {prior.tolist()}, expected {num_classes} numbers above 0")
    return prior / prior.sum()


def match_prior(
    probs_NK: np.ndarray,
    prior_K: np.ndarray,
    weight_N: np.ndarray | None = None,
    rounds: int = 1000,
    tolerance: float = 1e-6,
    zeros: Zeros = np.zeros,
) -> Matched:
    """Returns targets whose mean is the prior, and weights as the other way to it.

    Sinkhorn scaling: rows are divided by their sums and columns set to the prior in turn, the
    nearest such targets in KL divergence (Sinkhorn, Am. Math. Monthly 74, 1967). Rows of weight 0
    are scaled by the same factors and do not count.

    Raises:
        DataError: a class that no image has any probability of, or no image that counts.
    """
    counted = _weights(probs_NK, weight_N)
    share = _mean(probs_NK, counted)
    if (share <= 0).any():
        index = int(np.flatnonzero(share <= 0)[0])
        raise DataError(
            f"prior: no image has any probability of class {index}, so no scaling reaches its "
            f"{prior_K[index]:.1%}"
        )
    factors = np.ones(len(prior_K))
    for _ in range(rounds):
        now = _mean(probs_NK, counted, factors)
        if np.abs(now - prior_K).sum() / 2 < tolerance:
            break
        factors *= prior_K / now
    weights = counted * (probs_NK @ (prior_K / share))
    matched = by_rows(lambda probs: _rows(probs * factors), probs_NK, zeros=zeros, dtype=np.float64)
    return Matched(matched, weights * (counted > 0).sum() / weights.sum())


def corrected(probs_NK: np.ndarray, old_K: np.ndarray, new_K: np.ndarray) -> np.ndarray:
    """Returns probabilities under a new prior, given the one they were made under.

    p(k | x) * new / old, rows summing to 1 (Saerens et al., Neural Computation 14, 2002, eq. 2.4).
    """
    return _rows(np.asarray(probs_NK, dtype=np.float64) * (new_K / old_K))


def estimated_prior(
    probs_NK: np.ndarray, old_K: np.ndarray, rounds: int = 1000, tolerance: float = 1e-6
) -> np.ndarray:
    """Returns the prior [K] under which these images are likeliest, without any label.

    EM over the prior alone (Saerens et al., Neural Computation 14, 2002, eq. 2.9). Probabilities
    must be calibrated for `old_K`: of confident ones it says what they say.
    """
    new = np.asarray(old_K, dtype=np.float64)
    for _ in range(rounds):
        before, new = new, corrected(probs_NK, old_K, new).mean(axis=0)
        if np.abs(new - before).sum() / 2 < tolerance:
            break
    return new


def _balance(
    what: str, names: Sequence[str], share_K: np.ndarray, counts_K: np.ndarray, num_targets: int
) -> Balance:
    num_tune = counts_K.sum()
    if num_tune == 0:
        raise UsageError(f"balance of {what}: nothing in tune to hold the targets against")
    tune = counts_K / num_tune
    return Balance(
        what,
        num_targets,
        round(float(num_tune)),
        float(np.abs(share_K - tune).sum() / 2),
        # Half the sum of the mean absolute deviations of binomial shares.
        float(np.sqrt(share_K * (1 - share_K) / (2 * math.pi * num_tune)).sum()),
        tuple(
            _ratio(name, float(share), num_targets, float(count), float(num_tune))
            for name, share, count in zip(names, share_K, counts_K, strict=True)
        ),
    )


def _ratio(name: str, share: float, num_targets: int, count: float, num_tune: float) -> Ratio:
    least, most = wilson_interval(share * num_targets, num_targets)
    low, high = wilson_interval(count, round(num_tune))
    tune = count / num_tune
    return Ratio(name, share, tune, _over(share, tune), _over(least, high), _over(most, low))


def _over(share: float, other: float) -> float:
    return share / other if other > 0 else math.inf


def _mean(
    probs_NK: np.ndarray, weight_N: np.ndarray | None, factors_K: np.ndarray | None = None
) -> np.ndarray:
    """The weighted mean of the rows, of each times the factors where some are given."""
    weights, total = _weights(probs_NK, weight_N), np.zeros(probs_NK.shape[1])
    for some in blocks(len(probs_NK)):
        probs = probs_NK[some].astype(np.float64)
        total += weights[some] @ (probs if factors_K is None else _rows(probs * factors_K))
    return total / weights.sum()


def _weights(probs_NK: np.ndarray, weight_N: np.ndarray | None) -> np.ndarray:
    weights = np.ones(len(probs_NK)) if weight_N is None else np.asarray(weight_N, np.float64)
    if len(weights) != len(probs_NK) or not weights.sum() > 0:
        raise DataError(
            f"balance: {len(probs_NK)} targets and {len(weights)} weights that sum to "
            f"{weights.sum():g}, expected one a target and some above 0"
        )
    return weights


def _num(probs_NK: np.ndarray, weight_N: np.ndarray | None) -> int:
    return int((_weights(probs_NK, weight_N) > 0).sum())


def _rows(values_NK: np.ndarray) -> np.ndarray:
    return values_NK / values_NK.sum(axis=1, keepdims=True)

"""Private labels: what they cost, that noise is drawn, that one example cannot be told from them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from captioning import private_labels as pl
from edgekd.errors import ConfigError, UsageError

# As dp-accounting 0.6.0 (RDP) says for answers of noise sigma / sqrt(2) and checks of their own.
PUBLISHED = [
    (math.sqrt(2), 1e-5, 1, 0, None, 4.72843),
    (40.0, 1e-5, 100, 0, None, 1.47812),
    (40.0, 1e-6, 500, 1000, 150.0, 4.16707),
    (100.0, 1e-5, 1000, 0, None, 1.91424),
    (200.0, 1e-5, 1, 0, None, 0.021047),
    (1.0, 1e-5, 10, 0, None, 30.1108),
]


def exact_delta(epsilon: float, mu: float) -> float:
    """The delta of a Gaussian mechanism of sensitivity mu and noise 1 (arXiv:1805.06530, th. 8)."""

    def below(value: float) -> float:
        return 0.5 * math.erfc(-value / math.sqrt(2))

    return below(mu / 2 - epsilon / mu) - math.exp(epsilon) * below(-mu / 2 - epsilon / mu)


@pytest.mark.parametrize(
    ("sigma", "delta", "answers", "checks", "threshold_sigma", "expected"), PUBLISHED
)
def test_epsilon_is_that_of_the_published_accountant(
    sigma: float,
    delta: float,
    answers: int,
    checks: int,
    threshold_sigma: float | None,
    expected: float,
) -> None:
    found = pl.epsilon(sigma, delta, answers, checks, threshold_sigma)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("sigma", "answers"), [(1.0, 1), (5.0, 10), (40.0, 100), (300.0, 50)])
def test_epsilon_is_never_below_the_exact_one(sigma: float, answers: int) -> None:
    # Gaussian answers compose exactly: sensitivity sqrt(2) each, sqrt(2 answers) together.
    mu = math.sqrt(2 * answers) / sigma
    found = pl.epsilon(sigma, 1e-5, answers)
    assert exact_delta(found, mu) <= 1e-5
    assert exact_delta(0.75 * found, mu) > 1e-5


def test_epsilon_falls_with_noise_and_grows_with_queries() -> None:
    assert pl.epsilon(10, 1e-5, 10) > pl.epsilon(20, 1e-5, 10) > pl.epsilon(40, 1e-5, 10) > 0
    assert pl.epsilon(20, 1e-5, 1) < pl.epsilon(20, 1e-5, 10) < pl.epsilon(20, 1e-5, 100)
    assert pl.epsilon(20, 1e-9, 10) > pl.epsilon(20, 1e-5, 10)
    assert pl.epsilon(20, 1e-5, 10, 10, 50.0) > pl.epsilon(20, 1e-5, 10)
    assert pl.epsilon(20, 1e-5, 0) == 0


@pytest.mark.parametrize("target", [0.1, 1.0, 8.0])
def test_noise_is_the_least_that_keeps_to_epsilon(target: float) -> None:
    sigma = pl.noise_for(target, 1e-5, 1000, 2000, 1000.0 / target)
    assert pl.epsilon(sigma, 1e-5, 1000, 2000, 1000.0 / target) <= target
    assert pl.epsilon(0.99 * sigma, 1e-5, 1000, 2000, 1000.0 / target) > target


def test_checks_that_use_the_target_up_are_named() -> None:
    with pytest.raises(ConfigError, match=r"2,000 checks with threshold_sigma 10.0 alone come to"):
        pl.noise_for(1.0, 1e-5, 1, 2000, 10.0)


def examples(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Three classes, each around an axis."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    features = np.eye(3)[labels] + rng.normal(0, 0.1, (count, 3))
    return features, labels, [f"{seed}-{n}" for n in range(count)]


ASKED = np.eye(3)[[0, 1, 2, 0]]


def test_each_part_votes_once_and_an_empty_one_not() -> None:
    features, labels, ids = examples(400)
    counts = pl.votes(ASKED, features, labels, ids, 3, 20)
    assert counts.sum(axis=1).tolist() == [20] * 4
    assert counts.argmax(axis=1).tolist() == [0, 1, 2, 0]
    few = pl.votes(ASKED, features[:2], labels[:2], ids[:2], 3, 1000)
    assert few.sum(axis=1).tolist() == [2] * 4


def test_one_example_changes_one_vote_of_each_image() -> None:
    features, labels, ids = examples(60)
    whole = pl.votes(ASKED, features, labels, ids, 3, 8)
    for left_out in range(60):
        keep = np.arange(60) != left_out
        without = pl.votes(
            ASKED, features[keep], labels[keep], [ids[n] for n in np.flatnonzero(keep)], 3, 8
        )
        assert np.abs(whole - without).sum(axis=1).max() <= 2
    other = labels.copy()
    other[0] = (labels[0] + 1) % 3
    changed = pl.votes(ASKED, features, other, ids, 3, 8)
    assert np.abs(whole - changed).sum(axis=1).max() <= 2


def ask(rng: np.random.Generator | None = None, **values: object) -> pl.Private:
    features, labels, ids = examples(400)
    config = pl.PrivateLabelsConfig(**{"parts": 50, **values})  # type: ignore[arg-type]
    return pl.private_labels(ASKED, features, labels, ids, 3, config, rng)


def test_without_much_noise_the_answers_are_right() -> None:
    found = ask(sigma=5.0)
    assert found.labels_M.tolist() == [0, 1, 2, 0]
    assert found.statement["epsilon"] == pytest.approx(pl.epsilon(5.0, 1e-5, 4))
    probs, weight = found.targets(3, trust=0.7)
    assert probs[1] == pytest.approx([0.1, 0.8, 0.1])
    assert weight.tolist() == [1, 1, 1, 1]


def test_noise_is_drawn_anew_each_time_unless_a_generator_is_given() -> None:
    loud = [tuple(ask(sigma=1000.0).labels_M.tolist()) for _ in range(20)]
    assert len(set(loud)) > 5
    seeded = [ask(np.random.default_rng(1), sigma=1000.0).labels_M.tolist() for _ in range(2)]
    assert seeded[0] == seeded[1]


def test_epsilon_in_the_config_sets_the_noise() -> None:
    found = ask(epsilon=2.0)
    assert found.statement["epsilon"] == pytest.approx(2.0, rel=1e-4)
    assert found.statement["sigma"] == pytest.approx(pl.noise_for(2.0, 1e-5, 4))


def test_it_abstains_where_the_parts_do_not_agree() -> None:
    features, labels, ids = examples(400)
    asked = np.vstack([ASKED, [[1.0, 1.0, 1.0]] * 30])
    config = pl.PrivateLabelsConfig(parts=50, sigma=2.0, threshold=40.0, threshold_sigma=2.0)
    found = pl.private_labels(asked, features, labels, ids, 3, config)
    assert found.labels_M[:4].tolist() == [0, 1, 2, 0]
    assert (found.labels_M[4:] == pl.ABSTAINS).all()
    probs, weight = found.targets(3)
    assert probs[10] == pytest.approx(1 / 3)
    assert weight.tolist() == [1] * 4 + [0] * 30
    assert found.statement["mechanism"] == "Confident-GNMax"
    assert found.statement["num_answered"] == 4
    # What was turned away was checked, and all could have been answered.
    assert found.statement["epsilon"] == pytest.approx(pl.epsilon(2.0, 1e-5, 34, 34, 2.0))


def test_no_more_answers_than_were_paid_for() -> None:
    found = ask(sigma=5.0, max_answers=2)
    assert found.labels_M.tolist() == [0, 1, pl.ABSTAINS, pl.ABSTAINS]
    assert found.statement["epsilon"] == pytest.approx(pl.epsilon(5.0, 1e-5, 2))


def answers(asked: Callable[[np.random.Generator], np.ndarray], draws: int) -> np.ndarray:
    """How often each pair of answers came, over two images of three classes."""
    rng = np.random.default_rng(7)
    counts = np.zeros(9)
    for _ in range(draws):
        first, second = asked(rng)
        counts[3 * first + second] += 1
    return counts / draws


@pytest.mark.parametrize(("sigma", "is_private"), [(2.0, True), (0.2, False)])
def test_membership_stays_within_the_bound_and_too_little_noise_does_not(
    sigma: float, is_private: bool
) -> None:
    """Two data sets that differ in one example; the answers of both, 4,000 times each."""
    features, labels, ids = examples(2)
    labels = np.array([0, 1])
    features = np.eye(3)[labels]
    asked = np.eye(3)[[0, 0]]
    bound = pl.epsilon(2.0, 0.05, 2)
    config = pl.PrivateLabelsConfig(parts=7, sigma=sigma, delta=0.05)

    def of(count: int) -> np.ndarray:
        return answers(
            lambda rng: (
                pl.private_labels(
                    asked, features[:count], labels[:count], ids[:count], 3, config, rng
                ).labels_M
            ),
            4000,
        )

    whole, without = of(2), of(1)
    worst = 0.0
    for ours, theirs in ((whole, without), (without, whole)):
        # The event that tells most: all answers likelier by more than e**epsilon.
        beyond = ours - math.exp(bound) * theirs
        worst = max(worst, float(beyond[beyond > 0].sum()))
    slack = 3 * math.sqrt(0.25 / 4000)
    assert (worst <= 0.05 + slack) == is_private


def test_the_statement_holds_nothing_of_the_labels() -> None:
    found = ask(sigma=5.0)
    text = json.dumps(found.statement)
    assert "One labelled example" in found.statement["covers"]
    assert f"e**{found.statement['epsilon']:.2f}" in found.statement["covers"]
    for never in ("captions", "features", "votes", "probe", "baseline", "generator"):
        assert any(never in what for what in found.statement["must_not_be_written"]), never
    assert "400" not in text  # how many examples there are
    assert set(vars(found)) == {"labels_M", "statement"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "give either epsilon or sigma"),
        ({"sigma": 1, "epsilon": 1}, "give either epsilon or sigma"),
        ({"sigma": 1, "threshold": 3}, "threshold and threshold_sigma go together"),
    ],
)
def test_half_a_config_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        pl.PrivateLabelsConfig(**values)  # type: ignore[arg-type]


def test_arrays_that_do_not_fit_are_named() -> None:
    features, labels, ids = examples(4)
    config = pl.PrivateLabelsConfig(sigma=1)
    with pytest.raises(UsageError, match="an example is there twice"):
        pl.private_labels(ASKED, features, labels, ["a"] * 4, 3, config)
    with pytest.raises(UsageError, match="4 features, 3 labels and 4 ids"):
        pl.private_labels(ASKED, features, labels[:3], ids, 3, config)
    with pytest.raises(UsageError, match="expected 0 to 1"):
        pl.private_labels(ASKED, features, np.array([0, 1, 2, 0]), ids, 2, config)
    with pytest.raises(UsageError, match="expected the same number"):
        pl.private_labels(ASKED[:, :2], features, labels, ids, 3, config)
    with pytest.raises(UsageError, match="no image to ask about"):
        pl.private_labels(ASKED[:0], features, labels, ids, 3, config)

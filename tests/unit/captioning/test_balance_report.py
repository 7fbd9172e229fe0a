"""Balance of targets against tune, and matching a prior: values worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from captioning import balance_report as br
from captioning.attributes import WORDS
from edgekd.errors import DataError, UsageError

CLASSES = ("cat", "dog")


def test_distance_ratio_and_interval() -> None:
    probs = np.array([[1, 0], [0.6, 0.4], [0.8, 0.2], [0, 1]])
    found = br.class_balance(probs, [0, 1] * 5, CLASSES, np.array([1, 1, 1, 0]))
    # Mean (.8, .2) of three against (.5, .5) of ten.
    assert (found.num_targets, found.num_tune) == (3, 10)
    assert found.distance == pytest.approx(0.3)
    # Twice sqrt(.16 / (20 pi)).
    assert found.by_chance == pytest.approx(2 * math.sqrt(0.16 / (20 * math.pi)))
    cat, dog = found.ratios
    assert (cat.name, cat.targets, cat.tune) == ("cat", pytest.approx(0.8), 0.5)
    assert (cat.value, dog.value) == (pytest.approx(1.6), pytest.approx(0.4))
    # Wilson of 5 of 10 is .2366 to .7634, of .8 of 3 images .2877 to .9754.
    assert cat.low == pytest.approx(0.2877 / 0.7634, abs=1e-3)
    assert cat.high == pytest.approx(0.9754 / 0.2366, abs=1e-2)


def test_a_class_that_tune_lacks_has_no_upper_bound() -> None:
    found = br.class_balance(np.array([[0.5, 0.5]]), [0] * 10, CLASSES)
    dog = found.ratios[1]
    # Wilson of 0 of 10 ends at z**2 / (10 + z**2) = .2775; that of half an image begins at .0546.
    assert dog.low == pytest.approx(0.0546 / 0.2775, abs=1e-3)
    assert (dog.value, dog.high) == (math.inf, math.inf)
    summary = found.summary()
    assert summary["ratios"][1]["high"] is None
    json.dumps(summary, allow_nan=False)


def test_warnings_speak_of_what_chance_does_not_explain() -> None:
    lean = np.tile([0.9, 0.1], (500, 1))
    many = br.class_balance(lean, [0, 1] * 100, CLASSES)
    first, dog = many.warnings()
    assert first.startswith("class: 40% of the targets lie elsewhere than tune's labels (2% by")
    assert dog == "class 'dog': 10.0% of the targets, 50.0% of tune, over 2 times less"
    # Ten labels: the distance is told, and no class's interval lies all beyond twice.
    few = br.class_balance(lean, [0, 1] * 5, CLASSES)
    assert len(few.warnings()) == 1
    assert len(few.warnings(max_ratio=1.5)) == 2
    assert few.warnings(max_distance=0.5) == []
    even = br.class_balance(np.tile([0.5, 0.5], (50, 1)), [0, 1] * 100, CLASSES)
    assert even.warnings() == []


def test_of_many_classes_ten_are_named_the_worst_first() -> None:
    classes = [f"c{n}" for n in range(40)]
    share = np.r_[np.full(15, 0.001), 0.0001, np.full(24, (1 - 0.0151) / 24)]
    labels = np.repeat(np.arange(40), 50)
    lines = br.class_balance(np.tile(share, (20000, 1)), labels, classes).warnings()
    assert lines[1].startswith("class 'c15'")
    assert len(lines) == 12
    assert lines[-1] == "class: 6 more are as far apart"


def test_attributes_are_compared_word_by_word() -> None:
    names = [word for _, word in WORDS]
    said, measured = np.zeros((4, len(WORDS))), np.zeros((2, len(WORDS)))
    said[:2, names.index("small")] = 1
    said[2, [names.index("small"), names.index("large")]] = 0.5
    measured[0, names.index("small")] = 1
    measured[1, names.index("large")] = 1
    found = br.attribute_balance(said, measured)
    # Of the three that speak of size 2.5 say small and .5 large; tune has one of each.
    assert list(found) == ["size"]
    assert found["size"].num_targets == 3
    assert [ratio.targets for ratio in found["size"].ratios] == pytest.approx([2.5 / 3, 0, 0.5 / 3])
    assert found["size"].distance == pytest.approx(1 / 3)


def test_priors() -> None:
    assert br.prior_of("uniform", 4) == pytest.approx([0.25] * 4)
    assert br.prior_of("tune", 3, [0, 0, 1]) == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    assert br.prior_of([2, 6], 2) == pytest.approx([0.25, 0.75])
    with pytest.raises(UsageError, match="tune has no labels"):
        br.prior_of("tune", 3)
    with pytest.raises(UsageError, match="expected 2 numbers above 0"):
        br.prior_of([1, 0], 2)


def test_correction_for_a_known_prior() -> None:
    # .8 * .5 / .8 and .2 * .5 / .2: even.
    found = br.corrected(np.array([[0.8, 0.2]]), np.array([0.8, 0.2]), np.array([0.5, 0.5]))
    assert found == pytest.approx(np.array([[0.5, 0.5]]))


def test_em_finds_the_prior_of_images_drawn_from_it() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(20000) < 0.8).astype(int)  # 80% of class 1
    values = rng.normal(2.0 * labels, 1.0)  # log odds of two Gaussians: 2 x - 2
    probs = 1 / (1 + np.exp(-(2 * values - 2)))
    given = np.stack([1 - probs, probs], axis=1)
    found = br.estimated_prior(given, np.array([0.5, 0.5]))
    assert found[1] == pytest.approx(0.8, abs=0.02)
    assert given.mean(axis=0)[1] < 0.77  # what counting alone says
    # Certain answers: the prior is their count.
    certain = np.eye(2)[[0, 1, 1, 1]]
    assert br.estimated_prior(certain, np.array([0.5, 0.5])) == pytest.approx([0.25, 0.75])


def test_sinkhorn_reaches_the_prior() -> None:
    probs = np.array([[0.9, 0.1], [0.6, 0.4]])
    found = br.match_prior(probs, np.array([0.5, 0.5]))
    assert found.probs_NK.mean(axis=0) == pytest.approx([0.5, 0.5], abs=1e-5)
    assert found.probs_NK.sum(axis=1) == pytest.approx([1, 1])
    # Odds are all multiplied by one number c with 9c/(9c+1) + 1.5c/(1.5c+1) = 1: c**2 = 1 / 13.5.
    c = 1 / math.sqrt(13.5)
    assert found.probs_NK[:, 0] == pytest.approx([9 * c / (9 * c + 1), 1.5 * c / (1.5 * c + 1)])


def test_weights_are_the_other_way() -> None:
    # Shares (.75, .25): factors 2/3 and 2; the images 2/3 and 2 as they are, 1.0 together a half.
    probs = np.eye(2)[[0, 0, 0, 1]]
    found = br.match_prior(probs, np.array([0.5, 0.5]))
    assert found.weight_N == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    assert (found.weight_N @ probs) / found.weight_N.sum() == pytest.approx([0.5, 0.5])


def test_images_that_abstain_do_not_count() -> None:
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.01, 0.99]])
    weight = np.array([1, 1, 0])
    found = br.match_prior(probs, np.array([0.5, 0.5]), weight)
    assert found.probs_NK[:2].mean(axis=0) == pytest.approx([0.5, 0.5], abs=1e-5)
    assert found.weight_N[2] == 0
    assert found.weight_N.sum() == pytest.approx(2)


def test_faults_are_named() -> None:
    with pytest.raises(DataError, match="no image has any probability of class 1"):
        br.match_prior(np.array([[1.0, 0.0]]), np.array([0.5, 0.5]))
    with pytest.raises(DataError, match="1 targets and 1 weights that sum to 0"):
        br.match_prior(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.zeros(1))
    with pytest.raises(DataError, match="2 classes in the targets and labels up to 2"):
        br.class_balance(np.array([[0.5, 0.5]]), [2], CLASSES)
    with pytest.raises(UsageError, match="balance of class: nothing in tune"):
        br.class_balance(np.array([[0.5, 0.5]]), [], CLASSES)

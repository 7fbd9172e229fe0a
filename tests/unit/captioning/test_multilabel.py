"""Captions and scores of images that show several classes: by hand, and on made-up items."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from captioning import multilabel as ml
from captioning import soft_targets as st
from captioning.label_review import review_multilabel
from captioning.matching import Lexicon
from captioning.teachers import multilabel_probe
from captioning.teachers.composed import NamesHead
from edgekd import metrics
from edgekd.errors import DataError
from edgekd.records import Caption, TaskSpec

TASK = TaskSpec("test", ("cat", "dog", "bird"), multilabel=True)
LEXICON = Lexicon(TASK)
NUM_CLASSES = 3


def read(texts: dict[int, list[str]], temperature: float = 1.0) -> Iterator[st.Statement]:
    captions = [
        Caption(str(row), n, text, "plain", temperature, 0, "test", 0.9)
        for row, said in texts.items()
        for n, text in enumerate(said)
    ]
    row_of = {str(row): row for row in texts}
    return st.read_statements(captions, row_of, LEXICON, lambda text: None)


def shown(*classes: int) -> np.ndarray:
    return np.isin(np.arange(NUM_CLASSES), classes).astype(np.int8)


def test_a_caption_speaks_for_every_class_that_it_names() -> None:
    texts = {0: ["A cat and a dog.", "A dog."], 1: ["A stone."]}
    model = ml.CaptionModel({("test", 1.0): 0.8})
    found = ml.caption_targets(read(texts), model, 3, NUM_CLASSES)
    # Named .8 and 1.6 of 1.6 in all; a quarter is added to both sides of the odds.
    assert found.probs_NK[0] == pytest.approx([0.5, 1.85 / 2.1, 0.25 / 2.1], abs=1e-6)
    assert found.probs_NK[1] == pytest.approx(0.25 / 1.3, abs=1e-6)  # said, and names none
    assert found.probs_NK[2] == pytest.approx(1 / NUM_CLASSES)  # nothing said
    assert found.counts_N.tolist() == [2, 1, 0]


def test_what_naming_is_worth_is_fitted_on_tune() -> None:
    """A teacher that names one of two shown classes in turn: each named class is there for sure."""
    texts, tune = {}, {}
    for row in range(60):
        both = [row % 3, (row + 1) % 3]
        texts[row] = [f"A {TASK.classes[k]}." for k in both]
        tune[row] = shown(*both)
    plain = ml.caption_targets(read(texts), ml.CaptionModel({}), 60, NUM_CLASSES).probs_NK
    model = ml.fit(read(texts), {}, tune, NUM_CLASSES)
    fitted = ml.caption_targets(read(texts), model, 60, NUM_CLASSES).probs_NK
    labels = np.stack(list(tune.values()))
    assert model.reliability["test", 1.0] == pytest.approx(121 / 122)
    assert metrics.accuracy(plain, labels) == 0  # half of the captions name it: not above .5
    assert metrics.accuracy(fitted, labels) == 1


def test_a_source_that_makes_things_up_is_not_heard() -> None:
    rng = np.random.default_rng(0)
    good, bad, tune = {}, {}, {}
    for row in range(80):
        true = rng.integers(NUM_CLASSES)
        good[row] = [f"A {TASK.classes[true]}."]
        bad[row] = [f"A {TASK.classes[rng.integers(NUM_CLASSES)]}."]
        tune[row] = shown(true)
    statements = sorted([*read(good, 0.5), *read(bad, 2.0)], key=lambda each: each.row)
    model = ml.fit(iter(statements), {}, tune, NUM_CLASSES, choose=True)
    assert model.heard == frozenset({("test", 0.5)})
    assert model.reliability["test", 0.5] > 0.9 > 0.6 > model.reliability["test", 2.0]


def test_scores_that_compare_classes_become_odds_of_each() -> None:
    odds = ml.log_odds(np.array([[np.log(3), 0.0, -np.inf], [1.0, 1.0, 1.0], [np.nan, 0, 0]]))
    assert np.isnan(odds[[0, 2]]).all()  # what is not finite abstains
    assert metrics.sigmoid(odds[1]) == pytest.approx(1 / 3, abs=1e-6)


def test_the_pool_learns_how_many_classes_an_image_shows() -> None:
    """Softmax scores of images that show two classes give each at most a half; tune lifts them."""
    labels = np.array([shown(row % 3, (row + 1) % 3) for row in range(90)])
    rng = np.random.default_rng(0)
    good = ml.log_odds(3 * labels + rng.normal(scale=0.5, size=labels.shape))
    noise = rng.normal(size=labels.shape)
    good[7] = np.nan
    alone, weight = ml.pooled_scores([good], {})
    assert weight == [1.0]
    tune = dict(enumerate(labels[:60]))
    del tune[7]
    pooled, weights = ml.pooled_scores([good, noise], tune)
    assert metrics.accuracy(alone[60:], labels[60:]) < 0.5
    assert metrics.accuracy(pooled[60:], labels[60:]) > 0.95
    assert weights[0] > 10 * weights[1]
    nobody, _ = ml.pooled_scores([good], tune)
    assert nobody[7] == pytest.approx(1 / NUM_CLASSES)


def test_labels_that_are_contradicted_are_listed_class_by_class() -> None:
    labels = np.array([shown(0), shown(0, 1), shown(1), shown()] * 5)
    probs = np.where(labels > 0, 0.9, 0.1).astype(np.float64)
    labels[0] = shown(0, 2)  # claimed and not seen
    labels[2] = shown()  # seen and not claimed
    labels[5, 2] = 1
    probs[5, 2] = 0.9
    found = review_multilabel([str(n) for n in range(20)], labels, probs, TASK.classes)
    named = {(each.item_id, each.given, each.suggested) for each in found.suspects}
    assert named == {("0", "bird", "no bird"), ("2", "no dog", "dog")}


# The probe.


def made_up(num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features that each class shifts in a direction of its own, and labels [num, 3]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size=(num, NUM_CLASSES)).astype(np.int8)
    directions = np.random.default_rng(1).normal(size=(NUM_CLASSES, 8))
    return labels @ directions + rng.normal(scale=0.25, size=(num, 8)), labels


@pytest.mark.parametrize("num_tune", [0, 40])
def test_a_probe_a_class_says_how_probable_each_is(num_tune: int) -> None:
    features, labels = made_up(300)
    given = np.arange(60), labels[:60]
    tune = np.arange(60, 60 + num_tune), labels[60 : 60 + num_tune]
    head = multilabel_probe.fit(features, features, given, tune, None, NUM_CLASSES, 0)
    probs = metrics.sigmoid(head.logits(features[100:], features[100:]))
    assert metrics.accuracy(probs, labels[100:]) > 0.9
    assert metrics.expected_calibration_error(probs, labels[100:]) < 0.06
    assert ("tune labels" in head.provenance["probe"]) == (num_tune > 0)


@pytest.mark.parametrize("always", [0, 1])
def test_a_class_that_all_show_or_none_leaves_it_to_the_names(always: int) -> None:
    features, labels = made_up(60)
    labels[:, 1] = always
    given, none = (np.arange(60), labels), (np.arange(0), labels[:0])
    names = NamesHead(np.eye(8)[:, :4], np.eye(NUM_CLASSES, 4), 1.0, np.zeros(NUM_CLASSES))
    head = multilabel_probe.fit(features, features, given, none, names, NUM_CLASSES, 0)
    assert head.probe_coef_DK is None
    assert head.names is names
    with pytest.raises(DataError, match="2 that do not"):
        multilabel_probe.fit(features, features, given, none, None, NUM_CLASSES, 0)

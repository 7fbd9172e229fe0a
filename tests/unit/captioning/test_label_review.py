"""Confident learning by hand, and on planted label noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from captioning import label_review
from captioning.label_review import Suspect, review
from edgekd.errors import DataError

CLASSES = ("cat", "dog", "=fox")
# Two classes: thresholds are the means of a class's own column, .6 for cat and .7 for dog.
PROBS = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6]])
LABELS = np.array([0, 0, 0, 1, 1])


def test_by_hand() -> None:
    """Counts: cat 2 as cat and 1 as dog; dog 1 as dog, the last image reaches no threshold."""
    found = review(list("abcde"), LABELS, PROBS, CLASSES[:2])
    assert found.thresholds_K == pytest.approx([0.6, 0.7])
    assert found.suspects == (Suspect("c", "cat", "dog", 0.1, 0.9),)
    # 3 cats: 2/3 and 1/3 of .6; 2 dogs: all of .4.
    assert found.joint_KK == pytest.approx(np.array([[0.4, 0.2], [0.0, 0.4]]))
    assert found.wrong_share == pytest.approx(0.2)


def test_the_most_contradicted_comes_first() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    probs = np.array(
        [[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.5, 0.5]]
    )
    found = review(list("abcdefg"), labels, probs, CLASSES[:2])
    assert [one.item_id for one in found.suspects] == ["d", "c"]


def test_a_class_without_labels_is_never_suggested() -> None:
    probs = np.array([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1]])
    found = review(list("abc"), np.array([0, 0, 1]), probs, CLASSES)
    assert found.suspects == ()
    assert np.isnan(found.thresholds_K[2])
    assert found.joint_KK.sum() == pytest.approx(1)


def test_planted_noise_is_found_and_its_share_estimated() -> None:
    """4,000 images of 5 classes, every tenth label moved on by one class."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 5, 4000)
    logits = rng.normal(size=(4000, 5)) + 6 * np.eye(5)[true]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(np.arange(4000) % 10 == 0, (true + 1) % 5, true)
    found = review([str(i) for i in range(4000)], labels, probs, list("abcde"))
    wrong = {str(i) for i in range(0, 4000, 10)}
    listed = [one.item_id for one in found.suspects]
    assert len(wrong & set(listed)) / len(wrong) > 0.9
    assert len(wrong & set(listed)) / len(listed) > 0.9
    assert wrong >= set(listed[:100])
    assert found.wrong_share == pytest.approx(0.1, abs=0.02)
    # Moved on by one: the noise lies beside the diagonal.
    beside = sum(found.joint_KK[(i + 1) % 5, i] for i in range(5))
    assert beside > 0.9 * found.wrong_share


def test_no_labels_no_suspects() -> None:
    found = review([], np.array([], dtype=int), np.zeros((0, 2)), CLASSES[:2])
    assert found.suspects == ()
    assert found.wrong_share == 0


def test_the_sheet(tmp_path: Path) -> None:
    path = label_review.write([Suspect("a/1.png", "cat", "=fox", 0.1, 0.85)], tmp_path / "s.csv")
    assert path.read_bytes().decode("utf-8-sig") == (
        "item,given,suggested,given_probability,suggested_probability,keep\r\n"
        "a/1.png,cat,'=fox,0.100,0.850,\r\n"
    )


@pytest.mark.parametrize(
    ("labels", "probs", "message"),
    [
        (
            [0],
            [[0.5, 0.5], [0.5, 0.5]],
            r"found labels \(1,\) and probabilities \(2, 2\), expected",
        ),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "expected labels from 0 to 1"),
        ([0, 1], [[0.5, 0.5], [3.0, 0.5]], "sum to 1 for every image"),
    ],
)
def test_faults(labels: list[int], probs: list[list[float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        review(["a", "b"], np.array(labels), np.array(probs), CLASSES[:2])

"""Neighbours vote on what a caption names."""

from __future__ import annotations

import numpy as np
import pytest

from captioning import votes
from captioning.matching import Lexicon
from edgekd.records import Caption, TaskSpec

LEXICON = Lexicon(TaskSpec("test", ("cat", "dog")))


def caption(item: str, text: str, translation: str | None = None) -> Caption:
    return Caption(item, 0, text, "t", 1.0, 0, "t", 1.0, translation=translation)


def test_a_class_that_the_neighbours_do_not_see_is_voted_down() -> None:
    """Eleven images of one kind: the teacher takes the first one for a dog, the others for cats."""
    scores = np.array([[0.1, 0.9], *[[0.9, 0.1]] * 10])
    features = np.tile([1.0, 0.5], (11, 1)) + np.linspace(0, 0.01, 11)[:, None]
    row_of = {f"i{n}": n for n in range(11)}
    vote = votes.by_neighbours(scores, features, np.arange(11), row_of, LEXICON)
    cat = (0.1 + 10 * 0.9) / 11
    asked = [
        caption("i0", "A dog."), caption("i0", "A cat, perhaps a dog."), caption("i0", "A thing."),
        caption("i0", "一只狗", "A dog."), caption("other", "A dog."),
    ]  # fmt: skip
    low = (1 - cat) / cat
    assert vote(asked) == pytest.approx([low, 1, 1, low, 1])

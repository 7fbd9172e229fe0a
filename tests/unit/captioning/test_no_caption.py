"""The small model of texts that are no caption: its features, its sums, and the file shipped."""

from __future__ import annotations

import math

import numpy as np
import pytest

from captioning import no_caption
from captioning.no_caption import BUCKETS, KINDS, NoCaption, features


def test_features_are_buckets_each_once() -> None:
    found = features("A cat, a cat!")
    assert found.tolist() == sorted(set(found.tolist()))
    assert 0 <= found.min() <= found.max() < BUCKETS
    assert features("Photo 12").tolist() == features("PHOTO 98").tolist()  # digits are alike
    assert len(features("")) > 0


def test_probabilities_by_hand() -> None:
    """Each bucket counts 1 / sqrt(their number): the log odds of a refusal are the square root."""
    weights_BK = np.zeros((BUCKETS, len(KINDS)))
    weights_BK[:, 1] = 1
    model = NoCaption(weights_BK, np.zeros(3))
    odds = math.exp(math.sqrt(len(features("no"))))
    assert model.probabilities("no") == pytest.approx(np.array([1, odds, 1]) / (odds + 2))
    assert model.kind("no", 0.5) == "refusal"
    assert NoCaption(-weights_BK, np.array([0, 0, 5.0])).kind("no", 0.5) == "boilerplate"
    assert NoCaption(weights_BK, np.array([99.0, 0, 0])).kind("no", 0.5) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("It did not prove feasible for me to work out what you have sent over.", "refusal"),
        ("Subscribe and get the news by mail", "boilerplate"),
        ("A girl in a yellow coat feeds pigeons on the square.", None),
    ],
)
def test_the_model_that_is_shipped(text: str, kind: str | None) -> None:
    assert no_caption.shipped().kind(text, 0.7) == kind
    assert no_caption.PATH.stat().st_size < 200_000

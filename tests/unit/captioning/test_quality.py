"""Each rule drops what it should and keeps what it should."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from captioning.attributes import WORDS
from captioning.quality import QualityFilter
from captioning.repeated import jaccard
from captioning.rules import load_rules
from edgekd.records import Caption, TaskSpec

TASK = TaskSpec("test", ("cat", "dog", "orange"))


def caption(text: str, item: str = "a", confidence: float = 0.9) -> Caption:
    return Caption(item, 0, text, "plain", 1.0, 0, "test", confidence)


def measured(**shares: float) -> dict[str, np.ndarray]:
    """A measurement for item `a`: .5 for every word but those given."""
    values = {word: shares.get(word.replace(" ", "_"), 0.5) for _, word in WORDS}
    return {"a": np.array([values[word] for _, word in WORDS])}


def reasons(captions: list[Caption], **shares: float) -> list[str | None]:
    return [c.dropped for c in filtered(captions, measured(**shares))]


def filtered(captions: list[Caption], measured: dict[str, np.ndarray]) -> list[Caption]:
    quality = QualityFilter(
        TASK, load_rules(), near_duplicate_jaccard=0.75, min_attribute=0.03, min_confidence=0.05
    )
    return list(quality(captions, measured))


def test_good_captions_are_kept_as_they_are() -> None:
    captions = [caption("A red cat."), caption("A photo of a dog.", "b")]
    assert filtered(captions, {}) == captions


def test_an_exact_duplicate_of_the_same_image_goes() -> None:
    assert reasons([caption("A cat."), caption("A cat."), caption("A cat.", "b")]) == [
        None, "exact duplicate", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ("a b c", "a b c", 1.0),
        ("A b, C.", "a b c", 1.0),
        # Pairs with the ends: _a ab bc c_ and _a ab bd d_: 2 of 6.
        ("a b c", "a b d", 1 / 3),
        ("a", "b", 0.0),
        ("t-shirt", "t shirt", 0.0),
        ("", "", 1.0),
    ],
)
def test_jaccard_of_word_pairs_by_hand(first: str, second: str, value: float) -> None:
    assert jaccard(first, second) == pytest.approx(value)


def test_a_near_duplicate_goes_unless_it_names_another_class() -> None:
    long = "On a plain light background one can see a very nice red and smooth {} that is tall"
    assert jaccard(long.format("cat"), long.format("cat now")) > 0.75
    assert reasons(
        [
            caption(long.format("cat")),
            caption(long.format("cat now")),  # one word more
            caption(long.format("dog")),  # other evidence
            caption("A cat."),
        ]
    ) == [None, "near duplicate", None, None]


def test_a_dropped_caption_does_not_drop_others() -> None:
    """Only kept ones make duplicates."""
    assert reasons([caption("A cat.", confidence=0.01), caption("A cat.")]) == [
        "low confidence", None,
    ]  # fmt: skip


def test_a_contradiction_names_the_attribute_and_the_word() -> None:
    captions = [caption("A red cat."), caption("A green, tall dog.")]
    assert reasons(captions, red=0.02) == ["contradicts measured colour: red", None]
    assert reasons(captions, red=0.03) == [None, None]
    assert reasons(captions, tall=0.0) == [None, "contradicts measured shape: tall"]


def test_a_class_called_like_a_colour_contradicts_nothing() -> None:
    assert reasons([caption("A photo of an orange.")], orange=0.0) == [None]


def test_an_image_without_measurement_is_not_contradicted() -> None:
    assert reasons([caption("A red cat.", "b")], red=0.0) == [None]


def test_low_confidence() -> None:
    captions = [caption("A cat.", confidence=0.049), caption("A big dog.", confidence=0.05)]
    assert reasons(captions) == ["low confidence", None]


def test_the_inputs_are_left_unchanged_and_the_order_kept() -> None:
    captions = [caption("A cat.", item) for item in "aabb"]
    before = [dataclasses.replace(c) for c in captions]
    result = filtered(captions, {})
    assert captions == before
    assert [c.item_id for c in result] == list("aabb")

"""Sentences of very many images are found, rare ones are not, and memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from captioning.matching import Lexicon
from captioning.repeated import Repeated, find_repeated
from captioning.rules import Duplicates
from edgekd.records import Caption, TaskSpec

LEXICON = Lexicon(TaskSpec("test", ("cat", "dog")))
LIMITS = Duplicates(
    content_jaccard=0.8, boilerplate_images=5, boilerplate_share=0.1, boilerplate_jaccard=0.7,
    fillers=[],
)  # fmt: skip
SAID = "one can see something that was made in a studio with very soft light"


def captions(texts: Iterator[str] | list[str]) -> Iterator[Caption]:
    for index, text in enumerate(texts):
        yield Caption(f"item{index}", 0, text, "plain", 1.0, 0, "test", 0.9)


def test_nearly_the_same_sentence() -> None:
    repeated = Repeated(0.7)
    repeated.add(SAID)
    assert repeated.like(SAID) == SAID
    assert repeated.like(SAID.upper() + "!") == SAID
    # 12 of 16 pairs.
    assert repeated.like(SAID.replace("very", "rather")) == SAID
    assert repeated.like("one can see nothing") is None
    repeated.remove(SAID)
    assert repeated.like(SAID.upper()) is None


@pytest.mark.parametrize(
    ("times", "others", "found"), [(5, 40, True), (4, 10, False), (5, 60, False)]
)
def test_both_the_number_and_the_share_count(times: int, others: int, found: bool) -> None:
    texts = [SAID] * times + [f"number {i} of all the others" + " x" * i for i in range(others)]
    repeated = find_repeated(captions(texts), LEXICON, LIMITS)
    assert (repeated.like(SAID) is not None) == found


def test_a_sentence_that_names_a_class_is_no_boilerplate() -> None:
    repeated = find_repeated(captions(["A photo of a cat."] * 50), LEXICON, LIMITS)
    assert repeated.like("A photo of a cat.") is None


def test_one_image_counts_once() -> None:
    same = [Caption("one", i, SAID, "plain", 1.0, 0, "test", 0.9) for i in range(50)]
    assert find_repeated(same, LEXICON, LIMITS).like(SAID) is None


def test_memory_is_bounded_and_the_late_and_frequent_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Buckets of 100 images: what was seen once is forgotten at the end of each."""
    most = 0
    original = Repeated.add

    def add(self: Repeated, text: str) -> None:
        nonlocal most
        original(self, text)
        most = max(most, len(self._texts))

    monkeypatch.setattr(Repeated, "add", add)
    texts = (SAID if i % 7 == 0 else f"w{i} x{i} y{i}" for i in range(2000))
    repeated = find_repeated(captions(texts), LEXICON, LIMITS)
    assert repeated.like(SAID) == SAID
    assert repeated.like("w1 x1 y1") is None
    assert most <= 120

"""Plural and singular by rule."""

from __future__ import annotations

import pytest

from captioning.inflections import plurals, singulars

PAIRS = [
    ("dog", "dogs"), ("dress", "dresses"), ("box", "boxes"), ("brush", "brushes"),
    ("church", "churches"), ("berry", "berries"), ("boy", "boys"), ("potato", "potatoes"),
    ("piano", "pianos"), ("knife", "knives"), ("bookshelf", "bookshelves"), ("child", "children"),
    ("woman", "women"), ("snowman", "snowmen"), ("mouse", "mice"), ("hot dog", "hot dogs"),
    ("cup of tea", "cups of tea"), ("t-shirt", "t-shirts"), ("lens", "lenses"), ("quiz", "quizes"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "more"), PAIRS)
def test_plural(one: str, more: str) -> None:
    assert more in plurals(one)


@pytest.mark.parametrize(("one", "more"), PAIRS)
def test_singular(one: str, more: str) -> None:
    assert one in singulars(more)


@pytest.mark.parametrize(
    "word", ["bus", "dress", "tennis", "gas", "cactus", "cat", "猫", "c++", "7", ""]
)
def test_what_is_no_plural_has_no_singular_by_s(word: str) -> None:
    assert singulars(word) == []


@pytest.mark.parametrize("name", ["猫", "c++", "7", "кошка", ""])
def test_no_english_plural_of_other_words(name: str) -> None:
    assert plurals(name) == []

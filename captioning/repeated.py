"""Sentences that stand for very many images and name no class: boilerplate of a teacher.

Found in a pass of its own, in bounded memory: like sentences are counted together (MinHash LSH
proposes, the Jaccard similarity of word pairs decides), and rare ones are forgotten by lossy
counting (Manku and Motwani, VLDB 2002), which forgets none that is common enough to count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any

from captioning.matching import Lexicon
from captioning.rules import Duplicates
from edgekd.extras import require
from edgekd.records import Caption

_PERMUTATIONS = 64
# Rows of a MinHash band. At .6 and more, bands of 4 propose 89% of the pairs, at .8 all but 1 in
# 5,000; a false proposal costs one comparison.
_ROWS, _FEW_ROWS, _LOW = 4, 2, 0.6
_CACHED = 1 << 14


class Repeated:
    """Sentences, and what is nearly one of them."""

    def __init__(self, jaccard_threshold: float, seed: int = 1):
        module = require("datasketch", "captioning")
        self._minhash, self._seed, self._threshold = module.MinHash, seed, jaccard_threshold
        rows = _ROWS if jaccard_threshold >= _LOW else _FEW_ROWS
        self._index = module.MinHashLSH(
            num_perm=_PERMUTATIONS, params=(_PERMUTATIONS // rows, rows)
        )
        self._texts: dict[str, Any] = {}
        self._known = lru_cache(_CACHED)(self._find)

    def add(self, text: str) -> None:
        """Takes a sentence that has none like it."""
        self._texts[text] = sketch = self._sketch(text)
        self._index.insert(text, sketch, check_duplication=False)
        self._known.cache_clear()

    def remove(self, text: str) -> None:
        del self._texts[text]
        self._index.remove(text)
        self._known.cache_clear()

    def like(self, text: str) -> str | None:
        """Returns the sentence that this one nearly is, the most similar of them, or None."""
        return text if text in self._texts else self._known(text)

    def _find(self, text: str) -> str | None:
        if not self._texts:
            return None
        near = [
            (jaccard(text, other), other) for other in sorted(self._index.query(self._sketch(text)))
        ]
        return max((pair for pair in near if pair[0] >= self._threshold), default=(0, None))[1]

    def _sketch(self, text: str) -> Any:
        sketch = self._minhash(num_perm=_PERMUTATIONS, seed=self._seed)
        sketch.update_batch(["\0".join(pair).encode() for pair in word_pairs(text)])
        return sketch


@dataclass
class _Count:
    """How many images a sentence stood for, and how many it may have stood for before."""

    images: int
    missed: int


def find_repeated(
    captions: Iterable[Caption], lexicon: Lexicon, rules: Duplicates, seed: int = 1
) -> Repeated:
    """Returns what nearly the same stands for so many images as the rules say, naming no class.

    Captions of one image must stand together. Memory grows with 1 / `boilerplate_share`, not with
    the captions.
    """
    counts: dict[str, _Count] = {}
    seen = Repeated(rules.boilerplate_jaccard, seed)
    error = rules.boilerplate_share / 10
    width, num_images = math.ceil(1 / error), 0
    for _, group in groupby(captions, key=lambda caption: caption.item_id):
        num_images += 1
        for text in _apart({c.text for c in group if c.dropped is None}, lexicon, seen):
            if text in counts:
                counts[text].images += 1
            else:
                counts[text] = _Count(1, num_images // width)
        if num_images % width == 0:
            _forget(counts, seen, num_images // width)
    enough = max(rules.boilerplate_images, rules.boilerplate_share * num_images)
    result = Repeated(rules.boilerplate_jaccard, seed)
    for text, count in counts.items():
        if count.images + count.missed >= enough:
            result.add(text)
    return result


def _apart(texts: set[str], lexicon: Lexicon, seen: Repeated) -> set[str]:
    """The sentences that those of one image, which name no class, are counted as."""
    found = set()
    for text in sorted(texts):
        if not lexicon.parse(text).classes:
            like = seen.like(text)
            if like is None:
                seen.add(text)
            found.add(like or text)
    return found


def _forget(counts: dict[str, _Count], seen: Repeated, bucket: int) -> None:
    for text, count in list(counts.items()):
        if count.images + count.missed <= bucket:
            del counts[text]
            seen.remove(text)


def jaccard(first: str, second: str) -> float:
    """Returns the Jaccard similarity of two texts' sets of neighbouring word pairs."""
    pairs, others = word_pairs(first), word_pairs(second)
    return len(pairs & others) / len(pairs | others)


def word_pairs(text: str) -> frozenset[tuple[str, str]]:
    """Returns the pairs of neighbouring words, the ends of the text among them."""
    words = ["", *re.findall(r"[\w-]+", text.casefold()), ""]
    return frozenset(pairwise(words))

"""Rules that drop captions; every dropped caption keeps its reason."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from itertools import groupby, pairwise

import numpy as np

from captioning.attributes import WORDS
from captioning.matching import Lexicon
from edgekd.records import Caption


def filter_captions(
    captions: Iterable[Caption],
    measured: dict[str, np.ndarray],
    lexicon: Lexicon,
    *,
    near_duplicate_jaccard: float,
    min_attribute: float,
    min_confidence: float,
) -> Iterable[Caption]:
    """Yields every caption, kept or with the reason it was dropped, in the order given.

    Captions of one image must stand together. `measured` maps item ids to what
    `attributes.measure` returned; a caption that names a word measured below `min_attribute`
    contradicts the image.
    """
    for item_id, group in groupby(captions, key=lambda caption: caption.item_id):
        kept: list[Caption] = []
        for caption in group:
            reason = (
                _duplicate(caption, kept, lexicon, near_duplicate_jaccard)
                or _contradiction(caption, measured.get(item_id), lexicon, min_attribute)
                or _low_confidence(caption, min_confidence)
            )
            if reason is None:
                kept.append(caption)
            yield dataclasses.replace(caption, dropped=reason)


def jaccard(first: str, second: str) -> float:
    """Returns the Jaccard similarity of two texts' sets of neighbouring word pairs."""
    pairs, others = _word_pairs(first), _word_pairs(second)
    return len(pairs & others) / len(pairs | others)


def _duplicate(
    caption: Caption, kept: list[Caption], lexicon: Lexicon, threshold: float
) -> str | None:
    if any(caption.text == other.text for other in kept):
        return "exact duplicate"
    for other in kept:
        # Two nearly equal sentences that name different classes are different evidence.
        same_names = lexicon.parse(caption.text).classes == lexicon.parse(other.text).classes
        if same_names and jaccard(caption.text, other.text) >= threshold:
            return "near duplicate"
    return None


def _contradiction(
    caption: Caption, measured_A: np.ndarray | None, lexicon: Lexicon, min_attribute: float
) -> str | None:
    if measured_A is None:
        return None
    for index in lexicon.parse(caption.text).words:
        if measured_A[index] < min_attribute:
            attribute, word = WORDS[index]
            return f"contradicts measured {attribute}: {word}"
    return None


def _low_confidence(caption: Caption, min_confidence: float) -> str | None:
    return "low confidence" if caption.confidence < min_confidence else None


def _word_pairs(text: str) -> frozenset[tuple[str, str]]:
    words = ["", *re.findall(r"[\w-]+", text.casefold()), ""]
    return frozenset(pairwise(words))

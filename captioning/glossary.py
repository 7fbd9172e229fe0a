"""What names mean: WordNet's words and definitions, as timm brings them with ImageNet's synsets.

21,841 synsets of things that can be photographed; 1,000 of them are what the backbones know.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from timm.data import ImageNetInfo

from captioning.inflections import singulars
from edgekd.names import spoken


@dataclass(frozen=True)
class Sense:
    """One meaning: the words for it, the most usual first, and its definition."""

    words: tuple[str, ...]
    definition: str


@cache
def imagenet_senses() -> tuple[Sense, ...]:
    """Returns the meaning of each of the 1,000 ImageNet classes, in output order."""
    return _senses_of(ImageNetInfo())


def senses(name: str) -> list[Sense]:
    """Returns the meanings of a class name as people write it; none where WordNet has no such thing.

    "Sea_Horses" is looked up as "sea horses", "seahorses", "sea horse" and "seahorse"; the first
    that is known counts, with all its meanings.
    """
    plain = spoken(name).casefold()
    for form in (plain, *singulars(plain)):
        found = _by_word().get(form) or _by_word().get(form.replace(" ", ""))
        if found:
            return found
    return []


@cache
def _by_word() -> dict[str, list[Sense]]:
    known: dict[str, list[Sense]] = defaultdict(list)
    for sense in _senses_of(ImageNetInfo("imagenet-22k")):
        for word in sense.words:
            known[word.casefold()].append(sense)
    return dict(known)


def _senses_of(info: ImageNetInfo) -> tuple[Sense, ...]:
    described = (
        info.index_to_description(index, detailed=True) for index in range(info.num_classes())
    )
    parts = (text.partition(": ") for text in described)
    return tuple(Sense(tuple(words.split(", ")), definition) for words, _, definition in parts)

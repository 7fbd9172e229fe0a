"""Plural and singular of an English noun, by rule: for finding a word, not for writing it.

Each function may return forms that nobody uses; they do no harm in a search.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_IRREGULAR = {
    "calf": "calves", "child": "children", "die": "dice", "elf": "elves", "foot": "feet",
    "goose": "geese", "half": "halves", "knife": "knives", "leaf": "leaves", "life": "lives",
    "loaf": "loaves", "louse": "lice", "man": "men", "mouse": "mice", "ox": "oxen",
    "person": "people", "scarf": "scarves", "sheaf": "sheaves", "shelf": "shelves",
    "thief": "thieves", "tooth": "teeth", "wife": "wives", "wolf": "wolves", "woman": "women",
    "cactus": "cacti", "fungus": "fungi", "octopus": "octopi", "axis": "axes", "crisis": "crises",
}  # fmt: skip
_SINGULAR = {plural: singular for singular, plural in _IRREGULAR.items()}
# These end like a plural and are none.
_NO_PLURAL = re.compile(r"(?:ss|us|is|as)$")


def plurals(name: str) -> list[str]:
    """Returns how more of it may be called: ["dogs"], ["knives", "knifes"], ["cups of tea"]."""
    return _on_head(name, _plurals_of)


def singulars(name: str) -> list[str]:
    """Returns how one of it may be called: ["dog"] of "dogs", ["glass", "glasse"] of "glasses"."""
    return _on_head(name, _singulars_of)


def _on_head(name: str, change: Callable[[str], list[str]]) -> list[str]:
    """Changes the noun that stands before "of", or the last word."""
    head, of, rest = name.partition(" of ")
    before, word = re.fullmatch(r"(.*?)([^\W\d_]*)", head, re.DOTALL).groups()  # type: ignore[union-attr]
    if len(word) < 2 or not word[-1].isascii():
        return []
    return [f"{before}{form}{of}{rest}" for form in change(word)]


def _plurals_of(word: str) -> list[str]:
    forms = _compound(word, _IRREGULAR)
    if re.search(r"[^aeiou]y$", word):
        return [*forms, word[:-1] + "ies"]
    if re.search(r"(?:s|x|z|ch|sh|o)$", word):
        forms.append(word + "es")
    return [*forms, word + "s"]


def _singulars_of(word: str) -> list[str]:
    forms = _compound(word, _SINGULAR)
    if not word.endswith("s") or _NO_PLURAL.search(word) or len(word) < 4:
        return forms
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if re.search(r"(?:s|x|z|ch|sh|o)es$", word):
        forms.append(word[:-2])
    return [*forms, word[:-1]]


def _compound(word: str, table: dict[str, str]) -> list[str]:
    """The irregular form, of "fireman" and "bookshelf" too."""
    if word in table:
        return [table[word]]
    ends = [
        end for end in table if len(end) >= 3 and len(word) - len(end) > 2 and word.endswith(end)
    ]
    return [word.removesuffix(end) + table[end] for end in ends[:1]]

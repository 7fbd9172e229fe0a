"""What a sentence says: which of the user's classes it names, in which order, which attributes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from captioning.attributes import WORDS
from edgekd.errors import DataError
from edgekd.records import TaskSpec


@dataclass(frozen=True)
class Mentions:
    """Indices as they stand in the sentence, each once: classes first, then attribute words."""

    classes: tuple[int, ...]
    words: tuple[int, ...]


class Lexicon:
    """Finds class names, their synonyms and attribute words as whole words, longest first.

    A hyphen belongs to a word, so "t-shirt" does not say "shirt". A name also matches in its
    English plural. Where a class is called like an attribute word ("orange"), the class wins.
    """

    def __init__(self, task: TaskSpec):
        self.num_classes = task.num_classes
        self._meaning: dict[str, tuple[str, int]] = {
            word: ("word", index) for index, (_, word) in enumerate(WORDS)
        }
        for index, name in enumerate(task.classes):
            for text in (name, *task.synonyms.get(name, ())):
                self._add_class(_folded(text), index, task)
        for form, meaning in list(self._meaning.items()):
            if meaning[0] == "class":  # a plural that is a class of its own stays that class
                self._meaning.setdefault(form + "s", meaning)
                self._meaning.setdefault(form + "es", meaning)
        forms = sorted(self._meaning, key=len, reverse=True)
        pattern = "|".join(re.escape(form) for form in forms)
        self._pattern = re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])")

    def parse(self, text: str) -> Mentions:
        """Returns what the sentence mentions; both parts may be empty."""
        found: dict[str, dict[int, None]] = {"class": {}, "word": {}}
        for match in self._pattern.finditer(_folded(text)):
            kind, index = self._meaning[match.group()]
            found[kind][index] = None
        return Mentions(tuple(found["class"]), tuple(found["word"]))

    def _add_class(self, form: str, index: int, task: TaskSpec) -> None:
        known = self._meaning.get(form)
        if known is not None and known[0] == "class" and known[1] != index:
            raise DataError(
                f"data.synonyms: '{form}' stands for both '{task.classes[known[1]]}' and "
                f"'{task.classes[index]}'. Give each class words of its own"
            )
        self._meaning[form] = ("class", index)


def _folded(text: str) -> str:
    return re.sub(r"[\s_]+", " ", text).strip().casefold()

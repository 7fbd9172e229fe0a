"""What a sentence says: which of the user's classes it names, in which order, which attributes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from captioning.attributes import WORDS
from captioning.inflections import plurals, singulars
from edgekd import names
from edgekd.errors import DataError
from edgekd.records import TaskSpec

# Scripts that put no space between words; Korean hangs its particles onto them.
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
)
_HANGUL = "\uac00-\ud7af"
_BEGINS = rf"(?<![^\W{_UNSPACED}])(?<!-)"
_ENDS = rf"(?![^\W{_UNSPACED}]|-)"
# Words of a sentence's frame, which say nothing of a class that is called like one of them.
_FRAMES = ("photo of", "photograph of", "picture of", "image of", "product picture of")
_WORD_INDEX = {word: index for index, (_, word) in enumerate(WORDS)}
_PHRASES = {
    "setting": ("{} background",),
    "texture": ("with a {} surface",),
    "shape": ("{} in shape", "{} in outline"),
}


@dataclass(frozen=True)
class Mentions:
    """Indices as they stand in the sentence, each once: classes first, then attribute words."""

    classes: tuple[int, ...]
    words: tuple[int, ...]


@dataclass(frozen=True)
class Span:
    """A class or attribute word where it stands in `composed(text)`."""

    start: int
    end: int
    kind: Literal["class", "word"]
    index: int


class Lexicon:
    """Finds class names, their synonyms and attribute words as whole words, longest first.

    A name matches as it is written and as it is spoken ("electric_guitar", "ElectricGuitar"), with
    or without its hyphens, and in its English plural or singular where no other class claims that.
    A hyphen belongs to a word, so "t-shirt" does not say "shirt". Scripts that write no spaces
    match anywhere. Where a class is called like an attribute word ("orange"), the class wins
    unless the word describes another class ("an orange cat"); "on a plain light background" speaks
    of no class "background".
    """

    def __init__(self, task: TaskSpec):
        self.num_classes = task.num_classes
        self._meaning: dict[str, tuple[str, int]] = dict(_attribute_forms())
        for index, name in enumerate(task.classes):
            for text in (name, *task.synonyms.get(name, ())):
                self._add_class(_folded(text), index, task)
        for form, index in _unclaimed(task):
            self._meaning.setdefault(form, ("class", index))
        self._pattern = re.compile(_pattern(self._meaning))

    def parse(self, text: str) -> Mentions:
        """Returns what the sentence mentions; both parts may be empty."""
        found: dict[str, dict[int, None]] = {"class": {}, "word": {}, "frame": {}}
        for _, kind, index in self._found(_folded(text)):
            found[kind][index] = None
        return Mentions(tuple(found["class"]), tuple(found["word"]))

    def spans(self, text: str) -> list[Span]:
        """Returns each mention with its place in `composed(text)`, in the order of the sentence."""
        said = composed(text)
        # Folding case may lengthen a letter ("ß"): the place of each folded letter in the text.
        place = [at for at, letter in enumerate(said) for _ in letter.casefold()]
        return [
            Span(place[match.start()], place[match.end() - 1] + 1, kind, index)
            for match, kind, index in self._found(said.casefold())
            if kind in ("class", "word")
        ]

    def _found(self, folded: str) -> Iterator[tuple[re.Match[str], Any, int]]:
        matches = list(self._pattern.finditer(folded))
        for at, match in enumerate(matches):
            kind, index = self._meaning[match.group()]
            if kind == "class" and self._describes(matches[at:], folded):
                kind, index = "word", _WORD_INDEX[match.group()]
            yield match, kind, index

    def _describes(self, matches: list[re.Match[str]], text: str) -> bool:
        """Whether the first match is an attribute word before a class: "an orange, smooth cat"."""
        if matches[0].group() not in _WORD_INDEX:
            return False
        for match, following in pairwise(matches):
            if text[match.end() : following.start()].strip() not in ("", ","):
                return False
            if self._meaning[following.group()][0] == "class":
                return True
        return False

    def _add_class(self, form: str, index: int, task: TaskSpec) -> None:
        known = self._meaning.get(form)
        if known is not None and known[0] == "class" and known[1] != index:
            raise DataError(
                f"data.synonyms: '{form}' stands for both '{task.classes[known[1]]}' and "
                f"'{task.classes[index]}'. Give each class words of its own"
            )
        self._meaning[form] = ("class", index)


def composed(text: str) -> str:
    """Returns the text with width of letters, quotes, underscores and spaces made alike."""
    alike = unicodedata.normalize("NFKC", text).replace("’", "'")
    return re.sub(r"[\s_]+", " ", alike).strip()


def name_notes(task: TaskSpec) -> list[str]:
    """Returns a line for class names that sentences say without meaning the class."""
    words = {word: attribute for attribute, word in WORDS}
    return [
        f"class '{name}' is also a word for {words[_folded(name)]}: sentences that say it in "
        "passing count for the class. A longer name is clearer"
        for name in task.classes
        if _folded(name) in words
    ]


def _attribute_forms() -> Iterator[tuple[str, tuple[str, int]]]:
    for frame in _FRAMES:
        yield frame, ("frame", 0)
    for index, (attribute, word) in enumerate(WORDS):
        yield word, ("word", index)
        for phrase in _PHRASES.get(attribute, ()):
            yield phrase.format(word), ("word", index)


def _unclaimed(task: TaskSpec) -> Iterator[tuple[str, int]]:
    """Other forms of the names, each where it belongs to one class only."""
    claims: dict[str, set[int]] = {}
    for index, name in enumerate(task.classes):
        for text in (name, *task.synonyms.get(name, ())):
            for form in _forms(text):
                claims.setdefault(form, set()).add(index)
    for form, classes in claims.items():
        if len(classes) == 1:
            yield form, classes.pop()


def _forms(text: str) -> Iterable[str]:
    """How else a caption may write a name: hyphens, spaces or neither, and the other number."""
    said = _folded(names.spoken(text))
    apart = re.sub(r"(?<=\w)-(?=\w)", " ", said)
    # "t-shirt" is also "tshirt"; joining longer words makes nothing that anybody writes.
    whole = [apart.replace(" ", "")] if re.match(r"\w ", apart) or "-" in said else []
    written = dict.fromkeys([said, apart, apart.replace(" ", "-"), *whole])
    forms = dict.fromkeys(written)
    for form in written:
        forms |= dict.fromkeys([*plurals(form), *singulars(form)])
    return forms


def _pattern(forms: Iterable[str]) -> str:
    """A pattern of all forms, longest first, that asks for a word's edge where the script has one."""
    edged: dict[tuple[bool, bool], list[str]] = {}
    for form in sorted(forms, key=len, reverse=True):
        begins = re.match(f"[{_UNSPACED}]", form) is None
        ends = re.search(f"[{_UNSPACED}{_HANGUL}]$", form) is None
        edged.setdefault((begins, ends), []).append(form)
    return "|".join(
        (_BEGINS if begins else "")
        + f"(?:{'|'.join(map(re.escape, forms))})"
        + (_ENDS if ends else "")
        for (begins, ends), forms in edged.items()
    )


def _folded(text: str) -> str:
    """The text as it is compared: case, width of letters, quotes, underscores and spaces set aside."""
    return composed(text).casefold()

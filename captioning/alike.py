"""Whether two captions of an image say the same in nearly the same words.

Words are compared by their stems, without those that say nothing of a picture (`fillers`) and with
spellings, numbers, joined words and slips of the hand made alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from captioning.rules import Duplicates

_NUMBERS = {
    "0": "zero", "1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six",
    "7": "seven", "8": "eight", "9": "nine", "10": "ten", "11": "eleven", "12": "twelve",
}  # fmt: skip
_SHORT = {"s": "is", "re": "are", "ve": "have", "ll": "will", "d": "would", "m": "am", "t": "not"}
# A sentence that begins with one of these may begin with a place.
_PLACES = {
    "on", "in", "at", "under", "behind", "near", "next", "beside", "above", "below", "over", "inside",
    "outside", "between", "atop", "beneath", "along", "against", "by",
}  # fmt: skip
_BY = "bi"  # the stem of "by"
# Shorter words differ by a letter and mean another thing: "cat" and "coat".
_SLIP, _LONG_SLIP = 5, 8


@dataclass(frozen=True)
class Content:
    """All words of a text, and the stems of those that say something (`kept`), in their order.

    `active` are the stems as an active sentence has them.
    """

    words: tuple[str, ...]
    kept: tuple[str, ...]
    stems: tuple[str, ...]
    active: tuple[str, ...]


class Alike:
    """Compares texts by what is left of them without fillers."""

    def __init__(self, rules: Duplicates):
        self._spellings = {_stem(one): _stem(other) for one, other in rules.spellings.items()}
        self._fillers = frozenset(rules.fillers) | {self._word(word) for word in rules.fillers}
        self._kept = frozenset(rules.no_fillers)
        phrases = "|".join(map(re.escape, rules.filler_phrases))
        self._phrases = re.compile(rf"\b(?:{phrases})\b", re.IGNORECASE) if phrases else None
        self._threshold = rules.content_jaccard

    def read(self, text: str) -> Content:
        """Returns the words of a text, and the stems of those that say something."""
        said = _plain_words(self._phrases.sub(" ", text) if self._phrases else text)
        kept = [
            word
            for word in said
            if word in self._kept or not {word, self._word(word)} & self._fillers
        ]
        stems = tuple(map(self._word, kept))
        return Content(tuple(said), tuple(kept), stems, _active(stems))

    def same(self, one: Content, other: Content) -> bool:
        """Whether two texts are the same words in the same order, slips of the hand aside."""
        return _same(one.words, other.words) or _same(one.stems, other.stems)

    def near(self, one: Content, other: Content) -> bool:
        """Whether as many of the stems are shared as the rules ask, a part of them moved at most."""
        both, of = _shared(one.active, other.active)
        inverted = bool({*one.words[:1], *other.words[:1]} & _PLACES)
        return both >= self._threshold * of and _part_moved(one.active, other.active, inverted)

    def exchanged(self, one: Content, other: Content) -> bool:
        """Whether each says a word that the other does not: "a man" and "a girl" with a dog."""
        return _says_more(one, other) and _says_more(other, one)

    def equal(self, one: Content, other: Content) -> bool:
        """Whether all of the stems are shared, in any order."""
        both, of = _shared(one.active, other.active)
        return both == of

    def _word(self, word: str) -> str:
        stem = _stem(_NUMBERS.get(word, word))
        return self._spellings.get(stem, stem)


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[int, int]:
    """How many stems two texts share, slips of the hand among them, and how many they have."""
    ours, theirs = Counter(one), Counter(other)
    shared = ours & theirs
    left, right = list((ours - shared).elements()), list((theirs - shared).elements())
    both = shared.total()
    for word in left:
        like = next((other for other in right if slip(word, other)), None)
        if like is not None:
            right.remove(like)
            both += 1
    return both, ours.total() + theirs.total() - both


def _says_more(one: Content, other: Content) -> bool:
    """Whether a text has a word that the other has in no form, slips of the hand aside."""
    return any(
        stem not in other.stems
        and not any(slip(word, said) for said in other.kept)
        and not any(slip(stem, said) for said in other.stems)
        for word, stem in zip(one.kept, one.stems, strict=True)
    )


def _part_moved(one: tuple[str, ...], other: tuple[str, ...], inverted: bool) -> bool:
    """Whether the words that two texts share change places by moving one run of them.

    So "in a barn, a red owl" is "a red owl in a barn", and "the box by the owl is red" is not "the
    owl by the red box". inverted: a place may change sides with what is there, "near a wall stands
    an owl".
    """
    ours, theirs = list(one), list(other)
    for word in one:
        like = [word] if word in theirs else [said for said in theirs if slip(word, said)]
        if like:
            theirs[theirs.index(like[0])] = f" {word}"  # taken
        else:
            ours.remove(word)
    theirs = [word[1:] for word in theirs if word.startswith(" ")]
    near = ours.index("near") if "near" in ours else 0
    if near and [*ours[near + 1 :], "near", *ours[:near]] == theirs:  # "a wall is near an owl"
        return True
    while ours and ours[0] == theirs[0]:
        ours, theirs = ours[1:], theirs[1:]
    while ours and ours[-1] == theirs[-1]:
        ours, theirs = ours[:-1], theirs[:-1]
    if not ours or any(ours[at:] + ours[:at] == theirs for at in range(len(ours))):
        return True
    return inverted and any(
        ours[end:] + ours[begin:end] + ours[:begin] == theirs
        for begin in range(1, len(ours) - 1)
        for end in range(begin + 1, len(ours))
    )


def _active(stems: tuple[str, ...]) -> tuple[str, ...]:
    """The words of "a car washed by a man" as in "a man washed a car, by"; other words as they are."""
    at = stems.index(_BY) if _BY in stems else 0
    if at < 2:
        return stems
    return (*stems[at + 1 :], stems[at - 1], *stems[: at - 1])


def _same(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return len(one) == len(other) and all(
        first == second or slip(first, second) for first, second in zip(one, other, strict=True)
    )


def slip(one: str, other: str) -> bool:
    """Whether a letter too many, too few or two exchanged make one word of the other.

    A letter for another counts in long words only: "horse" is no slip for "house".
    """
    short, long = sorted((one, other), key=len)
    if one == other or len(short) < _SLIP - 1 or len(long) < _SLIP or len(long) - len(short) > 1:
        return False
    at = next((i for i, pair in enumerate(zip(short, long, strict=False)) if pair[0] != pair[1]),
              len(short))  # fmt: skip
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    exchanged = short[at : at + 2] == long[at : at + 2][::-1]
    if exchanged and short[at + 2 :] == long[at + 2 :]:
        return True
    return len(short) >= _LONG_SLIP and short[at + 1 :] == long[at + 1 :]


def _plain_words(text: str) -> list[str]:
    """Words in lower case without accents; "there's" is two, "close-up" too."""
    folded = unicodedata.normalize("NFKD", text.replace("’", "'")).casefold()
    folded = "".join(letter for letter in folded if not unicodedata.combining(letter))
    found = re.findall(r"[^\W_]+(?:'[^\W_]+)?", folded)
    words = []
    for word in found:
        begins, _, ends = word.partition("'")
        words += [begins, _SHORT.get(ends, ends)] if ends else [word]
    return words


def _stem(word: str) -> str:
    """The word without the ends of number and tense, as crude as it may be for comparing."""
    stem = word
    if re.search(r"(?:ss|us|is)$", stem) is None and len(stem) > 3:
        stem = re.sub(r"(?<=s|x|z)es$|(?<=ch|sh)es$|s$", "", stem)
    if re.search(r"[aeiouy].*ing$", stem) and len(stem) > 4:
        stem = re.sub(r"([bdgmnprt])\1$", r"\1", stem[:-3])
    elif re.search(r"[aeiouy].*ed$", stem) and len(stem) > 4:
        stem = re.sub(r"([bdgmnprt])\1$", r"\1", stem[:-2])
    stem = re.sub(r"(?<=[a-z]{2})e$|(?<=i)e$", "", stem)
    return re.sub(r"y$", "i", stem)

"""Captions with one word swapped for a wrong one: each must match its image less than the original.

"A black cat" becomes "a black dog" or "a grey cat". How often the match falls says how far
captions and images are tied to each other; what was swapped in is negative evidence for targets.

N items, K classes, A attribute words.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioning.attributes import WORDS
from captioning.inflections import plurals, singulars
from captioning.matching import Lexicon, Mentions, Span, composed
from captioning.soft_targets import FIRST_NAME_WEIGHT
from edgekd.errors import DataError, UsageError
from edgekd.mapped import Zeros, blocks
from edgekd.metrics import negative_log_likelihood, share, unit
from edgekd.names import spoken
from edgekd.records import Caption, TaskSpec
from edgekd.store import digest

Match = Callable[[int, Mentions], float]
"""(row of the image, what a sentence mentions) to how well they match; higher is better."""

CLASS = "class"
LOWEST = 1e-4  # a match never counts a probability as less, so that no single word decides it
_MIN_LABELS_TO_FIT = 20
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Swap:
    """A caption with one thing swapped. `kind` is "class" or an attribute; `old` and `new` are
    indices of classes, or into `attributes.WORDS`."""

    text: str
    kind: str
    old: int
    new: int

    def record(self, task: TaskSpec) -> dict[str, str]:
        """Returns it for a file: {text, kind, from, to}."""
        names = task.classes if self.kind == CLASS else [word for _, word in WORDS]
        names_of = {"from": names[self.old], "to": names[self.new]}
        return {"text": self.text, "kind": self.kind, **names_of}


@dataclass(frozen=True)
class Judged:
    """A swap held against its image: the match of the original and of the swapped caption."""

    row: int
    swap: Swap
    original: float
    swapped: float
    original_class: int | None

    @property
    def is_detected(self) -> bool:
        """Whether the swapped caption matches less; a tie is no detection."""
        return self.swapped < self.original


class Swapper:
    """Makes swapped captions of a task.

    The other class, or word, is the one likest to what is swapped out where `likeness_KK` or
    `word_likeness_AA` is given (`likeness_by_targets`, `likeness_by_text`): the hard ones.
    Otherwise it is drawn from the caption's text and the seed. `most` bounds the swaps of each
    kind in a caption.
    """

    def __init__(
        self,
        task: TaskSpec,
        lexicon: Lexicon | None = None,
        *,
        seed: int = 0,
        most: int = 1,
        likeness_KK: np.ndarray | None = None,
        word_likeness_AA: np.ndarray | None = None,
    ):
        if most < 1:
            raise UsageError(f"most: {most} swaps of a kind, expected 1 or more")
        _check(likeness_KK, task.num_classes, "likeness_KK")
        _check(word_likeness_AA, len(WORDS), "word_likeness_AA")
        self._task, self._lexicon = task, lexicon or Lexicon(task)
        self._seed, self._most = seed, most
        self._likeness = {CLASS: likeness_KK, "word": word_likeness_AA}

    def swaps(self, text: str) -> list[Swap]:
        """Returns the swapped captions: the first class it names, then each attribute word.

        A swap that would not say exactly what it should (a class called "orange" beside the
        colour) is left out. The rest of the text stays, but for width of letters and spaces.
        """
        spans = self._lexicon.spans(text)
        found = []
        for kind, old in dict.fromkeys((span.kind, span.index) for span in spans):
            if kind == CLASS and old != next(s.index for s in spans if s.kind == CLASS):
                continue  # "perhaps a dog" is no claim that can be proved wrong
            makes = (
                self._swap(text, spans, kind, old, new)
                for new in self._others(kind, old, spans, text)
            )
            made = [swap for swap in makes if swap is not None]
            found += made[: self._most]
        return found

    def _others(self, kind: str, old: int, spans: list[Span], text: str) -> Sequence[int]:
        """What may be swapped in, the best first: nothing that the caption says already."""
        said = {span.index for span in spans if span.kind == kind}
        of_kind = range(self._task.num_classes) if kind == CLASS else _of_attribute(old)
        others = [index for index in of_kind if index not in said]
        likeness = self._likeness[kind]
        if likeness is not None:
            return sorted(others, key=lambda index: -likeness[old, index])
        rng = np.random.default_rng(int(digest([text, self._seed, kind, old])[:16], 16))
        return rng.permutation(others).tolist()

    def _swap(self, text: str, spans: list[Span], kind: str, old: int, new: int) -> Swap | None:
        places = [span for span in spans if (span.kind, span.index) == (kind, old)]
        said = composed(text)
        for span in reversed(places):
            was = said[span.start : span.end]
            word = self._class_form(was, old, new) if kind == CLASS else _word_form(was, old, new)
            before = _with_article(said[: span.start], word)
            said = before + _cased(word, was, before) + said[span.end :]
        expected = _replaced(self._lexicon.parse(text), kind, old, new)
        if self._lexicon.parse(said) != expected:
            return None
        return Swap(said, kind if kind == CLASS else WORDS[old][0], old, new)

    def _class_form(self, was: str, old: int, new: int) -> str:
        """The new class's name, in the plural where the old one was."""
        name, said = self._task.classes[old], _apart(was)
        own = {_apart(text) for text in (name, *self._task.synonyms.get(name, ()))}
        other = spoken(self._task.classes[new])
        is_plural = said not in own and any(said in plurals(text) for text in own)
        return _plural(other) if is_plural and not singulars(other.casefold()) else other


def likeness_by_targets(values_NK: np.ndarray) -> np.ndarray:
    """Returns how often two entries share an item's mass, as a cosine of columns [K, K].

    Of soft targets: classes the teacher confuses. Of measured attributes: words that go together.
    """
    shared = np.zeros((values_NK.shape[1],) * 2)
    for some in blocks(len(values_NK)):
        values = values_NK[some].astype(np.float64)
        shared += values.T @ values
    length = np.sqrt(np.maximum(np.diag(shared), 1e-12))
    return shared / np.outer(length, length)


def likeness_by_text(task: TaskSpec, encode: Callable[[list[str]], np.ndarray]) -> np.ndarray:
    """Returns the cosines of the class names [K, K]; `encode` as `SentenceEncoder.encode`."""
    vectors = encode([f"a photo of a {spoken(name)}" for name in task.classes])
    units = unit(vectors)
    return units @ units.T


def match(
    mentions: Mentions, log_probs_K: np.ndarray, measured_A: np.ndarray | None = None
) -> float:
    """Returns how well a sentence matches an image: log p of what it names plus log p of its words.

    The first class counts most, as in the targets. `measured_A` is what `attributes.measure`
    returned; without it words say nothing.
    """
    total = 0.0
    if mentions.classes:
        probs = np.exp(log_probs_K[list(mentions.classes)])
        others = (1 - FIRST_NAME_WEIGHT) * probs[1:].mean() if len(probs) > 1 else 0.0
        first = FIRST_NAME_WEIGHT if len(probs) > 1 else 1.0
        total += float(np.log(max(first * probs[0] + others, LOWEST)))
    if measured_A is not None and mentions.words:
        total += float(np.log(np.maximum(measured_A[list(mentions.words)], LOWEST)).sum())
    return total


def matcher(log_probs_NK: np.ndarray, measured_NA: np.ndarray | None = None) -> Match:
    """Returns `match` with the rows of these arrays."""

    def of_row(row: int, mentions: Mentions) -> float:
        return match(mentions, log_probs_NK[row], None if measured_NA is None else measured_NA[row])

    return of_row


def judge(
    captions: Iterable[Caption],
    row_of: Mapping[str, int],
    swapper: Swapper,
    lexicon: Lexicon,
    matched: Match,
) -> Iterator[Judged]:
    """Yields every swap of the kept captions with both matches; `row_of` maps item ids to rows."""
    for caption in captions:
        row = row_of.get(caption.item_id)
        if caption.dropped is not None or row is None:
            continue
        mentions = lexicon.parse(caption.text)
        original = matched(row, mentions)
        first = mentions.classes[0] if mentions.classes else None
        for swap in swapper.swaps(caption.text):
            swapped = matched(row, lexicon.parse(swap.text))
            yield Judged(row, swap, original, swapped, first)


def detection(judged: Iterable[Judged], labels: dict[int, int]) -> dict[str, Any]:
    """Returns the share of swaps detected, each {value, low, high, n} or None where there are none.

    `overall`; `by_kind`; `class_by_original`: of class swaps, whether the class the original named
    was the label. `labels` maps rows to labels.
    """
    by_kind: dict[str, Counter[bool]] = defaultdict(Counter)
    by_original: dict[str, Counter[bool]] = {
        "right": Counter(),
        "wrong": Counter(),
        "unknown": Counter(),
    }
    for one in judged:
        by_kind[one.swap.kind][one.is_detected] += 1
        if one.swap.kind == CLASS:
            label = labels.get(one.row)
            where = "right" if one.original_class == label else "wrong"
            by_original["unknown" if label is None else where][one.is_detected] += 1
    return {
        "overall": _rate(sum(by_kind.values(), Counter())),
        "by_kind": {kind: _rate(hits) for kind, hits in sorted(by_kind.items())},
        "class_by_original": {where: _rate(hits) for where, hits in by_original.items()},
    }


def negative_evidence(
    judged: Iterable[Judged], num_items: int, num_classes: int, zeros: Zeros = np.zeros
) -> np.ndarray:
    """Returns how much less each class swapped in matched than what the caption said, [N, K].

    The mean over an item's swaps to that class, in the matcher's unit (nats for `match`); 0 where
    none was made, or it matched better.
    """
    total = zeros((num_items, num_classes), np.float64)
    counts = zeros((num_items, num_classes), np.int32)
    for one in judged:
        if one.swap.kind == CLASS:
            total[one.row, one.swap.new] += max(0.0, one.original - one.swapped)
            counts[one.row, one.swap.new] += 1
    for some in blocks(num_items):
        total[some] /= np.maximum(counts[some], 1)
    return total


def against(probs_NK: np.ndarray, negative_NK: np.ndarray, weight: float) -> np.ndarray:
    """Returns probs * exp(-weight * negative), rows summing to 1."""
    if probs_NK.shape != negative_NK.shape:
        raise DataError(
            f"negative evidence: {negative_NK.shape}, expected {probs_NK.shape} as the targets"
        )
    weighted = probs_NK * np.exp(-weight * negative_NK)
    return weighted / weighted.sum(axis=1, keepdims=True)


def fit_weight(
    probs_NK: np.ndarray,
    negative_NK: np.ndarray,
    tune: dict[int, int],
    weights: Sequence[float] = WEIGHTS,
) -> float:
    """Returns the weight with the highest likelihood on tune labels; 0, so no effect, with too few."""
    if len(tune) < _MIN_LABELS_TO_FIT:
        return 0.0
    rows, labels = np.array(list(tune)), np.array(list(tune.values()))

    def loss(weight: float) -> float:
        weighted = against(probs_NK[rows], negative_NK[rows], weight)
        return negative_log_likelihood(weighted, labels)

    return float(min(weights, key=loss))


_CONSONANT_SOUND = re.compile(
    r"eu|ewe|on(?:e|ce)\b|u(?:ni(?!n|m)|s[aeiu]|t[aeiou]|ra|k[aeiu]|biq)|u-|u\b", re.IGNORECASE
)
_VOWEL_SOUND = re.compile(r"[aeiou]|hour|honest|honou?r|heir|[fhlmnrsx](?:-|\b)", re.IGNORECASE)
_ARTICLE = re.compile(r"(?<!\w)(an?)(?= $)", re.IGNORECASE)
_ADDS_S = re.compile(r"(?<!potat)(?<!tomat)(?<!her)(?<!ech)(?<!mang)(?<!buffal)(?<!mosquit)o$")


def _with_article(before: str, word: str) -> str:
    """The text before a word, its last "a" or "an" as the word's first sound asks."""
    is_vowel = _VOWEL_SOUND.match(word) and not _CONSONANT_SOUND.match(word)

    def agreeing(article: re.Match[str]) -> str:
        return article[1][0] + ("n" if is_vowel else "")

    return _ARTICLE.sub(agreeing, before)


def _apart(name: str) -> str:
    """The name to compare: "t shirt" of "T-Shirt"."""
    return composed(spoken(name)).casefold().replace("-", " ")


def _plural(name: str) -> str:
    forms = plurals(name)
    if not forms:
        return name
    return forms[-1] if _ADDS_S.search(name.partition(" of ")[0]) else forms[0]


def _cased(word: str, was: str, before: str) -> str:
    """The word with a capital where the sentence begins with it, as the old one did."""
    begins = not before.strip() or before.rstrip()[-1] in ".!?"
    return word[0].upper() + word[1:] if begins and was[:1].isupper() else word


def _word_form(was: str, old: int, new: int) -> str:
    """The new word in the phrase the old one stood in ("plain dark background")."""
    return re.sub(re.escape(WORDS[old][1]), WORDS[new][1], was, flags=re.IGNORECASE)


def _of_attribute(word: int) -> list[int]:
    return [index for index, (attribute, _) in enumerate(WORDS) if attribute == WORDS[word][0]]


def _replaced(mentions: Mentions, kind: str, old: int, new: int) -> Mentions:
    classes, words = mentions.classes, mentions.words
    if kind == CLASS:
        return Mentions(tuple(new if index == old else index for index in classes), words)
    return Mentions(classes, tuple(new if index == old else index for index in words))


def _rate(hits: Counter[bool]) -> dict[str, Any] | None:
    return share(np.repeat([True, False], [hits[True], hits[False]]))


def _check(likeness: np.ndarray | None, size: int, name: str) -> None:
    if likeness is not None and likeness.shape != (size, size):
        raise UsageError(f"{name}: shape {likeness.shape}, expected {(size, size)}")

"""Rules that drop captions; every dropped caption keeps its reason.

In this order, and the first that speaks is the reason: refused, boilerplate, length, language,
exact and near duplicate, impossible, contradicts measured, repeated on many images, refused or
boilerplate by a small model, low confidence, off topic, voted down, contradicts the other captions of
its image. What the words are is data: see captioning/rules.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from captioning import no_caption
from captioning.alike import Alike, Content
from captioning.attributes import WORDS
from captioning.caption_metrics import words
from captioning.contradictions import Facts, Reader, Statement
from captioning.languages import UNSPACED, Languages
from captioning.matching import Lexicon, Mentions
from captioning.repeated import Repeated, jaccard
from captioning.rules import Length, Rules
from edgekd.metrics import unit, wilson_interval
from edgekd.records import Caption, TaskSpec

Embed = Callable[[list[str]], np.ndarray]
"""Texts to vectors [N, E], as `SentenceEncoder.encode`."""
Vote = Callable[[list[Caption]], Sequence[float]]
"""What a small model gives each caption; more is better."""

_Match = re.Match[str] | None
_QUOTED = re.compile(r"""(?<!\w)(?:"[^"]+"|'[^']+'|“[^”]+”|‘[^’]+’|«[^»]+»)(?!\w)""")
# With no more words of its own than these, a quotation is what a text says.
_FEW = 2
_DUPLICATES = ("exact duplicate", "near duplicate")
_CACHED = 1 << 12
_BATCH = 256


@dataclass
class Counts:
    """What a filter did: captions kept, dropped by reason, and what contradicted itself or others.

    `violations` counts a caption once for every logical rule that it breaks, whatever it was
    dropped for; `judged` are the captions that came undropped.
    """

    judged: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Topics:
    """What captions may be about: sentences, and a function that embeds texts."""

    embed: Embed
    sentences: list[str]


class QualityFilter:
    """Filters captions by the rules, a block of images at a time; `counts` says what it did.

    A caption that names a word measured below `min_attribute` contradicts its image. `repeated` is
    what `find_repeated` found. With `one_class`, captions of one image that name different classes
    contradict each other; leave it off where the teacher names its second guesses on purpose.
    """

    def __init__(
        self,
        task: TaskSpec,
        rules: Rules,
        *,
        near_duplicate_jaccard: float,
        min_attribute: float,
        min_confidence: float,
        one_class: bool = False,
        repeated: Repeated | None = None,
        topics: Topics | None = None,
        vote: Vote | None = None,
    ):
        self.counts = Counts()
        self._task, self._rules, self._vote = task, rules, vote
        self._near_duplicate_jaccard = near_duplicate_jaccard
        self._min_attribute, self._min_confidence = min_attribute, min_confidence
        self._one_class, self._repeated = one_class, repeated
        self._no_caption_limits = rules.limits.no_caption
        self._languages = Languages(rules.limits.language)
        lexicon = Lexicon(task)
        names = [*task.classes, *(name for words in task.synonyms.values() for name in words)]
        reader = Reader(rules.contradictions, [name.replace("_", " ") for name in names])
        self._alike = alike = Alike(rules.limits.duplicates)
        self._read = lru_cache(_CACHED)(
            lambda text: _Read(lexicon.parse(text), reader.read(text), alike.read(text))
        )
        self._mentions = lru_cache(_CACHED)(lexicon.parse)
        self._measured = _measured_values(rules)
        self._topics = topics
        self._topics_TE = unit(topics.embed(topics.sentences)) if topics else None

    def __call__(
        self, captions: Iterable[Caption], measured: Mapping[str, np.ndarray]
    ) -> Iterator[Caption]:
        """Yields every caption, kept or with the reason it was dropped, in the order given.

        Captions of one image must stand together; one that comes dropped stays so. `measured` maps
        item ids to what `attributes.measure` returned.
        """
        block: list[list[_Judged]] = []
        size = _BATCH if self._topics or self._vote else 1
        for item_id, group in groupby(captions, key=lambda caption: caption.item_id):
            block.append(self._judged(list(group), measured.get(item_id)))
            if sum(map(len, block)) >= size:
                yield from self._finished(block)
                block = []
        yield from self._finished(block)

    def _judged(self, captions: list[Caption], measured_A: np.ndarray | None) -> list[_Judged]:
        """The captions of one image, by the rules that look at one caption after the other."""
        judged: list[_Judged] = []
        for caption in captions:
            one = _Judged(caption, self._read(caption.text), caption.dropped, measured_A)
            judged.append(one)
            if caption.dropped is not None:
                continue
            kept = [other for other in judged[:-1] if other.reason is None]
            logical = [
                *one.read.facts.impossible,
                *_contradictions(one.read.mentions, measured_A, self._min_attribute),
            ]
            self.counts.judged += 1
            self.counts.violations.update({_rule(reason) for reason in logical})
            one.reason = (
                self._no_description(caption.text, one.read.mentions)
                or self._duplicate(one, kept)
                or next(iter(logical), None)
                or self._boilerplate(one)
                or (None if one.read.mentions.classes else self._no_caption(caption.text))
                or _low_confidence(caption, self._min_confidence)
            )
        return judged

    def _finished(self, block: list[list[_Judged]]) -> Iterator[Caption]:
        """The captions of a block of images, by the rules that look at several at once."""
        self._drop_off_topic([one for image in block for one in image])
        self._drop_voted_down([one for image in block for one in image])
        for image in block:
            self._drop_outvoted(image)
            for one in image:
                if one.reason is None:
                    self.counts.kept += 1
                else:
                    self.counts.dropped[_rule(one.reason)] += 1
                yield dataclasses.replace(one.caption, dropped=one.reason)

    def _no_description(self, text: str, mentions: Mentions) -> str | None:
        refusals, classed = self._rules.refusals, bool(mentions.classes)
        if refusals.refused.match(text):
            return "refused"
        own = _own_words(text)
        filler = refusals.filler.search(own if classed else text)
        evading = None
        if not classed:
            filler, evading = self._wide(own, filler, refusals.evading.search(own))
        if evading is not None:
            return "refused"
        if filler is not None:
            return f"boilerplate: {filler.group()[:60]}"
        fault = length_fault(text, self._rules.limits.length)
        if fault is not None:
            return (None if classed else self._no_caption(text)) or f"length: {fault}"
        foreign = self._languages.foreign(text)
        return None if foreign is None else f"language: {foreign}"

    def _wide(self, own: str, filler: _Match, evading: _Match) -> tuple[_Match, _Match]:
        """What is found where no class is named, with a small model's word on what the wide nets say.

        "No caption could be made" and "read our privacy policy" are caught by both kinds of net.
        """
        filler = filler or self._rules.refusals.unclassed_filler.search(own)
        if filler is None and evading is None:
            return None, None
        if self._no_caption_limits.min_probability > 1:
            return filler, None if filler is not None else evading
        caption, refusal, boilerplate = no_caption.shipped().probabilities(own).tolist()
        if caption >= self._no_caption_limits.surely_caption:
            return None, None
        if filler is not None and evading is not None:
            return (None, evading) if refusal > boilerplate else (filler, None)
        return filler, evading

    def _no_caption(self, text: str) -> str | None:
        """What a small model says of a text that names no class, in words that no pattern has."""
        limit = self._no_caption_limits.min_probability
        kind = no_caption.shipped().kind(text, limit) if limit <= 1 else None
        if kind == "boilerplate":
            return f"boilerplate: {text[:60]}"
        return None if kind is None else "refused"

    def _duplicate(self, one: _Judged, kept: list[_Judged]) -> str | None:
        if any(one.caption.text == other.caption.text for other in kept):
            return "exact duplicate"
        for other in kept:
            if one.read.says_otherwise(other.read):
                continue
            ours, theirs = one.read.content, other.read.content
            if self._alike.same(ours, theirs) or (
                one.read.adds_nothing_to(other.read, self._alike)
                and (
                    jaccard(one.caption.text, other.caption.text) >= self._near_duplicate_jaccard
                    or self._alike.near(ours, theirs)
                )
                and not self._alike.exchanged(ours, theirs)
            ):
                return "near duplicate"
        return None

    def _boilerplate(self, one: _Judged) -> str | None:
        if self._repeated is None or one.read.mentions.classes:
            return None
        like = self._repeated.like(one.caption.text)
        return None if like is None else f"repeated on many images: {like[:60]}"

    def _drop_off_topic(self, judged: list[_Judged]) -> None:
        """A caption that names a class is on topic, however odd the rest."""
        if self._topics is None or self._topics_TE is None:
            return
        asked = [one for one in judged if one.reason is None and not one.read.mentions.classes]
        if not asked:
            return
        texts_NE = unit(self._topics.embed([one.caption.text for one in asked]))
        nearest_N = (texts_NE @ self._topics_TE.T).max(axis=1)
        for one, similarity in zip(asked, nearest_N.tolist(), strict=True):
            if similarity < self._rules.limits.off_topic.min_similarity:
                one.reason = f"off topic: {similarity:.2f}"

    def _drop_voted_down(self, judged: list[_Judged]) -> None:
        asked = [one for one in judged if one.reason is None]
        if self._vote is None or not asked:
            return
        scores = self._vote([one.caption for one in asked])
        for one, score in zip(asked, scores, strict=True):
            if score < self._rules.limits.vote.min_score:
                one.reason = f"voted down: {score:.2f}"

    def _drop_outvoted(self, image: list[_Judged]) -> None:
        """Where captions of one image exclude each other, those that fewer agree with go.

        What says the same again is dropped, and is a voice nevertheless.
        """
        heard = [one for one in image if one.reason in (None, *_DUPLICATES)]
        doubted = frozenset[str]().union(*(one.read.facts.missing for one in heard))
        said = [self._statements(one) | _presence(one.read.facts, doubted) for one in heard]
        votes: dict[Statement, Counter[str]] = {}
        for statements in said:
            for statement, values in statements.items():
                votes.setdefault(statement, Counter()).update(values)
        for one, statements in zip(heard, said, strict=True):
            if one.reason is not None:
                continue
            found = [_outvoted(s, values, votes[s]) for s, values in statements.items()]
            reasons = [reason for reason in found if reason is not None]
            self.counts.violations.update({_rule(reason) for reason in reasons})
            one.reason = next(iter(reasons), None)

    def _statements(self, one: _Judged) -> dict[Statement, frozenset[str]]:
        """What a caption states that its image alone cannot decide, things called by their class."""
        statements = {
            (group, self._called(about)): values
            for (group, about), values in one.read.facts.values.items()
            if one.measured_A is None or not values & self._measured.get(group, frozenset())
        }
        if self._one_class and one.read.mentions.classes:
            classes = one.read.mentions.classes
            statements["class", ""] = frozenset(self._task.classes[index] for index in classes)
        return statements

    def _called(self, about: str) -> str:
        """The things of a statement, by their classes where they have one."""
        things = [self._mentions(thing).classes for thing in about.split("|")]
        called = [
            self._task.classes[classes[0]] if classes else thing
            for classes, thing in zip(things, about.split("|"), strict=True)
        ]
        return "|".join(called)


def logical_consistency(violations: Mapping[str, int], judged: int) -> dict[str, Any]:
    """Returns how often captions broke a logical rule before any was dropped, the worst first.

    `share` of the captions judged with its Wilson interval, for every rule that was broken.
    """
    rules = {}
    for rule, count in sorted(violations.items(), key=lambda pair: (-pair[1], pair[0])):
        low, high = wilson_interval(count, judged)
        rules[rule] = {"captions": count, "share": count / judged, "low": low, "high": high}
    return {"judged": judged, "rules": rules}


def length_fault(text: str, rules: Length) -> str | None:
    """Returns what is wrong with a caption's length, or None."""
    if len(text) > rules.max_characters:
        return f"{len(text)} characters, at most {rules.max_characters}"
    unspaced = len(UNSPACED.findall(text))
    said = words(text)
    spaced = len(said) - unspaced
    if spaced < rules.min_words and unspaced < rules.min_unspaced_characters:
        return f"{len(said)} words, at least {rules.min_words}"
    if spaced > rules.max_words:
        return f"{spaced} words, at most {rules.max_words}"
    if len(said) and _repeated_share(said) > rules.max_repeated_share:
        return "says the same again and again"
    return None


@dataclass(frozen=True)
class _Read:
    """What a text says; read once where a teacher says it often."""

    mentions: Mentions
    facts: Facts
    content: Content

    def says_otherwise(self, other: _Read) -> bool:
        """Whether it names other classes, or states something of a thing that the other denies."""
        ours, theirs = self.facts.values, other.facts.values
        return self.mentions.classes != other.mentions.classes or any(
            ours[statement] != theirs[statement] for statement in ours.keys() & theirs.keys()
        )

    def adds_nothing_to(self, other: _Read, alike: Alike) -> bool:
        """Whether it names no other words, and states nothing new unless the words are the same.

        Order changes what is read as a statement: "in the rain, a cat by a wall".
        """
        return set(self.mentions.words) <= set(other.mentions.words) and (
            self.facts.values.items() <= other.facts.values.items()
            or alike.equal(self.content, other.content)
        )


@dataclass
class _Judged:
    caption: Caption
    read: _Read
    reason: str | None
    measured_A: np.ndarray | None


def _own_words(text: str) -> str:
    """A text without what it quotes, which may be read off a picture, if much else is left."""
    own = _QUOTED.sub(" ", text)
    return own if len(words(own)) > _FEW else text


def _measured_values(rules: Rules) -> dict[str, frozenset[str]]:
    """Returns the values of each group that one of the measured words stands for."""
    measured = {word for _, word in WORDS}
    return {
        name: frozenset(
            value for value, phrases in group.values.items() if measured & {value, *phrases}
        )
        for name, group in rules.contradictions.groups.items()
    }


def _presence(facts: Facts, doubted: frozenset[str]) -> dict[Statement, frozenset[str]]:
    """Which of the things that some caption says are not there this one has, and has not."""
    return {
        ("presence", key): frozenset((said,))
        for said, keys in (("seen", facts.seen), ("missing", facts.missing))
        for key in keys & doubted
    }


def _outvoted(statement: Statement, values: frozenset[str], votes: Counter[str]) -> str | None:
    top, count = max(votes.items(), key=lambda pair: (pair[1], pair[0]))
    if count < 2 or count <= max(votes[value] for value in values):
        return None
    group, about = statement
    if "|" in about:
        said = f"{about.replace('|', ' and ')} the other way round"
    else:
        said = f"{' and '.join(sorted(values))}, not {top}" + (f" ({about})" if about else "")
    return f"contradicts other captions on {group}: {said}"


def _repeated_share(said: list[str]) -> float:
    """The share of words that say the phrase before them again: 2/3 of "a cat a cat a cat"."""
    most = 0
    for period in range(1, min(6, len(said) // 2 + 1)):
        run = repeated = 0
        for one, other in zip(said[period:], said, strict=False):
            run = run + 1 if one == other else 0
            repeated += run if run == period else int(run > period)
        most = max(most, repeated)
    return most / len(said)


def _rule(reason: str) -> str:
    return reason.split(":")[0]


def _contradictions(
    mentions: Mentions, measured_A: np.ndarray | None, min_attribute: float
) -> Iterator[str]:
    if measured_A is not None:
        for index in mentions.words:
            if measured_A[index] < min_attribute:
                attribute, word = WORDS[index]
                yield f"contradicts measured {attribute}: {word}"


def _low_confidence(caption: Caption, min_confidence: float) -> str | None:
    return "low confidence" if caption.confidence < min_confidence else None

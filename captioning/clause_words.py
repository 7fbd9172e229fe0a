"""What the words of a clause do and its phrases mean, by the rules on contradictions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import permutations

from captioning.rules import Contradictions
from captioning.sentence_parts import NUMBER, Meaning, singular

UNIFORM = "uniform"
"""The meaning of a phrase that says "wholly"."""
_IS = re.compile(r"\b(it|that|he|she|there|here|who)'s\b")
_ITS_SIDE = re.compile(r"\bto its (left|right)\b(?! (?:hand|side|eye|ear|leg|wing|arm|foot|paw))")
_EVERY_PART = re.compile(
    r"\b(?:every (?:single )?(?:part|inch|bit|corner|side)|all) of (?=(?:it|the|an?)\b)"
)
_COLOURED = re.compile(r"(?<=\w)-colou?red\b")


def clauses(text: str) -> Iterator[list[str]]:
    """Tokens between the marks that end a clause; commas are tokens."""
    text = _EVERY_PART.sub("", text)
    text = _ITS_SIDE.sub(r"to the \1 of it", _IS.sub(r"\1 is", _COLOURED.sub("", text)))
    for part in re.split(r"[.;:!?]+(?=\s|$)", text):
        tokens = re.findall(r"all(?=-)|\d+(?:[.,]\d+)+|[^\W_]+(?:['-][^\W_]+)*|,", part)
        if tokens:
            yield tokens


class Words:
    """What the words of a sentence do, and what its phrases mean."""

    def __init__(self, rules: Contradictions, names: Iterable[str] = ()):
        grammar = rules.grammar
        self.determiners = frozenset(grammar.determiners)
        self.copulas = frozenset(grammar.copulas)
        self.pronouns = frozenset(grammar.pronouns)
        self.joins = frozenset(rules.joins)
        self.uniform = frozenset(word for word in rules.uniform if " " not in word)
        self.negations = frozenset(rules.negations)
        self.skipped = frozenset([*grammar.adverbs, *grammar.exact]) | self.uniform
        self.prepositions = frozenset(grammar.prepositions) - self.joins
        self.attributes = frozenset(grammar.attributes)
        self.postures = frozenset(grammar.postures)
        self.made = frozenset(grammar.made)
        self.painted = frozenset(grammar.painted)
        self.exact = frozenset(grammar.exact)
        self._nouns = frozenset(grammar.nouns)
        self._verbs = frozenset(grammar.verbs)
        self._stops = frozenset(",").union(
            grammar.determiners, grammar.copulas, grammar.pronouns, grammar.verbs,
            grammar.prepositions, rules.joins, rules.negations,
        )  # fmt: skip
        self._phrases = _phrases(rules)
        self.others = {
            (name, one): other
            for name, group in rules.groups.items() if group.either
            for one, other in permutations(group.values, 2)
        }  # fmt: skip
        self._names: dict[str, list[tuple[str, ...]]] = {}
        for said in sorted({_words(name) for name in names} - {()}, key=len, reverse=True):
            self._names.setdefault(said[0], []).append(said)

    def phrase(self, tokens: list[str], at: int) -> tuple[int, list[Meaning]]:
        """Returns (how many tokens, their meanings) of the longest phrase that begins there."""
        if at < len(tokens):
            for words, meanings in self._phrases.get(_article(tokens[at]), ()):
                if tuple(map(_article, tokens[at : at + len(words)])) == words:
                    return len(words), meanings
        return 0, []

    def describing(self, tokens: list[str], at: int) -> int:
        """Returns how many tokens the phrase has that begins there and describes a thing, else 0."""
        length, meanings = self.phrase(tokens, at)
        describes = meanings and not meanings[0].relation and meanings[0].name != NUMBER
        return length if describes else 0

    def relating(self, tokens: list[str], at: int) -> bool:
        """Whether a phrase that says where something is begins there."""
        _, meanings = self.phrase(tokens, at)
        return bool(meanings) and meanings[0].relation

    def name(self, tokens: list[str], at: int) -> int:
        """Returns how many tokens the name has that begins there: "black swan" is no black thing.

        A single word may describe what follows it: "an orange cat".
        """
        first = _article(tokens[at])
        for words in self._names.get(first, self._names.get(singular(first), ())):
            after = at + len(words)
            said = tuple(map(_article, tokens[at:after]))
            if said == words or (*said[:-1], singular(said[-1])) == words:
                describes = (
                    len(words) == 1 and after < len(tokens) and not self.stops(tokens[after])
                )
                return 0 if describes else len(words)
        return 0

    def stops(self, token: str) -> bool:
        """Whether a noun is at its end before this token."""
        return token in self._stops or self.is_verbal(token)

    def is_verb(self, token: str) -> bool:
        return token in self._verbs

    def is_verbal(self, token: str) -> bool:
        """Whether it looks like a form of a verb: "sleeping", "parked"."""
        ends = token.endswith(("ing", "ed")) and token not in self._nouns
        return ends and token not in self._stops


def _phrases(rules: Contradictions) -> dict[str, list[tuple[tuple[str, ...], list[Meaning]]]]:
    """Phrases by their first word, longest first, with all they may mean."""
    meanings: dict[tuple[str, ...], list[Meaning]] = {}
    for name, group in rules.groups.items():
        if group.scope == "object":
            for value, phrases in group.values.items():
                for phrase in phrases:
                    meanings.setdefault(_words(phrase), []).append(Meaning(name, value))
    for name, relation in rules.relations.items():
        for side, phrases in (("one", relation.one), ("opposite", relation.opposite)):
            for phrase in phrases:
                meanings.setdefault(_words(phrase), []).append(Meaning(name, side, True))
    for phrase in rules.uniform:
        if " " in phrase:
            meanings.setdefault(_words(phrase), []).append(Meaning(UNIFORM, ""))
    by_first: dict[str, list[tuple[tuple[str, ...], list[Meaning]]]] = {}
    for words in sorted(meanings, key=len, reverse=True):
        by_first.setdefault(words[0], []).append((words, meanings[words]))
    return by_first


def _article(word: str) -> str:
    return "a" if word in ("an", "the") else word


def _words(phrase: str) -> tuple[str, ...]:
    return tuple(map(_article, phrase.casefold().split()))

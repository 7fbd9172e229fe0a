"""The nouns of an English sentence, what describes them and what stands where.

A list of function words and of the phrases that matter, both from the rules; no parser, no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from captioning.inflections import singulars
from captioning.rules import Contradictions


def read_sentence(text: str, words: Words) -> Sentence:
    """Returns the nouns and relations of a text in lower case."""
    sentence = Sentence()
    for tokens in _clauses(text):
        _Clause(tokens, words, sentence).read()
    return sentence


class Words:
    """What the words of a sentence do, and what its phrases mean."""

    def __init__(self, rules: Contradictions, names: Iterable[str] = ()):
        grammar = rules.grammar
        self.determiners = frozenset(grammar.determiners)
        self.copulas = frozenset(grammar.copulas)
        self.pronouns = frozenset(grammar.pronouns)
        self.joins = frozenset(rules.joins)
        self.uniform = frozenset(rules.uniform)
        self.negations = frozenset(rules.negations)
        self.skipped = frozenset([*grammar.adverbs, *rules.uniform])
        self.prepositions = frozenset(grammar.prepositions) - self.joins
        self.attributes = frozenset(grammar.attributes)
        self._nouns = frozenset(grammar.nouns)
        self._stops = frozenset(",").union(
            grammar.determiners, grammar.copulas, grammar.pronouns, grammar.verbs,
            grammar.prepositions, rules.joins, rules.negations,
        )  # fmt: skip
        self._phrases = _phrases(rules)
        self._names: dict[str, list[tuple[str, ...]]] = {}
        for said in sorted({_words(name) for name in names} - {()}, key=len, reverse=True):
            self._names.setdefault(said[0], []).append(said)

    def phrase(self, tokens: list[str], at: int) -> tuple[int, list[_Meaning]]:
        """Returns (how many tokens, their meanings) of the longest phrase that begins there."""
        if at < len(tokens):
            for words, meanings in self._phrases.get(_article(tokens[at]), ()):
                if tuple(map(_article, tokens[at : at + len(words)])) == words:
                    return len(words), meanings
        return 0, []

    def name(self, tokens: list[str], at: int) -> int:
        """Returns how many tokens the name has that begins there: "black swan" is no black thing.

        A single word may describe what follows it: "an orange cat".
        """
        first = _article(tokens[at])
        for words in self._names.get(first, self._names.get(_singular(first), ())):
            after = at + len(words)
            said = tuple(map(_article, tokens[at:after]))
            if said == words or (*said[:-1], _singular(said[-1])) == words:
                describes = (
                    len(words) == 1 and after < len(tokens) and not self.stops(tokens[after])
                )
                return 0 if describes else len(words)
        return 0

    def stops(self, token: str) -> bool:
        """Whether a noun is at its end before this token."""
        return token in self._stops or self.is_verbal(token)

    def is_verbal(self, token: str) -> bool:
        """Whether it looks like a form of a verb: "sleeping", "parked"."""
        ends = token.endswith(("ing", "ed")) and token not in self._nouns
        return ends and token not in self._stops


NUMBER = "number"
"""The group of the rules whose values count things."""
# "Only" and "ugly" are no such adverbs.
_ADVERB = 6
# Before "is" they speak of something not named: "one is red, the other is blue".
_ANOTHER = ("one", "other", "another", "some", "others", "both")


class _Clause:
    """One clause, read from left to right into the nouns and relations of its sentence."""

    def __init__(self, tokens: list[str], words: Words, sentence: Sentence):
        self._tokens, self._words, self._sentence = tokens, words, sentence
        self._since = len(sentence.nouns)
        self._begin()

    def read(self) -> None:
        at = 0
        while at < len(self._tokens):
            at += self._take(at)
        self._end_noun()

    def _begin(self) -> None:
        self._said: list[_Value] = []
        self._run: list[str] = []
        self._joined = self._uniform = self._negated = False
        self._determined = self._definite = self._predicate = self._placed = False
        self._trails = self._named = False

    def _take(self, at: int) -> int:
        """Reads what begins at a token; returns how many tokens that is."""
        token, words = self._tokens[at], self._words
        length = words.name(self._tokens, at)
        if length:
            self._run.append(self._tokens[at + length - 1])
            return length
        length, meanings = words.phrase(self._tokens, at)
        if meanings and meanings[0].relation:
            self._relate(meanings[0])
        elif meanings and not self._shades(token, at + length):
            self._describe(meanings, self._tokens[at : at + length])
        elif token in words.skipped or self._says_how(token, at):
            self._uniform |= token in words.uniform
            return 1
        elif self._said and not self._run and (token in words.joins or token == ","):
            self._join(token, at)
            return 1
        else:
            self._pass(token, at)
            return 1
        return length

    def _relate(self, meaning: _Meaning) -> None:
        self._end_noun()
        self._forget_relation()
        sentence = self._sentence
        placed = Placed(meaning, sentence.owner(self._since), len(sentence.nouns))
        sentence.relations.append(placed)
        self._placed = True

    def _describe(self, meanings: list[_Meaning], said: list[str]) -> None:
        values = [_Value(meaning.name, meaning.value, said[-1]) for meaning in meanings]
        if said[0] == "made":  # stands behind what it describes
            self._end_noun()
            if self._sentence.nouns:
                self._sentence.nouns[-1].said.append(Said(tuple(values), False, False))
        elif not self._negated:
            self._said += values
            if any(value.group == NUMBER for value in values):  # a determiner as well
                self._determined, self._definite, self._predicate = True, False, False

    def _refer_back(self) -> None:
        """In "a cat behind a box and in front of it", it is the box."""
        relations, nouns = self._sentence.relations, self._sentence.nouns
        if relations and relations[-1].object_at == len(nouns):
            owner = relations[-1].owner
            placed = [at for at, noun in enumerate(nouns) if noun.placed and noun is not owner]
            if placed:
                relations[-1] = replace(relations[-1], object_at=placed[-1])

    def _forget_relation(self) -> None:
        """Drops a relation that no noun follows: "on the left, a lamp"."""
        relations = self._sentence.relations
        if relations and relations[-1].object_at == len(self._sentence.nouns):
            relations.pop()

    def _shades(self, token: str, at: int) -> bool:
        """Whether a word only says which colour: "dark" in "dark red"."""
        if token not in self._words.skipped:
            return False
        return any(meaning.name == "colour" for meaning in self._words.phrase(self._tokens, at)[1])

    def _says_how(self, token: str, at: int) -> bool:
        """Whether it is "utterly" in "an utterly black cat"."""
        if self._run or not token.endswith("ly") or len(token) < _ADVERB:
            return False
        _, meanings = self._words.phrase(self._tokens, at + 1)
        return bool(meanings) and not meanings[0].relation

    def _join(self, token: str, at: int) -> None:
        following = at + 1
        while following < len(self._tokens) and (
            self._tokens[following] in self._words.skipped | self._words.joins
        ):
            following += 1
        _, meanings = self._words.phrase(self._tokens, following)
        if not meanings or meanings[0].relation or meanings[0].name == NUMBER:
            self._end_noun()
        else:
            self._joined |= token != ","

    def _pass(self, token: str, at: int) -> None:
        words = self._words
        if not words.stops(token) or self._begins_noun(token, at):
            self._run.append(token)
            return
        self._end_noun()
        if token in ("it", "them"):
            self._refer_back()
        if token not in words.determiners:
            self._forget_relation()
        self._trails = token == ","
        if token in words.copulas:
            self._find_subject(at)
            self._since = len(self._sentence.nouns)
            self._predicate, self._determined = True, False
        elif token in words.determiners:
            self._named = self._predicate
            self._determined, self._predicate = True, False
            self._definite = token not in ("a", "an", "another", "some")
        elif token in words.negations:
            self._negated = True
        elif token in words.joins:
            self._joined |= token != "and"
        elif token in words.prepositions:
            self._placed = True

    def _begins_noun(self, token: str, at: int) -> bool:
        """Whether a word in -ing or -ed belongs to the noun that follows: "the ironing board"."""
        if self._run or not self._words.is_verbal(token):
            return False
        follows = at + 1 < len(self._tokens) and not self._words.stops(self._tokens[at + 1])
        return follows and (bool(self._said) or self._tokens[at - 1] in self._words.determiners)

    def _end_noun(self) -> None:
        """Ends what is being read: a noun with what describes it, or what "is" says."""
        if self._said and not self._run and self._determined:  # "an orange", "the full glass"
            last = self._said[-1]
            if last.group != NUMBER:
                self._run = [last.word]
            self._said = [value for value in self._said if value.word != last.word]
        said = Said(tuple(self._said), self._joined, self._uniform)
        described = self._described()
        if described is not None:
            described.said.append(said)
        elif self._run:
            noun = Noun(tuple(self._run), self._definite, self._placed, [said])
            self._sentence.nouns.append(noun)
        if self._run or self._said:
            self._begin()

    def _described(self) -> Noun | None:
        """The noun before it that what was read describes, if it is no noun of its own."""
        nouns = self._sentence.nouns
        if not self._said:
            return None
        if self._run:  # "of enormous size", "has a red colour"
            if self._run[-1] in self._words.attributes and nouns:
                return nouns[-1]
            subject = self._sentence.subject  # "the cat is a black cat"
            again = self._named and subject is not None and subject.head == self._run[-1]
            return subject if again else None
        if self._predicate:
            return self._sentence.subject
        if self._trails:  # "a cat, small and black"
            free = [noun for noun in nouns[self._since :] if not noun.placed]
            return next((noun for noun in free[:1] if not noun.plural), None)
        return None

    def _find_subject(self, at: int) -> None:
        """What "is" speaks of: the noun before it, or what a pronoun stands for."""
        before = self._tokens[at - 1] if at else ""
        sentence = self._sentence
        if before in ("which", "that", "who") and sentence.nouns:
            sentence.subject = sentence.nouns[-1]
        elif before in self._words.pronouns:
            sentence.subject = next(iter(sentence.nouns), None)
        elif before in _ANOTHER:
            sentence.subject = None
        else:
            new = sentence.nouns[self._since :]
            if new:
                # "A cup in a box, and the lid is red": the lid; "the cup in the box is red": the cup.
                last = max((at for at, noun in enumerate(new) if noun.placed), default=-1)
                free = [noun for noun in [*new[last + 1 :], *new] if not noun.placed]
                sentence.subject = sentence.referred((free or new)[0])


@dataclass(frozen=True)
class _Meaning:
    name: str
    value: str
    relation: bool = False


@dataclass(frozen=True)
class _Value:
    group: str
    value: str
    word: str


@dataclass(frozen=True)
class Said:
    """What is said of a noun in one breath."""

    values: tuple[_Value, ...]
    joined: bool
    uniform: bool

    def of(self, group: str) -> list[str]:
        """The different values of a group, as they stand."""
        return list(dict.fromkeys(v.value for v in self.values if v.group == group))


@dataclass
class Noun:
    """`placed`: it stands behind a preposition."""

    words: tuple[str, ...]
    definite: bool
    placed: bool
    said: list[Said]

    @property
    def head(self) -> str:
        return self.words[-1]

    @property
    def key(self) -> str:
        """The head as one of it is called."""
        return _singular(self.head)

    @property
    def plural(self) -> bool:
        return any(_singular(word) != word for word in self.words)


@dataclass(frozen=True)
class Placed:
    meaning: _Meaning
    owner: Noun | None
    object_at: int


@dataclass
class Sentence:
    nouns: list[Noun] = field(default_factory=list)
    relations: list[Placed] = field(default_factory=list)
    subject: Noun | None = None

    def owner(self, since: int) -> Noun | None:
        """What stands somewhere: the last free noun since the last "is", else its subject."""
        free = [noun for noun in self.nouns[since:] if not noun.placed]
        return free[-1] if free else self.subject or next(iter(self.nouns), None)

    def referred(self, noun: Noun) -> Noun:
        """The one noun that "the car" speaks of again; itself where it is new or one of several."""
        before = [other for other in self.nouns if other is not noun and other.key == noun.key]
        described = any(said.values for said in noun.said)
        again = noun.definite and not described and len(before) == 1
        return before[0] if again else noun

    def noun(self, at: int) -> Noun | None:
        return self.nouns[at] if at < len(self.nouns) else None

    def is_one(self, noun: Noun) -> bool:
        """Whether the sentence speaks of one such thing; "the car" may be the one named before."""
        alike = [other for other in self.nouns if other.key == noun.key]
        return sum(bool(other.said[0].values) or not other.definite for other in alike) <= 1


def _clauses(text: str) -> Iterator[list[str]]:
    """Tokens between the marks that end a clause; commas are tokens."""
    for part in re.split(r"[.;:!?]+(?=\s|$)", text):
        tokens = re.findall(r"[^\W_]+(?:['-][^\W_]+)*|,", part)
        if tokens:
            yield tokens


def _phrases(rules: Contradictions) -> dict[str, list[tuple[tuple[str, ...], list[_Meaning]]]]:
    """Phrases by their first word, longest first, with all they may mean."""
    meanings: dict[tuple[str, ...], list[_Meaning]] = {}
    for name, group in rules.groups.items():
        if group.scope == "object":
            for value, phrases in group.values.items():
                for phrase in phrases:
                    meanings.setdefault(_words(phrase), []).append(_Meaning(name, value))
    for name, relation in rules.relations.items():
        for side, phrases in (("one", relation.one), ("opposite", relation.opposite)):
            for phrase in phrases:
                meanings.setdefault(_words(phrase), []).append(_Meaning(name, side, True))
    by_first: dict[str, list[tuple[tuple[str, ...], list[_Meaning]]]] = {}
    for words in sorted(meanings, key=len, reverse=True):
        by_first.setdefault(words[0], []).append((words, meanings[words]))
    return by_first


@lru_cache(1 << 13)
def _singular(word: str) -> str:
    return min([*singulars(word), word], key=len)


def _article(word: str) -> str:
    return "a" if word in ("an", "the") else word


def _words(phrase: str) -> tuple[str, ...]:
    return tuple(map(_article, phrase.casefold().split()))

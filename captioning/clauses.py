"""The nouns of an English sentence, what describes them and what stands where.

A list of function words and of the phrases that matter, both from the rules; no parser, no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import permutations

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

    def is_verb(self, token: str) -> bool:
        return token in self._verbs

    def is_verbal(self, token: str) -> bool:
        """Whether it looks like a form of a verb: "sleeping", "parked"."""
        ends = token.endswith(("ing", "ed")) and token not in self._nouns
        return ends and token not in self._stops


NUMBER = "number"
"""The group of the rules whose values count things."""
_MATERIAL = "material"
_UNIFORM = "uniform"
_ONE = ("one", "ones")
# Groups of where in a picture something is.
_WHERE = ("side", "ground")
_IS = re.compile(r"\b(it|that|he|she|there|here|who)'s\b")
_ITS_SIDE = re.compile(r"\b(to) its (left|right)\b(?! (?:hand|side|eye|ear|leg|wing|arm|foot|paw))")
_SIDE = re.compile(r"on the (left|right)(?: side)?\b(?! (?:of|side of|\w+ of)\b)")
_COLOURED = re.compile(r"(?<=\w)-colou?red\b")
_SEEM, _CAUSES = ("look", "seem", "appear"), frozenset(("makes", "make", "made", "making", "lets"))
# "Only" and "ugly" are no such adverbs.
_ADVERB = 6
# Before "is" they speak of something not named: "one is red, the other is blue".
_ANOTHER = ("one", "other", "another", "some", "others", "both")


class _Clause:
    """One clause, read from left to right into the nouns and relations of its sentence."""

    def __init__(self, tokens: list[str], words: Words, sentence: Sentence):
        self._tokens, self._words, self._sentence = tokens, words, sentence
        self._since = len(sentence.nouns)
        self._leads: list[_Value] = []
        self._begin()

    def read(self) -> None:
        at = 0
        while at < len(self._tokens):
            at += self._take(at)
        self._end_noun()
        self._forget_relation()

    def _begin(self) -> None:
        self._said: list[_Value] = []
        self._run: list[str] = []
        self._joined = self._uniform = self._negated = self._denies = False
        self._determined = self._definite = self._predicate = self._placed = False
        self._trails = self._named = self._exact = self._carried = self._compared = self._lacks = (
            False
        )
        self._after = self._wears = False

    def _take(self, at: int) -> int:
        """Reads what begins at a token; returns how many tokens that is."""
        token, words = self._tokens[at], self._words
        length = words.name(self._tokens, at)
        if length:
            self._run.append(self._tokens[at + length - 1])
            return length
        if token in words.made or (token == "of" and self._run):
            length = self._made_of(at)
            if length:
                return length
        if token in _ONE and self._said and not self._run:  # "a small one"
            self._run.append(token)
            return 1
        if token in ("on", "off") and self._ends_power(at):  # "the lamp is on"
            self._said.append(_Value("power", token, token))
            return 1
        side = _SIDE.match(" ".join(self._tokens[at : at + 6]))
        if side:  # "a cat on the left, a dog on the right"
            self._end_noun()
            if self._sentence.nouns:
                self._sentence.nouns[-1].side = side[1]
            return len(side.group().split())
        length, meanings = words.phrase(self._tokens, at)
        if meanings and meanings[0].relation:
            self._relate(meanings)
            self._wears = token == "in" and length == 1  # "a car in plain red"
        elif meanings and meanings[0].name == _UNIFORM:
            self._uniform = True
        elif meanings and not self._shades(token, at + length):
            self._describe(meanings, self._tokens[at : at + length])
        elif token in words.skipped or self._says_how(token, at):
            self._uniform |= token in words.uniform
            self._exact |= token in words.exact
            return 1
        elif token == "and" and self._is_adjective(at):
            self._run = []
            return 1
        elif self._said and (not self._run or self._after) and token in (*words.joins, ","):
            self._join(token, at)
            return 1
        else:
            self._pass(token, at)
            return 1
        return length

    def _relate(self, meanings: list[_Meaning]) -> None:
        self._end_noun()
        self._forget_relation()
        sentence = self._sentence
        owner, object_at = sentence.owner(self._since), len(sentence.nouns)
        if owner is None or not owner.absent:
            sentence.relations += [
                Placed(meaning, owner, object_at, self._denies) for meaning in meanings
                if self._denies or not self._negated
            ]  # fmt: skip
        self._placed = True

    def _describe(self, meanings: list[_Meaning], said: list[str]) -> None:
        values = [_Value(meaning.name, meaning.value, said[-1]) for meaning in meanings]
        if not self._negated:
            self._said += values
            self._after = bool(self._run)
            if any(value.group == NUMBER for value in values):  # a determiner as well
                self._determined, self._definite, self._predicate = True, False, False
        elif self._denies and self._sentence.subject is not None:
            self._sentence.subject.denied |= {(value.group, value.value) for value in values}
            self._said += [
                _Value(value.group, self._words.others[value.group, value.value], value.word)
                for value in values
                if (value.group, value.value) in self._words.others
            ]

    def _made_of(self, at: int) -> int:
        """Reads "made entirely of glass and stone", which stands behind what it describes.

        Returns how many tokens that is; 0 where no material follows.
        """
        found, uniform, end = self._materials(at if self._tokens[at] == "of" else at + 1)
        if not found:
            return 0
        predicate = self._predicate
        self._end_noun()
        noun = self._sentence.subject if predicate else next(reversed(self._sentence.nouns), None)
        if noun is not None and uniform:
            noun.said += [Said((value,), False, True) for value in found]
        elif noun is not None:
            noun.said.append(Said(tuple(found), len(found) > 1, False))
        return end - at

    def _materials(self, at: int) -> tuple[list[_Value], bool, int]:
        """Returns the materials that follow "made", whether each is the only one, and their end."""
        found: list[_Value] = []
        words, tokens = self._words, self._tokens
        uniform, end = False, at
        while at < len(tokens):
            length, meanings = words.phrase(tokens, at)
            materials = [meaning for meaning in meanings if meaning.name == _MATERIAL]
            if materials:
                found.append(_Value(_MATERIAL, materials[0].value, tokens[at + length - 1]))
                at = end = at + length
            elif tokens[at] in ("of", "from", "out", "up", "in") and (
                not found or tokens[at - 1] not in words.prepositions
            ):
                at += 1
            elif tokens[at] in words.skipped or (
                tokens[at] in ("and", ",") and end == at and found
            ):
                uniform |= tokens[at] in words.uniform | words.exact
                at += 1
            elif length and not meanings[0].relation and meanings[0].name != NUMBER:
                at += length  # "soft fabric", "stainless steel"
            else:
                break
        return found, uniform, end

    def _place_before(self, noun: Noun) -> None:
        """In "over the cat is a lamp", the lamp is over the cat."""
        for at, placed in enumerate(self._sentence.relations):
            if placed.owner is None and placed.object_at < len(self._sentence.nouns):
                self._sentence.relations[at] = replace(placed, owner=noun)

    def _refer_back(self, at: int) -> None:
        """In "a cat behind a box and in front of it", it is the box.

        In "a cat with a box in front of it", it is the cat, and the box stands there.
        """
        relations, nouns = self._sentence.relations, self._sentence.nouns
        if relations and relations[-1].object_at == len(nouns):
            owner = relations[-1].owner
            free = [at for at, noun in enumerate(nouns[:-1]) if not noun.placed]
            if nouns and nouns[-1].carried and free:
                relations[-1] = replace(relations[-1], owner=nouns[-1], object_at=free[-1])
                return
            placed = [at for at, noun in enumerate(nouns) if noun.placed and noun is not owner]
            others = placed[-1:] or [at for at in free if nouns[at] is not owner]
            after = self._tokens[at + 1 : at + 2]
            if set(after) & (self._words.copulas | self._words.determiners):  # "behind it a box"
                owner = None
            if others:
                relations[-1] = replace(relations[-1], owner=owner, object_at=others[0])

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
        """Whether it is "utterly" in "an utterly black cat", "painted" in "it is painted red"."""
        _, meanings = self._words.phrase(self._tokens, at + 1)
        if not meanings:
            return False
        if token in self._words.painted:
            return any(meaning.name == "colour" for meaning in meanings)
        if token == "as":  # "as small as a mouse"
            length, _ = self._words.phrase(self._tokens, at + 1)
            return self._tokens[at + 1 + length : at + 2 + length] == ["as"]
        if not token.endswith("ly") or len(token) < _ADVERB:
            return False
        return meanings[0].relation or not self._run or self._after

    def _join(self, token: str, at: int) -> None:
        following = at + 1
        while following < len(self._tokens) and (
            self._tokens[following] in self._words.skipped | self._words.joins
            or self._says_how(self._tokens[following], following)
        ):
            self._joined |= self._tokens[following] in self._words.joins - {"and"}
            following += 1
        _, meanings = self._words.phrase(self._tokens, following)
        if not meanings or meanings[0].relation or meanings[0].name == NUMBER:
            self._end_noun()
        else:
            self._joined |= token != ","

    def _pass(self, token: str, at: int) -> None:
        words = self._words
        if not self._stops(at) or self._begins_noun(token, at):
            if self._ended_plural(token) or self._is_done(token, at):
                self._end_noun()
                return
            self._run.append(token)
            return
        denies = token.endswith("n't") and token.removesuffix("n't") in words.copulas
        follows = self._follows(at)
        if token in ("which", "who") and (self._run or self._sentence.nouns):
            self._end_noun()
            self._sentence.subject = self._sentence.nouns[-1]
            self._since = len(self._sentence.nouns)
            return
        self._end_noun()
        if token in ("it", "them"):
            self._refer_back(at)
        if token not in words.determiners:
            self._forget_relation()
        self._trails = token == ","
        if token in words.copulas or denies or follows:
            self._find_subject(at)
            self._since = len(self._sentence.nouns)
            self._predicate, self._determined = True, False
            self._negated = self._denies = denies
        elif token in _ANOTHER and self._relates(at + 1):
            self._run.append(token)
        elif token in words.determiners:
            self._lacks = self._lacks and token in ("a", "an", "any")
            self._named = self._predicate
            self._determined, self._predicate = True, False
            self._definite = token not in ("a", "an", "another", "some")
        elif token in ("has", "have", "had"):
            self._carried = True
        elif token in words.negations:
            self._denies = self._predicate and not self._limits(at + 1)
            self._negated, self._lacks = True, token in ("no", "without")
        elif token in words.joins:
            self._joined |= token != "and"
            self._carried = token == "with"
        elif token in words.prepositions:
            self._placed, self._compared = True, token in ("as", "than")

    def _stops(self, at: int) -> bool:
        """Whether a noun is at its end before this token; "the can is red" speaks of a can."""
        token, words = self._tokens[at], self._words
        if token != "can":
            return words.stops(token)
        after = self._tokens[at + 1] if at + 1 < len(self._tokens) else ","
        plain = words.is_verb(after) and not after.endswith("s")
        return not words.stops(after) or plain or after in ("be", "not")

    def _follows(self, at: int) -> bool:
        """Whether what follows a verb describes its subject: "stands upright", "has been broken"."""
        token, words = self._tokens[at], self._words
        if token in ("has", "have", "had") and self._tokens[at + 1 : at + 2] == ["been"]:
            return True
        if token not in words.postures and token not in ("has", "have", "had"):
            return False
        while at + 1 < len(self._tokens) and self._tokens[at + 1] in words.skipped:
            at += 1
        length, meanings = words.phrase(self._tokens, at + 1)
        end = at + 1 + length
        if not meanings or meanings[0].relation or any(m.name == NUMBER for m in meanings):
            return False
        return end >= len(self._tokens) or self._stops(end) or self._tokens[end].endswith("ly")

    def _is_adjective(self, at: int) -> bool:
        """Whether the one word read is like what follows: "is proud and clean"."""
        if not self._predicate or self._determined or len(self._run) != 1:
            return False
        _, meanings = self._words.phrase(self._tokens, at + 1)
        return bool(meanings) and not meanings[0].relation and meanings[0].name != NUMBER

    def _relates(self, at: int) -> bool:
        _, meanings = self._words.phrase(self._tokens, at)
        return bool(meanings) and meanings[0].relation

    def _ends_power(self, at: int) -> bool:
        after = self._tokens[at + 1] if at + 1 < len(self._tokens) else ","
        known = ("power", self._tokens[at]) in self._words.others
        return known and self._predicate and not self._run and after in (",", "and", "but")

    def _placed_at(self, at: int) -> bool:
        """Whether a pronoun stands behind a preposition: "the box beside it is red"."""
        words = self._words
        return at > 0 and (self._tokens[at - 1] in words.prepositions or self._relates(at - 1))

    def _limits(self, at: int) -> bool:
        """Whether "not" is followed by what only limits: "not only red", "not entirely red"."""
        return at < len(self._tokens) and self._tokens[at] in self._words.skipped

    def _ended_plural(self, token: str) -> bool:
        """Whether a noun that was counted is at its end: "two boys paint a boat"."""
        counted = any(value.group == NUMBER and value.value != "one" for value in self._said)
        if not counted or not self._run or _singular(token) != token:
            return False
        return _singular(self._run[-1]) != self._run[-1]

    def _is_done(self, token: str, at: int) -> bool:
        """Whether it is "adorns" in "a wall adorns the room", which no list has."""
        after = self._tokens[at + 1] if at + 1 < len(self._tokens) else ""
        follows = after in self._words.determiners or after in ("off", "up", "out", "away")
        return bool(self._run) and self._determined and follows and _singular(token) != token

    def _begins_noun(self, token: str, at: int) -> bool:
        """Whether a word in -ing or -ed belongs to the noun that follows: "the ironing board"."""
        if self._run or not self._words.is_verbal(token):
            return False
        follows = at + 1 < len(self._tokens) and not self._stops(at + 1)
        return follows and (bool(self._said) or self._tokens[at - 1] in self._words.determiners)

    def _end_noun(self) -> None:
        """Ends what is being read: a noun with what describes it, or what "is" says."""
        if self._wears and self._said and not self._run and self._sentence.nouns:
            values = tuple(value for value in self._said if value.group == "colour")
            self._sentence.nouns[-1].said.append(Said(values, self._joined, self._uniform))
            self._begin()
            return
        if self._said and not self._run and self._determined:  # "an orange", "the full glass"
            last = self._said[-1]
            if last.group != NUMBER:
                self._run = [last.word]
            self._said = [value for value in self._said if value.word != last.word]
        described = self._described()
        said = Said(tuple(self._said), self._joined, self._uniform)
        if described is not None:
            described.said.append(said)
        elif self._said and not self._run and all(v.group in _WHERE for v in self._said):
            self._leads = self._said  # "in the foreground there is a cat"
        elif self._run:
            said = replace(said, values=(*said.values, *self._leads))
            self._leads = []
            noun = Noun(tuple(self._run), self._definite, self._placed, [said])
            noun.exact, noun.carried = self._exact, self._carried
            noun.compared, noun.absent = self._compared, self._lacks
            self._place_before(noun)
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
                self._joined = False
                return nouns[-1]
            subject = self._sentence.subject  # "the cat is a black cat"
            if subject is None or not self._named:
                return None
            return subject if self._run[-1] in (subject.head, *_ONE) else None
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
        elif before in self._words.pronouns and not self._placed_at(at - 1):
            sentence.subject = next(iter(sentence.nouns), None)
        elif before in _ANOTHER:
            sentence.subject = None
        else:
            new = sentence.nouns[self._since :]
            causes = self._tokens[at] in _SEEM and set(self._tokens[:at]) & _CAUSES
            if new and (new[-1].compared or causes):  # "a cat as black as the dog is white"
                sentence.subject = new[-1]
            elif new:
                # "A cup in a box, and the lid is red": the lid; "the cup in the box is red": the cup.
                last = max((at for at, noun in enumerate(new) if noun.placed), default=-1)
                free = [noun for noun in [*new[last + 1 :], *new] if not noun.placed]
                subject = (free or new)[0]
                if subject.head in self._words.attributes:  # "the colour of the cat", "its colour"
                    subject = next((noun for noun in [*new, *sentence.nouns] if noun.placed
                                    or noun.head not in self._words.attributes), subject)  # fmt: skip
                sentence.subject = sentence.referred(subject)


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
    """`placed`: it stands behind a preposition; `denied`: values that it is said not to have.

    `exact`: there are just so many; `carried`: another is with it or has it;
    `compared`: it stands behind "as" or "than"; `side`: "left" or "right" in the picture; `absent`: it is said not to be there.
    """

    words: tuple[str, ...]
    definite: bool
    placed: bool
    said: list[Said]
    denied: set[tuple[str, str]] = field(default_factory=set)
    exact: bool = False
    carried: bool = False
    compared: bool = False
    side: str = ""
    absent: bool = False

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
    denied: bool


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
    text = _ITS_SIDE.sub(r"\1 the \2 of it", _IS.sub(r"\1 is", _COLOURED.sub("", text)))
    for part in re.split(r"[.;:!?]+(?=\s|$)", text):
        tokens = re.findall(r"all(?=-)|\d+(?:[.,]\d+)+|[^\W_]+(?:['-][^\W_]+)*|,", part)
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
    for phrase in rules.uniform:
        if " " in phrase:
            meanings.setdefault(_words(phrase), []).append(_Meaning(_UNIFORM, ""))
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

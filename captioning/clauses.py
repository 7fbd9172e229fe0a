"""The nouns of an English sentence, what describes them and what stands where.

A list of function words and of the phrases that matter, both from the rules; no parser, no model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from captioning.clause_words import UNIFORM, Words, clauses
from captioning.sentence_parts import (
    NUMBER,
    Meaning,
    Noun,
    Placed,
    Said,
    Sentence,
    Value,
    singular,
)

_MATERIAL = "material"
_ONE = ("one", "ones")
_HAS = ("has", "have", "had")
# Groups of where in a picture something is.
_WHERE = ("side", "ground")
_SIDE = re.compile(r"on the (left|right)(?: side)?\b(?! (?:of|side of|\w+ of)\b)")
_SEEM, _CAUSES = ("look", "seem", "appear"), frozenset(("makes", "make", "made", "making", "lets"))
# "Only" and "ugly" are no such adverbs.
_ADVERB = 6
# Before "is" they speak of something not named: "one is red, the other is blue".
_ANOTHER = ("one", "other", "another", "some", "others", "both")


def read_sentence(text: str, words: Words) -> Sentence:
    """Returns the nouns and relations of a text in lower case."""
    sentence = Sentence()
    for tokens in clauses(text):
        _Clause(tokens, words, sentence).read()
    return sentence


@dataclass
class _Reading:
    """What is being read: a noun (`run`) and what is said of it before it stands, or after "is".

    joined: by "or", "with" and the like. uniform: it is wholly so. negated, denies: after "not"; after
    "is not". determined, definite: after a determiner; after "the" and the like. predicate: after "is";
    named: after "is a". placed: after a preposition; compared: after "as" or "than"; wears: after "in".
    carried: after "with" or "has"; lacks: after "without" or "no". trails: after a comma. exact: after
    "just". after: what was said last stands behind the noun.
    """

    said: list[Value] = field(default_factory=list)
    run: list[str] = field(default_factory=list)
    joined: bool = False
    uniform: bool = False
    negated: bool = False
    denies: bool = False
    determined: bool = False
    definite: bool = False
    predicate: bool = False
    named: bool = False
    placed: bool = False
    compared: bool = False
    wears: bool = False
    carried: bool = False
    lacks: bool = False
    trails: bool = False
    exact: bool = False
    after: bool = False


class _Clause:
    """One clause, read from left to right into the nouns and relations of its sentence."""

    def __init__(self, tokens: list[str], words: Words, sentence: Sentence):
        self._tokens, self._words, self._sentence = tokens, words, sentence
        self._since = len(sentence.nouns)
        self._leads: list[Value] = []
        self._now = _Reading()

    def read(self) -> None:
        at = 0
        while at < len(self._tokens):
            at += self._take(at)
        self._end_noun()
        self._forget_relation()

    def _take(self, at: int) -> int:
        """Reads what begins at a token; returns how many tokens that is."""
        token, words = self._tokens[at], self._words
        length = words.name(self._tokens, at)
        if length:
            self._now.run.append(self._tokens[at + length - 1])
            return length
        if token in words.made or (token == "of" and self._now.run):
            length = self._made_of(at)
            if length:
                return length
        if token in _ONE and self._now.said and not self._now.run:  # "a small one"
            self._now.run.append(token)
            return 1
        if token in ("on", "off") and self._ends_power(at):  # "the lamp is on", "on and off"
            both = self._tokens[at + 1 : at + 3] in (["and", "on"], ["and", "off"])
            said = [token, self._tokens[at + 2]] if both else [token]
            self._now.said += [Value("power", word, word) for word in said]
            return 3 if both else 1
        side = _SIDE.match(" ".join(self._tokens[at : at + 6])) if token == "on" else None
        if side:  # "a cat on the left, a dog on the right"
            self._end_noun()
            if self._sentence.nouns:
                self._sentence.nouns[-1].side = side[1]
            return len(side.group().split())
        length, meanings = words.phrase(self._tokens, at)
        if meanings and meanings[0].relation:
            self._relate(meanings)
            self._now.wears = token == "in" and length == 1  # "a car in plain red"
        elif meanings and meanings[0].name == UNIFORM:
            self._now.uniform = True
        elif meanings and not self._shades(token, at + length):
            self._describe(meanings, self._tokens[at : at + length])
        elif token in words.skipped or self._says_how(token, at):
            self._now.uniform |= token in words.uniform
            self._now.exact |= token in words.exact
            return 1
        elif token == "and" and self._is_adjective(at):
            self._now.run = []
            return 1
        elif (
            self._now.said
            and (not self._now.run or self._now.after)
            and token in (*words.joins, ",")
        ):
            self._join(token, at)
            return 1
        else:
            self._pass(token, at)
            return 1
        return length

    def _relate(self, meanings: list[Meaning]) -> None:
        self._end_noun()
        self._forget_relation()
        sentence = self._sentence
        owner, object_at = sentence.owner(self._since), len(sentence.nouns)
        heard = self._now.denies or not self._now.negated
        if heard and (owner is None or not owner.absent):
            sentence.relations.append(Placed(meanings, owner, object_at, self._now.denies))
        self._now.placed = True

    def _describe(self, meanings: list[Meaning], said: list[str]) -> None:
        values = [Value(meaning.name, meaning.value, said[-1]) for meaning in meanings]
        if not self._now.negated:
            self._now.said += values
            self._now.after = bool(self._now.run)
            if any(value.group == NUMBER for value in values):  # a determiner as well
                self._now.determined, self._now.definite, self._now.predicate = True, False, False
        elif self._now.denies and self._sentence.subject is not None:
            self._sentence.subject.denied |= {(value.group, value.value) for value in values}
            self._now.said += [
                Value(value.group, self._words.others[value.group, value.value], value.word)
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
        predicate = self._now.predicate
        self._end_noun()
        noun = self._sentence.subject if predicate else next(reversed(self._sentence.nouns), None)
        if noun is not None and uniform:
            noun.said += [Said((value,), False, True) for value in found]
        elif noun is not None:
            noun.said.append(Said(tuple(found), len(found) > 1, False))
        return end - at

    def _materials(self, at: int) -> tuple[list[Value], bool, int]:
        """Returns the materials that follow "made", whether each is the only one, and their end."""
        found: list[Value] = []
        words, tokens = self._words, self._tokens
        uniform, end = False, at
        while at < len(tokens):
            length, meanings = words.phrase(tokens, at)
            materials = [meaning for meaning in meanings if meaning.name == _MATERIAL]
            if materials:
                found.append(Value(_MATERIAL, materials[0].value, tokens[at + length - 1]))
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
            elif words.describing(tokens, at):
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
        adverb = token.endswith("ly") and len(token) >= _ADVERB
        if adverb and self._now.said and self._now.predicate and not self._now.run:
            return True  # "it is moving quickly"
        if not meanings:
            return False
        if token in self._words.painted:
            return any(meaning.name == "colour" for meaning in meanings)
        if token == "as":  # "as small as a mouse"
            length, _ = self._words.phrase(self._tokens, at + 1)
            return self._tokens[at + 1 + length : at + 2 + length] == ["as"]
        if not adverb:
            return False
        return meanings[0].relation or not self._now.run or self._now.after

    def _join(self, token: str, at: int) -> None:
        following = at + 1
        while following < len(self._tokens) and (
            self._tokens[following] in self._words.skipped | self._words.joins
            or self._says_how(self._tokens[following], following)
        ):
            self._now.joined |= self._tokens[following] in self._words.joins - {"and"}
            following += 1
        if self._words.describing(self._tokens, following):
            self._now.joined |= token != ","
        else:
            self._end_noun()

    def _pass(self, token: str, at: int) -> None:
        words = self._words
        if not self._stops(at) or self._begins_noun(token, at):
            if self._ended_plural(token) or self._is_done(token, at):
                self._end_noun()
                return
            self._now.run.append(token)
            return
        denies = token.endswith("n't") and token.removesuffix("n't") in words.copulas
        follows = self._follows(at)
        if token in ("which", "who") and (self._now.run or self._sentence.nouns):
            self._end_noun()
            self._sentence.subject = self._sentence.nouns[-1]
            self._since = len(self._sentence.nouns)
            return
        self._end_noun()
        if token in ("it", "them"):
            self._refer_back(at)
        if token not in words.determiners:
            self._forget_relation()
        self._now.trails = token == ","
        if token in words.copulas or denies or follows:
            self._find_subject(at)
            self._since = len(self._sentence.nouns)
            self._now.predicate, self._now.determined = True, False
            self._now.negated = self._now.denies = denies
        elif token in _ANOTHER and words.relating(self._tokens, at + 1):
            self._now.run.append(token)
        elif token in words.determiners:
            self._now.lacks = self._now.lacks and token in ("a", "an", "any")
            self._now.named = self._now.predicate
            self._now.determined, self._now.predicate = True, False
            self._now.definite = token not in ("a", "an", "another", "some")
        elif token in _HAS:
            self._now.carried = True
        elif token in words.negations:
            self._now.denies = self._now.predicate and not self._limits(at + 1)
            self._now.negated, self._now.lacks = True, token in ("no", "without")
        elif token in words.joins:
            self._now.joined |= token != "and"
            self._now.carried = token == "with"
        elif token in words.prepositions:
            self._now.placed, self._now.compared = True, token in ("as", "than")

    def _after(self, at: int) -> str:
        """The next token; the end of a clause is like a comma."""
        return self._tokens[at + 1] if at + 1 < len(self._tokens) else ","

    def _stops(self, at: int) -> bool:
        """Whether a noun is at its end before this token; "the can is red" speaks of a can."""
        token, words = self._tokens[at], self._words
        if token != "can":
            return words.stops(token)
        after = self._after(at)
        plain = words.is_verb(after) and not after.endswith("s")
        return not words.stops(after) or plain or after in ("be", "not")

    def _follows(self, at: int) -> bool:
        """Whether what follows a verb describes its subject: "stands upright", "has been broken"."""
        token, words = self._tokens[at], self._words
        if token in _HAS and self._after(at) == "been":
            return True
        if token not in words.postures and token not in _HAS:
            return False
        while at + 1 < len(self._tokens) and self._tokens[at + 1] in words.skipped:
            at += 1
        length = words.describing(self._tokens, at + 1)
        end = at + 1 + length
        if not length:
            return False
        return end >= len(self._tokens) or self._stops(end) or self._tokens[end].endswith("ly")

    def _is_adjective(self, at: int) -> bool:
        """Whether the one word read is like what follows: "is proud and clean"."""
        if not self._now.predicate or self._now.determined or len(self._now.run) != 1:
            return False
        return self._words.describing(self._tokens, at + 1) > 0

    def _ends_power(self, at: int) -> bool:
        known = ("power", self._tokens[at]) in self._words.others
        ends = self._after(at) in (",", "and", "but")
        return known and self._now.predicate and not self._now.run and ends

    def _placed_at(self, at: int) -> bool:
        """Whether a pronoun stands behind a preposition: "the box beside it is red"."""
        words, tokens = self._words, self._tokens
        return at > 0 and (tokens[at - 1] in words.prepositions or words.relating(tokens, at - 1))

    def _limits(self, at: int) -> bool:
        """Whether "not" is followed by what only limits: "not only red", "not entirely red"."""
        return at < len(self._tokens) and self._tokens[at] in self._words.skipped

    def _ended_plural(self, token: str) -> bool:
        """Whether a noun that was counted is at its end: "two boys paint a boat"."""
        counted = any(value.group == NUMBER and value.value != "one" for value in self._now.said)
        if not counted or not self._now.run or singular(token) != token:
            return False
        return singular(self._now.run[-1]) != self._now.run[-1]

    def _is_done(self, token: str, at: int) -> bool:
        """Whether it is "adorns" in "a wall adorns the room", which no list has."""
        after = self._after(at)
        follows = after in self._words.determiners or after in ("off", "up", "out", "away")
        return bool(self._now.run) and self._now.determined and follows and singular(token) != token

    def _begins_noun(self, token: str, at: int) -> bool:
        """Whether a word in -ing or -ed belongs to the noun that follows: "the ironing board"."""
        if self._now.run or not self._words.is_verbal(token):
            return False
        follows = at + 1 < len(self._tokens) and not self._stops(at + 1)
        return follows and (bool(self._now.said) or self._tokens[at - 1] in self._words.determiners)

    def _end_noun(self) -> None:
        """Ends what is being read: a noun with what describes it, or what "is" says."""
        if self._now.wears and self._now.said and not self._now.run and self._sentence.nouns:
            values = tuple(value for value in self._now.said if value.group == "colour")
            self._sentence.nouns[-1].said.append(Said(values, self._now.joined, self._now.uniform))
            self._now = _Reading()
            return
        if (
            self._now.said and not self._now.run and self._now.determined
        ):  # "an orange", "the full glass"
            last = self._now.said[-1]
            if last.group != NUMBER:
                self._now.run = [last.word]
            self._now.said = [value for value in self._now.said if value.word != last.word]
        described = self._described()
        said = Said(tuple(self._now.said), self._now.joined, self._now.uniform)
        if described is not None:
            described.said.append(said)
        elif (
            self._now.said and not self._now.run and all(v.group in _WHERE for v in self._now.said)
        ):
            self._leads = self._now.said  # "in the foreground there is a cat"
        elif self._now.run:
            said = replace(said, values=(*said.values, *self._leads))
            self._leads = []
            now = self._now
            noun = Noun(
                tuple(now.run), [said], definite=now.definite, placed=now.placed, exact=now.exact,
                carried=now.carried, compared=now.compared, absent=now.lacks,
            )  # fmt: skip
            self._place_before(noun)
            self._sentence.nouns.append(noun)
        if self._now.run or self._now.said:
            self._now = _Reading()

    def _described(self) -> Noun | None:
        """The noun before it that what was read describes, if it is no noun of its own."""
        nouns = self._sentence.nouns
        if not self._now.said:
            return None
        if self._now.run:  # "of enormous size", "has a red colour"
            if self._now.run[-1] in self._words.attributes and nouns:
                self._now.joined = False
                return nouns[-1]
            subject = self._sentence.subject  # "the cat is a black cat"
            if subject is None or not self._now.named:
                return None
            return subject if self._now.run[-1] in (subject.head, *_ONE) else None
        if self._now.predicate:
            return self._sentence.subject
        if self._now.trails:  # "a cat, small and black"
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

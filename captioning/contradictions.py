"""What an English sentence states, and which of its statements cannot be true at once.

No parser: a list of function words (in the rules) finds the noun that a colour, size or the like
describes. What is not understood states nothing, so a sentence is suspected rather too seldom.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

from captioning.clause_words import Words
from captioning.clauses import read_sentence
from captioning.rules import Contradictions, Group, Relation
from captioning.sentence_parts import NUMBER, Noun, Said, Sentence

# What is said not to be there at all: "there is no cat here", "no cat is to be seen".
_NOWHERE = re.compile(
    r"\b(?:there (?:is|are|was|were) (?:absolutely )?(?:no|not an?|not any)|there isn't an?|there aren't any)"
    r"(?: [\w-]+){0,2}? ([\w-]+)"
    r"(?= here| in sight| anywhere| at all| in (?:the|this) (?:picture|image|photo|scene|frame|view)"
    r"|[.,;]|$| and )"
    r"|\bno (?:[\w-]+ )?([\w-]+)(?= (?:is|are|can be) (?:visible|in sight|to be seen|seen|present|here))"
    r"|\bwithout any ([\w-]+)(?=[.,;]|$)"
)
_OF_THEM = re.compile(r"\bthere are (two|three|four|five|six|seven|eight|nine|ten|\d+) of them\b")
_IN_ALL = re.compile(r"\b(?:in all|in total|altogether)\b")
_THERE = re.compile(r"\bthere (?:is|are|was|were)\b")
Statement = tuple[str, str]
"""What is stated of what: ("colour", "car"), ("season", "") of the scene, ("above or below", "a|b")."""


@dataclass(frozen=True)
class Facts:
    """What a sentence states, and the contradictions within it, each `rule: what`.

    `seen` and `missing` are things, as one of them is called; missing is what is nowhere.
    """

    values: dict[Statement, frozenset[str]]
    impossible: tuple[str, ...]
    seen: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()


class Reader:
    """Reads sentences by the rules on contradictions.

    `names` are read as one noun each, so a white "black swan" is white.
    """

    def __init__(self, rules: Contradictions, names: Iterable[str] = ()):
        self._rules = rules
        self._words = Words(rules, names)
        self._scenes = list(_scenes(rules))

    def read(self, text: str) -> Facts:
        """Returns the facts; none where the sentence is in another language."""
        folded = text.replace("’", "'").casefold()
        values: dict[Statement, frozenset[str]] = {}
        found = list(self._scene(folded, values))
        sentence = read_sentence(folded, self._words)
        excluded = [
            *self._objects(sentence, values),
            *self._relations(sentence, values),
            *self._counts(sentence, folded),
        ]
        if excluded and not any(_holds(folded, word) for word in self._rules.grammar.hedges):
            found += excluded
        seen = frozenset(noun.key for noun in sentence.nouns if not noun.absent)
        nowhere = {thing for found in _NOWHERE.findall(folded) for thing in found}
        missing = frozenset(
            noun.key for noun in sentence.nouns if noun.absent and noun.head in nowhere
        )
        found += [f"impossible presence: {key} and no {key}" for key in sorted(missing & seen)]
        return Facts(values, tuple(dict.fromkeys(found)), seen - missing, missing - seen)

    def _scene(self, text: str, values: dict[Statement, frozenset[str]]) -> Iterator[str]:
        """Fills in what holds of the whole picture; yields where it shows two at once."""
        said: dict[str, dict[str, re.Match[str]]] = {}
        words = set(re.findall(r"[\w'-]+", text))
        for group, value, ends, pattern in self._scenes:
            if not words & ends:  # most say nothing; far cheaper than the pattern
                continue
            for match in pattern.finditer(text):
                if not self._words.negations & set(text[: match.start()].split()[-2:]):
                    said.setdefault(group, {})[value] = match
        for group, found in said.items():
            may_be = {value: self._rules.groups[group].may_be(value) for value in found}
            agreed = frozenset.intersection(*may_be.values())
            values[group, ""] = agreed or frozenset(found)
            if agreed:
                continue
            begins = [match.start() for match in found.values()]
            first, last = min(begins), max(begins)
            around = set(re.findall(r"[\w'-]+", text[max(0, first - 10) : last]))
            joined = around & (self._words.joins - {"and", "with", "but"})
            elsewhere = any(_holds(text, word) for word in self._rules.groups[group].unless)
            contrasted = all(self._begins_clause(text, match) for match in found.values())
            if not (elsewhere or joined or contrasted):
                apart = [pair for pair in combinations(found, 2)
                         if not may_be[pair[0]] & may_be[pair[1]]]  # fmt: skip
                yield f"impossible {group}: {_list(apart[0] if apart else found)}"

    def _begins_clause(self, text: str, match: re.Match[str]) -> bool:
        """Whether it is one of two times or places told apart: "by day open, by night closed"."""
        before, after = text[: match.start()].rstrip(), text[match.end() :].lstrip(" ")
        placed = match.group().split()[0] in self._words.prepositions
        return placed and (not before or before[-1] in ",;.") and after[:1].isalpha()

    def _objects(
        self, sentence: Sentence, values: dict[Statement, frozenset[str]]
    ) -> Iterator[str]:
        """Fills in what is said of each noun that there is once; yields what excludes itself."""
        for noun in sentence.nouns:
            for name in dict.fromkeys(v.group for said in noun.said for v in said.values):
                group = self._rules.groups[name]
                if group.of and noun.key not in group.of:
                    continue
                stated = [said.of(name) for said in noun.said]
                for said, found in zip(noun.said, stated, strict=True):
                    if len(found) > 1 and not self._allowed(group, said, noun):
                        yield f"impossible {name}: {_list(found)} ({noun.head})"
                for one, other in pairwise(part for part in stated if part):
                    if not set(one) & set(other) and not any(said.joined for said in noun.said):
                        yield f"impossible {name}: {_list([*one, *other])} ({noun.head})"
                everything = frozenset(value for part in stated for value in part)
                denied = [value for value in everything if (name, value) in noun.denied]
                if denied and not any(said.joined for said in noun.said):
                    yield f"impossible {name}: {denied[0]} and not {denied[0]} ({noun.head})"
                if everything and noun.head not in ("one", "ones") and sentence.is_one(noun):
                    values[name, noun.key] = everything

    def _counts(self, sentence: Sentence, text: str) -> Iterator[str]:
        """Yields where there is "only one owl" and "there are three owls"."""
        counted: dict[str, list[Noun]] = {}
        for noun in sentence.nouns:
            if any(said.of(NUMBER) for said in noun.said):
                counted.setdefault(noun.key, []).append(noun)
        of_them = _OF_THEM.search(text)
        for key, nouns in counted.items():
            if of_them and len(counted) == 1 and nouns[0].said[0].of(NUMBER) == ["one"]:
                yield f"impossible number: one and {of_them[1]} ({key})"
            numbers = [noun.said[0].of(NUMBER) for noun in nouns]
            exact = any(noun.exact for noun in nouns) and (
                len(_THERE.findall(text)) > 1 or _IN_ALL.search(text) is not None
            )
            if all(noun.exact for noun in nouns) or exact:
                different = list(dict.fromkeys(n for found in numbers for n in found))
                if len(nouns) > 1 and len(different) > 1:
                    yield f"impossible number: {_list(different)} ({key})"

    def _allowed(self, group: Group, said: Said, noun: Noun) -> bool:
        """Whether several values of a group may be said of one noun in one breath."""
        if group.together:
            return group.compound or (said.joined and not said.uniform)
        return said.joined and noun.plural

    def _relations(
        self, sentence: Sentence, values: dict[Statement, frozenset[str]]
    ) -> Iterator[str]:
        """Fills in what stands where; yields where two nouns stand both ways."""
        denied: list[tuple[Statement, str]] = []
        for placed in sentence.relations:
            one, other = placed.owner, sentence.noun(placed.object_at)
            if one is None or other is None or one.key == other.key:
                continue
            things = "|".join(sorted((one.key, other.key)))
            for meaning in placed.meanings:
                rule = self._rules.relations[meaning.name]
                said = _direction(rule, meaning.value, one.key, other.key)
                if placed.denied:
                    denied.append(((meaning.name, things), said))
                    continue
                known = values.get((meaning.name, things), frozenset())
                values[meaning.name, things] = known | {said}
                if known and said not in known:
                    yield f"impossible {meaning.name}: {one.head} and {other.head} both ways"
        left, right = ([noun.key for noun in sentence.nouns if noun.side == side]
                       for side in ("left", "right"))  # fmt: skip
        if (
            len(left) == len(right) == 1
            and left != right
            and "left or right" in self._rules.relations
        ):
            things = "|".join(sorted((*left, *right)))
            values.setdefault(("left or right", things), frozenset((f"one: {left[0]}",)))
        for key, said in denied:
            if said in values.get(key, ()):
                yield f"impossible {key[0]}: {key[1].replace('|', ' and ')} so and not so"


def _scenes(rules: Contradictions) -> Iterator[tuple[str, str, frozenset[str], re.Pattern[str]]]:
    """(group, value, last words, pattern) of what is said of a picture; an article may be any."""
    stops = "|".join(map(re.escape, rules.grammar.prepositions))
    gap = rf"(?:(?!(?:{stops})\b)[\w-]+ ){{0,2}}"
    for name, group in rules.groups.items():
        if group.scope == "scene":
            for value, phrases in group.values.items():
                patterns = [_any_article(re.escape(phrase), gap) for phrase in phrases]
                ends = frozenset(phrase.split()[-1] for phrase in phrases)
                yield (
                    name,
                    value,
                    ends,
                    re.compile(rf"(?<![\w-])(?:{'|'.join(patterns)})(?![\w-]| else\b)"),
                )


def _any_article(pattern: str, gap: str) -> str:
    articles = rf"(?:a|an|the|this|that|his|her|its|their) {gap}"
    return re.sub(r"\b(?:a|an|the)\\ ", lambda _: articles, pattern)


def _direction(rule: Relation, side: str, one: str, other: str) -> str:
    """Which of two nouns has the first relation, or which relation where it goes both ways."""
    if rule.symmetric:
        return side
    if side == "one" or not rule.mutual:
        return f"{side}: {one}"
    return f"one: {other}"


def _holds(text: str, phrase: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(phrase)}(?![\w-])", text) is not None


def _list(values: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(values))

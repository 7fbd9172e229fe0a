"""What an English sentence states, and which of its statements cannot be true at once.

No parser: a list of function words (in the rules) finds the noun that a colour, size or the like
describes. What is not understood states nothing, so a sentence is suspected rather too seldom.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from captioning.clauses import Noun, Said, Sentence, Words, read_sentence
from captioning.rules import Contradictions, Group, Relation

Statement = tuple[str, str]
"""What is stated of what: ("colour", "car"), ("season", "") of the scene, ("above or below", "a|b")."""


@dataclass(frozen=True)
class Facts:
    """What a sentence states, and the contradictions within it, each `rule: what`."""

    values: dict[Statement, frozenset[str]]
    impossible: tuple[str, ...]


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
        found += self._objects(sentence, values)
        found += self._relations(sentence, values)
        return Facts(values, tuple(dict.fromkeys(found)))

    def _scene(self, text: str, values: dict[Statement, frozenset[str]]) -> Iterator[str]:
        """Fills in what holds of the whole picture; yields where it shows two at once."""
        said: dict[str, dict[str, int]] = {}
        for group, value, pattern in self._scenes:
            for match in pattern.finditer(text):
                if not self._words.negations & set(text[: match.start()].split()[-2:]):
                    said.setdefault(group, {})[value] = match.start()
        for group, found in said.items():
            values[group, ""] = frozenset(found)
            first, last = min(found.values()), max(found.values())
            around = set(re.findall(r"[\w'-]+", text[max(0, first - 10) : last]))
            joined = around & (self._words.joins - {"and", "with", "but"})
            elsewhere = any(_holds(text, word) for word in self._rules.groups[group].unless)
            if len(found) > 1 and not elsewhere and not joined:
                yield f"impossible {group}: {_list(found)}"

    def _objects(
        self, sentence: Sentence, values: dict[Statement, frozenset[str]]
    ) -> Iterator[str]:
        """Fills in what is said of each noun that there is once; yields what excludes itself."""
        for noun in sentence.nouns:
            for name in dict.fromkeys(v.group for said in noun.said for v in said.values):
                group = self._rules.groups[name]
                stated = [said.of(name) for said in noun.said]
                for said, found in zip(noun.said, stated, strict=True):
                    if len(found) > 1 and not self._allowed(group, said, noun):
                        yield f"impossible {name}: {_list(found)} ({noun.head})"
                for one, other in pairwise(part for part in stated if part):
                    if not set(one) & set(other) and not any(said.joined for said in noun.said):
                        yield f"impossible {name}: {_list([*one, *other])} ({noun.head})"
                everything = frozenset(value for part in stated for value in part)
                if everything and sentence.is_one(noun):
                    values[name, noun.key] = everything

    def _allowed(self, group: Group, said: Said, noun: Noun) -> bool:
        """Whether several values of a group may be said of one noun in one breath."""
        if group.together:
            return group.compound or (said.joined and not said.uniform)
        return said.joined and noun.plural

    def _relations(
        self, sentence: Sentence, values: dict[Statement, frozenset[str]]
    ) -> Iterator[str]:
        """Fills in what stands where; yields where two nouns stand both ways."""
        for placed in sentence.relations:
            one, other = placed.owner, sentence.noun(placed.object_at)
            if one is None or other is None or one.key == other.key:
                continue
            rule = self._rules.relations[placed.meaning.name]
            key = (placed.meaning.name, "|".join(sorted((one.key, other.key))))
            said = _direction(rule, placed.meaning.value, one.key, other.key)
            known = values.get(key, frozenset())
            values[key] = known | {said}
            if known and said not in known:
                yield f"impossible {key[0]}: {one.head} and {other.head} both ways"


def _scenes(rules: Contradictions) -> Iterator[tuple[str, str, re.Pattern[str]]]:
    """(group, value, pattern) of what is said of a whole picture; an article may be any."""
    stops = "|".join(map(re.escape, rules.grammar.prepositions))
    gap = rf"(?:(?!(?:{stops})\b)[\w-]+ ){{0,2}}"
    for name, group in rules.groups.items():
        if group.scope == "scene":
            for value, phrases in group.values.items():
                patterns = [_any_article(re.escape(phrase), gap) for phrase in phrases]
                yield name, value, re.compile(rf"(?<![\w-])(?:{'|'.join(patterns)})(?![\w-])")


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

"""What a sentence is read into: its nouns, what is said of them, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from captioning.inflections import singulars

NUMBER = "number"
"""The group of the rules whose values count things."""


@dataclass(frozen=True)
class Meaning:
    name: str
    value: str
    relation: bool = False


@dataclass(frozen=True)
class Value:
    group: str
    value: str
    word: str


@dataclass(frozen=True)
class Said:
    """What is said of a noun in one breath."""

    values: tuple[Value, ...]
    joined: bool
    uniform: bool

    def of(self, group: str) -> list[str]:
        """The different values of a group, as they stand."""
        return list(dict.fromkeys(v.value for v in self.values if v.group == group))


@dataclass
class Noun:
    """A thing that a sentence names.

    placed: it stands behind a preposition. denied: (group, value) that it is said not to have. exact:
    there are just so many. carried: another is with it or has it. compared: it stands behind "as" or
    "than". side: "left" or "right" in the picture. absent: it is said not to be there.
    """

    words: tuple[str, ...]
    said: list[Said]
    definite: bool
    placed: bool
    exact: bool
    carried: bool
    compared: bool
    absent: bool
    side: str = ""
    denied: set[tuple[str, str]] = field(default_factory=set)

    @property
    def head(self) -> str:
        return self.words[-1]

    @property
    def key(self) -> str:
        """The head as one of it is called."""
        return singular(self.head)

    @property
    def plural(self) -> bool:
        return any(singular(word) != word for word in self.words)


@dataclass(frozen=True)
class Placed:
    """A phrase that relates two nouns; it may mean several things: "shorter than" is lower as well."""

    meanings: list[Meaning]
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


@lru_cache(1 << 13)
def singular(word: str) -> str:
    return min([*singulars(word), word], key=len)

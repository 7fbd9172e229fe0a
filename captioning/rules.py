"""Rules that drop captions, read from YAML: refusals, limits, contradictions, private data."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from edgekd import config
from edgekd.config import Section
from edgekd.errors import UsageError

SHIPPED = Path(__file__).resolve().parent / "rules"


def load_rules(folder: Path | None = None) -> Rules:
    """Returns the rules of a folder, file by file; a file that it lacks is the shipped one.

    Raises:
        UsageError: no such folder, or a YAML file in it that no rule reads.
        ConfigError: every fault of a file with its dotted key.
    """
    paths = _paths(folder)
    return Rules(
        refusals=config.load(Refusals, paths["refusals"]),
        limits=config.load(Limits, paths["limits"]),
        contradictions=config.load(Contradictions, paths["contradictions"]),
        private=config.load(Private, paths["privacy"]),
        sha256=rules_sha256(folder),
    )


@cache
def shipped_refusals() -> Refusals:
    """Returns the refusals and boilerplate that come with edgekd; read once."""
    return config.load(Refusals, SHIPPED / "refusals.yaml")


def rules_sha256(folder: Path | None = None) -> str:
    """Returns the sha256 over the names and bytes of the files that are read.

    The four of the rules, and the model of texts that are no caption.
    """
    total = hashlib.sha256()
    for name, path in sorted((_paths(folder) | {"no_caption": SHIPPED / "no_caption.npz"}).items()):
        total.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"'{pattern}' is no regular expression ({error})") from error
    return pattern


Regex = Annotated[str, pydantic.AfterValidator(_regex)]


class Refusals(Section):
    """Texts that describe no image."""

    refusals: list[Regex]
    boilerplate: list[Regex]
    refusals_without_class: tuple[Regex, ...] = ()
    boilerplate_without_class: tuple[Regex, ...] = ()

    @cached_property
    def refused(self) -> re.Pattern[str]:
        """One pattern of all refusals, to be matched against a text's beginning."""
        return re.compile(rf"[\W_]*(?:{_any(self.refusals)})", re.IGNORECASE)

    @cached_property
    def filler(self) -> re.Pattern[str]:
        """One pattern of all boilerplate, to be searched for in a text."""
        return re.compile(_any(self.boilerplate), re.IGNORECASE)

    @cached_property
    def evading(self) -> re.Pattern[str]:
        """What refuses where no class is named, to be searched for in a text."""
        return re.compile(_any(self.refusals_without_class), re.IGNORECASE)

    @cached_property
    def unclassed_filler(self) -> re.Pattern[str]:
        """What is boilerplate where no class is named, to be searched for in a text."""
        return re.compile(_any(self.boilerplate_without_class), re.IGNORECASE)


class Length(Section):
    min_words: int = pydantic.Field(ge=0)
    max_words: int = pydantic.Field(ge=1)
    max_characters: int = pydantic.Field(ge=1)
    min_unspaced_characters: int = pydantic.Field(ge=0)
    max_repeated_share: float = pydantic.Field(gt=0, le=1)

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Length:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is more than max_words {self.max_words}")
        return self


class Language(Section):
    allowed: list[str] = pydantic.Field(min_length=1)
    candidates: list[str] = pydantic.Field(min_length=2)
    min_words: int = pydantic.Field(ge=1)
    min_probability: float = pydantic.Field(ge=0, le=1)

    @pydantic.model_validator(mode="after")
    def _told_apart(self) -> Language:
        unknown = [code for code in self.allowed if code not in self.candidates]
        if unknown:
            raise ValueError(
                f"allowed names {unknown}, which candidates lack. Add them to candidates"
            )
        return self


class Duplicates(Section):
    content_jaccard: float = pydantic.Field(gt=0, le=1)
    boilerplate_images: int = pydantic.Field(ge=2)
    boilerplate_share: float = pydantic.Field(gt=0, le=1)
    boilerplate_jaccard: float = pydantic.Field(gt=0, lt=1)
    fillers: list[str]
    no_fillers: tuple[str, ...] = ()
    filler_phrases: tuple[str, ...] = ()
    spellings: dict[str, str] = pydantic.Field(default_factory=dict)


class NoCaptions(Section):
    min_probability: float = pydantic.Field(ge=0)
    surely_caption: float = pydantic.Field(default=1.0, gt=0)


class OffTopic(Section):
    min_similarity: float = pydantic.Field(ge=-1, le=1)


class Vote(Section):
    min_score: float


class Limits(Section):
    """Numbers that rules hold a caption against."""

    length: Length
    language: Language
    duplicates: Duplicates
    off_topic: OffTopic
    vote: Vote
    no_caption: NoCaptions = NoCaptions(min_probability=0.7)


class Group(Section):
    """Values of which one object, or the scene, has one only.

    `either`: what is not one of its two values is the other. `of`: the only things that have one, as
    one of them is called. `covers`: values of a scene that leave open which of others it is: "by day" may be at noon.
    """

    scope: Literal["object", "scene"]
    together: bool = False
    compound: bool = False
    unless: tuple[str, ...] = ()
    either: bool = False
    of: tuple[str, ...] = ()
    covers: dict[str, tuple[str, ...]] = pydantic.Field(default_factory=dict)
    values: dict[str, list[str]] = pydantic.Field(min_length=2)

    @pydantic.model_validator(mode="after")
    def _covers_values(self) -> Group:
        named = {*self.covers, *(value for others in self.covers.values() for value in others)}
        if unknown := sorted(named - set(self.values)):
            raise ValueError(f"covers names {unknown}, which values lack. Add them to values")
        return self

    def may_be(self, value: str) -> frozenset[str]:
        """The values that a scene may have of which this one is said."""
        return frozenset((value, *self.covers.get(value, ())))


class Relation(Section):
    """A relation of two objects and its opposite.

    `mutual`: "A one B" says "B opposite A". `symmetric`: "A one B" says "B one A".
    """

    one: list[str]
    opposite: list[str]
    mutual: bool = True
    symmetric: bool = False


class Grammar(Section):
    determiners: list[str]
    copulas: list[str]
    adverbs: list[str]
    pronouns: list[str]
    verbs: list[str]
    prepositions: list[str]
    nouns: list[str]
    attributes: tuple[str, ...] = ()
    hedges: tuple[str, ...] = ()
    postures: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    painted: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()


class Contradictions(Section):
    """What cannot be true at once."""

    elsewhere: tuple[str, ...] = ()
    groups: dict[str, Group]
    relations: dict[str, Relation]
    joins: list[str]
    uniform: list[str]
    negations: list[str]
    grammar: Grammar


class PrivatePattern(Section):
    """A pattern that says something private. A `weak` one counts only beside a word of `context`."""

    regex: Regex
    weak: bool = False


class PrivateKind(Section):
    patterns: list[PrivatePattern]
    context: tuple[str, ...] = ()


class Names(Section):
    cues: list[str]
    titles: list[str]
    not_names: list[str]
    also_words: list[str]
    given: tuple[str, ...] = ()


class Private(Section):
    """What of a caption may point to a person."""

    kinds: dict[Literal["plate", "phone", "address", "handle", "url"], PrivateKind]
    phone_regions: list[str]
    names: Names


@dataclass(frozen=True)
class Rules:
    """Everything in the files, and their digest."""

    refusals: Refusals
    limits: Limits
    contradictions: Contradictions
    private: Private
    sha256: str

    def allowing(self, languages: Iterable[str]) -> Rules:
        """Returns the rules with these languages allowed too: those of the templates, say."""
        language = self.limits.language
        allowed = [*dict.fromkeys([*language.allowed, *languages])]
        candidates = [*dict.fromkeys([*language.candidates, *languages])]
        changed = Language.model_validate(
            language.model_dump() | {"allowed": allowed, "candidates": candidates}
        )
        limits = self.limits.model_copy(update={"language": changed})
        return dataclasses.replace(self, limits=limits)


def _any(patterns: Sequence[str]) -> str:
    """One pattern that finds what any of them finds, nothing where there is none."""
    return "|".join(f"(?:{pattern})" for pattern in patterns) or r"(?!)"


_FILES = ("contradictions", "limits", "privacy", "refusals")


def _paths(folder: Path | None) -> dict[str, Path]:
    shipped = {name: SHIPPED / f"{name}.yaml" for name in _FILES}
    if folder is None:
        return shipped
    if not folder.is_dir():
        raise UsageError(
            f"rules: no folder '{folder}'. Expected one with any of "
            f"{', '.join(f'{name}.yaml' for name in _FILES)}; copy {SHIPPED} to begin with"
        )
    own = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    unknown = sorted(set(own) - set(_FILES))
    if unknown:
        raise UsageError(
            f"{folder}: no rule reads '{unknown[0]}.yaml'. Expected "
            f"{', '.join(f'{name}.yaml' for name in _FILES)}"
        )
    return shipped | own

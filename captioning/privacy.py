"""Private data in captions: found by presidio, then redacted or refused.

E-mail addresses, phone, card and bank account numbers are presidio's own recognizers; licence
plates, addresses, handles, web addresses and names go by the patterns of rules/privacy.yaml.
Nothing is fetched: without a spaCy model, names are found by titles, by what stands before them and
by Faker's lists of given names where Faker is installed; `not_looked_for` says what was left out.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal

from captioning.rules import Names, Private
from edgekd.errors import UsageError
from edgekd.extras import require
from edgekd.records import Caption

Mode = Literal["redact", "refuse"]

# What presidio calls our kinds; where two kinds claim the same letters, the first in this order.
_ENTITIES = {
    "email": "EMAIL_ADDRESS",
    "iban": "IBAN_CODE",
    "card": "CREDIT_CARD",
    "url": "WEB_ADDRESS",
    "handle": "HANDLE",
    "address": "STREET_ADDRESS",
    "phone": "PHONE_NUMBER",
    "plate": "LICENCE_PLATE",
    "name": "PERSON",
}
_KINDS = {entity: kind for kind, entity in _ENTITIES.items()}
_SURE, _WEAK, _ENOUGH = 0.8, 0.2, 0.4
_LOCALES = (
    "en", "en_US", "en_GB", "en_IE", "en_IN", "en_NZ", "en_PK", "en_KE", "en_NG", "de_DE", "fr_FR",
    "es_ES", "es_MX", "es_CO", "it_IT", "pt_BR", "nl_NL", "sv_SE", "no_NO", "da_DK", "fi_FI", "pl_PL",
    "cs_CZ", "sk_SK", "sl_SI", "hr_HR", "hu_HU", "ro_RO", "tr_TR", "az_AZ", "lt_LT", "lv_LV", "id_ID",
    "yo_NG", "ig_NG", "zu_ZA", "ja_JP",
)  # fmt: skip
_CAPITAL = r"[A-Z\u00c0-\u00de][\w\u2019'-]*[\w]"
# A camera's date and time, which is no phone number: 20220311_091500, 2019-03-04 12.30.11.
_STAMP = re.compile(
    r"(?<!\d)(?:19|20)\d\d([-_.]?)[01]\d\1[0-3]\d(?:(?: at |[ _T-])\d\d[-.:]?\d\d[-.:]?\d\d)?(?!\d)"
)
_PLACEHOLDER = re.compile(rf"\[({'|'.join(_ENTITIES)})\]")
_CACHED = 1 << 14


@dataclass(frozen=True)
class Finding:
    """Something private at text[start:end]."""

    kind: str
    start: int
    end: int


class Detector:
    """Finds what may point to a person.

    `model` is a spaCy model that is installed, for names in running text; `given_names` takes the
    place of Faker's.

    Raises:
        MissingExtraError: presidio is not installed.
        UsageError: no such spaCy model.
    """

    def __init__(
        self, rules: Private, model: str | None = None, given_names: Iterable[str] | None = None
    ):
        listed = frozenset(given_names) if given_names is not None else listed_names()
        self.not_looked_for = _not_looked_for(model, listed)
        self._engine = _engine(rules, model, listed)
        self.find = lru_cache(_CACHED)(self._find)

    def _find(self, text: str) -> tuple[Finding, ...]:
        """Returns the findings in the order of the text; none overlaps another."""
        results = self._engine.analyze(text=text, language="en", score_threshold=_ENOUGH)
        ranks = {entity: rank for rank, entity in enumerate(_ENTITIES.values())}
        taken: list[Finding] = []
        stamps = [match.span() for match in _STAMP.finditer(text)]
        known = [
            result
            for result in results
            if result.entity_type in _KINDS
            and not (
                _KINDS[result.entity_type] == "phone"
                and any(start < result.end and result.start < end for start, end in stamps)
            )
        ]
        for one in sorted(known, key=lambda r: (ranks[r.entity_type], r.start - r.end)):
            if all(one.end <= other.start or one.start >= other.end for other in taken):
                taken.append(Finding(_KINDS[one.entity_type], one.start, one.end))
        return tuple(sorted(taken, key=lambda finding: finding.start))


class PrivacyFilter:
    """Puts placeholders where captions say something private; with `refuse`, drops those too.

    A dropped caption is redacted as well, since it is kept on disk with its reason.
    """

    def __init__(self, detector: Detector, mode: Mode):
        self._detector, self._mode = detector, mode
        self.not_looked_for = detector.not_looked_for

    def __call__(self, captions: Iterable[Caption]) -> Iterator[Caption]:
        """Yields every caption in the order given; other reasons to drop it are kept."""
        for caption in captions:
            found = self._detector.find(caption.text)
            if not found:
                yield caption
                continue
            kinds = ", ".join(sorted({finding.kind for finding in found}))
            reason = f"private: {kinds}" if self._mode == "refuse" else None
            yield dataclasses.replace(
                caption, text=redacted(caption.text, found), dropped=caption.dropped or reason
            )


class Counted:
    """Captions as they come, counting those that a filter redacted or refused."""

    def __init__(self) -> None:
        self.captions = 0
        self.kinds: Counter[str] = Counter()

    def __call__(self, captions: Iterable[Caption]) -> Iterator[Caption]:
        for caption in captions:
            found = _PLACEHOLDER.findall(caption.text)
            self.captions += bool(found)
            self.kinds.update(found)
            yield caption


def redacted(text: str, found: Iterable[Finding]) -> str:
    """Returns the text with a placeholder for each finding: "call [phone]"."""
    for finding in sorted(found, key=lambda finding: -finding.start):
        text = f"{text[: finding.start]}[{finding.kind}]{text[finding.end :]}"
    return text


@cache
def listed_names() -> frozenset[str]:
    """Returns the given names that Faker lists, none where it is not installed."""
    if importlib.util.find_spec("faker") is None:
        return frozenset()
    found: set[str] = set()
    for locale in _LOCALES:
        provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
        latin = "first_names" if locale != "ja_JP" else "first_romanized_names"
        for key in (latin, f"{latin}_male", f"{latin}_female"):
            found.update(name for name in getattr(provider, key, ()) if len(name) > 2)
    return frozenset(name for name in found if " " not in name)


def _not_looked_for(model: str | None, listed: frozenset[str]) -> tuple[str, ...]:
    left = []
    if model is None:
        left.append("names in running text: no spaCy model")
    if not listed:
        left.append("given names: no list (pip install faker)")
    return tuple(left)


def _engine(rules: Private, model: str | None, listed: frozenset[str]) -> Any:
    presidio = require("presidio_analyzer", "privacy")
    recognizers = require("presidio_analyzer.predefined_recognizers", "privacy")
    enhancers = require("presidio_analyzer.context_aware_enhancers", "privacy")
    registry = presidio.RecognizerRegistry(recognizers=[], supported_languages=["en"])
    for recognizer in (
        _offline_email(recognizers),
        recognizers.PhoneRecognizer(supported_regions=tuple(rules.phone_regions)),
        recognizers.CreditCardRecognizer(),
        recognizers.IbanRecognizer(),
        *_patterns(rules, presidio),
        _names_recognizer(rules.names, listed, presidio),
    ):
        registry.add_recognizer(recognizer)
    if model is not None:
        registry.add_recognizer(recognizers.SpacyRecognizer(supported_entities=["PERSON"]))
    enhancer = enhancers.LemmaContextAwareEnhancer(context_matching_mode="whole_word")
    return presidio.AnalyzerEngine(
        registry=registry,
        nlp_engine=_nlp_engine(model),
        context_aware_enhancer=enhancer,
        supported_languages=["en"],
    )


def _patterns(rules: Private, presidio: Any) -> Iterator[Any]:
    for kind, patterns in rules.kinds.items():
        yield presidio.PatternRecognizer(
            _ENTITIES[kind],
            patterns=[
                presidio.Pattern(f"{kind} {at}", pattern.regex, _WEAK if pattern.weak else _SURE)
                for at, pattern in enumerate(patterns.patterns)
            ],
            context=list(patterns.context) or None,
            global_regex_flags=0,
        )


def _offline_email(recognizers: Any) -> Any:
    """Presidio's recognizer, with the list of top-level domains that came with the package.

    As it is, tldextract fetches the list of today when it is first asked.
    """
    extract = require("tldextract", "privacy").TLDExtract(suffix_list_urls=(), cache_dir=None)

    class Offline(recognizers.EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(extract(pattern_text).suffix)

    return Offline()


def _names_recognizer(rules: Names, listed: frozenset[str], presidio: Any) -> Any:
    find = _NameFinder(rules, listed)

    class NameRecognizer(presidio.EntityRecognizer):
        def load(self) -> None: ...

        def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[Any]:
            return [presidio.RecognizerResult("PERSON", *span, _SURE) for span in find(text)]

    return NameRecognizer(["PERSON"], name="names by list, title and cue")


class _NameFinder:
    """Spans of names: after a title, after a word for a person, or that begin with a given name."""

    def __init__(self, rules: Names, listed: frozenset[str]):
        self._not_names = frozenset(rules.not_names)
        self._weak = frozenset(rules.also_words)
        self._listed = listed | frozenset(rules.given)
        titles = "|".join(map(re.escape, rules.titles))
        cues = "|".join(map(re.escape, rules.cues))
        self._titled = re.compile(rf"\b(?:{titles})\b\.? (?=({_CAPITAL}(?: {_CAPITAL})?))")
        self._cued = re.compile(
            rf"\b(?:{cues})(?:,| named| called| is)? (?=({_CAPITAL}(?: {_CAPITAL})+))"
            rf"|\b(?:{cues}) (?:named|called) (?=({_CAPITAL}))"
        )
        self._capitals = re.compile(
            rf"\b{_CAPITAL}(?: (?:[A-Z]\. )?(?:(?:van|de|del|von|der|la) )*{_CAPITAL})*"
        )

    def __call__(self, text: str) -> list[tuple[int, int]]:
        if _in_capitals(text):
            return []
        spans = []
        for pattern in (self._titled, self._cued):
            for match in pattern.finditer(text):
                group = 1 if match.group(1) else 2
                spans.append(
                    (match.start(), match.end(group))
                    if pattern is self._titled
                    else match.span(group)
                )
        for match in self._capitals.finditer(text):
            spans += self._given(match)
        return spans

    def _given(self, match: re.Match[str]) -> Iterator[tuple[int, int]]:
        """The part of a run of capitalized words that begins with a given name."""
        said = list(re.finditer(r"\S+", match.group()))
        for at, word in enumerate(said):
            given, others = _bare(word.group()), [_bare(other.group()) for other in said[at + 1 :]]
            place = any(other in self._not_names for other in others)
            listed = given in self._listed and given not in self._not_names
            if listed and not place and (others or given not in self._weak):
                end = said[-1] if others else word
                yield match.start() + word.start(), match.start() + _end_of_name(end)
                return


def _bare(word: str) -> str:
    return re.sub(r"['’]s$", "", word)


def _end_of_name(word: re.Match[str]) -> int:
    return word.start() + len(_bare(word.group()))


def _in_capitals(text: str) -> bool:
    """Whether a text is written like A Headline or IN CAPITALS, so that capitals say nothing."""
    words = re.findall(r"[^\W\d_]{4,}", text)
    return len(words) > 2 and sum(word[0].isupper() for word in words) > 0.8 * len(words)


def _nlp_engine(model: str | None) -> Any:
    """Presidio's spaCy engine with a model, or one that only splits words."""
    engines = require("presidio_analyzer.nlp_engine", "privacy")
    spacy = require("spacy", "privacy")
    if model is not None:
        if not spacy.util.is_package(model):
            raise UsageError(
                f"privacy: no spaCy model '{model}' is installed. Install one (python -m spacy "
                "download en_core_web_sm), or name none"
            )
        return engines.SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model}])
    blank = spacy.blank("en")

    class Words(engines.SpacyNlpEngine):  # type: ignore[name-defined]
        def load(self) -> None:
            self.nlp = {"en": blank}

        def _doc_to_nlp_artifact(self, doc: Any, language: str) -> Any:
            lemmas = [token.lower_ for token in doc]
            starts = [token.idx for token in doc]
            return engines.NlpArtifacts([], doc, starts, lemmas, self, language)

    return Words(models=[{"lang_code": "en", "model_name": "blank"}])

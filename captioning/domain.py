"""Variants of captions in the words of a field, each of which still says what the caption says.

A field is a task definition in YAML (`captioning/domains/findings.yaml` is one to copy): `words`
are its vocabulary, templates of role "sentence" its ways of saying, one of role "prompt" asks a
language model for more. A variant that names another class first, adds a class or an attribute
word, or denies something, is dropped, and why is counted.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from captioning import lists
from captioning.attributes import ATTRIBUTES, WORDS
from captioning.matching import Lexicon, Mentions, composed
from captioning.templates import files, filling, sandbox
from captioning.templates.definitions import TaskDefinition, Template, check_task
from captioning.text_models import TextModel
from edgekd.errors import ConfigError
from edgekd.names import spoken
from edgekd.records import Caption, TaskSpec

SHIPPED = Path(__file__).resolve().parent / "domains"
VOCABULARY = "vocabulary"
MODEL = "model"
MAX_GROUNDS = 3
# Of the caption's own: what the templates of a field may use beside what every task fills in.
_OWN = ("findings", "second", "caption", "count")
_DENIES = re.compile(
    r"\b(?:no|not|never|neither|nor|without|cannot|\w+n't|nicht|keine?[rmns]?|ohne)\b|不是|没有|并非",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Variant:
    """Another way to say a caption. `source` is a template's id, "vocabulary" or "model".

    `dropped` is None for a kept variant, else the reason.
    """

    text: str
    source: str
    dropped: str | None = None


class Domain:
    """A field and a task: makes variants of captions and holds each against its caption.

    `descriptions` are texts of each class (`captioning.descriptions`): the grounds.

    Raises:
        ConfigError: a template needs what nothing fills in, or the definition has no template to
            say a sentence with, nor words.
    """

    def __init__(
        self,
        definition: TaskDefinition,
        task: TaskSpec,
        lexicon: Lexicon | None = None,
        *,
        descriptions: Mapping[str, Sequence[str]] | None = None,
        language: str = "en",
    ):
        check_task(definition, task, _OWN)
        self.definition, self._task = definition, task
        self._lexicon = lexicon or Lexicon(task)
        self._descriptions = descriptions or {}
        self._sentences = definition.of("sentence", language)
        self._prompts = definition.of("prompt", language)
        known = {word for _, word in WORDS}
        given = definition.words.get(language, {})
        self._words = {word: said for word, said in given.items() if word in known}
        self._plain = _inverted(self._words)
        if not self._sentences and not self._words:
            fault = f"languages.{language}: no template of role 'sentence' and no words for it"
            raise ConfigError([f"{fault}. Write one or the other"], definition.name)

    def variants(self, text: str) -> list[Variant]:
        """Returns the caption in the field's words and in each of its templates, kept or dropped.

        None of a caption that names no class, or of a template that asks for what it does not say.
        """
        values = self._values(text)
        if values is None:
            return []
        in_words = self._in_words(text)
        said = [(in_words, VOCABULARY)] if in_words != composed(text) else []
        said += [
            (filling.say(t, values), t.id) for t in self._sentences if self._is_filled(t, values)
        ]
        return self._judged(text, said)

    def prompts(self, text: str, count: int = 3) -> list[str]:
        """Returns what a language model is asked about a caption; empty where there is nothing to ask."""
        values = self._values(text)
        if values is None:
            return []
        given = {**values, "count": str(count)}
        return [filling.say(t, given) for t in self._prompts if self._is_filled(t, given)]

    def checked(self, text: str, candidates: Iterable[str], source: str = MODEL) -> list[Variant]:
        """Returns other texts for a caption, kept or dropped."""
        return self._judged(text, [(candidate, source) for candidate in candidates])

    def _values(self, text: str) -> dict[str, str | tuple[str, ...]] | None:
        """What templates are filled with: what the caption says, and what is known of its class."""
        mentions = self._lexicon.parse(text)
        if not mentions.classes:
            return None
        names = [self._task.classes[index] for index in mentions.classes]
        grounds = self._descriptions.get(names[0], ())[:MAX_GROUNDS]
        return {
            **dict.fromkeys(ATTRIBUTES, ""),
            **{name: v.default for name, v in self.definition.variables.items() if v.default},
            **{WORDS[index][0]: WORDS[index][1] for index in reversed(mentions.words)},
            "object": spoken(names[0]),
            "second": spoken(names[1]) if len(names) > 1 else "",
            "classes": tuple(map(spoken, self._task.classes)),
            "attributes": tuple(dict.fromkeys(WORDS[index][0] for index in mentions.words)),
            "findings": tuple(WORDS[index][1] for index in mentions.words),
            "description": "; ".join(grounds),
            "caption": composed(text),
        }

    def _is_filled(self, template: Template, values: Mapping[str, object]) -> bool:
        """Whether the caption says all that a template cannot do without: what has no default."""
        known = self.definition.variables
        needed = (n for n in sandbox.variables(template.text) if known[n].default is None)
        return all(values.get(name) for name in needed)

    def _in_words(self, text: str) -> str:
        said = composed(text)
        for span in reversed(self._lexicon.spans(text)):
            if span.kind == "word" and WORDS[span.index][1] in self._words:
                plain = WORDS[span.index][1]
                was = said[span.start : span.end]
                new = re.sub(re.escape(plain), self._words[plain], was, flags=re.IGNORECASE)
                said = said[: span.start] + new + said[span.end :]
        return said

    def _judged(self, text: str, said: Iterable[tuple[str, str]]) -> list[Variant]:
        original = self._lexicon.parse(text)
        seen = {composed(text).casefold()}
        found = []
        for candidate, source in said:
            folded = composed(candidate).casefold()
            reason = "says the same" if folded in seen else self._change(text, original, candidate)
            seen.add(folded)
            found.append(Variant(candidate, source, reason))
        return found

    def _change(self, text: str, original: Mentions, candidate: str) -> str | None:
        """Why a candidate does not mean what the caption means, or None."""
        found = self._lexicon.parse(self._in_plain_words(candidate, original))
        classes = self._task.classes
        if not found.classes:
            return "names no class"
        added = [index for index in found.classes if index not in original.classes]
        if added:
            return f"adds a class: {classes[added[0]]}"
        kept = [index for index in original.classes if index in found.classes]
        if found.classes[0] != original.classes[0] or list(found.classes) != kept:
            return f"names another class first: {classes[found.classes[0]]}"
        for index in found.words:
            if index not in original.words:
                return f"adds a word: {WORDS[index][1]}"
        if len(_DENIES.findall(candidate)) > len(_DENIES.findall(text)):
            return "denies something"
        return None

    def _in_plain_words(self, text: str, original: Mentions) -> str:
        """A text with the field's words as attribute words: of several, the one the caption says."""
        said = {WORDS[index][1] for index in original.words}

        def plain(found: re.Match[str]) -> str:
            meant = self._plain[found.group().casefold()]
            return next((word for word in (found.group(), *meant) if word in said), meant[0])

        if not self._plain:
            return text
        longest_first = sorted(map(re.escape, self._plain), key=len, reverse=True)
        pattern = rf"(?<![\w-])(?:{'|'.join(longest_first)})(?![\w-])"
        return re.sub(pattern, plain, composed(text), flags=re.IGNORECASE)


def paraphrases(
    domain: Domain,
    texts: Sequence[str],
    model: TextModel,
    *,
    count: int = 3,
    temperature: float = 0.7,
    seed: int = 0,
) -> Iterator[tuple[int, list[Variant]]]:
    """Yields (index into `texts`, a language model's variants, kept or dropped), as answers come.

    An answer that is refused, empty or unreadable gives one dropped variant that says so.
    """
    asked = [
        (index, prompt)
        for index, text in enumerate(texts)
        for prompt in domain.prompts(text, count)
    ]
    answers = (
        model.answers([prompt for _, prompt in asked], temperature, seed) if asked else iter(())
    )
    for at, answer in answers:
        index = asked[at][0]
        is_cut = (answer.reason or "").startswith("truncated")
        if answer.reason is not None and not is_cut:
            yield index, [Variant(answer.text, MODEL, f"no answer: {answer.reason}")]
            continue
        found = lists.items(answer.text, is_cut)[:count]
        if not found:
            yield index, [Variant(answer.text, MODEL, "no answer: no sentence in it")]
            continue
        yield index, domain.checked(texts[index], found)


def with_variants(
    captions: Iterable[Caption],
    domain: Domain,
    asked: Mapping[str, Sequence[Variant]] | None = None,
) -> Iterator[Caption]:
    """Yields every caption, and behind those of an image the variants of its kept ones.

    Captions of one image must stand together. A variant has its caption's confidence, temperature
    and seed; dropped ones keep their reason. `asked` are variants of a language model by the
    caption's text.
    """
    for _, group in groupby(captions, key=lambda caption: caption.item_id):
        own = list(group)
        yield from own
        index = max(caption.index for caption in own)
        for caption in own:
            if caption.dropped is not None:
                continue
            for variant in [*domain.variants(caption.text), *(asked or {}).get(caption.text, ())]:
                index += 1
                yield dataclasses.replace(
                    caption,
                    index=index,
                    text=variant.text,
                    template=f"{domain.definition.name}.{variant.source}",
                    dropped=variant.dropped and f"variant {variant.dropped}",
                )


def counted(variants: Iterable[Variant]) -> dict[str, int]:
    """Returns how many were kept, and dropped by reason: {"kept": 3, "adds a class": 1}."""
    return dict(Counter((variant.dropped or "kept").split(":")[0] for variant in variants))


def load_domain(name: str) -> TaskDefinition:
    """Returns the definition that comes with edgekd by that name, or the one in a YAML file.

    Raises:
        UsageError, ConfigError: as `templates.files.load`.
    """
    shipped = SHIPPED / f"{name}.yaml"
    return files.load(shipped if shipped.is_file() else Path(name))


def _inverted(words: Mapping[str, str]) -> dict[str, list[str]]:
    plain: dict[str, list[str]] = {}
    for word, said in words.items():
        plain.setdefault(said.casefold(), []).append(word)
    return plain

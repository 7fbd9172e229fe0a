"""Sentences of the composed teacher: what they are made of, and how one is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from captioning.attributes import ATTRIBUTES, split
from captioning.templates import files, filling
from captioning.templates.definitions import READ_BY_ENCODER, Template
from edgekd.errors import UsageError, closest
from edgekd.names import spoken

_SECOND = "{{ second }}"
_DEFINITION = "composed"


@dataclass(frozen=True)
class Said:
    """A sampled sentence. `readable` says the same in a language the text encoder reads."""

    text: str
    template: str
    confidence: float
    readable: str


def sample_sentence(
    probs_K: np.ndarray,
    measured_A: np.ndarray,
    names: tuple[str, ...],
    temperature: float,
    rng: np.random.Generator,
    templates: tuple[Template, ...] | None = None,
) -> tuple[str, str, float]:
    """Returns (sentence, template id, confidence).

    The object, the second guess and every attribute are drawn from p**(1/temperature), normalized;
    the confidence is the object's probability at temperature 1. Names are said as people say them:
    "electric guitar" of "electric_guitar". Without `templates` it speaks English.
    """
    template, words, confidence = _drawn(
        probs_K, measured_A, names, temperature, rng, templates or of_language("en")
    )
    return filling.say(template, words), template.id, confidence


def sample_said(
    probs_K: np.ndarray,
    measured_A: np.ndarray,
    names: tuple[str, ...],
    temperature: float,
    rng: np.random.Generator,
    language: str,
    readable_names: tuple[str, ...] | None = None,
    second_guess: bool = True,
) -> Said:
    """Returns a sentence in a language, and the same draw in one the text encoder reads.

    Draws as `sample_sentence` does; without `second_guess` only sentences that name one object.
    `readable_names` are the classes in English, where `names` are
    not.

    Raises:
        UsageError: there are no sentences in that language.
    """
    template, words, confidence = _drawn(
        probs_K, measured_A, names, temperature, rng, of_language(language, second_guess)
    )
    text = filling.say(template, words)
    if template.language in READ_BY_ENCODER:
        return Said(text, template.id, confidence, text)
    other = files.find(_DEFINITION).template(str(template.translation))
    english = dict(zip(map(spoken, names), map(spoken, readable_names or names), strict=True))
    readable = words | {role: english[words[role]] for role in ("object", "second")}
    return Said(text, template.id, confidence, filling.say(other, readable))


@cache
def of_language(language: str, second_guess: bool = True) -> tuple[Template, ...]:
    """Returns the composed teacher's templates in a language, in the order they are drawn in.

    Without `second_guess` those that name a second object are left out.

    Raises:
        UsageError: there are none.
    """
    definition = files.find(_DEFINITION)
    if language not in definition.languages:
        raise UsageError(
            f"sentences in '{language}': there are none. There are: "
            f"{', '.join(definition.languages)}.{closest(language, definition.languages)}"
        )
    templates = definition.of("sentence", language)
    if second_guess:
        return templates
    return tuple(each for each in templates if _SECOND not in each.text)


def _drawn(
    probs_K: np.ndarray,
    measured_A: np.ndarray,
    names: tuple[str, ...],
    temperature: float,
    rng: np.random.Generator,
    templates: tuple[Template, ...],
) -> tuple[Template, dict[str, str], float]:
    template = templates[rng.integers(len(templates))]
    sharpened = _at_temperature(probs_K, temperature)
    first = _index(sharpened, rng)
    rest = sharpened.copy()
    rest[first] = 0
    second = _index(rest / rest.sum(), rng) if rest.sum() > 0 else first
    words = {
        attribute: ATTRIBUTES[attribute][_index(_at_temperature(part, temperature), rng)]
        for attribute, part in split(measured_A).items()
    }
    words |= {"object": spoken(names[first]), "second": spoken(names[second])}
    return template, words, float(probs_K[first])


def _index(probs: np.ndarray, rng: np.random.Generator) -> int:
    """An index drawn with these probabilities, as `rng.choice` does, without its checks."""
    cumulated = probs.cumsum()
    return int(np.searchsorted(cumulated / cumulated[-1], rng.random(), side="right"))


def _at_temperature(probs: np.ndarray, temperature: float) -> np.ndarray:
    scaled = np.maximum(probs.astype(np.float64), 1e-12) ** (1 / temperature)
    return scaled / scaled.sum()

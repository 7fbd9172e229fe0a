"""Sentence templates of the composed teacher, and how one sentence is sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from captioning.attributes import ATTRIBUTES, split
from edgekd.names import spoken


@dataclass(frozen=True)
class Template:
    """A sentence with [object], an optional [second] guess, and attributes by name."""

    name: str
    text: str


TEMPLATES: tuple[Template, ...] = (
    Template("plain", "A photo of a {size} {colour} {object} on a {setting} background."),
    Template("surface", "A {brightness} {object} with a {texture} surface, {shape} in shape."),
    Template("product", "A {contrast} product picture of a {colour}, {texture} {object}."),
    Template("form", "A {shape}, {size} {object} that looks {brightness} and {texture}."),
    Template("scene", "On a {setting} background: a {colour} {object}, {shape} in outline."),
    Template(
        "hedged", "This looks like a {brightness} {object}, perhaps a {second}; {shape}, {size}."
    ),
    Template(
        "unsure", "Probably a {colour} {object}, possibly a {second}, with a {texture} surface."
    ),
)


def sample_sentence(
    probs_K: np.ndarray,
    measured_A: np.ndarray,
    names: tuple[str, ...],
    temperature: float,
    rng: np.random.Generator,
    templates: tuple[Template, ...] = TEMPLATES,
) -> tuple[str, str, float]:
    """Returns (sentence, template name, confidence).

    The object, the second guess and every attribute are drawn from p**(1/temperature), normalized;
    the confidence is the object's probability at temperature 1. Names are said as people say them:
    "electric guitar" of "electric_guitar".
    """
    template = templates[rng.integers(len(templates))]
    sharpened = _at_temperature(probs_K, temperature)
    first = int(rng.choice(len(names), p=sharpened))
    rest = sharpened.copy()
    rest[first] = 0
    second = int(rng.choice(len(names), p=rest / rest.sum())) if rest.sum() > 0 else first
    words = {
        attribute: ATTRIBUTES[attribute][
            rng.choice(len(part), p=_at_temperature(part, temperature))
        ]
        for attribute, part in split(measured_A).items()
    }
    text = template.text.format(object=spoken(names[first]), second=spoken(names[second]), **words)
    return _fix_articles(text), template.name, float(probs_K[first])


def _at_temperature(probs: np.ndarray, temperature: float) -> np.ndarray:
    scaled = np.maximum(probs.astype(np.float64), 1e-12) ** (1 / temperature)
    return scaled / scaled.sum()


def _fix_articles(text: str) -> str:
    """Returns the sentence with "a" turned to "an" before a vowel letter."""
    words = text.split(" ")
    for index, word in enumerate(words[:-1]):
        if word in ("a", "A") and words[index + 1][:1].lower() in "aeiou":
            words[index] = word + "n"
    return " ".join(words)

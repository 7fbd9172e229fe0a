"""Sentences of the composed teacher, sampled."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from captioning.attributes import ATTRIBUTES, WORDS
from captioning.matching import Lexicon
from captioning.prompts import of_language, sample_said, sample_sentence
from captioning.templates.definitions import Template
from edgekd.errors import UsageError
from edgekd.names import spoken
from edgekd.records import TaskSpec

NAMES = ("cat", "apple", "dog")
TEMPLATES = of_language("en")


def certain(**words: str) -> np.ndarray:
    """A measurement that is sure of the words given, and of the first word of the others."""
    sure = {name: options[0] for name, options in ATTRIBUTES.items()} | words
    return np.array([float(sure[name] == word) for name, word in WORDS], dtype=np.float32)


def sample(
    probs: list[float], text: str, seed: int = 0, temperature: float = 1.0, **words: str
) -> tuple[str, str, float]:
    rng = np.random.default_rng(seed)
    templates = (Template("only", text),)
    return sample_sentence(np.array(probs), certain(**words), NAMES, temperature, rng, templates)


def test_a_sure_teacher_says_what_it_measured() -> None:
    text, template, confidence = sample(
        [0, 1, 0],
        "A {{ size }} {{ colour }} {{ object }}, {{ shape }}.",
        colour="red",
        size="large",
        shape="wide",
    )
    assert text == "A large red apple, wide."
    assert template == "only"
    assert confidence == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {{ object }}", "an apple"),
        ("A {{ object }} and a {{ colour }} one", "An apple and an orange one"),
        ("a {{ brightness }} {{ object }}", "a dark apple"),
    ],
)
def test_an_before_a_vowel(text: str, expected: str) -> None:
    assert sample([0, 1, 0], text, colour="orange")[0] == expected


def test_the_confidence_is_the_probability_at_temperature_1() -> None:
    for seed in range(20):
        text, _, confidence = sample([0.5, 0.2, 0.3], "{{ object }}", seed, temperature=3.0)
        assert confidence == {"cat": 0.5, "apple": 0.2, "dog": 0.3}[text]


@pytest.mark.parametrize(
    ("temperature", "shares"),
    # p**(1/T), normalized: .5, .2, .3 squared are .25, .04, .09 of .38.
    [(1.0, (0.5, 0.2, 0.3)), (0.5, (0.658, 0.105, 0.237))],
)
def test_objects_are_drawn_at_their_temperature(
    temperature: float, shares: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(0)
    templates = (Template("only", "{{ object }}"),)
    draws = Counter(
        sample_sentence(np.array([0.5, 0.2, 0.3]), certain(), NAMES, temperature, rng, templates)[0]
        for _ in range(4000)
    )
    # Four standard errors of a share with 4,000 draws: .032 at most.
    for name, share in zip(NAMES, shares, strict=True):
        assert draws[name] / 4000 == pytest.approx(share, abs=0.032)


def test_the_second_guess_is_another_class() -> None:
    for seed in range(50):
        first, second = sample([0.6, 0.2, 0.2], "{{ object }} {{ second }}", seed)[0].split()
        assert first != second


def test_the_same_random_state_gives_the_same_sentence() -> None:
    draws = [
        sample_sentence(np.full(3, 1 / 3), certain(), NAMES, 1.0, np.random.default_rng(seed))
        for seed in (7, 7, 8, 9, 10)
    ]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 2


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_every_template_names_its_object_first_and_its_attributes(template: Template) -> None:
    """What it says can be read again, and only what was measured is said."""
    lexicon = Lexicon(TaskSpec("test", NAMES))
    measured = certain(colour="blue", setting="cluttered", shape="tall")
    rng = np.random.default_rng(0)
    text, name, _ = sample_sentence(
        np.array([0.1, 0.1, 0.8]), measured, NAMES, 0.1, rng, (template,)
    )
    mentions = lexicon.parse(text)
    assert name == template.name
    assert mentions.classes[0] == 2
    assert mentions.words
    assert all(measured[index] == 1 for index in mentions.words)
    assert "{" not in text


def test_names_are_said_as_people_say_them() -> None:
    measured = certain()
    text, _, _ = sample_sentence(
        np.array([1.0, 0.0]),
        measured,
        ("electric_guitar", "ToyCar"),
        1.0,
        np.random.default_rng(0),
        (Template("only", "a {{ object }} and a {{ second }}"),),
    )
    assert text == "an electric guitar and a toy car"


FRAME_WORDS = (
    "photo", "picture", "product", "surface", "background", "shape", "outline", "orange", "other",
)  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
@pytest.mark.parametrize("name", FRAME_WORDS)
def test_a_class_called_like_a_word_of_the_frame(name: str, template: Template) -> None:
    """Every sentence says "background" or "photo"; only the one about it names the class."""
    lexicon = Lexicon(TaskSpec("test", ("cat", name)))
    measured = certain(colour="orange")
    for index in (0, 1):
        probs = np.eye(2)[index]
        rng = np.random.default_rng(index)
        text, _, _ = sample_sentence(probs, measured, ("cat", name), 0.1, rng, (template,))
        hedges = "{{ second }}" in template.text
        assert lexicon.parse(text).classes == ((index, 1 - index) if hedges else (index,)), text


# The seven sentences as they were while they stood in the code.
BEFORE = (
    ("plain", "A photo of a {size} {colour} {object} on a {setting} background."),
    ("surface", "A {brightness} {object} with a {texture} surface, {shape} in shape."),
    ("product", "A {contrast} product picture of a {colour}, {texture} {object}."),
    ("form", "A {shape}, {size} {object} that looks {brightness} and {texture}."),
    ("scene", "On a {setting} background: a {colour} {object}, {shape} in outline."),
    ("hedged", "This looks like a {brightness} {object}, perhaps a {second}; {shape}, {size}."),
    ("unsure", "Probably a {colour} {object}, possibly a {second}, with a {texture} surface."),
)


def said_before(
    probs: np.ndarray, measured: np.ndarray, names: tuple[str, ...], temperature: float, seed: int
) -> tuple[str, str, float]:
    """What `sample_sentence` returned then: the same draws through `rng.choice` and `str.format`."""
    rng = np.random.default_rng(seed)

    def at_temperature(part: np.ndarray) -> np.ndarray:
        scaled = np.maximum(part.astype(np.float64), 1e-12) ** (1 / temperature)
        return scaled / scaled.sum()

    name, text = BEFORE[rng.integers(7)]
    sharpened = at_temperature(probs)
    first = int(rng.choice(len(names), p=sharpened))
    rest = sharpened.copy()
    rest[first] = 0
    second = int(rng.choice(len(names), p=rest / rest.sum()))
    words, start = {}, 0
    for attribute, options in ATTRIBUTES.items():
        part = measured[start : start + len(options)]
        words[attribute] = options[rng.choice(len(options), p=at_temperature(part))]
        start += len(options)
    text = text.format(object=spoken(names[first]), second=spoken(names[second]), **words)
    said = text.split(" ")
    for index, word in enumerate(said[:-1]):
        if word in ("a", "A") and said[index + 1][:1].lower() in "aeiou":
            said[index] = word + "n"
    return " ".join(said), name, float(probs[first])


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 3.0])
def test_a_seed_gives_what_it_gave_when_the_sentences_stood_in_the_code(temperature: float) -> None:
    names = ("apple", "ToyCar", "electric_guitar", "orange", "{object}", "猫")
    rng = np.random.default_rng(11)
    for seed in range(150):
        probs = rng.dirichlet(np.full(6, 0.4)).astype(np.float32 if seed % 2 else np.float64)
        measured = np.concatenate([rng.dirichlet(np.ones(len(w))) for w in ATTRIBUTES.values()])
        measured = measured.astype(np.float32)
        now = sample_sentence(probs, measured, names, temperature, np.random.default_rng(seed))
        assert now == said_before(probs, measured, names, temperature, seed)


def test_another_language_says_the_same_draw_and_brings_the_readable_sentence() -> None:
    measured = certain(colour="black", setting="plain light", size="small", shape="wide")
    by_template = {}
    for seed in range(60):
        said = sample_said(
            np.array([0.0, 1.0, 0.0]),
            measured,
            ("狗", "橙", "猫"),
            1.0,
            np.random.default_rng(seed),
            "zh",
            ("dog", "orange", "cat"),
        )
        by_template[said.template] = said
        english = sample_sentence(
            np.array([0.0, 1.0, 0.0]),
            measured,
            ("dog", "orange", "cat"),
            1.0,
            np.random.default_rng(seed),
        )
        assert (said.readable, said.template.removeprefix("zh.")) == english[:2]
    assert set(by_template) == {f"zh.{template.name}" for template in TEMPLATES}
    plain = by_template["zh.plain"]
    assert plain.text == "一张照片，纯浅色的背景上有一个较小的黑色橙。"
    assert plain.readable == "A photo of a small black orange on a plain light background."


def test_english_is_its_own_readable_sentence() -> None:
    rng = np.random.default_rng(0)
    said = sample_said(np.full(3, 1 / 3), certain(), NAMES, 1.0, rng, "en")
    assert said.readable == said.text


@pytest.mark.parametrize("template", of_language("zh"), ids=lambda template: template.name)
def test_every_attribute_word_is_said_in_chinese(template: Template) -> None:
    assert {word for _, word in WORDS} | set(ATTRIBUTES) <= set(template.words)


def test_a_language_without_sentences() -> None:
    with pytest.raises(
        UsageError, match=r"sentences in 'zz': there are none\. There are: en, zh\."
    ):
        of_language("zz")


def test_without_a_second_guess_one_object_is_named() -> None:
    """Where every name is a claim, no sentence says what an image is perhaps."""
    for language in ("en", "zh"):
        every, plain = of_language(language), of_language(language, second_guess=False)
        assert set(plain) < set(every)
        assert all("second" in template.text for template in set(every) - set(plain))
        assert not any("second" in template.text for template in plain)

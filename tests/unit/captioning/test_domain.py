"""Variants of captions in the words of a field: what they say, and when they are dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from captioning import domain as dm
from captioning.teachers.chat_format import Answer
from captioning.templates import files
from edgekd.errors import ConfigError, UsageError
from edgekd.records import Caption, TaskSpec

TASK = TaskSpec("skin", ("psoriasis", "eczema", "melanoma"), {"eczema": ("dermatitis",)})
CAPTION = "A small red, heavily textured psoriasis, perhaps an eczema."


def findings(**values: object) -> dm.Domain:
    return dm.Domain(dm.load_domain("findings"), TASK, **values)  # type: ignore[arg-type]


def texts(variants: list[dm.Variant]) -> dict[str, str]:
    return {variant.source: variant.text for variant in variants if variant.dropped is None}


def test_symptoms_in_a_possible_diagnosis_and_its_grounds_out() -> None:
    known = {"psoriasis": ("sharply bounded patches", "silvery scales")}
    found = texts(findings(descriptions=known).variants(CAPTION))
    assert found == {
        "vocabulary": "A localized erythematous, rough psoriasis, perhaps an eczema.",
        "assessment": (
            "Findings: localized, erythematous and rough. Possible diagnosis: psoriasis; "
            "alternative: eczema."
        ),
        "grounds": (
            "Consistent with psoriasis, on the grounds of localized, erythematous and rough "
            "appearance (sharply bounded patches; silvery scales)."
        ),
        "impression": "Impression: psoriasis, less likely eczema.",
    }


def test_templates_that_ask_for_more_than_the_caption_says_are_left_out() -> None:
    assert texts(findings().variants("A melanoma.")) == {"impression": "Impression: melanoma."}
    assert findings().variants("A blurred picture.") == []


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ("Erythematous, rough psoriasis; eczema is the alternative.", None),
        ("A red psoriasis.", None),
        ("Red and rough: dermatitis rather than psoriasis.", "names another class first: eczema"),
        ("Eczema.", "names another class first: eczema"),
        ("Psoriasis or melanoma.", "adds a class: melanoma"),
        ("A large psoriasis.", "adds a word: large"),
        ("An extensive psoriasis.", "adds a word: large"),
        ("A hypopigmented psoriasis.", "adds a word: white"),
        ("Something red.", "names no class"),
        ("This is not psoriasis.", "denies something"),
        ("It isn't psoriasis.", "denies something"),
        (CAPTION.upper(), "says the same"),
    ],
)
def test_what_changes_the_meaning_is_dropped_with_its_reason(
    candidate: str, reason: str | None
) -> None:
    (variant,) = findings().checked(CAPTION, [candidate])
    assert variant == dm.Variant(candidate, "model", reason)


def test_grounds_that_name_another_class_drop_the_variant() -> None:
    known = {"psoriasis": ("often taken for melanoma",)}
    found = findings(descriptions=known).variants(CAPTION)
    assert "grounds" not in texts(found)
    assert dm.counted(found) == {"kept": 3, "adds a class": 1}


def test_a_word_of_the_field_for_two_attribute_words_stands_for_the_one_said(
    tmp_path: Path,
) -> None:
    text = (
        "schema: 1\ntask: classification\nabout: x\nvariables: {}\n"
        "languages: {en: {input: a, output: b, words: {smooth: glossy, bright: glossy},\n"
        "  templates: [{name: t, role: class_text, text: c}]}}\n"
    )
    (tmp_path / "own.yaml").write_text(text)
    own = dm.Domain(files.load(tmp_path / "own.yaml"), TASK)
    assert texts(own.variants("A bright eczema.")) == {"vocabulary": "A glossy eczema."}
    assert texts(own.variants("A smooth eczema.")) == {"vocabulary": "A glossy eczema."}
    (wrong,) = own.checked("A red eczema.", ["A glossy red eczema."])
    assert wrong.dropped == "adds a word: smooth"


class FakeModel:
    """Answers each prompt with a text of its own."""

    def __init__(self, *answers: Answer):
        self.origin = {"model": "fake"}
        self.given, self.asked = answers, []  # type: ignore[var-annotated]

    def answers(
        self, prompts: Sequence[str], temperature: float, seed: int
    ) -> Iterator[tuple[int, Answer]]:
        self.asked = [*prompts]
        yield from enumerate(self.given)


def test_a_language_model_rewords_and_is_held_to_the_caption() -> None:
    model = FakeModel(
        Answer("1. A rough plaque of psoriasis.\n2. Melanoma, rough.", None, 1, 1),
        Answer("I cannot help with that.", "refusal", 1, 1),
    )
    captions = ["A heavily textured psoriasis.", "A blurred picture.", "An eczema."]
    found = dict(dm.paraphrases(findings(), captions, model, count=2))
    assert found == {
        0: [
            dm.Variant("A rough plaque of psoriasis", "model"),
            dm.Variant("Melanoma, rough", "model", "adds a class: melanoma"),
        ],
        2: [dm.Variant("I cannot help with that.", "model", "no answer: refusal")],
    }
    assert len(model.asked) == 2
    assert '"A heavily textured psoriasis." Name psoriasis and no other' in model.asked[0]
    assert "in 2 ways" in model.asked[0]


def test_no_question_asks_no_model() -> None:
    model = FakeModel()
    assert list(dm.paraphrases(findings(), ["A blurred picture."], model)) == []
    assert model.asked == []


def test_variants_stand_behind_their_images_captions() -> None:
    def caption(item: str, index: int, text: str, dropped: str | None = None) -> Caption:
        return Caption(item, index, text, "plain", 0.5, 7, "t", 0.9, dropped)

    given = [
        caption("a", 0, "A melanoma."),
        caption("a", 1, "An eczema.", "low confidence"),
        caption("b", 0, "A red melanoma."),
    ]
    asked = {"A melanoma.": [dm.Variant("Psoriasis.", "model", "adds a class: psoriasis")]}
    found = list(dm.with_variants(given, findings(), asked))
    assert [(c.item_id, c.index, c.template, c.dropped) for c in found] == [
        ("a", 0, "plain", None),
        ("a", 1, "plain", "low confidence"),
        ("a", 2, "findings.impression", None),
        ("a", 3, "findings.model", "variant adds a class: psoriasis"),
        ("b", 0, "plain", None),
        ("b", 1, "findings.vocabulary", None),
        ("b", 2, "findings.assessment", None),
        ("b", 3, "findings.grounds", None),
        ("b", 4, "findings.impression", None),
    ]
    assert {(c.temperature, c.seed, c.confidence) for c in found} == {(0.5, 7, 0.9)}


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        dm.load_domain(str(tmp_path / "none.yaml"))
    empty = (
        "schema: 1\ntask: classification\nabout: x\nvariables: {}\n"
        "languages: {en: {input: a, output: b, templates: [{name: t, role: prompt, text: c}]}}\n"
    )
    (tmp_path / "empty.yaml").write_text(empty)
    with pytest.raises(ConfigError, match=r"languages\.en: no template of role 'sentence'"):
        dm.Domain(files.load(tmp_path / "empty.yaml"), TASK)
    unknown = empty.replace("{}", "{place: {meaning: where, example: arm}}")
    (tmp_path / "unknown.yaml").write_text(unknown.replace("text: c", 'text: "{{ place }}"'))
    with pytest.raises(ConfigError, match="variable 'place'"):
        dm.Domain(files.load(tmp_path / "unknown.yaml"), TASK)

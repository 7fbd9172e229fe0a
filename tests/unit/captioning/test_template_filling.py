"""Templates filled in: values checked, words translated, the sentence that the encoder reads."""

from __future__ import annotations

from typing import Any

import pytest

from captioning.templates.files import find
from captioning.templates.filling import fill, for_matching, placeholders
from edgekd.errors import UsageError

CLASSIFICATION, RETRIEVAL, COMPOSED = find("classification"), find("retrieval"), find("composed")


def test_input_and_output_of_the_task() -> None:
    """The notation of the definition: a picture containing [object]."""
    definition = find("generation")
    assert definition.input["en"] == "a picture containing {{ object }}"
    described = fill(
        definition,
        definition.template("describe"),
        {"object": "owl", "attributes": ["colour", "shape"]},
    )
    assert described == (
        "This picture contains an owl. Write one sentence of at most 25 words with the colour and "
        "shape of the owl. Say only what can be seen."
    )
    assert placeholders(definition) == {
        "object": "[object]",
        "attributes": ("[attributes]",),
        "max_words": "25",
    }


def test_attributes_are_said_in_the_language_and_names_as_they_are() -> None:
    """A class called "orange" is no colour; the colour is."""
    template = COMPOSED.template("zh.product")
    values = {"contrast": "low-contrast", "colour": "orange", "texture": "smooth"}
    text = fill(COMPOSED, template, values | {"object": "orange"})
    assert text == "一张低对比度的产品图，是一个橙色、光滑的orange。"


def test_optional_values_may_be_left_out() -> None:
    template = RETRIEVAL.template("sentence")
    assert fill(RETRIEVAL, template, {"object": "apple"}) == "a picture of an apple"
    found = fill(RETRIEVAL, template, {"object": "apple", "attributes": ["red", "small"]})
    assert found == "a picture of a red small apple"


def test_matching_uses_the_translation() -> None:
    template = RETRIEVAL.template("zh.sentence")
    values = {"object": "苹果", "attributes": ["red", "small"]}
    assert fill(RETRIEVAL, template, values) == "一张红色的较小的苹果的图片"
    readable = for_matching(RETRIEVAL, template, values, {"object": "apple"})
    assert readable == "a picture of a red small apple"
    english = RETRIEVAL.template("short")
    assert for_matching(RETRIEVAL, english, {"object": "apple"}) == "apple"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"object": "cat", "colr": "x"}, "classification: unknown variable 'colr'. There are: "
         "attributes, classes, description, object."),
        ({}, "template 'photo': no value for 'object' (a class, as people say it). "
         "For example: cat"),
        ({"object": ["cat"]}, "variable 'object': a list, expected a text"),
        ({"object": "x" * 2001}, "variable 'object': 2,001 characters, expected 2,000 at most"),
        ({"object": 3}, "variable 'object': a int, expected a text"),
    ],
)  # fmt: skip
def test_values_that_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        fill(CLASSIFICATION, CLASSIFICATION.template("photo"), values)
    assert str(caught.value) == says


def test_lists_that_are_refused() -> None:
    template = CLASSIFICATION.template("open")
    with pytest.raises(UsageError, match=r"'attributes': a text \('colour'\), expected a list"):
        fill(CLASSIFICATION, template, {"attributes": "colour"})
    with pytest.raises(UsageError, match=r"'attributes': 3 is no text\. Put it in quotes"):
        fill(CLASSIFICATION, template, {"attributes": ["colour", 3]})  # type: ignore[list-item]

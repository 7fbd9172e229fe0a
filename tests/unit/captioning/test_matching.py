"""What a sentence says."""

from __future__ import annotations

import pytest

from captioning.attributes import WORDS
from captioning.matching import Lexicon
from edgekd.errors import DataError
from edgekd.records import TaskSpec

CLASSES = ("t-shirt", "shirt", "ankle boot", "dress", "orange")
TASK = TaskSpec("test", CLASSES, {"ankle boot": ("bootie", "short boot")})


def classes(text: str) -> list[str]:
    return [CLASSES[index] for index in Lexicon(TASK).parse(text).classes]


def words(text: str) -> list[str]:
    return [WORDS[index][1] for index in Lexicon(TASK).parse(text).words]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("A photo of a shirt.", ["shirt"]),
        ("A photo of a t-shirt.", ["t-shirt"]),  # and not of a shirt
        ("Two T-Shirts, a Shirt!", ["t-shirt", "shirt"]),
        ("a shirt, perhaps a t-shirt; a shirt", ["shirt", "t-shirt"]),  # once, in order
        ("shirts and dresses", ["shirt", "dress"]),
        ("an ankle boot", ["ankle boot"]),
        ("an ankle\n  boot", ["ankle boot"]),
        ("an ankle_boot", ["ankle boot"]),
        ("two booties", ["ankle boot"]),
        ("a short boot", ["ankle boot"]),
        ("an ankle, a boot", []),
        ("a sweatshirt", []),
        ("shirt-like, shirted, undershirt", []),
        ("(shirt)", ["shirt"]),
        ("", []),
    ],
)
def test_the_classes_a_sentence_names(text: str, named: list[str]) -> None:
    assert classes(text) == named


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a red, smooth shirt on a plain light background", ["red", "smooth", "plain light"]),
        ("lightly textured and low-contrast", ["lightly textured", "low-contrast"]),
        ("Red, red and RED", ["red"]),
        ("a reddish thing, infrared", []),
        ("a medium-sized thing", ["medium-sized"]),
    ],
)
def test_the_attributes_a_sentence_says(text: str, said: list[str]) -> None:
    assert words(text) == said


def test_a_word_with_a_hyphen_is_one_word_even_where_it_is_no_class() -> None:
    lexicon = Lexicon(TaskSpec("test", ("shirt", "boot")))
    assert lexicon.parse("a t-shirt and a boot-leg").classes == ()
    assert lexicon.parse("a shirt - and a boot").classes == (0, 1)


def test_a_class_called_like_a_colour_wins() -> None:
    assert classes("an orange, round") == ["orange"]
    assert words("an orange, round") == []


def test_a_synonym_of_two_classes_is_refused() -> None:
    task = TaskSpec("test", ("cat", "dog"), {"cat": ("pet",), "dog": ("Pet",)})
    with pytest.raises(DataError, match=r"'pet' stands for both 'cat' and 'dog'"):
        Lexicon(task)


def test_a_plural_that_is_a_class_of_its_own_stays_one() -> None:
    lexicon = Lexicon(TaskSpec("test", ("glass", "glasses")))
    assert lexicon.parse("a glass").classes == (0,)
    assert lexicon.parse("two glasses").classes == (1,)
    lexicon = Lexicon(TaskSpec("test", ("glasses", "glass")))
    assert lexicon.parse("two glasses").classes == (0,)


def test_names_with_signs_and_other_letters() -> None:
    lexicon = Lexicon(TaskSpec("test", ("c++", "Straße", "猫")))
    assert lexicon.parse("a book on C++ today").classes == (0,)
    assert lexicon.parse("eine STRASSE").classes == (1,)
    assert lexicon.parse("一 猫 。").classes == (2,)

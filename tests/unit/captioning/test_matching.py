"""What a sentence says."""

from __future__ import annotations

import pytest

from captioning.attributes import WORDS
from captioning.matching import Lexicon, name_notes
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


def named(names: tuple[str, ...], text: str) -> list[str]:
    """The classes that a sentence names, of these."""
    return [names[index] for index in Lexicon(TaskSpec("test", names)).parse(text).classes]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("electric_guitar", "an electric guitar"),
        ("ElectricGuitar", "an Electric-Guitar"),
        ("electric guitar", "two electric guitars"),
        ("t_shirt", "a t-shirt"),
        ("t-shirt", "a tshirt"),
        ("t-shirt", "some T shirts"),
        ("dogs", "a dog"),
        ("Leopards", "a leopard in the grass"),
        ("scissors", "scissors"),
        ("scissors", "a pair of scissors"),
        ("children", "a child"),
        ("fireman", "two firemen"),
        ("knife", "knives"),
        ("berries", "a berry"),
        ("cup of tea", "two cups of tea"),
        ("bus", "buses"),
        ("glasses", "glasses"),
        ("men’s shoe", "a men's shoe"),
        ("c++ (book)", "a c++ (book) on a table"),
        ("[x].*", "the sign [x].* here"),
        ("$5", "it costs $5, or so"),
        ("猫", "一只猫在草地上"),
        ("猫", "これは猫です。"),
        ("แมว", "นี่คือแมวสีดำ"),
        ("고양이", "작은 고양이가 있다"),
        ("T恤", "这是T恤吗"),
        ("chien", "deux chiens"),
        ("кошка", "Чёрная КОШКА спит"),
        ("Größe", "eine GRÖSSE"),
        ("ｃａｔ", "a cat"),
        ("1", "number 1 is here"),
        ("background", "a background"),
    ],
)
def test_a_name_is_found_however_it_is_written(name: str, text: str) -> None:
    assert named((name, "something else"), text) == [name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bus", "bu"),
        ("bass", "bas"),
        ("tennis", "tenni"),
        ("1", "number 12"),
        ("cat", "concatenate"),
        ("고양이", "길고양이"),  # the left edge of a Korean word counts
        ("shirt", "a t-shirt"),
    ],
)
def test_a_name_is_not_found_in_another_word(name: str, text: str) -> None:
    assert named((name, "something else"), text) == []


def test_the_longest_name_of_a_script_without_spaces_counts() -> None:
    assert named(("猫", "猫头鹰"), "一只猫头鹰") == ["猫头鹰"]


def test_a_form_that_two_classes_could_claim_is_nobodys() -> None:
    assert named(("axe", "axis"), "two axes") == []
    assert named(("axe", "axis"), "an axe and an axis") == ["axe", "axis"]


@pytest.mark.parametrize(
    ("text", "named", "said"),
    [
        ("an orange dress", ["dress"], ["orange"]),
        ("an orange, smooth dress", ["dress"], ["orange", "smooth"]),
        ("an orange, perhaps a dress", ["orange", "dress"], []),
        ("an orange orange", ["orange"], ["orange"]),
        ("an orange", ["orange"], []),
        ("a dress, orange", ["dress", "orange"], []),
    ],
)
def test_a_colour_that_describes_is_no_class(text: str, named: list[str], said: list[str]) -> None:
    assert classes(text) == named
    assert words(text) == said


def test_names_that_sentences_say_in_passing_are_noted() -> None:
    (line,) = name_notes(TaskSpec("test", ("cat", "orange")))
    assert line.startswith("class 'orange' is also a word for colour: ")


def test_a_thousand_names() -> None:
    names = tuple(f"thing number {index}" for index in range(1000))
    lexicon = Lexicon(TaskSpec("test", names))
    text = "a thing number 7, a thing number 77; a thing number 777"
    assert lexicon.parse(text).classes == (7, 77, 777)

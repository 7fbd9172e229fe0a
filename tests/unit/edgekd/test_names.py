"""Class names as people write them."""

from __future__ import annotations

import pytest

from edgekd import names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("t_shirt", "T-Shirt"), ("t shirt", "TShirt"), ("Car", "car"), ("cafe\u0301", "CAFÉ"),
        ("ElectricGuitar", "electric  guitar"), ("Straße", "STRASSE"), ("ｃａｔ", "cat"),
        (" dog", "dog"),
    ],
)  # fmt: skip
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert names.key(one) == names.key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("glass", "glasses"), ("1 2", "12"), ("-1", "1"), ("c++", "c"), ("猫", "犬"), ("1-2", "12")],
)
def test_names_that_are_two(one: str, other: str) -> None:
    assert names.key(one) != names.key(other)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("electric_guitar", "electric guitar"),
        ("ElectricGuitar", "electric guitar"),
        ("electricGuitar", "electric guitar"),
        ("iPhone", "iPhone"),
        ("Faces", "Faces"),
        ("T-shirt", "T-shirt"),
        ("  two\t words ", "two words"),
        ("USB_stick", "USB stick"),
        ("猫", "猫"),
        ("_", "_"),
    ],
)
def test_as_a_sentence_says_it(name: str, said: str) -> None:
    assert names.spoken(name) == said


def test_composed_letters_and_no_space_around() -> None:
    assert names.clean(" Ba\u0308r\t") == "Bär"


@pytest.mark.parametrize(
    ("listed", "fault"),
    [
        (["cat", "dog", "c++", "猫", "x" * 200], None),
        (["cat", ""], "name 2 of 2 is empty"),
        (["a\nb", "c"], r"'a\nb' has a line break or another control character in it. Rename it"),
        (["cat", "dog", "cat"], "'cat' stands there twice"),
        (["x" * 201, "y"], f"'{'x' * 40}...' has 201 characters, expected 200 at most"),
        (
            ["t_shirt", "t shirt"],
            "'t_shirt' and 't shirt' are one name but for case, spaces, hyphens and underscores. "
            "Rename one, or make them one class",
        ),
    ],
)
def test_what_cannot_be_a_list_of_names(listed: list[str], fault: str | None) -> None:
    assert names.fault(listed) == fault


@pytest.mark.parametrize(
    ("values", "begins"),
    [
        (["cat", "1"], None),
        ([1, 2], "1 is no text: YAML reads it as a number"),
        (["a", 2.5], "2.5 is no text: YAML reads it as a number"),
        (["a", False], "false is no text: YAML reads it as yes/no"),
        (["a", None], "null is no text: YAML reads it as nothing"),
        ([["a"]], "['a'] is no text: YAML reads it as list"),
    ],
)
def test_what_yaml_made_of_names(values: list[object], begins: str | None) -> None:
    fault = names.not_texts(values)
    if begins is None:
        assert fault is None
    else:
        assert fault is not None
        assert fault.startswith(begins)
        assert fault.endswith('Put names in quotes, as in ["yes", "no", "1"]')


def test_notes_on_names_that_work_less_well() -> None:
    assert names.notes(["cat", "c++", "1"]) == []
    foreign, no_thing = names.notes(["猫", "Bär", "犬", "狗", "Other", "cat"])
    assert foreign.startswith("classes '猫', 'Bär', '犬' and 1 more: the packaged sentence encoder")
    assert no_thing.startswith("class 'Other': says nothing of what to look for")

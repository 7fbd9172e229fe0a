"""Class names looked up in WordNet, as people write them."""

from __future__ import annotations

import pytest

from captioning.glossary import imagenet_senses, senses


@pytest.mark.parametrize(
    ("name", "first_word", "part_of_definition"),
    [
        ("ant", "ant", "social insect"),
        ("Sea_Horse", "seahorse", "small fish with horse-like heads"),
        ("SeaHorses", "seahorse", "small fish with horse-like heads"),
        ("scissors", "scissors", "edge tool"),  # not the singular, which is nothing
        ("Leopards", "leopard", "large feline"),
        ("glasses", "spectacles", "optical instrument"),  # not the plural of drinking glass
        ("grand piano", "grand piano", "piano"),
    ],
)
def test_names_as_people_write_them(name: str, first_word: str, part_of_definition: str) -> None:
    found = senses(name)[0]
    assert found.words[0] == first_word
    assert part_of_definition in found.definition


def test_a_name_with_several_meanings_has_them_all() -> None:
    definitions = " ".join(sense.definition for sense in senses("crab"))
    assert len(senses("crab")) == 2
    assert "decapod" in definitions
    assert "louse" in definitions


@pytest.mark.parametrize("name", ["garfield", "", "t-shirt model 7", "Katze", "car_side", "s"])
def test_what_wordnet_does_not_know_has_no_meaning(name: str) -> None:
    assert senses(name) == []


def test_imagenets_own_classes() -> None:
    known = imagenet_senses()
    assert len(known) == 1000
    assert known[0].words == ("tench", "Tinca tinca")
    assert "freshwater" in known[0].definition

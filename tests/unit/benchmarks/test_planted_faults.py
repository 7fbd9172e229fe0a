"""The planted captions are what they are said to be, and the scores are counted right."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from benchmarks import planted_faults
from benchmarks.planted import FIRST, SECOND
from benchmarks.planted.rewrites import rewritten, with_articles
from benchmarks.planted_faults import Planted, filter_of, half_of, in_rules, plant, score
from edgekd.records import Caption


@pytest.mark.parametrize("half", ["first", "second"])
def test_a_half_has_what_was_planned(half: planted_faults.Half) -> None:
    planted, measured = plant(half, 7)
    counts = Counter(one.fault for one in planted)
    assert len(planted) == 1000
    assert {name: counts[name] for name in planted_faults._FAULTS} == planted_faults._FAULTS
    items = [one.caption.item_id for one in planted]
    assert len([item for item, _ in groupby(items)]) == len(set(items))  # stand together
    assert len(measured) == planted_faults._FAULTS["measured"]
    assert measured.keys() <= set(items)


def test_a_seed_makes_the_same_and_another_makes_others() -> None:
    def texts(seed: int) -> list[str]:
        return [one.caption.text for one in plant("second", seed)[0]]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


LISTS = [
    name
    for name, value in vars(SECOND).items()
    if isinstance(value, list) and name not in planted_faults.SHARED
]


@pytest.mark.parametrize("name", LISTS)
def test_the_halves_share_no_entry(name: str) -> None:
    first, second = half_of(name, "first"), half_of(name, "second")
    changes = {entry for entry in second if name == "REWRITES" and entry[0]}
    assert set(first) & set(second) <= changes  # a slip of the hand is one in either half
    known = [entry for module in FIRST for entry in getattr(module, name, [])]
    assert first == known
    assert len(second) >= 0.4 * len(getattr(SECOND, name))


@pytest.mark.parametrize("name", ["REFUSALS", "BOILERPLATE", "REPEATED", "OFF_TOPIC", "PRIVATE"])
def test_no_planted_text_is_an_example_of_the_rules(name: str) -> None:
    """Neither of the rules nor of their tests."""
    tests = Path(__file__).parents[1].glob("captioning/test_*.py")
    examples = "\n".join(path.read_text().casefold() for path in tests)
    for text in half_of(name, "second"):
        said = text.split("|")[0].casefold().strip(".!")
        assert not in_rules(text), text
        assert len(said.split()) < 3 or said not in examples, text


def test_what_the_rules_say() -> None:
    assert in_rules("N/A")
    assert in_rules("Access denied.")
    assert not in_rules("The picture of a cat is not there, sadly.")


def test_what_is_planted_as_a_number_is_one() -> None:
    """Check digits: a card or an account that nobody could have is no private thing."""
    entries = [*half_of("PRIVATE", "first"), *half_of("PRIVATE", "second")]
    for text, kind in (entry.split("|") for entry in entries):
        digits = [int(digit) for digit in text if digit.isdigit()]
        if kind == "card":
            doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
            assert (sum(digits[-1::-2]) + doubled) % 10 == 0, text
        if kind == "iban":
            (found,) = re.findall(r"[A-Z]{2}\d\d(?: [A-Z\d]{1,4})+", text)
            account = found.replace(" ", "")
            assert int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1, text


def test_every_caption_of_an_image_names_its_class() -> None:
    """Those that guess do not; what names no class may be off topic."""
    for half in ("first", "second"):
        for name in ("CLEAN", "HARD_CLEAN", "NEAR_PAIRS", "FAR_PAIRS", "IMPOSSIBLE", "BETWEEN"):
            for entry in half_of(name, half):
                for text in [entry] if isinstance(entry, str) else entry:
                    assert "{o}" in text, text


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (None, ""),
        ("refused", "refusal"),
        ("private: name, phone", "private"),
        ("impossible colour: red and blue (cat)", "impossible"),
        ("contradicts measured colour: red", "measured"),
        ("contradicts other captions on colour: red, not blue (cat)", "between captions"),
        ("contradicts other captions on class: dog, not cat", "class swap"),
        ("voted down: 0.10", "voted down"),
    ],
)
def test_which_filter_a_reason_is_of(reason: str | None, name: str) -> None:
    assert filter_of(reason) == name


def test_scores_by_hand() -> None:
    """Three refusals: one found, one found as too short, one kept; one clean caption refused."""
    captions = [Caption("a", 0, text, "", 1.0, 0, "", 1.0) for text in "abcde"]
    planted = [Planted(c, "refusal") for c in captions[:3]] + [Planted(c, "") for c in captions[3:]]
    scores = score(planted, ["refused", "length: short", None, "refused", None])
    refusal = scores["filters"]["refusal"]
    assert (refusal["precision"]["value"], refusal["precision"]["of"]) == (0.5, 2)
    assert (refusal["recall"]["value"], refusal["recall"]["of"]) == (pytest.approx(1 / 3), 3)
    assert [miss["text"] for miss in refusal["missed"]] == ["b", "c"]
    assert refusal["wrongly dropped"] == [{"text": "d", "fault": None, "dropped": "refused"}]
    assert scores["filters"]["length"]["precision"]["value"] == 0.0
    assert scores["filters"]["length"]["recall"]["value"] is None
    assert scores["any"]["precision"]["value"] == pytest.approx(2 / 3)
    assert scores["any"]["recall"]["value"] == pytest.approx(2 / 3)


SAYS = {"o": "owl", "c": "red", "d": "blue", "s": "small", "t": "gate", "p": "in a barn"}


@pytest.mark.parametrize(
    ("change", "text", "made"),
    [
        ("upper", "A red owl", "A RED OWL"),
        ("spaces", "A red owl", "A  red  owl"),
        ("articles", "A red owl", "The red owl"),
        ("articles", "the owl", "an owl"),
        ("no articles", "The red owl by a gate", "red owl by gate"),
        ("intensifier", "A red owl", "A rather red owl"),
        ("front", "A red owl sits in a barn", "In a barn, a red owl sits"),
        ("front", "A red owl", "Once more: A red owl"),
        ("comma", "A red owl sits", "A red owl, sits"),
        ("comma", "Red, an owl", "Red an owl"),
        ("typo", "An owl is there", "An owl is three"),
        ("twin letter", "A red owl", "A red owl !"),
    ],
)
def test_a_sentence_rewritten(change: str, text: str, made: str) -> None:
    assert any(rewritten(change, text, SAYS, random.Random(seed)) == made for seed in range(9))


def test_a_slip_of_the_hand_spares_the_class() -> None:
    says = SAYS | {"o": "umbrella"}
    for seed in range(9):
        made = rewritten("lost letter", "The umbrella stands", says, random.Random(seed))
        assert made.startswith("The umbrella ")
        assert len(made) == len("The umbrella stands") - 1


def test_articles_before_vowels() -> None:
    assert (
        with_articles("A orange owl, a uniform, a umbrella")
        == "An orange owl, a uniform, an umbrella"
    )

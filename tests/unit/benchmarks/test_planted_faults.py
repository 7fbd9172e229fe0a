"""The planted captions are what they are said to be, and the scores are counted right."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest

from benchmarks import planted_faults, planted_words
from benchmarks.planted_faults import Planted, filter_of, half_of, plant, score
from edgekd.records import Caption


@pytest.mark.parametrize("half", ["first", "second"])
def test_a_half_has_what_was_planned(half: planted_faults.Half) -> None:
    planted, measured = plant(half, 7)
    counts = Counter(one.fault for one in planted)
    assert len(planted) == 500
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


@pytest.mark.parametrize(
    "name", ["CLEAN", "IMPOSSIBLE", "BETWEEN", "REFUSALS", "PRIVATE", "THINGS"]
)
def test_the_halves_share_no_entry(name: str) -> None:
    entries = getattr(planted_words, name)
    first, second = half_of(entries, "first"), half_of(entries, "second")
    assert not set(first) & set(second)
    assert sorted([*first, *second]) == sorted(entries)
    assert abs(len(first) - len(second)) <= 1


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

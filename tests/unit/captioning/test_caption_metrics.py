"""Diversity, lengths, coverage and consistency of captions, on examples worked out by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from captioning import caption_metrics
from captioning.caption_metrics import (
    CaptionMetrics,
    Sample,
    consistency,
    dispersion,
    distinct,
    words,
)
from edgekd.records import Caption, TaskSpec

TASK = TaskSpec("test", ("cat", "dog", "owl"))


def caption(
    text: str, item: str = "i", index: int = 0, temperature: float = 1.0, dropped: str | None = None
) -> Caption:
    return Caption(item, index, text, "t", temperature, 0, "teacher", 1.0, dropped)


def summary(captions: list[Caption], **settings: Any) -> dict[str, Any]:
    metrics = CaptionMetrics(TASK, **settings)
    for each in captions:
        metrics.add(each)
    return metrics.summary()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Cat, a dog.", ["a", "cat", "a", "dog"]),
        ("mid-toned T-shirt, it's 3", ["mid-toned", "t-shirt", "it's", "3"]),
        ("一张cat的照片", ["一", "张", "cat", "的", "照", "片"]),
        ("-- ...", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("texts", "order", "expected"),
    [
        (["a b a"], 1, 2 / 3),
        (["a b a"], 2, 1.0),
        (["a b", "a b", "b a"], 1, 2 / 6),
        (["a b", "a b", "b a"], 2, 2 / 3),  # no pair across two texts
        (["a b c d", "b c d"], 3, 2 / 3),
    ],
)
def test_distinct(texts: list[str], order: int, expected: float) -> None:
    assert distinct(texts, order) == pytest.approx(expected)


def test_distinct_of_too_little() -> None:
    assert math.isnan(distinct(["a b"], 3))
    assert math.isnan(distinct([], 1))


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        # Distances 1, 2 and 1, whatever the lengths.
        ([[1, 0], [0, 2], [-1, 0]], 4 / 3),
        ([[1, 1], [2, 2], [3, 3]], 0.0),
        ([[3, 0], [-1, 0]], 2.0),
        # 45 degrees.
        ([[1, 0], [1, 1]], 1 - math.sqrt(0.5)),
    ],
)
def test_dispersion(vectors: list[list[float]], expected: float) -> None:
    assert dispersion(np.array(vectors, dtype=np.float32)) == pytest.approx(expected, abs=1e-7)


def test_dispersion_of_one() -> None:
    assert math.isnan(dispersion(np.ones((1, 4))))


def test_consistency() -> None:
    """4 kept, 1 of low confidence and 2 contradictions were judged; 3 repeats were not."""
    reasons = {
        "contradicts measured colour": 2,
        "near duplicate": 2,
        "exact duplicate": 1,
        "low confidence": 1,
    }
    found = consistency(reasons, num_kept=4)
    assert found["n"] == 7
    assert found["value"] == pytest.approx(5 / 7)
    assert found["low"] == pytest.approx(0.3589, abs=1e-4)  # Wilson, 5 of 7
    assert found["high"] == pytest.approx(0.9178, abs=1e-4)
    assert found["faults"] == {"contradicts measured colour": 2}
    own = consistency({"two colours": 1, "spam": 1}, 2, logical=("two",), not_judged=("spam",))
    assert (own["value"], own["n"]) == (pytest.approx(2 / 3), 3)
    assert math.isnan(consistency({"near duplicate": 1}, 0)["value"])


def test_summary_overall_and_by_temperature() -> None:
    found = summary(
        [
            caption("a red cat", "1", 0, 0.5),
            caption("a red cat", "1", 1, 1.5, dropped="exact duplicate"),
            caption("a red dog here", "2", 0, 0.5),
            caption("a blue cat", "2", 1, 1.5, dropped="contradicts measured colour: blue"),
            caption("one dog", "3", 0, 1.5),
        ]
    )
    overall = found["overall"]
    assert (overall["num_made"], overall["num_kept"], overall["vocabulary"]) == (5, 3, 6)
    # a red cat / a red dog here / one dog: 6 different words of 9.
    assert overall["distinct"]["1"] == pytest.approx(6 / 9)
    # Pairs: a red, red cat, a red, red dog, dog here, one dog: 5 of 6.
    assert overall["distinct"]["2"] == pytest.approx(5 / 6)
    assert overall["distinct"]["3"] == pytest.approx(3 / 3)
    # Lengths 3, 4, 2.
    assert overall["words"] == pytest.approx(
        {"mean": 3, "stddev": math.sqrt(2 / 3), "min": 2, "median": 3, "p95": 4, "max": 4}
    )
    assert overall["consistency"]["value"] == pytest.approx(3 / 4)
    cold, warm = found["by_temperature"]
    assert (cold["temperature"], cold["num_made"], cold["num_kept"]) == (0.5, 2, 2)
    assert (warm["temperature"], warm["num_made"], warm["num_kept"]) == (1.5, 3, 1)
    assert warm["consistency"]["value"] == pytest.approx(1 / 2)
    # "a red cat": 2/3 words, 1/2 pairs, 0 of 1 triples: 1/2; one word short of 4.
    # "a red dog here": 2/4, 1/3, then 0 of 2 and 0 of 1: 1/(2 * 2), 1/(4 * 1).
    first = math.exp(1 - 4 / 3) * (2 / 3 * 1 / 2 * 1 / 2) ** (1 / 3)
    second = (2 / 4 * 1 / 3 * 1 / 4 * 1 / 4) ** (1 / 4)
    assert cold["sample"]["self_bleu"] == pytest.approx((first + second) / 2)
    assert math.isnan(warm["sample"]["self_bleu"])


def test_median_of_an_even_number() -> None:
    found = summary([caption("a b", "1"), caption("a b c", "2"), caption("a b c d", "3"),
                     caption("a b c d e f", "4")])["overall"]["words"]  # fmt: skip
    assert (found["median"], found["p95"]) == (3.5, 6)


def test_dispersion_of_the_sample_comes_from_the_caller() -> None:
    metrics = CaptionMetrics(TASK)
    for index, text in enumerate(["a cat", "a dog"]):
        metrics.add(caption(text, str(index)))
    asked: list[list[str]] = []

    def embed(texts: list[str]) -> np.ndarray:
        asked.append(sorted(texts))
        return np.eye(len(texts))

    assert metrics.summary(embed)["overall"]["sample"]["dispersion"] == pytest.approx(1)
    assert asked == [["a cat", "a dog"]] * 2
    assert math.isnan(metrics.summary()["overall"]["sample"]["dispersion"])


def test_coverage_names_what_is_missing_and_rare() -> None:
    """60 cats on 30 images and one dog: the mean is 61/3, a tenth of it is 2.03."""
    captions = [caption(f"a red cat {n}", str(n // 2), n % 2) for n in range(60)]
    captions += [caption("a pink dog and a cat", "x"), caption("a blue owl", "y", dropped="short")]
    found = summary(captions)["coverage"]
    assert found["classes"] == {
        "cat": {"captions": 60, "images": 30},
        "dog": {"captions": 1, "images": 1},
        "owl": {"captions": 0, "images": 0},
    }
    assert found["missing_classes"] == ["owl"]
    assert found["rare_classes"] == ["dog"]
    assert found["attributes"]["colour"]["red"] == 60
    # 61 colours over 11 words: a tenth of the mean is 0.55, so one pink is not rare.
    assert found["rare_words"] == {}
    assert "blue" in found["missing_words"]["colour"]
    assert "pink" not in found["missing_words"]["colour"]
    rare = summary(captions, rare_share=0.2)["coverage"]["rare_words"]
    assert rare == {"colour": ["pink"]}  # 1 < 0.2 * 61/11 = 1.1


def test_the_sample_is_of_the_seed_and_not_of_the_order() -> None:
    captions = [caption(f"text {n}", str(n)) for n in range(200)]
    shuffled = random.Random(0).sample(captions, 200)

    def drawn(given: list[Caption], size: int, seed: int) -> list[str]:
        sample = Sample(size, seed)
        for each in given:
            sample.add(each)
        return [each.text for each in sample.captions()]

    assert drawn(captions, 20, 1) == drawn(shuffled, 20, 1)
    assert drawn(captions, 20, 1) != drawn(captions, 20, 2)
    assert drawn(captions, 20, 1) == drawn(captions, 40, 1)[:20]
    assert sorted(drawn(captions, 300, 1)) == sorted(each.text for each in captions)


@pytest.mark.parametrize("count", [1000, 1 << 16, 300_000, 2_000_000])
def test_many_different_ngrams_are_counted_within_a_bound(count: int) -> None:
    """Four standard errors of the count above 65,536: 4 * 1.2 / sqrt(65536) = 1.9%."""
    found = caption_metrics._Distinct()
    for start in range(0, count, 50_000):
        numbers = range(start, min(start + 50_000, count))
        found.update(number << 21 | 7 for number in numbers)
        found.update([start << 21 | 7])  # again
    assert len(found._kept) <= 1 << 16
    assert found.count == (count if count <= 1 << 16 else pytest.approx(count, rel=0.019))
    assert (found.count == count) or count > 1 << 16


def test_ngrams_as_numbers_are_told_apart() -> None:
    packed = caption_metrics._packed
    assert packed([5, 6, 5, 6], 2) == [5 << 21 | 6, 6 << 21 | 5, 5 << 21 | 6]
    assert packed([1, 2, 3], 3) == [1 << 42 | 2 << 21 | 3]
    assert packed([1], 3) == packed([], 1) == packed([1], 2) == []
    assert packed([9], 1) == [9]


def test_nothing_at_all() -> None:
    found = summary([])
    assert found["overall"]["num_made"] == 0
    assert math.isnan(found["overall"]["distinct"]["1"])
    assert found["by_temperature"] == []
    assert found["coverage"]["missing_classes"] == ["cat", "dog", "owl"]

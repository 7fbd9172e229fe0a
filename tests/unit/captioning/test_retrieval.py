"""Captions found for images and images for captions, with two directions for everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from captioning.retrieval import (
    Gallery,
    Images,
    Known,
    Settings,
    caption_vectors,
    choose,
    gallery,
    glosses,
    ranks,
    scores,
)

E1, E2, E3 = np.eye(3)
NAMES_ONLY = Settings(hubs=0.0, neighbours=0.0, folders=0.0)


def source() -> np.ndarray:
    """ImageNet's classes: the first lies on the first axis, all others on the third."""
    vectors = np.tile(E3, (1000, 1))
    vectors[0] = E1
    return vectors


def seen(*rows: tuple[list[float], int]) -> Images:
    """Images by their features and the ImageNet class that they are sure to be."""
    logits = np.full((len(rows), 1000), -50.0)
    for row, (_, index) in enumerate(rows):
        logits[row, index] = 50.0
    return Images(np.array([features for features, _ in rows]), logits)


def of(vectors: list[np.ndarray]) -> Gallery:
    return gallery(np.stack(vectors), source())


def test_names_carry_an_image_to_the_nearest_caption() -> None:
    captions = of([E1, E3, E2])
    found = scores(seen(([1, 0], 0), ([0, 1], 7)), captions, source(), None, NAMES_ONLY)
    # Cosines are (1, 0, 0) and (0, 1, 0): mean 1/3, standard deviation sqrt(2)/3.
    assert found[0] == pytest.approx([2**0.5, -(2**-0.5), -(2**-0.5)])
    assert found.argmax(axis=1).tolist() == [0, 1]


def test_a_caption_near_to_every_name_is_a_hub_and_loses() -> None:
    captions = of([E3, E1, E2])  # E3 is near to 999 of the names
    half = np.where(np.arange(1000) < 2, 3.0, -50.0)[None, :]  # E1 and E3 alike: both cosines .71
    image = Images(np.ones((1, 2)), half)
    plain = scores(image, captions, source(), None, NAMES_ONLY)[0]
    assert plain[0] == pytest.approx(plain[1])
    less = scores(image, captions, source(), None, replace(NAMES_ONLY, hubs=1.0))[0]
    assert less[1] > less[0] + 1


def test_neighbours_and_folders_tell_what_names_cannot() -> None:
    # Names say the same of both captions. The image looks like the known one of folder "a", whose
    # caption is near to the first.
    first, second = np.array([0.0, 1.0, 0.0]), np.array([0.0, -1.0, 0.0])
    near_first, near_second = np.array([0.1, 0.995, 0.0]), np.array([0.1, -0.995, 0.0])
    captions = of([first, second, near_first, near_second])
    known = Known(seen(([1, 0], 9), ([0, 1], 9)), np.array([2, 3]), ["x/a", "x/b"])
    image = seen(([2, 0.1], 9))
    assert np.ptp(scores(image, captions, source(), None, NAMES_ONLY)[0, :2]) == 0
    for part in ("neighbours", "folders"):
        settings = replace(NAMES_ONLY, **{part: 1.0})
        found = scores(image, captions, source(), known, settings)
        assert found[0, 0] > found[0, 1] + 1


def test_a_known_caption_gains_nothing_by_its_own_image() -> None:
    # Both captions of the gallery are alike; the second is a known image's own, the first is not.
    captions = of([np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0]), E1])
    known = Known(seen(([1, 0], 9), ([0, 1], 9)), np.array([1, 2]), ["a", "b"])
    found = scores(seen(([1, 0], 9)), captions, source(), known, Settings(hubs=0.0, folders=0.0))
    assert found[0, 0] > found[0, 1]
    alone = Known(seen(([1, 0], 9)), np.array([1]), ["a"])
    told = scores(seen(([1, 0], 9)), captions, source(), alone, Settings(hubs=0.0, folders=0.0))
    assert np.isfinite(told).all()


def test_without_known_images_there_are_names_alone() -> None:
    captions, image = of([E1, E3]), seen(([1, 0], 0))
    empty = Known(seen(), np.array([], dtype=np.int64), [])
    assert np.array_equal(
        scores(image, captions, source(), empty), scores(image, captions, source(), None)
    )


def test_ranks_take_the_best_right_answer_and_count_ties_against_it() -> None:
    found = np.array([[3.0, 2.0, 1.0], [1.0, 1.0, 0.0], [0.0, 5.0, 4.0]])
    right = np.array([[0, 1, 1], [1, 0, 0], [0, 1, 1]], dtype=bool)
    assert ranks(found, right).tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A caribou.", {"caribou"}),
        ("A polar bear.", {"polar bear"}),  # and neither "polar" nor "bear"
        ("Of no such thing.", set()),
        ("", set()),
    ],
)
def test_what_a_caption_names_is_defined(text: str, names: set[str]) -> None:
    assert {gloss.partition(": ")[0] for gloss in glosses(text)} == names


def test_definitions_move_a_caption_and_leave_others_as_they_are() -> None:
    def embed(texts: list[str]) -> np.ndarray:
        return np.stack([E2 if ":" in text else E1 for text in texts])

    vectors = caption_vectors(["A caribou.", "Of no such thing."], embed, 1.0)
    assert vectors[0] == pytest.approx([2**-0.5, 2**-0.5, 0])
    assert vectors[1] == pytest.approx(E1)
    assert np.array_equal(caption_vectors(["A caribou."], embed, 0.0), E1[None, :])


def test_choosing_goes_along_one_option_at_a_time_and_keeps_the_first_of_equals() -> None:
    asked: list[Any] = []

    def worth(settings: Settings) -> float:
        asked.append(settings)
        return -abs(settings.folders - 0.5) - abs(settings.hubs - 2)

    options = {"folders": (0.0, 0.5, 1.0), "hubs": (1.0, 2.0)}
    found = choose(Settings(), options, worth)
    assert (found.folders, found.hubs) == (0.5, 2.0)
    assert choose(Settings(), options, lambda settings: 1.0) == Settings()

"""What the teacher saw is used again for the same images and settings, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from captioning.teachers.speak import joined, observed_before, unseen
from edgekd.records import Item

ITEMS = [
    Item(id="a" * 64, path="a.png", split="train"),
    Item(id="b" * 64, path="b.png", split="test"),
]


@pytest.fixture
def observations(tmp_path: Path) -> Path:
    path = tmp_path / "observations.npz"
    np.savez(
        path, ids=[item.id for item in ITEMS], settings="s", logits=np.zeros((2, 3)),
        features=np.array([[1.0], [2.0]], np.float16), imagenet=np.ones((2, 4), np.float16),
        attributes=np.full((2, 5), 0.5),
    )  # fmt: skip
    return path


def test_the_same_settings_are_found(observations: Path) -> None:
    found = observed_before(observations, "s")
    assert sorted(found) == ["attributes", "features", "ids", "imagenet"]
    assert found["features"].tolist() == [[1.0], [2.0]]
    assert found["features"].dtype == np.float16
    assert unseen(ITEMS, found) == []


def test_other_settings_or_a_damaged_file_are_not(observations: Path, tmp_path: Path) -> None:
    assert observed_before(observations, "other") == {}
    assert observed_before(tmp_path / "none.npz", "s") == {}
    observations.write_bytes(observations.read_bytes()[:100])
    assert observed_before(observations, "s") == {}
    assert unseen(ITEMS, {}) == ITEMS


def test_one_image_more_is_the_only_one_looked_at(observations: Path) -> None:
    before = observed_before(observations, "s")
    third = Item(id="c" * 64, path="c.png", split="train")
    items = [ITEMS[1], third, ITEMS[0]]  # another order, too
    assert unseen(items, before) == [third]
    new = {
        "features": np.array([[3.0]], np.float16),
        "imagenet": np.ones((1, 4), np.float16),
        "attributes": np.full((1, 5), 0.5),
    }
    together = joined(items, before, [third], new)
    assert together["features"].tolist() == [[2.0], [3.0], [1.0]]
    fewer = joined([ITEMS[1]], before, [], {})
    assert fewer["features"].tolist() == [[2.0]]


def test_a_file_of_an_older_edgekd_without_settings_is_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", ids=[item.id for item in ITEMS], features=np.zeros((2, 1)))
    assert observed_before(tmp_path / "o.npz", "s") == {}

"""What the teacher saw is used again where image, order and settings are the same, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from captioning.teachers.speak import observed_before
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


def test_the_same_images_and_settings_are_found(observations: Path) -> None:
    found = observed_before(ITEMS, observations, "s")
    assert found is not None
    assert sorted(found) == ["attributes", "features", "imagenet"]
    assert found["features"].tolist() == [[1.0], [2.0]]
    assert found["features"].dtype == np.float16


def test_other_settings_images_order_or_a_damaged_file_are_not(
    observations: Path, tmp_path: Path
) -> None:
    assert observed_before(ITEMS, observations, "other") is None
    assert observed_before(ITEMS[::-1], observations, "s") is None
    assert observed_before(ITEMS[:1], observations, "s") is None
    assert observed_before(ITEMS, tmp_path / "none.npz", "s") is None
    observations.write_bytes(observations.read_bytes()[:100])
    assert observed_before(ITEMS, observations, "s") is None


def test_a_file_of_an_older_edgekd_without_settings_is_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", ids=[item.id for item in ITEMS], features=np.zeros((2, 1)))
    assert observed_before(ITEMS, tmp_path / "o.npz", "s") is None

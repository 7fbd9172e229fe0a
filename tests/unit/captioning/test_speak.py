"""The composed teacher at work on many images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from captioning.attributes import WORDS
from captioning.teachers import speak
from edgekd.manifest import Manifest
from edgekd.progress import silent
from edgekd.records import Item, Preprocess, TaskSpec

TASK = TaskSpec("test", ("cat", "dog", "bird"))
NUM_ITEMS = 12
TEACHER = "composed/efficientnet_lite2"


class CountingBackbone:
    """Answers with the mean colours, and counts the images it saw."""

    def __init__(self) -> None:
        self.seen = 0

    def observe(self, images_BHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.seen += len(images_BHWC)
        means = images_BHWC.mean(axis=(1, 2))
        return means, np.repeat(means[:, :1], 1000, axis=1)


@pytest.fixture
def items() -> list[Item]:
    return [Item(f"id{n}", f"{n}.png", "train") for n in range(NUM_ITEMS)]


def captions(items: list[Item], order: list[int], seed: int = 0) -> dict[tuple[str, int], Any]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(NUM_ITEMS, 3))
    measured = np.full((NUM_ITEMS, len(WORDS)), 0.5)
    ordered = Manifest(TASK, [items[n] for n in order])
    made = list(
        speak.sentences(ordered, logits[order], measured[order], 4, [0.5, 1.0, 1.5], TEACHER, seed)
    )
    return {(c.item_id, c.index): c for c in made}


def test_a_caption_depends_on_seed_item_and_index_only(items: list[Item]) -> None:
    forwards = captions(items, list(range(NUM_ITEMS)))
    assert len(forwards) == NUM_ITEMS * 4
    assert len({c.seed for c in forwards.values()}) == NUM_ITEMS * 4
    assert captions(items, list(range(NUM_ITEMS))[::-1]) == forwards
    few = captions(items, [3, 7])
    assert few == {key: c for key, c in forwards.items() if key[0] in ("id3", "id7")}
    other = captions(items, list(range(NUM_ITEMS)), seed=1)
    assert sum(other[key].text != c.text for key, c in forwards.items()) > NUM_ITEMS


def test_temperatures_are_used_in_turn(items: list[Item]) -> None:
    made = captions(items, [0])
    assert [made["id0", index].temperature for index in range(4)] == [0.5, 1.0, 1.5, 0.5]
    assert {c.teacher for c in made.values()} == {TEACHER}
    assert len({c.seed for c in made.values()}) == 4


def observe(
    items: list[Item], folder: Path, backbone: CountingBackbone, block_size: int = 5
) -> dict[str, np.ndarray]:
    preprocess = Preprocess(4, 4)
    blocks = folder / "blocks"
    return speak.observe(items, folder, backbone, preprocess, blocks, block_size, silent)  # type: ignore[arg-type]


def test_observations_are_in_order_and_saved_by_block(items: list[Item], tmp_path: Path) -> None:
    for n, item in enumerate(items):
        Image.new("RGB", (6, 6), (20 * n, 0, 0)).save(tmp_path / item.path)
    backbone = CountingBackbone()
    first = observe(items, tmp_path, backbone)
    assert backbone.seen == NUM_ITEMS
    assert len(list((tmp_path / "blocks").glob("*.npz"))) == 3  # 5 + 5 + 2
    red = 2 * 20 * np.arange(NUM_ITEMS) / 255 - 1
    assert first["features"][:, 0] == pytest.approx(red, abs=1e-3)  # float16
    assert first["imagenet"].shape == (NUM_ITEMS, 1000)
    assert first["attributes"].shape == (NUM_ITEMS, len(WORDS))
    again = observe(items, tmp_path, backbone)
    assert backbone.seen == NUM_ITEMS  # all read, none seen anew
    for name, values in first.items():
        assert (again[name] == values).all()
    grown = [*items, dataclasses.replace(items[0], id="new")]
    observe(grown, tmp_path, backbone)
    assert backbone.seen == NUM_ITEMS + 3  # only the last block

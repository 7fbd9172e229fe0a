"""The composed teacher's sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captioning.attributes import WORDS
from captioning.matching import Lexicon
from captioning.teachers import speak
from captioning.teachers.protocol import Brief
from edgekd.errors import UsageError
from edgekd.manifest import Manifest
from edgekd.records import Item, TaskSpec

TASK = TaskSpec("test", ("cat", "dog", "bird"))
NUM_ITEMS = 12
TEACHER = "composed/efficientnet_lite2"


@pytest.fixture
def items() -> list[Item]:
    return [Item(f"id{n}", f"{n}.png", "train") for n in range(NUM_ITEMS)]


def captions(items: list[Item], order: list[int], seed: int = 0) -> dict[tuple[str, int], Any]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(NUM_ITEMS, 3))
    measured = np.full((NUM_ITEMS, len(WORDS)), 0.5)
    ordered = Manifest(TASK, [items[n] for n in order])
    brief = Brief(TASK, 4, (0.5, 1.0, 1.5), seed, Path("notes"))
    made = list(speak.sentences(ordered, logits[order], measured[order], brief, TEACHER))
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


def test_chinese_sentences_carry_what_they_are_matched_by(items: list[Item]) -> None:
    task = TaskSpec("test", ("猫", "狗", "鸟"))
    brief = Brief(task, 3, (1.0,), 0, Path("notes"))
    measured = np.full((NUM_ITEMS, len(WORDS)), 0.5)
    logits = np.tile([9.0, 0.0, 0.0], (NUM_ITEMS, 1))
    said = list(speak.sentences(Manifest(task, items), logits, measured, brief, TEACHER, "zh"))
    assert all("猫" in caption.text and caption.translation for caption in said)
    assert all(caption.template.startswith("zh.") for caption in said)
    lexicon = Lexicon(task)
    assert {lexicon.parse(caption.readable).classes[0] for caption in said} == {0}
    assert any(lexicon.parse(caption.readable).words for caption in said)
    assert not any(lexicon.parse(caption.text).words for caption in said)
    with pytest.raises(UsageError, match="'xx': there are none"):
        list(speak.sentences(Manifest(task, items), logits, measured, brief, TEACHER, "xx"))

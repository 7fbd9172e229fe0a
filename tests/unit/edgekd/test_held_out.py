"""Which images are kept from the students, and when none are."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from edgekd.held_out import held_out, students_images
from edgekd.manifest import Manifest
from edgekd.records import Item, TaskSpec


@pytest.mark.parametrize(
    ("unlabelled", "kept"),
    [
        (99, 0),  # 20 of 99 are more than a fifth
        (100, 20),
        (1000, 50),
        (5000, 200),
    ],
)
def test_without_tune_images_some_unlabelled_ones_are_kept(unlabelled: int, kept: int) -> None:
    manifest = _manifest(train=unlabelled, val=50, train_labelled=30)
    held = held_out(manifest)
    assert len(held) == kept
    assert all(item.label is None and item.split == "train" for item in held)
    assert [item.id for item in held] == sorted(item.id for item in held)
    apart = {item.id for item in held}
    assert students_images(manifest) == [i for i in manifest.of("train") if i.id not in apart]
    assert len(students_images(manifest)) == unlabelled + 30 - kept


def test_tune_images_serve_where_there_are_enough() -> None:
    manifest = _manifest(train=500, tune=20)
    assert held_out(manifest) == manifest.of("tune")
    assert students_images(manifest) == manifest.of("train")
    too_few = _manifest(train=500, tune=19)
    assert {item.split for item in held_out(too_few)} == {"train"}
    assert len(students_images(too_few)) == 475


def _manifest(train_labelled: int = 0, **counts: int) -> Manifest:
    items = [_item(split, index, None) for split, many in counts.items() for index in range(many)]
    items += [_item("train", 10_000 + index, 0) for index in range(train_labelled)]
    return Manifest(TaskSpec("t", ("a", "b")), items)


def _item(split: Any, index: int, label: int | None) -> Item:
    digest = hashlib.sha256(f"{split}{index}".encode()).hexdigest()
    return Item(id=digest, path=f"{split}{index}.png", split=split, label=label)

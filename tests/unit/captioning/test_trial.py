"""What a trial of nine images says of all: pace without loading, tokens, money, scores, room."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captioning.teachers.protocol import Files
from captioning.trial import Pace, Spent, disk_bytes, images_of_trial, spent, top_scores
from edgekd.manifest import Manifest
from edgekd.records import Caption, Item, TaskSpec

CLASSES = ("cat", "sea_horse")


def manifest(num_train: int = 400, num_tune: int = 5) -> Manifest:
    train = [Item(f"t{n:03}", f"t{n}.png", "train", n % 2) for n in range(num_train)]
    tune = [Item(f"u{n:03}", f"u{n}.png", "tune", n % 2) for n in range(num_tune)]
    return Manifest(TaskSpec("pets", CLASSES), [*train, *tune])


def test_nine_training_images_and_what_a_teacher_is_fitted_on() -> None:
    few, shown = images_of_trial(manifest(), 0, also_to_fit=False)
    assert [len(shown), len(few.items)] == [9, 9]
    more, same = images_of_trial(manifest(), 0, also_to_fit=True)
    assert same == shown
    # 9 shown and 256 more of the training images, one class after the other, and all five of tune.
    assert Counter(item.split for item in more.items) == {"train": 265, "tune": 5}
    assert Counter(item.label for item in more.of("train")) == {0: 133, 1: 132} or Counter(
        item.label for item in more.of("train")
    ) == {0: 132, 1: 133}
    assert more.items == [item for item in manifest().items if item in more.items]


def pace(*marks: tuple[float, int]) -> Pace:
    """A pace that was told of so many images at such seconds; it starts at 0."""
    times = iter([0.0, *(at for at, _ in marks)])
    found = Pace(lambda: next(times))
    found.start()
    for _, done in marks:
        found(done, 9, "images")
    return found


@pytest.mark.parametrize(
    ("marks", "seconds"),
    [
        # 20 s until the first three are done, then 6 in 3 s: loading is not counted.
        ([(20.0, 3), (21.5, 6), (23.0, 9)], 0.5),
        # A second teacher begins anew: 2 s for its second to ninth image are added.
        ([(20.0, 3), (23.0, 9), (30.0, 1), (38.0, 9)], 1.5),
        # One block: loading cannot be told apart.
        ([(18.0, 9)], 2.0),
        ([(18.0, 9), (27.0, 9)], 2.0),  # the same nine said twice is no second teacher
        ([], None),
    ],
)
def test_the_pace_leaves_loading_out(marks: list[tuple[float, int]], seconds: float | None) -> None:
    assert pace(*marks).seconds_per_image == seconds


def test_only_images_count_for_the_pace() -> None:
    found = Pace(lambda: 1.0)
    found(1, 3, "captions read")
    assert found.seconds_per_image is None


def usage(tokens_in: int, cost: float | None, unsure: int = 0) -> dict[str, Any]:
    of_unsure = {"tokens": unsure, "cost": 0.5 if unsure else 0.0}
    return {"usage": {"tokens_in": tokens_in, "tokens_out": 10, "cost": cost, "unsure": of_unsure}}


def test_what_servers_took_is_added_up_and_scaled() -> None:
    assert spent([{"name": "composed"}]) == Spent(None, None)
    assert spent([usage(90, 1.0), {"name": "composed"}, usage(40, 0.5, unsure=7)]) == Spent(
        157, 2.0
    )
    assert spent([usage(90, 1.0), usage(40, None)]) == Spent(150, None)
    assert Spent(9, 0.5).times(100) == Spent(900, 50.0)
    assert Spent().times(100) == Spent()


def observed(folder: Path, **arrays: np.ndarray) -> Files:
    files = Files(folder)
    np.savez(files.arrays, ids=["a", "b"], settings="s", **arrays)  # type: ignore[arg-type]
    return files


def test_the_likeliest_classes_of_each_image(tmp_path: Path) -> None:
    logits = np.log(np.array([[0.25, 0.75], [np.nan, 1.0]]))
    files = observed(tmp_path, logits=logits)
    items = [Item("a", "a.png", "train"), Item("b", "b.png", "train")]
    found = top_scores(files, "composed/x", items, TaskSpec("pets", CLASSES))
    assert found == {"a": "composed/x: sea horse 75.0%, cat 25.0%"}  # the other abstains
    assert top_scores(observed(tmp_path), "openai/y", items, TaskSpec("pets", CLASSES)) == {}


def test_room_on_disk_is_that_of_arrays_and_captions_twice(tmp_path: Path) -> None:
    files = observed(tmp_path, logits=np.zeros((2, 3), np.float32))
    said = [Caption("a", n, "A cat.", "t", 1.0, 1, "x", 0.5) for n in range(4)]
    # Per image: an id of one letter as 4 bytes, 3 logits of 4 bytes; two captions of 6 + 40, twice.
    assert disk_bytes([files], said, 2) == 4 + 12 + 2 * (2 * 46)

"""Batches: every row once an epoch, the same images for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.progress import silent
from edgekd.records import Item, Preprocess
from edgekd.store import RunStore
from edgekd.targets_file import Probs
from students import data as data_module
from students.data import (
    Augment,
    AugmentConfig,
    TrainingData,
    batches,
    image_cache,
    rows_of_step,
)

NONE = AugmentConfig(flip=0, shift=0, scale=0, rotate=0, brightness=0, cutout=0)


def training_data(count: int, side: int = 8) -> TrainingData:
    rng = np.random.default_rng(0)
    return TrainingData(
        rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        Probs(np.eye(count, dtype=np.float32), None, count),
        np.arange(count, dtype=np.float32),
        np.arange(count) - 1,
    )


@pytest.mark.parametrize(("num_rows", "batch"), [(10, 4), (12, 4), (7, 7), (3, 8), (5, 1)])
def test_every_row_comes_once_an_epoch(num_rows: int, batch: int) -> None:
    steps = 6 * num_rows // batch + 1
    drawn = np.concatenate([rows_of_step(num_rows, batch, 0, step) for step in range(steps)])
    epochs = [drawn[start : start + num_rows] for start in range(0, 4 * num_rows, num_rows)]
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(num_rows))
    if num_rows > 3:
        assert epochs[0].tolist() != epochs[1].tolist()


def test_rows_depend_on_seed_and_step_only() -> None:
    assert rows_of_step(50, 8, 3, 11).tolist() == rows_of_step(50, 8, 3, 11).tolist()
    assert rows_of_step(50, 8, 4, 11).tolist() != rows_of_step(50, 8, 3, 11).tolist()


def test_augmentation_is_the_same_for_the_same_seed() -> None:
    pixels = training_data(6, 16).pixels
    first, again, other = (Augment(AugmentConfig())(pixels, seed) for seed in (1, 1, 2))
    assert first.shape == pixels.shape
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any()
    assert (first != pixels).any()
    reused = Augment(AugmentConfig())
    reused(pixels, 7)
    assert (reused(pixels, 1) == first).all()  # whatever it did before


def test_everything_at_zero_changes_nothing() -> None:
    pixels = training_data(4).pixels
    assert (Augment(NONE)(pixels, 0) == pixels).all()


def test_a_certain_flip_is_a_flip() -> None:
    pixels = training_data(4).pixels
    flipped = Augment(NONE.model_copy(update={"flip": 1.0}))(pixels, 0)
    assert (flipped == pixels[:, :, ::-1]).all()


def test_batches_keep_images_targets_and_labels_together() -> None:
    data = training_data(10)
    stream = batches(data, Preprocess(8, 8), Augment(NONE), 4, 0, 0, 5)
    steps = list(stream)
    assert len(steps) == 5
    for step, (images, probs, weight, labels) in enumerate(steps):
        rows = rows_of_step(10, 4, 0, step)
        assert images == pytest.approx(data.pixels[rows] / 127.5 - 1, abs=1e-6)
        assert images.dtype == np.float32
        assert probs.argmax(axis=1).tolist() == rows.tolist()
        assert weight.tolist() == rows.tolist()
        assert labels.tolist() == (rows - 1).tolist()


def test_a_resumed_stream_sees_what_it_would_have_seen() -> None:
    data, augment = training_data(10), Augment(AugmentConfig())
    whole = list(batches(data, Preprocess(8, 8), augment, 4, 5, 0, 6))
    resumed = list(batches(data, Preprocess(8, 8), Augment(AugmentConfig()), 4, 5, 4, 6))
    for expected, found in zip(whole[4:], resumed, strict=True):
        for first, second in zip(expected, found, strict=True):
            assert (first == second).all()


def test_only_takes_the_same_rows_of_everything() -> None:
    few = training_data(5).only(np.array([4, 1]))
    assert few.probs.argmax().tolist() == [4, 1]
    assert few.weight.tolist() == [4, 1]
    assert few.labels.tolist() == [3, 0]
    assert (few.images(np.arange(2)) == training_data(5).pixels[[4, 1]]).all()
    fewer = few.only(np.array([1]))
    assert fewer.labels.tolist() == [0]
    assert (fewer.images(np.array([0])) == training_data(5).pixels[[1]]).all()
    assert fewer.pixels.shape[0] == 5  # nothing was copied


def test_the_cache_is_made_once_and_anew_for_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [Item(f"id{n}", f"{n}.png", "train") for n in range(3)]
    for n, item in enumerate(items):
        Image.new("RGB", (9, 5), (10 * n, 0, 255)).save(tmp_path / item.path)
    opened: list[Path] = []
    real = data_module.open_image
    monkeypatch.setattr(data_module, "open_image", lambda path: opened.append(path) or real(path))
    store = RunStore(tmp_path / "run")
    for _ in range(2):
        cached = image_cache(items, tmp_path, Preprocess(4, 4), store, silent)
        assert cached.shape == (3, 4, 4, 3)
        assert cached[:, 0, 0].tolist() == [[0, 0, 255], [10, 0, 255], [20, 0, 255]]
        assert len(opened) == 3
    assert image_cache(items, tmp_path, Preprocess(8, 8), store, silent).shape == (3, 8, 8, 3)
    assert image_cache(items[::-1], tmp_path, Preprocess(4, 4), store, silent)[0, 0, 0, 0] == 20


def pictures(folder: Path, count: int) -> list[Item]:
    items = [Item(f"id{n}", f"{n}.png", "train") for n in range(count)]
    for n, item in enumerate(items):
        Image.new("RGB", (9, 5), (10 * n, 0, 255)).save(folder / item.path)
    return items


class Opening:
    """Opens images, counts them, and is stopped at the nth."""

    def __init__(self, stop_at: int | None = None):
        self.count, self.stop_at, self.real = 0, stop_at, data_module.open_image

    def __call__(self, path: Path) -> Image.Image:
        self.count += 1
        if self.count == self.stop_at:
            raise KeyboardInterrupt
        return self.real(path)


def test_a_cache_that_was_stopped_goes_on_after_its_last_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, size = pictures(tmp_path, 7), Preprocess(4, 4)
    store, whole = RunStore(tmp_path / "run"), RunStore(tmp_path / "whole")
    expected = np.array(image_cache(items, tmp_path, size, whole, silent))
    monkeypatch.setattr(data_module, "_BLOCK", 2)
    opening = Opening(stop_at=6)
    monkeypatch.setattr(data_module, "open_image", opening)
    with pytest.raises(KeyboardInterrupt):
        image_cache(items, tmp_path, size, store, silent)
    (part,) = store.path("cache").iterdir()
    with part.open("ab") as stream:
        stream.write(b"torn")  # a kill in the middle of a write
    opening.count, opening.stop_at = 0, None
    assert (image_cache(items, tmp_path, size, store, silent) == expected).all()
    assert opening.count == 3  # 4 of 7 were whole
    (made,), (reference,) = (list(s.path("cache").iterdir()) for s in (store, whole))
    assert made.read_bytes() == reference.read_bytes()


def test_a_cache_that_was_cut_is_made_again(tmp_path: Path) -> None:
    items, size = pictures(tmp_path, 3), Preprocess(4, 4)
    store = RunStore(tmp_path / "run")
    expected = np.array(image_cache(items, tmp_path, size, store, silent))
    (path,) = store.path("cache").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert (image_cache(items, tmp_path, size, store, silent) == expected).all()

"""Items that stay in their file: as a list of them, whatever is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd import manifest
from edgekd.items_file import Items
from edgekd.manifest import Manifest
from edgekd.records import Item, TaskSpec

NUM = 8192 + 3
TASK = TaskSpec("test", ("cat", "dog"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    splits = ("train", "tune", "val", "test")
    items = [
        Item(f"{n:064}", f"{n}.png", splits[n % 4], n % 2 if n % 3 else None) for n in range(NUM)
    ]
    return Manifest(TASK, items)


@pytest.fixture(scope="module")
def loaded(made: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    path = tmp_path_factory.mktemp("items") / "manifest.parquet"
    manifest.save(made, path)
    found = manifest.load(path)
    path.unlink()  # what was loaded stays what it was
    return found


def test_they_are_as_a_list(made: Manifest, loaded: Manifest) -> None:
    items = loaded.items
    assert isinstance(items, Items)
    assert len(items) == NUM
    assert loaded == made
    assert list(items) == made.items
    for row in (0, 8191, 8192, NUM - 1, -1, -NUM):
        assert items[row] == made.items[row]
    for part in (slice(8190, 8194), slice(None, None, 4000), slice(NUM, None), slice(-2, None)):
        assert items[part] == made.items[part]
    with pytest.raises(IndexError):
        items[NUM]
    assert items != made.items[:-1]
    assert items != [*made.items[:-1], made.items[0]]


def test_a_manifest_answers_the_same(made: Manifest, loaded: Manifest) -> None:
    assert list(loaded.ids) == list(made.ids) == [item.id for item in made.items]
    assert len(loaded.ids) == NUM
    assert f"{5:064}" in loaded.ids
    assert "other" not in loaded.ids
    assert list(loaded.column("path")) == list(made.column("path"))
    assert loaded.counts() == made.counts()
    assert loaded.of("val", "test") == made.of("val", "test")
    for split in ("train", "tune"):
        assert loaded.labels(split) == made.labels(split)
        assert (loaded.is_of(split) == made.is_of(split)).all()
        assert loaded.rows(split, 100).tolist() == made.rows(split, 100).tolist()


def test_no_items_at_all(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    manifest.save(Manifest(TASK, []), path)
    empty = manifest.load(path)
    assert list(empty.items) == list(empty.ids) == empty.items[:3] == []
    assert empty.rows("train", 3).tolist() == []

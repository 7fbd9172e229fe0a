"""Faces are counted, seen images are not counted again, and nothing but the counts is kept."""

from __future__ import annotations

import csv
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioning.faces import Detection, FaceCounter, count_faces
from captioning.settings import CaptionConfig
from edgekd.manifest import Manifest
from edgekd.progress import silent
from edgekd.records import Item, TaskSpec
from edgekd.store import RunStore

data = pytest.importorskip("skimage.data")
CONFIG = CaptionConfig(block_size=2)


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    """A photograph of one astronaut (NASA, public domain) that comes with scikit-image."""
    return Image.fromarray(data.astronaut())


def test_a_face_is_found_without_the_network(
    portrait: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert FaceCounter().count(portrait) == 1


def test_two_beside_each_other_are_two(portrait: Image.Image) -> None:
    head = portrait.crop((130, 0, 330, 200))
    pair = Image.new("RGB", (400, 200))
    pair.paste(head, (0, 0))
    pair.paste(head, (200, 0))
    assert FaceCounter().count(pair) == 2


@pytest.mark.parametrize("size", [(1, 1), (24, 24), (25, 25), (3, 900), (900, 3), (300, 200)])
def test_no_face_where_there_is_none(size: tuple[int, int]) -> None:
    assert FaceCounter().count(Image.new("RGB", size, (200, 160, 140))) == 0


def test_other_settings_are_another_look() -> None:
    assert FaceCounter().settings != FaceCounter(Detection(min_neighbours=99)).settings


@pytest.fixture
def manifest(portrait: Image.Image, tmp_path: Path) -> Manifest:
    items = [
        Item(name, f"{name}.png", split)  # type: ignore[arg-type]
        for name, split in zip("abcd", ("train", "train", "train", "test"), strict=True)
    ]
    for number, item in enumerate(items):
        plain = Image.new("RGB", (200, 200), (40 * number, 90, 10))
        (portrait if item.id in "bd" else plain).save(tmp_path / item.path)
    return Manifest(TaskSpec("test", ("cat", "dog")), items)


def test_counts_are_stored_and_images_that_show_some_are_named(
    manifest: Manifest, tmp_path: Path
) -> None:
    store = RunStore(tmp_path / "run")
    files, found = count_faces(manifest, tmp_path, CONFIG, store, silent)
    assert found["num_observed"] == 4
    assert found["by_split"]["train"] == {"images": 3, "with_faces": 1, "faces": 1}
    assert found["by_split"]["test"] == {"images": 1, "with_faces": 1, "faces": 1}
    assert found["by_split"]["val"] == {"images": 0, "with_faces": 0, "faces": 0}
    counts, table = files
    with np.load(counts) as stored:
        assert set(stored.files) == {"ids", "settings", "faces"}
        assert dict(zip(stored["ids"].tolist(), stored["faces"].tolist(), strict=True)) == {
            "a": 0, "b": 1, "c": 0, "d": 1,
        }  # fmt: skip
    with table.open(newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["path", "split", "faces"], ["b.png", "train", "1"], ["d.png", "test", "1"],
        ]  # fmt: skip


def test_only_what_is_new_is_looked_at(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, seen = RunStore(tmp_path / "run"), []
    monkeypatch.setattr(FaceCounter, "count", lambda self, image: seen.append(image.size) or 0)
    fewer = Manifest(manifest.task, manifest.items[:3])
    count_faces(fewer, tmp_path, CONFIG, store, silent)
    assert len(seen) == 3
    _, found = count_faces(manifest, tmp_path, CONFIG, store, silent)
    assert (len(seen), found["num_observed"]) == (4, 1)


def test_a_stopped_count_goes_on_where_it_stopped(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, seen = RunStore(tmp_path / "run"), []

    def count(self: FaceCounter, image: Image.Image) -> int:
        if len(seen) == 2:
            seen.append("stop")
            raise KeyboardInterrupt
        seen.append("image")
        return 1

    monkeypatch.setattr(FaceCounter, "count", count)
    with pytest.raises(KeyboardInterrupt):
        count_faces(manifest, tmp_path, CONFIG, store, silent)
    _, found = count_faces(manifest, tmp_path, CONFIG, store, silent)
    assert seen.count("image") == 4  # the first block of two was kept
    assert found["by_split"]["train"]["faces"] == 3

"""Teachers at work: what is saved, what is looked at again, and how captions come together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from captioning import captions as captions_io
from captioning.attributes import WORDS
from captioning.teachers import looking
from captioning.teachers.protocol import Conclusion, Files, Look
from edgekd.errors import DiskError
from edgekd.manifest import Manifest
from edgekd.progress import silent
from edgekd.records import Caption, Item, TaskSpec

NUM_ITEMS = 70


def caption(item_id: str, index: int, text: str = "a cat") -> Caption:
    return Caption(item_id, index, text, "t", 1.0, 0, "teacher", 0.5)


class Speaker:
    """Sees how red an image is, says it of every second item, and counts the images it saw."""

    name = "test/speaker"

    def __init__(self, settings: str = "s" * 12) -> None:
        self.settings = settings
        self.num_seen = 0

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        self.num_seen += len(items)
        red = np.array([[image.getpixel((0, 0))[0]] for image in images], np.float16)
        said = [
            caption(item.id, 0, f"red {int(value)}")
            for item, (value,) in zip(items, red, strict=True)
            if int(value) % 2 == 0
        ]
        return Look({"red": red}, tuple(said))

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        captions = (caption(item.id, 0, "concluded") for item in manifest.items)
        assert observed["attributes"].shape == (len(manifest.items), len(WORDS))
        return Conclusion(observed["red"].repeat(2, axis=1), captions, {}, {"head": "none"})


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    items = [Item(f"id{n:02d}", f"{n}.png", "train") for n in range(NUM_ITEMS)]
    for n, item in enumerate(items):
        Image.new("RGB", (6, 6), (n, 0, 0)).save(tmp_path / item.path)
    return Manifest(TaskSpec("test", ("cat", "dog")), items)


def work(manifest: Manifest, folder: Path, teacher: Speaker, number: int = 1) -> looking.Work:
    files = Files(folder / "run", number)
    measured = None if number == 1 else np.full((len(manifest.items), len(WORDS)), 0.5)
    return looking.work(teacher, manifest, folder, files, 40, silent, measured_NA=measured)


def said(manifest: Manifest, done: looking.Work) -> list[tuple[str, int, str]]:
    together = looking.in_item_order(manifest.ids, *done.captions)
    return [(c.item_id, c.index, c.text) for c in together]


def test_everything_is_seen_in_order_and_kept(manifest: Manifest, tmp_path: Path) -> None:
    teacher = Speaker()
    done = work(manifest, tmp_path, teacher)
    assert teacher.num_seen == done.summary["num_observed"] == NUM_ITEMS
    assert [path.name for path in done.files] == ["observations.npz", "said.parquet"]
    with np.load(done.files[0]) as kept:
        assert kept["ids"].astype(str).tolist() == [item.id for item in manifest.items]
        assert kept["red"][:, 0].tolist() == list(range(NUM_ITEMS))
        assert kept["red"].dtype == np.float16
        assert kept["logits"].shape == (NUM_ITEMS, 2)
        assert kept["attributes"].shape == (NUM_ITEMS, len(WORDS))
    assert said(manifest, done)[:3] == [
        ("id00", 0, "red 0"), ("id00", 1, "concluded"), ("id01", 0, "concluded"),
    ]  # fmt: skip
    assert len(list((tmp_path / "run").glob("blocks-ssssssss/*.npz"))) == 2  # 40 + 30


def test_only_the_first_teacher_measures_attributes(manifest: Manifest, tmp_path: Path) -> None:
    done = work(manifest, tmp_path, Speaker(), number=2)
    assert [path.name for path in done.files] == ["observations_2.npz", "said_2.parquet"]
    assert "attributes" not in np.load(done.files[0])


def test_blocks_of_a_stopped_look_are_not_looked_at_again(
    manifest: Manifest, tmp_path: Path
) -> None:
    first = work(manifest, tmp_path, Speaker())
    expected = said(manifest, first)
    for path in first.files:
        path.unlink()
    again = Speaker()
    assert said(manifest, work(manifest, tmp_path, again)) == expected
    assert again.num_seen == 0
    other = Speaker("t" * 12)
    work(manifest, tmp_path, other)
    assert other.num_seen == NUM_ITEMS


def test_one_image_more_in_another_order_is_the_only_one_looked_at(
    manifest: Manifest, tmp_path: Path
) -> None:
    work(manifest, tmp_path, Speaker())
    new = dataclasses.replace(manifest.items[8], id="new")
    changed = Manifest(manifest.task, [new, *manifest.items[:1:-1]])
    teacher = Speaker()
    done = work(changed, tmp_path, teacher)
    assert teacher.num_seen == done.summary["num_observed"] == 1
    assert np.load(done.files[0])["red"][:3, 0].tolist() == [8, NUM_ITEMS - 1, NUM_ITEMS - 2]
    spoken = [text for _, _, text in said(changed, done) if text != "concluded"]
    assert spoken == [f"red {n}" for n in [8, *range(NUM_ITEMS - 2, 1, -2)]]


@pytest.mark.parametrize("harm", ["arrays cut", "said cut", "said gone", "other settings"])
def test_what_is_not_whole_is_looked_at_again(
    harm: str, manifest: Manifest, tmp_path: Path
) -> None:
    files = Files(tmp_path / "run")
    expected = said(manifest, work(manifest, tmp_path, Speaker()))
    for block in files.blocks("s" * 12).iterdir():
        block.unlink()
    if harm == "said gone":
        files.said.unlink()
    elif harm != "other settings":
        path = files.arrays if harm == "arrays cut" else files.said
        path.write_bytes(path.read_bytes()[:-50])
    settings = ("t" if harm == "other settings" else "s") * 12
    assert looking.ids_before(files, settings) == set()
    teacher = Speaker(settings)
    assert said(manifest, work(manifest, tmp_path, teacher)) == expected
    assert teacher.num_seen == NUM_ITEMS


def test_a_teacher_that_stopped_speaking_leaves_no_old_words(
    manifest: Manifest, tmp_path: Path
) -> None:
    work(manifest, tmp_path, Speaker())
    odd = Manifest(manifest.task, manifest.items[1::2])
    done = work(odd, tmp_path, Speaker("t" * 12))
    assert [path.name for path in done.files] == ["observations.npz"]
    assert not Files(tmp_path / "run").said.exists()


def test_a_block_done_elsewhere_that_never_appears_is_named(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_MOST_PATIENCE_S", 0.1)
    files = Files(tmp_path / "run")
    files.blocks("s" * 12).mkdir(parents=True)

    def first_only(blocks: Sequence[looking.Block], folder: Path, *rest: Any) -> None:
        looking.look_at_block(Speaker(), blocks[0], folder, *rest)

    with pytest.raises(
        DiskError, match=r"\.npz: done by a worker, .* after 0\.1 s \(1 of 2 blocks"
    ):
        looking.work(Speaker(), manifest, tmp_path, files, 40, silent, first_only)
    teacher = Speaker()
    work(manifest, tmp_path, teacher)
    assert teacher.num_seen == 30


def test_captions_of_several_teachers_come_by_item_numbered_anew(manifest: Manifest) -> None:
    first = [caption("id00", 0, "a"), caption("id00", 1, "b"), caption("id02", 0, "c")]
    second = [caption("gone", 0), caption("id01", 0, "d"), caption("id02", 0, "e")]
    together = looking.in_item_order(manifest.ids, first, second)
    assert [(c.item_id, c.index, c.text) for c in together] == [
        ("id00", 0, "a"), ("id00", 1, "b"), ("id01", 0, "d"), ("id02", 0, "c"), ("id02", 1, "e"),
    ]  # fmt: skip


def test_what_was_said_is_written_by_block(manifest: Manifest, tmp_path: Path) -> None:
    work(manifest, tmp_path, Speaker())
    blocks = sorted(Files(tmp_path / "run").blocks("s" * 12).glob("*.parquet"))
    assert sorted(len(list(captions_io.load(path))) for path in blocks) == [15, 20]

import csv
import hashlib
import io
import itertools
import tarfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from edgekd import assets

CLASSES = [
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Content by path below the archive's one folder."""
    with tarfile.open(assets.demo_archive()) as archive:
        members = archive.getmembers()
        assert all(m.isfile() and m.name.startswith("fashion_mnist/") for m in members)
        assert all(m.mtime == m.uid == m.gid == 0 for m in members)
        return {
            m.name.removeprefix("fashion_mnist/"): archive.extractfile(m).read()  # type: ignore[union-attr]
            for m in members
        }


@pytest.fixture(scope="module")
def rows(files: dict[str, bytes]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files["labels.csv"].decode())))


def test_archive_stays_under_4_mb() -> None:
    assert assets.demo_archive().stat().st_size <= 4_000_000


def test_every_image_has_one_row_and_the_papers_are_there(files, rows) -> None:
    images = [f"images/{number:05d}.png" for number in range(1, 7501)]
    assert [row["path"] for row in rows] == images
    assert sorted(files) == sorted([*images, "LICENSE", "README.md", "classes.txt", "labels.csv"])
    assert "Zalando SE" in files["LICENSE"].decode()
    assert files["classes.txt"].decode().splitlines() == CLASSES


def test_splits_and_labels_are_balanced(rows) -> None:
    counts = Counter((row["split"], row["label"]) for row in rows)
    expected = {("train", ""): 4800}
    for split, a_class in {"train": 20, "tune": 25, "val": 25, "test": 200}.items():
        expected |= {(split, name): a_class for name in CLASSES}
    assert counts == expected


def test_no_image_occurs_twice(files, rows) -> None:
    digests = set()
    for row in rows:
        image = Image.open(io.BytesIO(files[row["path"]]))
        assert (image.mode, image.size) == ("L", (28, 28))
        digests.add(hashlib.sha256(np.asarray(image).tobytes()).digest())
    assert len(digests) == len(rows) == 7500


def test_file_order_tells_neither_class_nor_split(rows) -> None:
    """In a random order neighbours agree as often as two draws with replacement would.

    The shares are .514 for the split and, among the 2,700 labelled images, .1 for the class;
    4 standard errors are .023 and .023.
    """
    splits = [row["split"] for row in rows]
    labels = [row["label"] for row in rows if row["label"]]
    assert _share_of_equal_neighbours(splits) == pytest.approx(0.5178, abs=0.024)
    assert _share_of_equal_neighbours(labels) == pytest.approx(0.1, abs=0.024)


def _share_of_equal_neighbours(values: list[str]) -> float:
    return float(np.mean([a == b for a, b in itertools.pairwise(values)]))

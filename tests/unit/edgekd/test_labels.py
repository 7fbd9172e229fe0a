"""What labels in the data mean, of one class an image and of several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd import manifest
from edgekd.errors import DataError
from edgekd.manifest import DataConfig
from edgekd.records import Item, TaskSpec
from tests.unit.edgekd.test_manifest import build, image

CLASSES = ["cat", "dog", "red car"]


def labels_of(built: manifest.Manifest) -> dict[str, object]:
    return {item.path: item.label for item in built.items}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shade in range(6):
        image(tmp_path / f"{shade}.png", shade)
    (tmp_path / "labels.csv").write_text(
        "path,label\n0.png,dog|cat\n1.png, Red_Car \n2.png,-\n3.png,\n4.png,cat\n4.png,dog\n"
    )
    return tmp_path


def test_a_cell_names_all_that_an_image_shows(folder: Path) -> None:
    """One row may name several, several rows add up, a dash is none, and nothing is unknown."""
    built = build(folder, multilabel=True, classes=CLASSES)
    assert labels_of(built) == {
        "0.png": (0, 1), "1.png": (2,), "2.png": (), "3.png": None, "4.png": (0, 1), "5.png": None,
    }  # fmt: skip
    assert built.task.multilabel
    assert sum(count["labels"] for count in built.counts().values()) == 4


def test_the_classes_are_those_that_the_labels_name(folder: Path) -> None:
    assert build(folder, multilabel=True).task.classes == ("Red_Car", "cat", "dog")


def test_labels_come_back_from_the_file_as_they_went(folder: Path, tmp_path: Path) -> None:
    built = build(folder, multilabel=True, classes=CLASSES)
    manifest.save(built, tmp_path / "m.parquet")
    assert manifest.load(tmp_path / "m.parquet") == built


def test_an_image_in_two_folders_shows_both(tmp_path: Path) -> None:
    image(tmp_path / "cat/1.png", 1)
    image(tmp_path / "dog/2.png", 1)
    image(tmp_path / "dog/3.png", 2)
    built = build(tmp_path, multilabel=True)
    assert sorted(map(str, labels_of(built).values())) == ["(0, 1)", "(1,)"]
    with pytest.raises(DataError, match="two labels: 'cat' and 'dog'"):
        build(tmp_path)


def test_labels_as_arrays() -> None:
    task = TaskSpec("t", ("a", "b", "c"), multilabel=True)
    assert task.truth([(0, 2), (), None]).tolist() == [[1, 0, 1], [0, 0, 0], [-1, -1, -1]]
    assert TaskSpec("t", ("a", "b")).truth([1, None]).tolist() == [1, -1]
    assert [task.named(label) for label in ((0, 2), (), 1)] == ["a|c", "-", "b"]
    items = [Item("1", "x", "train", (0, 2)), Item("2", "y", "train"), Item("3", "z", "tune", ())]
    built = manifest.Manifest(task, items)
    rows, labels = built.labelled("train")
    assert (rows.tolist(), labels.tolist()) == ([0], [[1, 0, 1]])
    assert {row: found.tolist() for row, found in built.labels("tune").items()} == {2: [0, 0, 0]}


def test_few_labels_a_class_count_an_image_for_each_it_shows(tmp_path: Path) -> None:
    rows = ["path,label,split"]
    for shade in range(12):
        image(tmp_path / f"{shade}.png", shade * 20)
        rows.append(f"{shade}.png,{'cat|dog' if shade < 6 else 'dog' if shade < 9 else '-'},train")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    built = build(tmp_path, multilabel=True, labels_per_class=2, near_duplicates="ignore")
    kept = [item.label for item in built.items if item.label is not None]
    shown = np.array([[0 in label, 1 in label] for label in kept if isinstance(label, tuple)])
    assert (shown.sum(axis=0) >= 2).all()
    assert kept.count(()) == 2
    assert len(kept) <= 6


@pytest.mark.parametrize(
    ("table", "classes", "multilabel", "message"),
    [
        ("path,label\n0.png,cat|cow\n", ["cat", "dog"], True, "'cow' is none of the 2 classes"),
        ("path,label\n0.png,cat|dog\n", ["cat", "dog"], False, "edgekd init: --multilabel"),
        ("path,label\n0.png,cat\n", ["cat", "a|b"], True, "'a|b' cannot be told from several"),
        ("path,label\n0.png,cat\n", ["cat", "-"], True, "'-' cannot be told from several"),
    ],
)
def test_one_line_says_what_is_wrong(
    table: str, classes: list[str], multilabel: bool, message: str, tmp_path: Path
) -> None:
    image(tmp_path / "0.png", 1)
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(DataError) as caught:
        build(tmp_path, multilabel=multilabel, classes=classes)
    assert message in str(caught.value)


def test_names_that_look_like_several_are_pointed_out(folder: Path) -> None:
    (folder / "labels.csv").write_text("path,label\n0.png,cat|dog\n1.png,cat\n")
    (note,) = [note for note in build(folder).notes if "cat|dog" in note]
    assert "data.multilabel: true" in note


def test_none_of_them_and_a_class_contradict_each_other(tmp_path: Path) -> None:
    image(tmp_path / "0.png", 1)
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n0.png,-\n0.png,cat\n")
    with pytest.raises(DataError, match="lines 2 and 3"):
        build(tmp_path, multilabel=True, classes=["cat", "dog"])
    table.write_text("path,label\n0.png,|\n")
    with pytest.raises(DataError, match="names no class"):
        build(tmp_path, multilabel=True, classes=["cat", "dog"])


@pytest.mark.parametrize("seed", range(4))
def test_an_image_of_many_classes_stands_in_for_all_of_them_at_once(
    tmp_path: Path, seed: int
) -> None:
    """Fourteen images that all show four classes: no more of them leave train than of one class."""
    for shade in range(14):
        image(tmp_path / f"{shade}.png", shade * 17)

    def counts(label: str) -> dict[str, dict[str, int]]:
        rows = "".join(f"{shade}.png,{label}\n" for shade in range(14))
        (tmp_path / "labels.csv").write_text(f"path,label\n{rows}")
        config = DataConfig(
            folder=tmp_path, classes=["a", "b", "c", "d"], multilabel=True, near_duplicates="ignore"
        )
        return manifest.build(config, "test", seed).counts()

    assert counts("a|b|c|d") == counts("a")

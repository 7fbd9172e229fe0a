"""From a folder to items: layouts, splits, labels, and what is left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd import config as configs
from edgekd import manifest
from edgekd.errors import ConfigError, DataError
from edgekd.manifest import DataConfig, SplitFractions


def image(path: Path, shade: int, size: tuple[int, int] = (3, 2)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 0, 0)).save(path)
    return path


def build(folder: Path, **values: object) -> manifest.Manifest:
    config = configs.parse(DataConfig, {"folder": folder, **values})
    return manifest.build(config, "test", seed=0)


def by_path(built: manifest.Manifest) -> dict[str, tuple[str, int | None]]:
    return {item.path: (item.split, item.label) for item in built.items}


def test_a_csv_of_labels_with_splits_and_groups(tmp_path: Path) -> None:
    for shade in range(5):
        image(tmp_path / f"images/{shade}.png", shade)
    (tmp_path / "labels.csv").write_text(
        "path,label,split,group\n"
        "images/0.png,cat,train,a\n"
        "images/1.png,dog,test,\n"
        "./images/2.png,cat,valid,\n"
        "images/3.png, dog ,Tune,\n"
    )
    built = build(tmp_path)
    assert built.task.classes == ("cat", "dog")
    assert by_path(built) == {
        "images/0.png": ("train", 0),
        "images/1.png": ("test", 1),
        "images/2.png": ("val", 0),
        "images/3.png": ("tune", 1),
        "images/4.png": ("train", None),  # in the folder, not in the table: unlabelled
    }
    first = built.items[0]
    assert (first.group, first.label_origin, first.width, first.height) == ("a", "given", 3, 2)
    assert first.id == hashlib.sha256((tmp_path / "images/0.png").read_bytes()).hexdigest()
    assert built.counts() == {
        "train": {"images": 2, "labels": 1},
        "tune": {"images": 1, "labels": 1},
        "val": {"images": 1, "labels": 1},
        "test": {"images": 1, "labels": 1},
    }


def test_one_folder_a_class(tmp_path: Path) -> None:
    image(tmp_path / "dog/1.png", 1)
    image(tmp_path / "cat/2.png", 2)
    image(tmp_path / "cat/deeper/3.png", 3)
    image(tmp_path / "4.png", 4)
    built = build(tmp_path, splits={"tune": 0, "val": 0, "test": 0})
    assert built.task.classes == ("cat", "dog")
    assert by_path(built) == {
        "4.png": ("train", None),
        "cat/2.png": ("train", 0),
        "cat/deeper/3.png": ("train", 0),
        "dog/1.png": ("train", 1),
    }


def test_one_folder_a_class_under_split_folders(tmp_path: Path) -> None:
    image(tmp_path / "train/cat/1.png", 1)
    image(tmp_path / "Validation/dog/2.png", 2)
    image(tmp_path / "test/cat/3.png", 3)
    image(tmp_path / "tune/dog/4.png", 4)
    image(tmp_path / "test/5.png", 5)
    assert by_path(build(tmp_path)) == {
        "Validation/dog/2.png": ("val", 1),
        "test/5.png": ("test", None),
        "test/cat/3.png": ("test", 0),
        "train/cat/1.png": ("train", 0),
        "tune/dog/4.png": ("tune", 1),
    }


def test_images_without_labels_need_class_names(tmp_path: Path) -> None:
    image(tmp_path / "a.png", 1)
    image(tmp_path / "album/b.png", 2)
    with pytest.raises(DataError, match=r"data.classes: missing, and the folder gives only one"):
        build(tmp_path)
    built = build(tmp_path, classes=["cat", "dog"])
    assert by_path(built) == {"a.png": ("train", None), "album/b.png": ("train", None)}
    assert built.items[0].label_origin is None


def test_classes_keep_the_order_of_the_config(tmp_path: Path) -> None:
    image(tmp_path / "cat/1.png", 1)
    built = build(tmp_path, classes=["dog", "cat", "bird"], splits={"test": 0})
    assert built.task.classes == ("dog", "cat", "bird")
    assert built.items[0].label == 1


def test_the_split_is_the_same_whatever_the_names_and_their_order(tmp_path: Path) -> None:
    for index in range(60):
        kind = ("cat", "dog")[index % 2]
        image(tmp_path / "one" / kind / f"{index:02}.png", index)
        image(tmp_path / "two" / kind / f"{97 * index % 60:02}-{index}.png", index)
    splits = {"tune": 0.2, "val": 0.2, "test": 0.3}
    one, two = (build(tmp_path / name, splits=splits) for name in ("one", "two"))
    assert {i.id: i.split for i in one.items} == {i.id: i.split for i in two.items}
    assert [i.id for i in one.items] != [i.id for i in two.items]
    assert len({i.split for i in one.items}) == 4


def test_split_shares_are_those_asked_for() -> None:
    fractions = SplitFractions(tune=0.1, val=0.2, test=0.3)
    counts = Counter(manifest.split_of(str(key), 0, fractions) for key in range(10_000))
    # Four standard errors of a share of one half with 10,000 draws are 0.02.
    for split, share in {"train": 0.4, "tune": 0.1, "val": 0.2, "test": 0.3}.items():
        assert counts[split] / 10_000 == pytest.approx(share, abs=0.02)
    other_seed = [manifest.split_of(str(key), 1, fractions) for key in range(100)]
    assert other_seed != [manifest.split_of(str(key), 0, fractions) for key in range(100)]


def test_a_group_stays_together(tmp_path: Path) -> None:
    rows = ["path,label,group"]
    for index in range(40):
        image(tmp_path / f"{index}.png", index)
        rows.append(f"{index}.png,{('cat', 'dog')[index % 2]},person{index // 10}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    built = build(tmp_path, splits={"tune": 0.25, "val": 0.25, "test": 0.25})
    for group in range(4):
        assert len({i.split for i in built.items if i.group == f"person{group}"}) == 1


def test_unlabelled_images_all_train(tmp_path: Path) -> None:
    for index in range(30):
        image(tmp_path / f"{index}.png", index)
    built = build(tmp_path, classes=["cat", "dog"], splits={"test": 0.9, "val": 0, "tune": 0})
    assert {item.split for item in built.items} == {"train"}


def test_labels_of_training_images_can_be_left_aside(tmp_path: Path) -> None:
    image(tmp_path / "train/cat/1.png", 1)
    image(tmp_path / "train/dog/2.png", 2)
    image(tmp_path / "test/dog/3.png", 3)
    built = build(tmp_path, use_labels=False)
    assert by_path(built) == {
        "test/dog/3.png": ("test", 1),
        "train/cat/1.png": ("train", None),
        "train/dog/2.png": ("train", None),
    }


def test_an_unknown_label_names_the_closest_class(tmp_path: Path) -> None:
    image(tmp_path / "1.png", 1)
    (tmp_path / "labels.csv").write_text("path,label\n1.png,trousers\n")
    with pytest.raises(DataError) as caught:
        build(tmp_path, classes=["coat", "trouser"])
    assert str(caught.value) == ("labels: 'trousers' is none of the 2 classes. Closest: 'trouser'.")


@pytest.mark.parametrize("classes", [["cat", "dog"], None])
def test_synonyms_of_no_class(classes: list[str] | None, tmp_path: Path) -> None:
    image(tmp_path / "cat/1.png", 1)
    image(tmp_path / "dog/2.png", 2)
    with pytest.raises(DataError, match=r"data.synonyms: 'dogs' is no class. Closest: 'dog'."):
        build(tmp_path, classes=classes, synonyms={"dogs": ["hound"]})
    assert build(tmp_path, classes=classes, synonyms={"dog": ["hound"]}).task.synonyms == {
        "dog": ("hound",)
    }


def test_the_same_bytes_are_one_item(tmp_path: Path) -> None:
    first = image(tmp_path / "train/cat/1.png", 1)
    (tmp_path / "test").mkdir()
    (tmp_path / "test/copy.png").write_bytes(first.read_bytes())
    image(tmp_path / "train/dog/2.png", 2)
    built = build(tmp_path)
    assert built.num_duplicates == 1
    # Seen in testing, it must not train; its label is known from the other file.
    assert by_path(built) == {"test/copy.png": ("test", 0), "train/dog/2.png": ("train", 1)}


def test_the_same_bytes_with_two_labels(tmp_path: Path) -> None:
    first = image(tmp_path / "cat/1.png", 1)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog/copy.png").write_bytes(first.read_bytes())
    with pytest.raises(DataError, match=r"the same image with two labels: 'cat' and 'dog'"):
        build(tmp_path)


def test_a_bad_image_is_skipped_with_its_reason_or_an_error(tmp_path: Path) -> None:
    image(tmp_path / "cat/1.png", 1)
    image(tmp_path / "dog/2.png", 2)
    (tmp_path / "dog/bad.png").write_bytes(b"none")
    (tmp_path / "dog/notes.txt").write_text("not looked at")
    (tmp_path / "dog/folder.png").mkdir()
    built = build(tmp_path)
    assert built.skipped == [("dog/bad.png", "not an image that Pillow can read")]
    assert len(built.items) == 2
    with pytest.raises(DataError, match=r"bad.png: not an image that Pillow can read"):
        build(tmp_path, on_bad_image="error")


def test_a_file_that_the_table_names_but_is_not_there(tmp_path: Path) -> None:
    image(tmp_path / "1.png", 1)
    (tmp_path / "labels.csv").write_text("path,label\n1.png,cat\n2.png,dog\n")
    built = build(tmp_path)
    assert built.skipped == [("2.png", "named in the labels file but not there")]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"file,label\n1.png,cat\n", "expected a header with path,label.* found file,label"),
        (b"", "found nothing"),
        (b"path,label,split\n1.png,cat,tset\n", "line 2: unknown split 'tset', expected one of"),
        (b"label,path\ncat,1.png\ndog\n", "line 3: no path in it"),
        ("path,label\n1.png,Bär\n".encode("latin-1"), "not readable as CSV in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used(table: bytes, message: str, tmp_path: Path) -> None:
    image(tmp_path / "1.png", 1)
    (tmp_path / "labels.csv").write_bytes(table)
    with pytest.raises(DataError, match=message) as caught:
        build(tmp_path, classes=["cat", "dog"])
    assert "labels.csv" in str(caught.value)


def test_another_name_for_the_table(tmp_path: Path) -> None:
    image(tmp_path / "1.png", 1)
    (tmp_path / "mine.csv").write_text("path,label,split\n1.png,cat,val\n")
    built = build(tmp_path, classes=["cat", "dog"], labels="mine.csv")
    assert by_path(built) == {"1.png": ("val", 0)}
    with pytest.raises(DataError, match=r"data.labels: no file .*none.csv"):
        build(tmp_path, classes=["cat", "dog"], labels="none.csv")


def test_names_with_spaces_and_any_letters(tmp_path: Path) -> None:
    image(tmp_path / "train/Ångström grün/a b, c.png", 1)
    image(tmp_path / "train/猫/ü.PNG", 2)
    (tmp_path / "bom").mkdir()
    image(tmp_path / "bom/ä, ö.png", 3)
    (tmp_path / "bom/labels.csv").write_text('path,label\n"ä, ö.png",猫\n', encoding="utf-8-sig")
    built = build(tmp_path / "train", splits={"tune": 0, "val": 0, "test": 0})
    assert built.task.classes == ("Ångström grün", "猫")
    assert {i.path: i.label for i in built.items} == {
        "Ångström grün/a b, c.png": 0,
        "猫/ü.PNG": 1,
    }
    (item,) = build(tmp_path / "bom", classes=["犬", "猫"]).items
    assert (item.path, item.label) == ("ä, ö.png", 1)


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    image(tmp_path / "cat/1.png", 1)
    image(tmp_path / "cat/.2.png", 2)
    image(tmp_path / ".cache/3.png", 3)
    built = build(tmp_path, classes=["cat", "dog"])
    assert [item.path for item in built.items] == ["cat/1.png"]


def test_folders_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.folder: no folder .*none"):
        build(tmp_path / "none", classes=["a", "b"])
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match=r"data.folder: no image files"):
        build(tmp_path, classes=["a", "b"])
    (tmp_path / "x.png").write_bytes(b"none")
    with pytest.raises(DataError, match=r"none of the 1 image files .* x.png: not an image"):
        build(tmp_path, classes=["a", "b"])


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"classes": ["a", "b", "a"]}, "classes: 'a' stands there twice"),
        (
            {"classes": ["a"]},
            "classes: expected at least 2 classes, found 1. A classifier tells things apart: add "
            "a class for what else it may see, with images of it",
        ),
        ({"classes": ["a", " "]}, "classes: name 2 of 2 is empty"),
        (
            {"classes": ["Car", "car"]},
            "classes: 'Car' and 'car' are one name but for case, spaces, hyphens and underscores. "
            "Rename one, or make them one class",
        ),
        (
            {"classes": "cat, dog"},
            "classes: expected a list of names, as in [cat, dog], found 'cat, dog'",
        ),
        (
            {"classes": [True, False]},
            'classes: true is no text: YAML reads it as yes/no. Put names in quotes, as in ["yes", '
            '"no", "1"]',
        ),
        (
            {"synonyms": {"cat": [False]}},
            'synonyms: false is no text: YAML reads it as yes/no. Put names in quotes, as in ["yes", '
            '"no", "1"]',
        ),
        (
            {"labels_per_class": 5, "use_labels": False},
            "labels_per_class is 5, but use_labels is false. Set one",
        ),
        (
            {"splits": {"test": 0.6, "val": 0.3, "tune": 0.1}},
            "splits: tune + val + test must leave something to train on (sum below 1)",
        ),
    ],
)
def test_faults_of_the_data_section(values: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.parse(DataConfig, {"folder": "x", **values})
    assert caught.value.faults == [fault]


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    image(tmp_path / "data/cat/1.png", 1)
    image(tmp_path / "data/dog/ü 2.png", 2)
    (tmp_path / "data/bad.png").write_bytes(b"")
    built = build(tmp_path / "data", synonyms={"cat": ["kitten"]}, licence="CC0")
    manifest.save(built, tmp_path / "manifest.parquet")
    assert manifest.load(tmp_path / "manifest.parquet") == built
    assert built.items[0].licence == "CC0"


def test_progress_counts_every_file(tmp_path: Path) -> None:
    for index in range(3):
        image(tmp_path / f"{index}.png", index)
    (tmp_path / "3.png").write_bytes(b"")
    heard: list[tuple[int, int]] = []
    config = DataConfig(folder=tmp_path, classes=["a", "b"])
    manifest.build(config, "test", 0, lambda done, total: heard.append((done, total)))
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_suffixes_are_those_pillow_opens() -> None:
    suffixes = manifest.image_suffixes()
    assert {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif"} <= suffixes
    assert not {".pdf", ".txt", ".mp4", ".csv"} & suffixes
    assert np.all([suffix == suffix.lower() for suffix in suffixes])

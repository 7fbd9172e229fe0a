"""From a folder to items: layouts, splits, labels, and what is left out."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from edgekd import config as configs
from edgekd import manifest
from edgekd.errors import ConfigError, DataError
from edgekd.manifest import DataConfig, SplitFractions
from edgekd.records import Item, TaskSpec


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
        (b"path,class\n1.png,cat\n", "the column of labels is called label, found 'class'"),
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


def scene(path: Path, seed: int, scale: float = 1, brightness: float = 1) -> Path:
    """A picture that is unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(40, 200, (7, 9, 3), dtype=np.uint8)
    size = (round(96 * scale), round(72 * scale))
    picture = Image.fromarray(coarse).resize((96, 72), Image.Resampling.BICUBIC).resize(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.eval(picture, lambda value: round(value * brightness)).save(path)
    return path


def rows(folder: Path, *lines: str) -> None:
    (folder / "labels.csv").write_text("path,label,split,group\n" + "\n".join(lines))


def test_near_copies_share_a_split_and_others_stay_where_they_were(tmp_path: Path) -> None:
    for seed in range(30):
        scene(tmp_path / "data" / ("cat", "dog")[seed % 2] / f"{seed}.png", seed)
    splits = {"tune": 0.2, "val": 0.2, "test": 0.3}
    before = by_path(build(tmp_path / "data", splits=splits))
    for seed in range(30):
        name = tmp_path / "data" / ("cat", "dog")[seed % 2] / f"{seed}"
        scene(name.with_suffix(".half.png"), seed, scale=0.5)
        scene(name.with_suffix(".light.png"), seed, brightness=1.1)
    apart = build(tmp_path / "data", splits=splits, near_duplicates="ignore")
    assert apart.near_copies() == {"images": 0, "across_splits": 0}
    built = build(tmp_path / "data", splits=splits)
    assert built.near_copies() == {"images": 90, "across_splits": 0}
    groups: dict[str, list[str]] = {}
    for item in built.items:
        groups.setdefault(str(item.near), []).append(item.id)
    assert all(len(ids) == 3 and near == min(ids) for near, ids in groups.items())
    of_file = {path.rsplit("/")[-1].split(".")[0]: set() for path in before}
    for item in built.items:
        of_file[item.path.rsplit("/")[-1].split(".")[0]].add(item.split)
    assert all(len(found) == 1 for found in of_file.values())
    # Left to themselves they would have straddled.
    loose = [{i.split for i in apart.items if i.id in ids} for ids in groups.values()]
    assert sum(len(found) > 1 for found in loose) > 5
    assert built.notes == []


def test_splits_that_the_data_gives_stay_and_copies_across_them_are_reported(
    tmp_path: Path,
) -> None:
    scene(tmp_path / "train/cat/1.png", 1)
    scene(tmp_path / "test/cat/1.png", 1, scale=0.5)
    scene(tmp_path / "train/dog/2.png", 2)
    scene(tmp_path / "test/dog/3.png", 3)
    built = build(tmp_path)
    assert by_path(built) == {
        "test/cat/1.png": ("test", 0),
        "test/dog/3.png": ("test", 1),
        "train/cat/1.png": ("train", 0),
        "train/dog/2.png": ("train", 1),
    }
    assert built.near_copies() == {"images": 2, "across_splits": 2}
    (note,) = built.notes
    assert note.startswith(
        "2 images have a near copy in another split, such as test/cat/1.png (test) and "
        "train/cat/1.png (train)."
    )


def test_what_resembles_a_given_test_image_does_not_train(tmp_path: Path) -> None:
    scene(tmp_path / "a.png", 1)
    scene(tmp_path / "b.png", 1, scale=0.5)  # unlabelled, would train
    scene(tmp_path / "c.png", 2)
    scene(tmp_path / "d.png", 2, scale=0.5)
    rows(tmp_path, "a.png,cat,test,", "c.png,dog,train,", "d.png,dog,,")
    built = build(tmp_path, splits={"test": 0.9, "val": 0, "tune": 0})
    assert by_path(built) == {
        "a.png": ("test", 0),
        "b.png": ("test", None),
        "c.png": ("train", 1),
        "d.png": ("train", 1),
    }


def test_a_group_with_labels_on_some_of_its_images(tmp_path: Path) -> None:
    lines = []
    for index in range(40):
        image(tmp_path / f"{index:02}.png", index)
        label = ("cat", "dog")[index % 2] if index % 4 < 2 else ""
        lines.append(f"{index:02}.png,{label},,g{index // 4}")
    rows(tmp_path, *lines)
    built = build(tmp_path, splits={"tune": 0.2, "val": 0.2, "test": 0.3})
    for group in range(10):
        assert len({i.split for i in built.items if i.group == f"g{group}"}) == 1
    assert len({i.split for i in built.items}) == 4


def test_a_group_takes_the_split_that_one_of_it_was_given(tmp_path: Path) -> None:
    for index in range(4):
        image(tmp_path / f"{index}.png", index)
    rows(tmp_path, "0.png,cat,val,g", "1.png,dog,,g", "2.png,,,g", "3.png,dog,train,")
    assert by_path(build(tmp_path)) == {
        "0.png": ("val", 0), "1.png": ("val", 1), "2.png": ("val", None), "3.png": ("train", 1),
    }  # fmt: skip


def test_a_group_in_two_given_splits_is_an_error(tmp_path: Path) -> None:
    for index in range(2):
        image(tmp_path / f"{index}.png", index)
    rows(tmp_path, "0.png,cat,train,g", "1.png,dog,test,g")
    with pytest.raises(DataError) as caught:
        build(tmp_path)
    assert str(caught.value) == (
        "labels: group 'g' has '0.png' in train and '1.png' in test. Put a group into one split"
    )


def test_copies_in_two_groups_join_the_groups(tmp_path: Path) -> None:
    lines = []
    for index in range(40):  # 20 groups of two; equal bytes tie g0 to g1, g2 to g3, ...
        picture = image(tmp_path / f"{index}.png", index)
        if index % 4 == 2:
            picture.write_bytes((tmp_path / f"{index - 1}.png").read_bytes())
        lines.append(
            f"{index}.png,{('cat', 'dog')[index // 2 % 2 if index % 4 == 3 else 0]},,g{index // 2}"
        )
    rows(tmp_path, *lines)
    built = build(tmp_path, splits={"tune": 0.2, "val": 0.2, "test": 0.3})
    assert built.num_duplicates == 10
    split_of_number = {int(i.path.split(".")[0]): i.split for i in built.items}
    for first in range(0, 40, 4):
        assert len({split_of_number[n] for n in (first, first + 1, first + 3)}) == 1


def test_small_classes_come_out_empty_nowhere_that_their_share_rounds_to_one(
    tmp_path: Path,
) -> None:
    fractions = {"tune": 0.1, "val": 0.1, "test": 0.3}
    for kind in range(20):
        for index in range(10):
            image(tmp_path / f"class {kind:02}/{index}.png", kind, size=(index + 1, kind + 1))
    built = build(tmp_path, splits=fractions)
    counts = Counter((item.label, item.split) for item in built.items)
    assert all(
        counts[kind, split] for kind in range(20) for split in ("train", "tune", "val", "test")
    )
    # The plain draw leaves some empty: 10 images at a tenth miss it with .9 ** 10 = .35.
    plain = Counter(
        (i.label, manifest.split_of(i.id, 0, SplitFractions(**fractions))) for i in built.items
    )
    assert sum(not plain[kind, "val"] for kind in range(20)) >= 2


def test_images_that_are_added_move_only_those_that_stood_in(tmp_path: Path) -> None:
    for index in range(60):
        image(tmp_path / ("cat", "dog")[index % 2] / f"{index}.png", index)
    splits = {"tune": 0.2, "val": 0.2, "test": 0.2}
    before = {item.id: item.split for item in build(tmp_path, splits=splits).items}
    for index in range(60, 120):
        image(tmp_path / ("cat", "dog")[index % 2] / f"{index}.png", index)
    after = {item.id: item.split for item in build(tmp_path, splits=splits).items}
    assert {key: after[key] for key in before} == before


def test_no_label_is_used_but_those_of_test(tmp_path: Path) -> None:
    for index, split in enumerate(("train", "tune", "val", "test")):
        image(tmp_path / split / "cat" / f"{index}.png", index)
        image(tmp_path / split / "dog" / f"{index}.png", index + 10)
    counts = build(tmp_path, use_labels=False).counts()
    assert {split: count["labels"] for split, count in counts.items()} == {
        "train": 0, "tune": 0, "val": 0, "test": 2,
    }  # fmt: skip
    assert all(count["images"] == 2 for count in counts.values())


def test_some_labels_a_class_by_seed_and_content(tmp_path: Path) -> None:
    for index in range(40):
        kind = ("cat", "dog")[index % 2]
        image(tmp_path / "train" / kind / f"{index}.png", index)
    for kind in ("cat", "dog"):
        for index in range(3):
            image(tmp_path / "val" / kind / f"{index}.png", index, size=(4, 3 + (kind == "dog")))
    whole = build(tmp_path)
    built = build(tmp_path, labels_per_class=5)
    counts = Counter((i.split, i.label) for i in built.items)
    assert counts == {
        ("train", 0): 5, ("train", 1): 5, ("train", None): 30, ("val", 0): 3, ("val", 1): 3,
    }  # fmt: skip
    assert {i.id: i.split for i in whole.items} == {i.id: i.split for i in built.items}
    kept = {i.id for i in built.of("train") if i.label is not None}
    fewer = {i.id for i in build(tmp_path, labels_per_class=2).of("train") if i.label is not None}
    assert fewer < kept
    config = configs.parse(DataConfig, {"folder": tmp_path, "labels_per_class": 5})
    other = manifest.build(config, "test", seed=1)
    assert {i.id for i in other.of("train") if i.label is not None} != kept
    assert {i.label_origin for i in built.of("train")} == {"given", None}
    assert build(tmp_path, labels_per_class=0).counts()["train"]["labels"] == 0
    assert build(tmp_path, labels_per_class=99).counts() == whole.counts()


def test_labels_and_folders_match_classes_however_they_are_written(tmp_path: Path) -> None:
    image(tmp_path / "T_Shirt/1.png", 1)
    image(tmp_path / "CAR/2.png", 2)
    image(tmp_path / "dgo/3.png", 3)
    built = build(tmp_path, classes=["t-shirt", "car", "dog"], splits={"test": 0})
    assert {i.path: i.label for i in built.items} == {
        "T_Shirt/1.png": 0, "CAR/2.png": 1, "dgo/3.png": None,
    }  # fmt: skip
    assert built.notes == [
        "folders that are no class, so that their images carry no label: 'dgo' (1)"
    ]
    assert built.task.classes == ("t-shirt", "car", "dog")


def test_two_folders_with_one_name(tmp_path: Path) -> None:
    image(tmp_path / "Car/1.png", 1)
    image(tmp_path / "car/2.png", 2)
    image(tmp_path / "dog/3.png", 3)
    with pytest.raises(DataError, match=r"labels: 'Car' and 'car' are one name but for case"):
        build(tmp_path)


def test_a_broken_link_is_skipped_or_an_error(tmp_path: Path) -> None:
    image(tmp_path / "cat/1.png", 1)
    image(tmp_path / "dog/2.png", 2)
    (tmp_path / "dog/3.png").symlink_to(tmp_path / "none.png")
    assert build(tmp_path).skipped == [("dog/3.png", "a link to a file that is not there")]
    with pytest.raises(DataError, match=r"dog/3.png: a link to a file that is not there"):
        build(tmp_path, on_bad_image="error")


def test_only_bad_files_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "1.png").symlink_to(tmp_path / "none.png")
    with pytest.raises(
        DataError, match=r"none of the 1 image files .* can be read; the first: 1.png"
    ):
        build(tmp_path, classes=["cat", "dog"])


def test_the_list_of_what_was_left_out(tmp_path: Path) -> None:
    image(tmp_path / "cat/1.png", 1)
    image(tmp_path / "dog/2.png", 2)
    for index in range(22):
        (tmp_path / f'dog/bad "{index:02}", really.png').write_bytes(b"")
    built = build(tmp_path)
    listed = list(csv.reader(manifest.skipped_csv(built).splitlines()))
    assert listed[0] == ["path", "reason"]
    assert listed[1] == ['dog/bad "00", really.png', "an empty file (0 bytes)"]
    assert len(listed) == 23
    lines = manifest.skipped_lines(built, "runs/x/skipped.csv")
    assert lines[0] == 'skipped dog/bad "00", really.png: an empty file (0 bytes)'
    assert lines[20:] == ["and 2 more: runs/x/skipped.csv lists them all"]
    assert manifest.skipped_lines(built, "x", most=22)[-1].startswith("skipped")


def test_a_manifest_of_many_row_groups(tmp_path: Path) -> None:
    task = TaskSpec("test", ("cat", "dog"))
    items = [Item(f"{n:064}", f"{n}.png", "train", n % 2, "given", near="x") for n in range(20_000)]
    whole = manifest.Manifest(task, items, [("bad.png", "why")], 3, ["a note"])
    manifest.save(whole, tmp_path / "manifest.parquet")
    assert pq.ParquetFile(tmp_path / "manifest.parquet").num_row_groups == 3
    assert manifest.load(tmp_path / "manifest.parquet") == whole


def test_a_manifest_of_the_first_schema_is_read(tmp_path: Path) -> None:
    meta = {
        "schema": 1, "name": "old", "classes": ["cat", "dog"], "synonyms": {}, "skipped": [],
        "num_duplicates": 0,
    }  # fmt: skip
    row = {"id": "a", "path": "a.png", "split": "test", "label": 1, "label_origin": "given",
           "group": None, "licence": None, "width": 3, "height": 2}  # fmt: skip
    table = pa.Table.from_pylist([row]).replace_schema_metadata({"edgekd": json.dumps(meta)})
    pq.write_table(table, tmp_path / "manifest.parquet")
    built = manifest.load(tmp_path / "manifest.parquet")
    assert built.items == [Item("a", "a.png", "test", 1, "given", width=3, height=2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no parquet", "not readable as parquet"), (None, "schema 9, this edgekd reads schema 2")],
)
def test_a_manifest_that_cannot_be_read(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "manifest.parquet"
    if content is None:
        table = pa.table({"id": ["a"]}).replace_schema_metadata({"edgekd": '{"schema": 9}'})
        pq.write_table(table, path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        manifest.load(path)
    assert str(path) in str(caught.value)

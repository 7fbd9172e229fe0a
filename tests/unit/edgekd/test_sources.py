"""Folders, links and tables as people have them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from edgekd import sources
from edgekd.errors import DataError
from edgekd.sources import Source


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path)
    return path


def paths(folder: Path) -> list[str]:
    return [source.path for source in sources.read(folder, None).files]


def table(folder: Path, content: str | bytes, name: str = "labels.csv") -> None:
    text = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(text)


def test_upper_case_suffixes_spaces_and_long_names(tmp_path: Path) -> None:
    long = "n" * 240
    for name in ("A.PNG", " b .Png", f"{long}.png", "ü ñ 猫.png", "#%&;'\".png"):
        image(tmp_path / "c" / "x.png").rename(tmp_path / "c" / name)
    assert sorted(paths(tmp_path)) == sorted(
        f"c/{name}" for name in ("A.PNG", " b .Png", f"{long}.png", "ü ñ 猫.png", "#%&;'\".png")
    )


def test_the_order_is_that_of_the_names_folder_by_folder(tmp_path: Path) -> None:
    for name in ("b/1.png", "a/2.png", "a/b/1.png", "a.png", "a b/1.png"):
        image(tmp_path / name)
    assert paths(tmp_path) == ["a/2.png", "a/b/1.png", "a b/1.png", "a.png", "b/1.png"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("train/cat/1.png", "Valid/cat/2.png"), [("cat", "val"), ("cat", "train")]),
        (("train/1.png", "test/2.png"), [(None, "test"), (None, "train")]),
        (("train/cat/1.png", "notes/2.png"), [("notes", None), ("cat", "train")]),
        (("bus/1.png", "Train/2.png"), [("Train", None), ("bus", None)]),  # the one on rails
        (("train/bus/1.png", "train/train/2.png"), [("bus", "train"), ("train", "train")]),
    ],
)
def test_folders_that_are_splits_and_a_class_called_like_one(
    files: tuple[str, ...], expected: list[tuple[str | None, str | None]], tmp_path: Path
) -> None:
    for name in files:
        image(tmp_path / name)
    assert [(s.label, s.split) for s in sources.read(tmp_path, None).files] == expected


def test_links_to_files_and_folders_are_followed_once(tmp_path: Path) -> None:
    image(tmp_path / "elsewhere/1.png")
    image(tmp_path / "data/dog/2.png")
    data = tmp_path / "data"
    (data / "cat").symlink_to(tmp_path / "elsewhere")  # a class that lies elsewhere
    (data / "again").symlink_to(tmp_path / "elsewhere")  # the same once more
    (data / "dog/loop").symlink_to(data)  # a circle
    (data / "aaa").symlink_to(data / "dog")  # sorts before the real one
    (data / "dog/3.png").symlink_to(tmp_path / "elsewhere/1.png")
    read = sources.read(data, None)
    assert [(s.path, s.label) for s in read.files] == [
        ("again/1.png", "again"),
        ("dog/2.png", "dog"),
        ("dog/3.png", "dog"),
    ]
    assert read.unusable == []


def test_a_broken_link_and_a_link_in_a_circle_are_listed(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "none.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "c.png")
    (tmp_path / "d").symlink_to(tmp_path / "nothing")  # no image's name: of no interest
    read = sources.read(tmp_path, None)
    assert [source.path for source in read.files] == ["a.png"]
    assert sorted(read.unusable) == [
        ("b.png", "a link to a file that is not there"),
        ("c.png", "a link to a file that is not there"),
    ]


def test_a_name_that_is_no_utf8_is_listed(tmp_path: Path) -> None:
    path = os.fsencode(image(tmp_path / "a.png").parent) + b"/\xff\xfe.png"
    try:
        os.rename(tmp_path / "a.png", path)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (entry,) = sources.read(tmp_path, None).unusable
    assert entry == (r"\xff\xfe.png", "its name is not valid UTF-8. Rename it")
    assert [path for path, _, _ in sources.listing(tmp_path)] == [r"\xff\xfe.png"]


def test_pipes_and_folders_with_an_images_name_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    assert paths(tmp_path) == []


def test_heic_is_listed_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    assert paths(tmp_path) == ["IMG_1.HEIC"]


def test_the_listing_sees_what_is_behind_a_link(tmp_path: Path) -> None:
    image(tmp_path / "elsewhere/1.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/cat").symlink_to(tmp_path / "elsewhere")
    before = sorted(sources.listing(tmp_path / "data"))
    assert [path for path, _, _ in before] == ["cat/1.png"]
    image(tmp_path / "elsewhere/2.png")
    assert len(sorted(sources.listing(tmp_path / "data"))) == 2


@pytest.mark.parametrize(
    "content",
    [
        "path,label,group\na.png,cat,g\n",
        "path;label;group\r\na.png;cat;g\r\n",
        "Path\tLABEL\tGroup\na.png\tcat\tg\n",
        '\ufeff"path" , "label" , group\r\n"a.png", cat ,g\r\n\r\n',
        "label,other,path,group\ncat,7,./a.png,g\n",
        "path,label,group\nsub\\..\\a.png,cat,g\n",
        "path,label,group\n a.png,cat,g\n",
        "path,label,group\na.png,cat,\na.png,,g\n",  # two rows that agree
        "path,label,group\na.png,cat,g\na.png,cat,g\n",
    ],
)
def test_tables_as_spreadsheets_write_them(content: str, tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    table(tmp_path, content)
    assert sources.read(tmp_path, None).files == [Source("a.png", "cat", None, "g")]


def test_a_table_in_utf16(tmp_path: Path) -> None:
    image(tmp_path / "ü.png")
    table(tmp_path, "path\tlabel\nü.png\tBär\n".encode("utf-16"))
    assert sources.read(tmp_path, None).files == [Source("ü.png", "Bär")]


@pytest.mark.parametrize(("disk", "written"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFC", "NFC")])
def test_letters_composed_one_way_on_disk_and_another_in_the_table(
    disk: str, written: str, tmp_path: Path
) -> None:
    name = "Bär é.png"
    on_disk = unicodedata.normalize(disk, name)  # type: ignore[arg-type]
    image(tmp_path / on_disk)
    in_table = unicodedata.normalize(written, name)  # type: ignore[arg-type]
    table(tmp_path, f"path,label\n{in_table},cat\n")
    assert sources.read(tmp_path, None).files == [Source(on_disk, "cat")]


def test_a_folders_name_is_a_label_in_composed_letters(tmp_path: Path) -> None:
    image(tmp_path / unicodedata.normalize("NFD", "Bär") / "1.png")
    assert sources.read(tmp_path, None).files[0].label == unicodedata.normalize("NFC", "Bär")


def test_absolute_paths_and_paths_outside(tmp_path: Path) -> None:
    inside = image(tmp_path / "data/a.png")
    outside = image(tmp_path / "b.png")
    table(tmp_path / "data", f"path,label\n{inside},cat\n{outside},dog\n../b.png,dog\n")
    read = sources.read(tmp_path / "data", None)
    assert read.files == [Source("a.png", "cat")]
    reason = "lies outside of data.folder; name a folder that holds it"
    assert read.unusable == [(str(outside), reason), ("../b.png", reason)]
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert sources.read(tmp_path / "link", None).files == [Source("a.png", "cat")]


def test_a_broken_link_in_the_table_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "b.png").symlink_to(tmp_path / "none.png")
    table(tmp_path, "path,label\nb.png,cat\n")
    read = sources.read(tmp_path, None)
    assert read.files == []
    assert read.unusable == [("b.png", "a link to a file that is not there")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "a.png,cat,,\n./a.png,dog,,\n",
            "lines 2 and 3: two rows of 'a.png' with label 'cat' and 'dog'. Keep one",
        ),
        (
            "a.png,cat,train,\na.png,cat,test,\n",
            "lines 2 and 3: two rows of 'a.png' with split 'train' and 'test'. Keep one",
        ),
        (
            "a.png,cat,tset,\n",
            "line 2: unknown split 'tset', expected one of train, tune, val, test",
        ),
        ("a.png,cat,,\n,dog,,\n", "line 3: no path in it"),
    ],
)
def test_rows_that_contradict_or_say_nothing(rows: str, message: str, tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    table(tmp_path, "path,label,split,group\n" + rows)
    with pytest.raises(DataError) as caught:
        sources.read(tmp_path, None)
    assert str(caught.value) == f"{tmp_path / 'labels.csv'}{', '}{message}"

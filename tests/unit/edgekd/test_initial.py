"""The first steps: a config for a folder, and the demo's images."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from edgekd import config as configs
from edgekd import initial, sources
from edgekd.errors import ConfigError, DataError, UsageError
from edgekd.stages import RunConfig


def photos(folder: Path, side: int = 40) -> Path:
    for index, name in enumerate(["cat", "dog", "dog"]):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, 10), (index, 0, 0)).save(folder / name / f"{index}.png")
    return folder


def test_the_text_is_a_config_that_a_run_accepts(tmp_path: Path) -> None:
    folder = photos(tmp_path / "my photos: für alle #1")
    text = initial.config_text(folder, None)
    config = configs.parse(RunConfig, yaml.safe_load(text))
    assert config.name == "my-photos--für-alle--1"
    assert config.data.folder == folder
    assert config.data.classes == ["cat", "dog"]
    assert "# 3 images, 3 of them labelled" in text
    assert len(text.splitlines()) <= 25


@pytest.mark.parametrize(
    ("side", "image_size"), [(28, 64), (64, 64), (65, 96), (128, 96), (129, 128), (900, 128)]
)
def test_the_student_sees_what_there_is_to_see(side: int, image_size: int, tmp_path: Path) -> None:
    text = initial.config_text(photos(tmp_path / "photos", side), None)
    assert yaml.safe_load(text)["distill"]["image_size"] == image_size


@pytest.mark.parametrize(
    "names",
    [
        ["yes", "no"],
        ["a: b", "c # d"],
        ["1", "2.5"],
        ["ä", "it's"],
        ["on", "null"],
        ["~", "0x1F"],
        ["[x]", "{y}"],
        ["2024-01-01", "1e3"],
        ["a\\b", '"c"'],
        [f"a rather long name, number {n}" for n in range(1000)],
        ["x " * 99 + "x", "y"],
    ],
)
def test_class_names_survive_yaml(names: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    values = yaml.safe_load(initial.config_text(tmp_path, names))
    assert values["data"]["classes"] == names


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["cat", ""], "classes: name 2 of 2 is empty"),
        (["cat"], "classes: expected at least 2 classes, found 1."),
        (["cat", "CAT"], "classes: 'cat' and 'CAT' are one name"),
    ],
)
def test_names_that_cannot_be_classes(names: list[str], fault: str, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    with pytest.raises(ConfigError) as caught:
        initial.config_text(tmp_path, names)
    assert caught.value.faults[0].startswith(fault)


def test_a_folder_without_names_asks_for_them(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"List at least two class names"):
        initial.config_text(tmp_path, None)


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    initial.write_new(path, "first")
    with pytest.raises(UsageError, match=r"is there already. Choose another name with --out"):
        initial.write_new(path, "second")
    assert path.read_text() == "first"


def test_the_demo_is_unpacked_once(tmp_path: Path) -> None:
    folder = initial.unpack_demo(tmp_path / "data")
    assert folder == tmp_path / "data" / "fashion_mnist"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["fashion_mnist"]
    assert len(sources.read(folder, None).files) == 7500
    (folder / "images/00001.png").unlink()
    assert initial.unpack_demo(tmp_path / "data") == folder
    assert not (folder / "images/00001.png").exists()


def test_another_folder_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "fashion_mnist").mkdir()
    with pytest.raises(DataError, match=r"is not the demo's data. Choose another folder"):
        initial.unpack_demo(tmp_path)

"""The validate stage: the manifest, and the whole list of what was left out."""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image

from edgekd import config as configs
from edgekd import pipeline
from edgekd.run_config import RunConfig
from edgekd.running import Quiet
from edgekd.stages import read_data


class Heard(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def config(folder: Path) -> RunConfig:
    return configs.parse(
        RunConfig, {"out": folder / "run", "data": {"folder": folder / "data"}}, "test"
    )


def validated(folder: Path) -> list[str]:
    heard = Heard()
    pipeline.run(config(folder), "validate", heard)
    return heard.lines


def photos(folder: Path, *names: str) -> None:
    for name in names:
        (folder / "data" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (len(name.encode()), ord(name[0]) % 256, 0)).save(
            folder / "data" / name / "a.png"
        )


def test_every_file_left_out_is_listed_and_the_list_goes_with_them(tmp_path: Path) -> None:
    photos(tmp_path, "cat", "dog")
    bad = [tmp_path / f"data/cat/{number:02}.png" for number in range(25)]
    for path in bad:
        path.write_bytes(b"")
    lines = validated(tmp_path)
    skipped = tmp_path / "run" / "skipped.csv"
    assert lines[0] == "skipped cat/00.png: an empty file (0 bytes)"
    assert len(lines) == 21
    assert lines[-1] == f"and 5 more: {skipped} lists them all"
    rows = list(csv.DictReader(skipped.open(encoding="utf-8")))
    assert [row["path"] for row in rows] == [f"cat/{number:02}.png" for number in range(25)]
    for path in bad:
        path.unlink()
    assert validated(tmp_path) == []
    assert not skipped.exists()


def test_a_new_file_behind_a_linked_folder_is_seen(tmp_path: Path) -> None:
    photos(tmp_path / "far", "cat")
    photos(tmp_path, "dog")
    (tmp_path / "data/cat").symlink_to(tmp_path / "far/data/cat")
    validated(tmp_path)
    (tmp_path / "far/data/cat/bad.png").write_bytes(b"")
    assert validated(tmp_path) == ["skipped cat/bad.png: an empty file (0 bytes)"]


def test_what_should_be_known_of_the_names_is_said(tmp_path: Path) -> None:
    photos(tmp_path, "orange", "猫", "other")
    kinds = ("the packaged sentence encoder", "says nothing of what to look for", "also a word for")
    for lines in (validated(tmp_path), read_data(config(tmp_path)).notes):
        assert all(any(kind in line for line in lines) for kind in kinds)
        assert len(lines) == 3

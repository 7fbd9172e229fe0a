"""`edgekd caption --sheet` and `--answers`: people judge a run's captions, and the run keeps it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from captioning import captions
from edgekd import manifest
from edgekd.cli import app
from edgekd.errors import DataError, UsageError
from edgekd.manifest import Manifest
from edgekd.metrics import wilson_interval
from edgekd.records import Caption, Item, TaskSpec


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A run with two kept captions and one that was dropped."""
    run = tmp_path / "run"
    run.mkdir()
    items = [Item(name, f"{name}.png", "train") for name in ("a", "b", "c")]
    manifest.save(Manifest(TaskSpec("pets", ("cat", "dog")), items), run / "manifest.parquet")
    said = [
        Caption("a", 0, "A photo of a black cat.", "t", 0.5, 1, "x", 0.5),
        Caption("b", 0, "A photo of a dog.", "t", 1.5, 1, "x", 0.5),
        Caption("c", 0, "A photo of a dog.", "t", 1.5, 1, "x", 0.5, "low confidence"),
    ]
    captions.save(said, run / "captions.parquet")
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"data": {"folder": str(tmp_path)}, "out": str(run)}))
    return path


def text(config: Path, *words: str | Path) -> str:
    done = CliRunner().invoke(app, ["caption", str(config), *map(str, words)])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def answer(sheet: Path, said: dict[str, str]) -> None:
    """Fills a sheet in: by what a claim is about, else yes."""
    with sheet.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["answer"] = said.get(row["about"], "yes")
    with sheet.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_sheet_goes_out_and_its_answers_come_back(config: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "judge.csv"
    drawn: Any = json.loads(text(config, "--sheet", sheet, "--json"))
    # cat, black and the sentence of the first caption; dog and the sentence of the second.
    assert [drawn["captions"], drawn["claims"]] == [2, 5]
    assert str(tmp_path / "a.png") in sheet.read_text(encoding="utf-8-sig")
    answer(sheet, {"colour": "no", "sentence": "unclear"})
    values = json.loads(text(config, "--answers", sheet, "--json"))
    low, high = wilson_interval(2, 3)  # cat and dog are right, black is not
    overall = values["overall"]
    assert [overall["value"], overall["n"]] == [pytest.approx(2 / 3), 3]
    assert [overall["low"], overall["high"]] == pytest.approx([low, high])
    sentences = values["sentences"]
    assert [sentences["value"], sentences["n"], sentences["num_unclear"]] == [None, 0, 2]
    assert set(values["by_temperature"]) == {"0.5", "1.5"}
    kept = json.loads((tmp_path / "run" / "captions" / "answers.json").read_text())
    assert kept == values
    shown = text(config, "--answers", sheet)
    assert "claims about class and attributes  66.7%" in shown
    assert "whole sentences                    – (none judged, 2 unclear)" in shown


def test_faults_are_told_and_nothing_is_kept(config: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "judge.csv"
    text(config, "--sheet", sheet)
    answer(sheet, {"object": "maybe"})
    with pytest.raises(DataError, match="2 faults"):
        text(config, "--answers", sheet)
    assert not (tmp_path / "run" / "captions" / "answers.json").exists()
    with pytest.raises(UsageError, match="is there already, perhaps with answers"):
        text(config, "--sheet", sheet)


def test_a_run_without_captions_and_two_acts_at_once_are_refused(
    config: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--trial and --sheet: expected one of them at a time"):
        text(config, "--trial", "--sheet", tmp_path / "judge.csv")
    (tmp_path / "run" / "captions.parquet").unlink()
    with pytest.raises(UsageError, match="Expected the folder of a run that was captioned"):
        text(config, "--sheet", tmp_path / "judge.csv")


def test_a_sheet_of_dropped_captions_alone_is_refused(config: Path, tmp_path: Path) -> None:
    dropped = Caption("a", 0, "A cat.", "t", 1.0, 1, "x", 0.5, "short")
    captions.save([dropped], tmp_path / "run" / "captions.parquet")
    with pytest.raises(UsageError, match="no caption was kept"):
        text(config, "--sheet", tmp_path / "judge.csv")

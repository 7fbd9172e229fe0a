"""What `edgekd list runs` tells of run folders in every state, and of folders that are none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgekd import printing, run_folders
from edgekd import report as reports
from edgekd.cli import app
from edgekd.errors import DiskError, UsageError

EXAMPLE = json.loads((Path(__file__).parents[2] / "data" / "report_example.json").read_text())


def write_report(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(EXAMPLE | changes))
    return folder


def write_events(folder: Path, *events: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"time": "2026-01-01T00:00:00+00:00"} | event) for event in events]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    return folder


STARTED = {"event": "run started", "stages": ["validate", "caption", "report"]}
CAPTION_ASKED = {"event": "run started", "stages": ["validate", "caption"]}
REUSED = {"event": "stage reused", "stage": "caption"}
FAILED = {"event": "run failed", "stage": "export", "error": "no room"}
VALIDATED = {"event": "stage finished", "stage": "validate"}


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([STARTED, {"event": "run finished"}], "finished"),
        ([STARTED | {"stages": ["validate"]}, {"event": "run finished"}], "done up to validate"),
        ([STARTED, {"event": "run stopped", "stage": "caption"}], "stopped in caption"),
        (
            [STARTED, {"event": "run failed", "stage": "caption", "error": "no room"}],
            "failed in caption: no room",
        ),
        (
            [STARTED, {"event": "run finished"}, CAPTION_ASKED, REUSED, {"event": "run finished"}],
            "finished",
        ),
        (
            [STARTED, FAILED, CAPTION_ASKED, REUSED, {"event": "run finished"}],
            "failed in export: no room",
        ),
        ([CAPTION_ASKED, REUSED, {"event": "run finished"}], "done up to caption"),
        ([STARTED], "stopped in validate"),
        ([STARTED, VALIDATED], "stopped in caption"),
        ([STARTED, {"event": "stage started", "stage": "caption"}], "stopped in caption"),
    ],
)
def test_the_state_is_what_was_last_heard(
    events: list[dict[str, Any]], state: str, tmp_path: Path
) -> None:
    assert run_folders.summary(write_events(tmp_path / "run", *events))["state"] == state


def test_a_run_whose_process_lives_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_events(tmp_path / "run", STARTED)
    (folder / ".lock").write_text(str(os.getpid()))
    words = ["python", "-m", "pytest"]
    monkeypatch.setattr(run_folders.psutil.Process, "cmdline", lambda self: words)
    assert run_folders.summary(folder)["state"] == "stopped in validate"  # another program's number
    words[2] = "edgekd"
    assert run_folders.summary(folder)["state"] == "at work in validate"


def test_report_json_alone_is_enough(tmp_path: Path) -> None:
    run = run_folders.summary(write_report(tmp_path / "sent"))
    assert run["state"] == "finished"
    assert (run["name"], run["chosen"]) == (EXAMPLE["name"], "student_pruned.int8.tflite")
    assert (run["size_bytes"], run["accuracy"]["value"]) == (1_042_176, 0.812)
    assert run["gates"] == [
        {"name": "size budget", "passed": True},
        {"name": "accuracy floor", "passed": False},
    ]
    assert run["seconds"] == pytest.approx(sum(s["seconds"] for s in EXAMPLE["stages"]))


def test_what_cannot_be_read_is_a_row_with_its_reason(tmp_path: Path) -> None:
    write_report(tmp_path / "older", schema=0)
    write_report(tmp_path / "hollow", headline={})
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "report.json").write_text('{"schema": 1}')
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "report.json").write_text("{")
    states = {Path(run["folder"]).name: run["state"] for run in run_folders.runs_in(tmp_path)}
    assert "schema 0, this edgekd reads schema 1" in states["older"]
    assert states["half"].endswith("'name' is missing. Write it anew with: edgekd run CONFIG")
    assert states["hollow"] == "unreadable: report.json lacks 'path'"
    assert states["torn"].startswith("unreadable: ")


def test_only_runs_are_listed_the_newest_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(tmp_path / "old", date="2026-01-01T10:00:00+00:00", name="old")
    write_report(tmp_path / "new", date="2026-02-01T10:00:00+00:00", name="new")
    write_events(tmp_path / "begun", STARTED)
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("no run")
    rows = printing.listing("runs", tmp_path)
    assert [Path(row["folder"]).name for row in rows] == ["new", "old", "begun"]
    json.dumps(rows)
    printing.print_runs(rows)
    shown = capsys.readouterr().out
    assert "81.2% (79.4 to 82.8%)" in shown
    assert "FAILED: accuracy floor" in shown
    assert printing.listing("runs", tmp_path / "none") == []


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run folder\. Expected one with a report\.json"):
        run_folders.existing(tmp_path)
    with pytest.raises(UsageError, match=r"none: no such folder"):
        run_folders.existing(tmp_path / "none")


def test_test_images_are_the_same_whatever_their_order() -> None:
    same = run_folders.digest_of_test([("a", "cat"), ("b", "dog")])
    assert run_folders.digest_of_test([("b", "dog"), ("a", "cat")]) == same
    assert run_folders.digest_of_test([("a", "dog"), ("b", "dog")]) != same


def test_a_folder_that_cannot_be_written_is_reported_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_report(tmp_path / "sent")

    def refused(content: dict[str, Any], folder: Path) -> None:
        raise DiskError(f"{folder}: cannot be written (Read-only file system)")

    monkeypatch.setattr(reports, "write", refused)
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exception is None
    assert "81.2%" in done.stdout
    assert "not written anew" in done.stderr
    page = tmp_path / "elsewhere.html"
    done = CliRunner().invoke(app, ["report", str(folder), "--out", str(page)])
    assert done.stderr == ""
    assert "elsewhere.html" in done.stdout.replace("\n", "")
    assert page.read_text().startswith("<!doctype html>")
    assert [path.name for path in folder.iterdir()] == ["report.json"]

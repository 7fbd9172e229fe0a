"""caption, distill, prune, export and quantize: what each runs, says, and leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from edgekd.cli import app
from edgekd.errors import EdgeKDError, UsageError
from tests.unit.edgekd.fake_line import EVERY, FakeLine

TO_TARGETS = ["validate", "caption", "filter", "audit", "targets"]
TRAINED = [*TO_TARGETS, "distill", "baseline", "prune"]


class Commands:
    """The command line in this process, on the line with acts of two lines."""

    def __init__(self, line: FakeLine, base: Path):
        self.line = line
        self.folder = line.folder
        self.config = base / "c.yaml"
        values = {"data": {"folder": str(line.images)}, "out": str(line.folder)}
        self.config.write_text(yaml.safe_dump(values))

    def text(self, *words: str | Path) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        if done.exception is not None:
            raise done.exception
        return done.stdout

    def json(self, *words: str | Path) -> Any:
        return json.loads(self.text(*words, "--json"))

    def ran(self, *words: str | Path) -> list[str]:
        return [stage["stage"] for stage in self.json(*words)["stages"] if not stage["reused"]]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Commands:
    return Commands(FakeLine(monkeypatch, tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("command", "stages"),
    [
        ("caption", TO_TARGETS),
        ("distill", [*TO_TARGETS, "distill"]),
        ("prune", [*TO_TARGETS, "distill", "prune"]),  # the baseline is nothing to it
        ("quantize", [*TRAINED, "export", "quantize"]),
        ("export", [*TRAINED, "export", "quantize", "evaluate"]),
    ],
)
def test_each_does_what_is_missing_up_to_it(
    commands: Commands, command: str, stages: list[str]
) -> None:
    planned = commands.json(command, commands.config, "--dry-run")
    assert [stage["stage"] for stage in planned["stages"]] == stages
    assert not commands.folder.exists()
    assert commands.ran(command, commands.config) == stages
    assert commands.ran(command, commands.folder) == []


def test_one_after_the_other_on_the_run_folder_is_the_whole_line(commands: Commands) -> None:
    ran = commands.ran("caption", commands.config)
    for command in ("distill", "prune", "quantize", "export"):
        ran += commands.ran(command, commands.folder)
    assert sorted(ran) == sorted(EVERY[: EVERY.index("evaluate") + 1])
    assert commands.line.run() == EVERY[EVERY.index("check") :]


def test_it_says_what_it_reused_did_left_and_what_comes_next(commands: Commands) -> None:
    commands.text("caption", commands.config)
    lines = commands.text("distill", commands.folder, "--set", "distill.steps=9").splitlines()
    assert lines[0] == "reused: validate, caption, filter, audit, targets"
    assert lines[1].startswith("done: distill (")
    assert lines[2].startswith(f"result: {commands.folder / 'checkpoints/student.safetensors'} (")
    assert lines[3] == f"Next: edgekd prune {commands.folder}"
    assert "steps: 9" in (commands.folder / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("command", "following"),
    [
        ("caption", "distill"),
        ("distill", "prune"),
        ("prune", "export"),
        ("quantize", "export"),
        ("export", "run"),
    ],
)
def test_next(commands: Commands, command: str, following: str) -> None:
    said = commands.json(command, commands.config)["next"]
    assert said == f"edgekd {following} {commands.folder}"


def test_without_pruning_the_export_comes_next(commands: Commands) -> None:
    words = ("--set", "prune.enabled=false")
    assert commands.json("distill", commands.config, *words)["next"].startswith("edgekd export")
    with pytest.raises(UsageError, match=r"prune: the config leaves this stage out\. Say --set"):
        commands.text("prune", commands.config, *words)


def test_calibrating_anew_keeps_the_training_and_the_fp32_files(commands: Commands) -> None:
    commands.line.run()
    words = ("--set", "export.calibration_images=7")
    assert commands.ran("quantize", commands.folder, *words) == ["quantize"]


def test_another_folder_starts_afresh_and_leaves_the_first_alone(
    commands: Commands, tmp_path: Path
) -> None:
    commands.text("caption", commands.config)
    before = (commands.folder / "config.yaml").read_text()
    other = tmp_path / "other"
    assert commands.ran("caption", commands.folder, "--out", other) == TO_TARGETS
    assert (commands.folder / "config.yaml").read_text() == before
    assert (other / "targets" / "targets.npz").is_file()


def test_a_dry_run_tells_and_writes_nothing(commands: Commands) -> None:
    commands.text("caption", commands.config)
    before = sorted(path.stat().st_mtime_ns for path in commands.folder.rglob("*"))
    words = ("distill", commands.folder, "--set", "filter.min_confidence=0.5", "--dry-run")
    text = commands.text(*words)
    assert "filter     runs: filter.min_confidence: 0.05 -> 0.5" in text
    assert "targets    runs if filter leaves something else than before" in text
    assert "distill    runs: it has not run yet" in text
    assert sorted(path.stat().st_mtime_ns for path in commands.folder.rglob("*")) == before


def test_an_error_in_a_stage_is_an_error_of_the_command(commands: Commands) -> None:
    def broken() -> None:
        raise EdgeKDError("no teacher")

    commands.line.act["caption"] = broken
    with pytest.raises(EdgeKDError, match="no teacher"):
        commands.text("distill", commands.config)

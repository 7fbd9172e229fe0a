"""The line itself, with stages of three lines: order, keys, reuse, stops."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd import pipeline
from edgekd.config import parse
from edgekd.errors import (
    ConfigError,
    DiskError,
    EdgeKDError,
    Interrupted,
    RunLockedError,
    UsageError,
)
from edgekd.stages import Run, RunConfig, Stage
from edgekd.store import RunStore, read_json, write_text


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.finished: list[tuple[str, bool]] = []
        self.messages: list[str] = []

    def stage_started(self, stage: str, number: int, total: int) -> None: ...
    def stage_progress(self, done: int, total: int, what: str) -> None: ...
    def stage_finished(self, stage: str, seconds: float, reused: bool) -> None:
        self.finished.append((stage, reused))

    def message(self, text: str) -> None:
        self.messages.append(text)


class Line:
    """Two stages: `first` writes the run's name, `second` repeats what `first` wrote."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path):
        self.folder = folder
        self.first: Callable[[Run], str] = lambda current: current.config.name
        stages = (
            Stage(
                "first",
                1,
                lambda current: {"config": {"name": current.config.name}},
                self._first,
                leaves=("first.txt",),
            ),
            Stage(
                "second", 1, lambda current: {"files": current.sha256("first.txt")}, self._second
            ),
        )
        monkeypatch.setattr(pipeline, "STAGES", stages)

    def run(self, until: str | None = None, **values: Any) -> tuple[dict[str, Any], Heard]:
        heard = Heard()
        config = parse(RunConfig, {"data": {"folder": "x"}, "out": str(self.folder)} | values)
        return pipeline.run(config, until, heard), heard

    def _first(self, current: Run, progress: Any) -> tuple[list[Path], Any]:
        path = current.store.path("first.txt")
        write_text(path, self.first(current))
        return [path], None

    def _second(self, current: Run, progress: Any) -> tuple[list[Path], Any]:
        path = current.store.path("second.txt")
        write_text(path, current.store.path("first.txt").read_text() * 2)
        return [path], {"length": 2}


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Line:
    return Line(monkeypatch, tmp_path / "run")


def test_stages_run_once_and_are_reused(line: Line) -> None:
    content, heard = line.run(name="a")
    assert heard.finished == [("first", False), ("second", False)]
    assert (line.folder / "second.txt").read_text() == "aa"
    assert [stage["stage"] for stage in content["stages"]] == ["first", "second"]
    assert content["stages"][0]["seconds"] >= 0
    assert content["stages"][0]["peak_memory_mb"] > 1
    _, heard = line.run(name="a")
    assert heard.finished == [("first", True), ("second", True)]


def test_a_changed_config_runs_what_depends_on_it(line: Line) -> None:
    line.run(name="a")
    _, heard = line.run(name="b")
    assert heard.finished == [("first", False), ("second", False)]
    assert (line.folder / "second.txt").read_text() == "bb"
    _, heard = line.run(name="b", report={"currency": "EUR"})
    assert heard.finished == [("first", True), ("second", True)]


def test_a_stage_whose_result_is_the_same_file_does_not_start_the_next(line: Line) -> None:
    line.first = lambda current: "same"
    line.run(name="a")
    _, heard = line.run(name="b")
    assert heard.finished == [("first", False), ("second", True)]


def test_an_edited_output_is_used_and_a_lost_one_made_again(line: Line) -> None:
    line.run(name="a")
    (line.folder / "first.txt").write_text("edited")
    _, heard = line.run(name="a")
    assert heard.finished == [("first", True), ("second", False)]
    assert (line.folder / "second.txt").read_text() == "editededited"
    (line.folder / "second.txt").unlink()
    _, heard = line.run(name="a")
    assert heard.finished == [("first", True), ("second", False)]


def test_an_edited_output_is_kept_aside_when_its_stage_runs_again(line: Line) -> None:
    line.run(name="a")
    (line.folder / "first.txt").write_text("edited")
    _, heard = line.run(name="b")
    assert (line.folder / "first.txt").read_text() == "b"
    assert (line.folder / "first.edited.txt").read_text() == "edited"
    assert heard.messages == [
        "first.txt was edited and its stage 'first' must run again: "
        "your version is kept as first.edited.txt"
    ]


def test_a_second_edit_does_not_cost_the_first(line: Line) -> None:
    line.run(name="a")
    for text, name in (("one", "b"), ("two", "c"), ("two", "d")):
        (line.folder / "first.txt").write_text(text)
        line.run(name=name)
    assert (line.folder / "first.edited.txt").read_text() == "one"
    assert (line.folder / "first.edited.2.txt").read_text() == "two"
    assert not (line.folder / "first.edited.3.txt").exists()


def test_an_edit_that_no_later_stage_would_read_does_not_count(line: Line) -> None:
    line.run(name="a")
    (line.folder / "second.txt").write_text("edited")
    _, heard = line.run(name="a")
    assert heard.finished == [("first", True), ("second", False)]
    assert (line.folder / "second.txt").read_text() == "aa"
    assert (line.folder / "second.edited.txt").read_text() == "edited"


def test_an_emptied_output_is_made_again_and_said(line: Line) -> None:
    line.run(name="a")
    (line.folder / "first.txt").write_text("")
    _, heard = line.run(name="a")
    assert heard.finished == [("first", False), ("second", True)]
    assert heard.messages == ["first.txt is damaged (empty): its stage 'first' runs again"]


def test_what_a_stopped_repeat_left_is_no_edit(line: Line) -> None:
    """The record is of name a, the file of name b: neither key may find it as its own."""
    line.run(name="a")

    def stopped(current: Run) -> str:
        write_text(current.store.path("first.txt"), "half of b")
        raise KeyboardInterrupt

    line.first = stopped
    with pytest.raises(Interrupted):
        line.run(name="b")
    line.first = lambda current: current.config.name
    _, heard = line.run(name="a")
    assert heard.finished == [("first", False), ("second", True)]
    assert heard.messages == []
    assert (line.folder / "first.txt").read_text() == "a"


def test_a_repeat_that_was_stopped_before_it_wrote_costs_nothing(line: Line) -> None:
    line.run(name="a")

    def stopped(current: Run) -> str:
        raise KeyboardInterrupt

    line.first = stopped
    with pytest.raises(Interrupted):
        line.run(name="b")
    _, heard = line.run(name="a")
    assert heard.finished == [("first", True), ("second", True)]


@pytest.mark.parametrize("kind", [RuntimeError, EdgeKDError])
def test_a_full_disk_behind_another_error_is_one_line(kind: type[Exception], line: Line) -> None:
    def full(current: Run) -> str:
        raise kind("converter") from OSError(28, "No space left on device", "/x/y")

    line.first = full
    with pytest.raises(DiskError) as caught:
        line.run()
    assert str(caught.value) == (
        "stage 'first': /x/y: cannot be written (No space left on device). Free some space, "
        "then start again: finished work is kept."
    )


def test_a_run_folder_that_goes_while_the_run_is_at_work(line: Line) -> None:
    def removed(current: Run) -> str:
        shutil.rmtree(line.folder)
        return "a"

    line.first = removed
    with pytest.raises(DiskError, match="was removed or replaced while the run was at work"):
        line.run()
    assert not (line.folder / "stages").exists()
    line.first = lambda current: "a"
    _, heard = line.run()
    assert heard.finished == [("first", False), ("second", False)]


def test_until_stops_after_a_stage(line: Line) -> None:
    content, heard = line.run(until="first")
    assert heard.finished == [("first", False)]
    assert content["folder"] == str(line.folder)
    assert not (line.folder / "second.txt").exists()
    with pytest.raises(UsageError, match=r"--until sekond: expected one of first, second"):
        line.run(until="sekond")


def test_a_stop_keeps_what_was_finished_and_says_how_to_go_on(line: Line) -> None:
    line.run(until="first", name="a")
    line.first = lambda current: current.config.name

    def stopped(current: Run, progress: Any) -> tuple[list[Path], Any]:
        raise KeyboardInterrupt

    first, second = pipeline.STAGES
    pipeline.STAGES = (first, Stage("second", 1, second.inputs, stopped))  # type: ignore[misc]
    with pytest.raises(Interrupted) as caught:
        line.run(name="a")
    assert str(caught.value) == (
        "stopped in stage 'second'; what was finished is kept. Go on with the same command"
    )
    assert caught.value.exit_code == 130
    pipeline.STAGES = (first, second)  # type: ignore[misc]
    _, heard = line.run(name="a")
    assert heard.finished == [("first", True), ("second", False)]


def test_an_error_is_told_and_leaves_no_finished_stage(line: Line) -> None:
    def broken(current: Run) -> str:
        raise ValueError("broken")

    line.first = broken
    with pytest.raises(ValueError, match="broken"):
        line.run()
    events = (line.folder / "events.jsonl").read_text().splitlines()
    last = json.loads(events[-1])
    assert (last["event"], last["stage"], last["error"]) == ("run failed", "first", "broken")
    assert RunStore(line.folder).stage_record("first") is None


def test_a_folder_at_work_is_refused_and_left_as_it_is(line: Line) -> None:
    line.run(name="a")
    before = (line.folder / "config.yaml").read_text()
    with RunStore(line.folder).lock(), pytest.raises(RunLockedError):
        line.run(name="b")
    assert (line.folder / "config.yaml").read_text() == before


def test_the_resolved_config_lies_in_the_folder(line: Line) -> None:
    line.run(name="a", seed=3)
    text = (line.folder / "config.yaml").read_text()
    assert "name: a\n" in text
    assert "seed: 3\n" in text
    assert "captions_per_image: 3\n" in text  # a default, written out


def test_the_record_of_a_stage_names_its_files(line: Line) -> None:
    line.run(name="a")
    record = read_json(line.folder / "stages/second.json")
    assert record["result"] == {"length": 2}
    assert list(record["outputs"]) == ["second.txt"]


def test_switched_off_stages_are_not_planned() -> None:
    values = {"data": {"folder": "x"}}
    every = [stage.name for stage in pipeline.planned(parse(RunConfig, values))]
    off = {name: {"enabled": False} for name in ("baseline", "prune", "bench")}
    fewer = [stage.name for stage in pipeline.planned(parse(RunConfig, values | off))]
    assert [name for name in every if name not in fewer] == ["baseline", "prune", "bench"]
    with pytest.raises(
        UsageError, match=r"prune: the config leaves .* Say --set prune.enabled=true"
    ):
        pipeline.planned(parse(RunConfig, values | off), "prune")


def test_faults_of_every_section_are_listed_together() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(RunConfig, {
            "name": "a/b",
            "data": {"classes": ["a", "a"]},
            "check": {"budget": "0MB", "min_accuracy": 1.5},
            "prune": {"macs_ratio": 1},
            "distill": {"image_size": 60},
            "export": {"formats": ["tflight"]},
        })  # fmt: skip
    keys = {fault.split(":")[0] for fault in caught.value.faults}
    assert keys == {
        "name", "data.folder", "data.classes", "check.budget", "check.min_accuracy",
        "prune.macs_ratio", "distill.image_size", "export.formats.0",
    }  # fmt: skip


def test_the_run_folder_is_the_configs_or_named_after_it() -> None:
    assert parse(RunConfig, {"name": "a", "data": {"folder": "x"}}).folder == Path("runs/a")
    values = {"name": "a", "out": "/tmp/b", "data": {"folder": "x"}}
    assert parse(RunConfig, values).folder == Path("/tmp/b")

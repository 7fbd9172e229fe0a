"""`targets.temperatures: student`: short trainings choose whose captions count."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgekd.store import read_json
from tests.e2e.small_runs import Finished, edgekd, last_run

ON = ("--set", "targets.temperatures=student", "--set", "targets.sweep_steps=2")


@pytest.fixture(scope="module")
def swept(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run, with the search between its captions and its targets."""
    folder = finished.copy(tmp_path_factory.mktemp("swept") / "run")
    shutil.rmtree(folder / "cache")
    done = edgekd("run", finished.config, "--out", folder, *ON)
    assert done.returncode == 0, done.stderr
    assert "temperatures: 7 of 7 tried" in done.stderr
    return folder


def test_the_best_of_the_short_trainings_makes_the_targets(swept: Path, finished: Finished) -> None:
    found = read_json(swept / "stages/sweep.json")["result"]
    best = min(found["candidates"], key=lambda each: each["nll"])
    assert found["chosen"] == best["temperatures"]
    assert len({each["nll"] for each in found["candidates"]}) > 1
    heard = read_json(swept / "stages/targets.json")["result"]["provenance"]["heard"]
    assert heard is None or sorted(map(float, heard)) == sorted(found["chosen"])
    with (
        np.load(swept / "targets/targets.npz") as now,
        np.load(finished.folder / "targets/targets.npz") as before,
    ):
        same = np.array_equal(now["captions_only"], before["captions_only"])
        assert same == (len(found["chosen"]) == 3)


def test_it_is_in_the_report_and_not_made_again(swept: Path, finished: Finished) -> None:
    report = json.loads((swept / "report.json").read_text())
    assert len(report["captions"]["sweep"]["candidates"]) == 7
    for kind in ("html", "md"):
        assert "log likelihood on tune" in (swept / f"report.{kind}").read_text()
    again = edgekd("run", finished.config, "--out", swept, *ON)
    assert again.returncode == 0, again.stderr
    assert "sweep" in last_run(swept)["reused"]


def test_the_live_check_leaves_out_the_same_captions(swept: Path, finished: Finished) -> None:
    done = edgekd("caption", finished.config, "--out", swept, *ON, "--check", "3")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_temperature_that_nobody_spoke_at_is_not_tried(
    finished: Finished, tmp_path: Path
) -> None:
    folder = finished.copy(tmp_path / "run")
    more = ("--set", "caption.captions_per_image=2", "--set", "report.audit_images=0")
    done = edgekd("run", finished.config, "--out", folder, *ON, *more, "--until", "targets")
    assert done.returncode == 0, done.stderr
    assert "temperatures: 3 of 3 tried" in done.stderr


def test_without_labels_on_tune_it_ends_before_any_work(finished: Finished) -> None:
    done = edgekd("validate", finished.config, *ON, "--set", "data.use_labels=false")
    assert done.returncode in (1, 2)
    assert "0 of its images carry a label. Expected 20" in done.stderr


def test_scores_alone_leave_nothing_to_choose(finished: Finished) -> None:
    done = edgekd("validate", finished.config, *ON, "--set", "targets.evidence=scores")
    assert done.returncode == 2
    assert "evidence scores hears none" in done.stderr

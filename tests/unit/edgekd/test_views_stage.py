"""The stage of views: only where it is asked for, and again only for what it depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd import stages
from edgekd.errors import UsageError
from edgekd.pipeline import planned
from edgekd.plan import plan
from tests.unit.edgekd.fake_line import EVERY, FakeLine

VIEWS = "targets.views=2"


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeLine:
    return FakeLine(monkeypatch, tmp_path)


def test_without_views_there_is_no_such_stage(line: FakeLine) -> None:
    assert "views" not in line.run()
    with pytest.raises(
        UsageError, match=r"views: the config leaves this stage out\. Say --set tar"
    ):
        planned(line.config(), "views")


def test_views_run_between_targets_and_distill(line: FakeLine) -> None:
    ran = line.run(VIEWS, until="distill")
    assert ran == ["validate", "caption", "filter", "audit", "targets", "views", "distill"]
    assert line.run(VIEWS, until="distill") == []


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("distill.augment=[{flip: 0}]", True),
        ("distill.image_size=32", True),
        ("targets.views=3", True),
        ("targets.top_k=1", True),
        ("distill.steps=3", False),
        ("targets.neighbours=3", False),
        ("filter.min_confidence=0.2", False),
        ("prune.recovery_steps=3", False),
    ],
)
def test_what_the_views_depend_on(line: FakeLine, change: str, again: bool) -> None:
    line.run(VIEWS)
    assert ("views" in line.run(VIEWS, change)) is again


def test_other_captions_cost_no_second_look_at_views(line: FakeLine) -> None:
    line.run(VIEWS, until="distill")
    ran = line.run(VIEWS, "filter.min_confidence=0.2", until="distill")
    assert ran == ["filter", "audit", "targets", "distill"]


def test_other_views_are_another_training_but_no_other_baseline(line: FakeLine) -> None:
    line.run(VIEWS)
    ran = line.run("targets.views=3")
    assert {"distill", "prune"} <= set(ran)
    assert "baseline" not in ran
    line.run()
    assert "distill" in line.run(VIEWS)


def test_a_dry_run_counts_the_views(line: FakeLine) -> None:
    found = {stage["stage"]: stage for stage in plan(line.config(VIEWS))["stages"]}
    # 6 training images, two views of each of one candidate, by one teacher.
    assert (found["views"]["units"], found["views"]["of"]) == (12, "views")
    assert found["views"]["images"] == 6
    assert list(found) == [s.name for s in stages.STAGES if s.name in {*EVERY, "views"}]

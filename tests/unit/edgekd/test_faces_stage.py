"""The stage of faces: only where it is asked for, before anybody looks, and no reason to caption."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from edgekd.errors import MissingExtraError, UsageError
from edgekd.extras import ensure
from edgekd.pipeline import planned
from edgekd.plan import plan
from tests.unit.edgekd.fake_line import FakeLine

FACES = "caption.count_faces=true"


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeLine:
    return FakeLine(monkeypatch, tmp_path)


def test_it_runs_where_asked_and_changes_nothing_but_the_report(line: FakeLine) -> None:
    with pytest.raises(UsageError, match=r"faces: .* Say --set caption\.count_faces=true"):
        planned(line.config(), "faces")
    assert "faces" not in line.run()
    assert line.run(FACES) == ["faces", "report"]
    assert line.run(FACES, "caption.temperatures=[0.7]")[:1] == ["caption"]
    assert "faces" not in line.run(FACES, "seed=1", "data.licence=MIT")


def test_it_comes_before_the_teacher_and_is_counted_beforehand(line: FakeLine) -> None:
    (found,) = (s for s in plan(line.config(FACES))["stages"] if s["stage"] == "faces")
    assert (found["units"], found["of"], found["images"]) == (12, "images", 12)
    assert line.run(FACES, until="caption") == ["validate", "faces", "caption"]


def test_a_missing_detector_is_told_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=r"^presidio_analyzer, skimage: .* 'edgekd\[privacy\]'"
    ):
        ensure("privacy")


def test_private_words_need_presidio_before_the_run(
    line: FakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    lacking = lambda name: None if name == "presidio_analyzer" else found(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", lacking)
    with pytest.raises(MissingExtraError, match=r"^presidio_analyzer: .* 'edgekd\[privacy\]'"):
        line.run("caption.private=redact")
    assert line.run("caption.private=keep", until="caption") == ["validate", "caption"]

"""The figures of the pages come from benchmarks/results, and nobody typed them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import docs_figures

CLAIM = {
    "date": "2026-11-25",
    "seeds": [0, 1, 2],
    "machine": {"cpu": "A <fast> one", "cores": 2},
    "data": {"counts": {"test": 2000}},
    "figures": {
        "accuracy": {
            "value": 0.8125,
            "low": 0.7961,
            "high": 0.8299,
            "n": 2000,
            "per_seed": [0.8, 0.8125, 0.825],
        },
        "gain": {"value": 0.0915, "low": 0.071, "high": 0.112},
        "loss": {"value": -0.004, "low": -0.02, "high": 0.012},
        "teacher_bytes": {"value": 7_502_656},
        "student_bytes": {"value": 1_297_264},
        "smaller": {"value": 5.77},
        "seconds": {"value": 465.2},
    },
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "demo.json").write_text(json.dumps(CLAIM))
    return tmp_path


def _place(name: str, form: str, text: str = "–") -> str:
    return f"<!-- figure {name} {form} -->{text}<!-- /figure -->"


@pytest.mark.parametrize(
    ("name", "form", "expected"),
    [
        ("demo.accuracy", "percent", "81.2%"),  # 81.25 is a tie in binary: rounded to even
        ("demo.accuracy", "interval", "79.6 to 83.0%"),
        ("demo.accuracy", "per_seed", "80.0, 81.2, 82.5"),
        ("demo.accuracy", "n", "2,000"),
        ("demo.gain", "points", "+9.2"),
        ("demo.gain", "points_interval", "+7.1 to +11.2"),
        ("demo.loss", "points", "-0.4"),
        ("demo.loss", "points_interval", "-2.0 to +1.2"),
        ("demo.student_bytes", "megabytes", "1.30 MB"),
        ("demo.teacher_bytes/demo.student_bytes", "ratio", "5.8"),
        ("demo.smaller", "ratio", "5.8"),
        ("demo.seconds", "minutes", "8 minutes"),
        ("demo.seeds", "count", "3"),
        ("demo.date", "text", "2026-11-25"),
        ("demo.machine.cpu", "text", "A &lt;fast> one"),
        ("demo.data.counts.test", "text", "2,000"),
        ("later.accuracy", "percent", "–"),
        ("demo.teacher_bytes/later.student_bytes", "ratio", "–"),
    ],
)
def test_a_figure_is_written_in_its_form(root: Path, name: str, form: str, expected: str) -> None:
    assert docs_figures.written(name, form, root / "results") == expected


def test_pages_are_rewritten_and_then_pass_the_check(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme, page = root / "README.md", root / "docs" / "page.md"
    readme.write_text(f"It answers {_place('demo.accuracy', 'percent')} right, not 99.9%.\n")
    page.write_text(f"| {_place('demo.gain', 'points')} | {_place('demo.seeds', 'count', '3')} |\n")
    results = root / "results"

    assert docs_figures.main(["--check"], root, results) == 1
    said = capsys.readouterr().err
    assert "README.md: demo.accuracy: – -> 81.2%" in said
    assert "page.md: demo.gain: – -> +9.2" in said
    assert "demo.seeds" not in said
    assert "–" in readme.read_text()  # a check writes nothing

    assert docs_figures.main([], root, results) == 0
    assert readme.read_text() == (
        f"It answers {_place('demo.accuracy', 'percent', '81.2%')} right, not 99.9%.\n"
    )
    assert docs_figures.main(["--check"], root, results) == 0

    (results / "demo.json").unlink()
    assert docs_figures.main(["--check"], root, results) == 1
    assert "81.2% -> –" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            _place("demo.accurcy", "percent"),
            "README.md: demo.accurcy: demo.json has no such figure",
        ),
        (_place("demo.accuracy", "pct"), "unknown form 'pct', expected one of percent, interval"),
        (_place("demo.student_bytes", "interval"), "cannot be written as 'interval'"),
        (_place("demo.machine", "text"), "cannot be written as 'text'"),
        (_place("demo.seeds", "ratio"), "cannot be written as 'ratio'"),
        ("<!-- figure demo.accuracy percent -->81.2%", "README.md: a figure is not whole"),
        ("\n" + _place("demo.accuracy", "percent"), "demo.accuracy: a line begins with it"),
    ],
)
def test_a_place_that_cannot_be_filled_is_named(
    root: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"It is {text}\n"
    (root / "README.md").write_text(text)
    assert docs_figures.main([], root, root / "results") == 1
    assert message in capsys.readouterr().err
    assert (root / "README.md").read_text() == text


def test_the_figures_of_this_repository_are_those_of_its_results() -> None:
    assert docs_figures.main(["--check"]) == 0

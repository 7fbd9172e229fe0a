"""Two runs side by side: what is compared, what is only shown, what is missing."""

from __future__ import annotations

import copy
import json
import os
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from edgekd import metrics
from edgekd.compare import compare
from edgekd.compare_page import print_comparison, render_html
from edgekd.errors import EdgeKDError, UsageError

EXAMPLE = json.loads((Path(__file__).parents[2] / "data" / "report_example.json").read_text())
FILE = "student_pruned.int8.tflite"
IDS = ["c", "a", "b", "d"]
LABELS = [0, 1, 1, 0]


def write_run(
    folder: Path,
    name: str,
    right: list[bool] | None = None,
    ids: list[str] = IDS,
    config: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A run as it is sent: report, and where asked the answers of one file and the config."""
    report = copy.deepcopy(EXAMPLE) | {"name": name} | changes
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report))
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if right is not None:
        (folder / "exports").mkdir()
        answers = [label if ok else 1 - label for label, ok in zip(LABELS, right, strict=True)]
        logits = np.eye(len(EXAMPLE["task"]["classes"]))[answers]
        np.savez(
            folder / "exports" / "logits.npz",
            **{"test/ids": ids, "test/labels": LABELS, f"{FILE}/test": logits},
        )
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """The second is right where the first is wrong on a and d; the images stand in another order."""
    first = write_run(
        tmp_path / "first", "first", [True, False, True, False],
        config={"schema": 1, "out": "x", "distill": {"lr": [0.003], "steps": 10}},
    )  # fmt: skip
    second = write_run(
        tmp_path / "second", "second", [True] * 4,
        config={"schema": 1, "out": "y", "distill": {"lr": [0.01], "steps": 10}},
    )  # fmt: skip
    stored = dict(np.load(second / "exports" / "logits.npz"))
    turned = {key: value[::-1] for key, value in stored.items()}
    np.savez(second / "exports" / "logits.npz", **turned)
    return [first, second]


def chosen_difference(comparison: dict[str, Any]) -> dict[str, Any]:
    return next(d for d in comparison["differences"] if d["are_chosen"])


def test_accuracies_on_the_same_images_have_a_paired_interval(pair: list[Path]) -> None:
    comparison = compare(pair)
    accuracy = chosen_difference(comparison)["accuracy"]
    # By id: a and d are gained, b and c are right in both. Two of four: +.5.
    expected = metrics.paired_difference_interval(
        np.array([True, True, True, True]), np.array([False, True, True, False])
    )
    assert (accuracy["value"], accuracy["low"], accuracy["high"]) == expected
    assert accuracy["value"] == 0.5
    assert accuracy["why"] is None
    assert comparison["warnings"] == []


def test_only_keys_that_differ_are_shown(pair: list[Path]) -> None:
    assert compare(pair)["config"] == [{"key": "distill.lr", "values": [[0.003], [0.01]]}]


def test_other_test_images_are_shown_and_not_compared(pair: list[Path], tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", "other", [True] * 4, ids=["a", "b", "c", "e"])
    comparison = compare([pair[0], other])
    accuracy = chosen_difference(comparison)["accuracy"]
    assert (accuracy["value"], accuracy["why"]) == (None, "other test images")
    assert any("other test images (2,000 and 2,000)" in w for w in comparison["warnings"])
    (row,) = [row for row in comparison["files"] if row["file"] == FILE]
    assert [cell["accuracy"]["value"] for cell in row["cells"]] == [0.812, 0.812]


def test_the_same_images_with_another_label_are_other_test_images(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, name, [True] * 4) for name in ("one", "two")]
    stored = dict(np.load(runs[1] / "exports" / "logits.npz"))
    np.savez(runs[1] / "exports" / "logits.npz", **stored | {"test/labels": [1, 1, 1, 0]})
    assert chosen_difference(compare(runs))["accuracy"]["why"] == "other test images"


def test_report_json_alone_says_what_is_missing(tmp_path: Path) -> None:
    alone = [write_run(tmp_path / name, name) for name in ("one", "two")]
    comparison = compare(alone)
    accuracy = chosen_difference(comparison)["accuracy"]
    assert accuracy["why"] == "unknown whether the test images are the same"
    said = "\n".join(comparison["warnings"])
    for words in ("one: no readable config.yaml", "one: no exports/logits.npz", "two: no readable"):
        assert words in said
    # A report that names its test images is compared, without an interval.
    named = [
        write_run(tmp_path / name, name, test_digest="abc", labels=EXAMPLE["labels"])
        for name in ("three", "four")
    ]
    accuracy = chosen_difference(compare(named))["accuracy"]
    assert (accuracy["value"], accuracy["low"]) == (0.0, None)
    assert accuracy["why"] == "no interval: exports/logits.npz is not in both"


def test_latencies_of_other_devices_are_shown_with_theirs(pair: list[Path]) -> None:
    assert chosen_difference(compare(pair))["latency_ms"] == 0.0
    path = pair[1] / "report.json"
    report = json.loads(path.read_text())
    for row in (row for row in report["rows"] if row["latency"]):
        row["latency"]["device"] = "phone"
    path.write_text(json.dumps(report))
    comparison = compare(pair)
    assert chosen_difference(comparison)["latency_ms"] is None
    (row,) = [row for row in comparison["files"] if row["file"] == FILE]
    assert row["cells"][1]["latency"]["device"] == "phone"
    assert any("latencies of other devices" in warning for warning in comparison["warnings"])


def test_a_half_run_and_a_damaged_file_leave_gaps(pair: list[Path], tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.yaml").write_text("distill: {lr: [0.003], steps: 10}\n")
    (pair[1] / "exports" / "logits.npz").write_bytes(b"PK broken")
    comparison = compare([*pair, half])
    assert any("half: no report.json (not begun)" in w for w in comparison["warnings"])
    assert comparison["files"][0]["cells"][2] is None
    assert [d["candidate"] for d in comparison["differences"] if d["are_chosen"]] == ["second"]


def test_a_report_of_another_schema_is_refused_by_name(pair: list[Path], tmp_path: Path) -> None:
    newer = write_run(tmp_path / "newer", "newer", schema=7)
    with pytest.raises(EdgeKDError, match=r"newer/report\.json: schema 7, this edgekd reads"):
        compare([pair[0], newer])
    with pytest.raises(UsageError, match="no such folder"):
        compare([pair[0], tmp_path / "none"])


def test_runs_of_one_name_are_called_after_their_folders(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / folder, "demo") for folder in ("a", "b")]
    assert [run["label"] for run in compare(runs)["runs"]] == ["a", "b"]


def test_nothing_is_written_beside_a_run_that_was_sent(pair: list[Path]) -> None:
    def listing() -> list[tuple[str, int]]:
        return [
            (str(path), path.stat().st_mtime_ns)
            for folder in pair
            for path in sorted(folder.rglob("*"))
        ]

    before = listing()
    for folder in pair:
        os.chmod(folder, 0o555)
    compare(pair)
    assert listing() == before


def test_page_and_terminal_show_the_same(pair: list[Path]) -> None:
    pair[1].joinpath("config.yaml").write_text("distill: {arch: '<script>alert(1)</script>'}\n")
    comparison = json.loads(json.dumps(compare(pair)))
    page = render_html(comparison)
    assert "+50.0 points" in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    console = Console(file=StringIO(), width=160)
    print_comparison(comparison, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("+50.0 points", "distill.lr", FILE, "81.2% (79.4 to 82.8%)"):
        assert words in shown

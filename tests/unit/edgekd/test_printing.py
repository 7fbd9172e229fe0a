"""What the commands print."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd import printing
from edgekd.errors import RunLockedError, UsageError
from edgekd.predictor import Prediction
from edgekd.records import BenchmarkResult
from edgekd.store import RunStore
from export.budget import CheckResult, TensorSize
from students.catalogue import STUDENTS

SIZE = {"name": "m.tflite", "passed": True, "size": 1_500_000, "sizeLimit": 2_000_000,
        "unit": "bytes"}  # fmt: skip
FLOOR = {"name": "accuracy", "passed": False, "size": None, "sizeLimit": 0.9, "unit": "accuracy"}
TENSOR = TensorSize("model/head/;model/conv_stem/weight;", (32, 3, 3, 3), "int8", 864, 0.25)
BENCH = BenchmarkResult(
    model="m.tflite", device="this machine", kind="measured", runtime="litert",
    runtime_version="2.3.0", accelerator="CPU", threads=2, num_runs=50, num_warmup_runs=5,
    latency_ms={"median": 1.25, "avg": 1.5, "p5": 1, "p95": 2, "min": 0.9, "max": 3,
                "init": 4, "first_inference": 5, "warm_up_avg": 1.75},
    memory_mb=None, nodes_delegated=None, nodes_total=7, date="2026-01-01",
)  # fmt: skip


def test_a_passed_check_is_a_line() -> None:
    result = CheckResult(
        path="m.tflite", items=(SIZE,), largest=(TENSOR,), checked="the file m.tflite"
    )
    assert printing.check_text(result).splitlines() == [
        "checked: the file m.tflite",
        "ok   m.tflite: 1.50 MB, budget 2.00 MB",
    ]
    assert printing.check_values(result)["passed"] is True


def test_a_failed_check_names_the_largest_tensors() -> None:
    result = CheckResult(
        path="m.tflite", items=(SIZE, FLOOR), largest=(TENSOR,), checked="the file m.tflite"
    )
    assert printing.check_text(result).splitlines()[1:] == [
        "ok   m.tflite: 1.50 MB, budget 2.00 MB",
        "FAIL accuracy: not measured, floor 0.9",
        "largest tensors:",
        "   25.0%       864 B  int8 32x3x3x3  conv_stem/weight",
    ]
    json.dumps(printing.check_values(result))


def test_a_measured_floor_is_a_share() -> None:
    floor = FLOOR | {"size": 0.87654}
    result = CheckResult(path="m.tflite", items=(floor,), largest=(), checked="x")
    assert "FAIL accuracy: 0.877, floor 0.9" in printing.check_text(result)


def test_bench_says_what_was_measured_and_what_was_not() -> None:
    first, second, third, fourth = printing.bench_text(BENCH).splitlines()
    assert first == "m.tflite: litert 2.3.0, CPU, 2 threads, measured on this machine"
    assert second.startswith("latency ms over 50 runs: median 1.250  avg 1.500")
    assert "init 4.00 ms, first inference 5.00 ms, warm-up average 1.75 ms" in third
    assert fourth == "memory not measured, 7 operators"
    single = printing.bench_text(replace(BENCH, threads=1, memory_mb=12.34))
    assert "1 thread," in single
    assert "memory 12.3 MB" in single


def test_a_prediction_is_a_line() -> None:
    sure = Prediction("a.png", "cat", 0.75, (("cat", 0.75), ("dog", 0.25)))
    assert printing.prediction_line(sure, False) == "a.png: cat 75.0%, dog 25.0%"
    unsure = replace(sure, rejected=True)
    assert printing.prediction_line(unsure, False) == "a.png: unsure (cat 75.0%, dog 25.0%)"
    assert json.loads(printing.prediction_line(unsure, True))["rejected"] is True
    broken = Prediction("b.png", error="cannot be read")
    assert printing.prediction_line(broken, False) == "b.png: cannot be read"
    assert json.loads(printing.prediction_line(sure, True))["top"] == [["cat", 0.75], ["dog", 0.25]]


def test_image_files_of_folders_and_files(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.JPG", "b/notes.txt", "a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = printing.image_files([tmp_path / "a.png", tmp_path / "b"])
    assert [path.name for path in found] == ["a.png", "1.JPG", "2.png"]
    with pytest.raises(UsageError, match=r"no such file or folder"):
        list(printing.image_files([tmp_path / "none"]))


@pytest.mark.parametrize("what", ["students", "teachers", "devices", "stages", "configs", "runs"])
def test_every_listing_is_rows_of_json(what: str, tmp_path: Path) -> None:
    rows = printing.listing(what, tmp_path)
    json.dumps(rows)
    assert rows or what == "runs"


def test_listings_say_what_there_is(tmp_path: Path) -> None:
    students = printing.listing("students", tmp_path)
    assert [row["architecture"].strip() for row in students] == list(STUDENTS)
    stages = [row["stage"] for row in printing.listing("stages", tmp_path)]
    assert stages == [
        "validate", "faces", "caption", "filter", "audit", "sweep", "targets", "views", "distill",
        "baseline", "prune", "export",
        "quantize", "evaluate", "check", "bench", "bundle", "report",
    ]  # fmt: skip


def test_an_unknown_listing_names_the_closest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Closest: 'students'"):
        printing.listing("student", tmp_path)


def test_a_damaged_report_is_a_row_and_not_the_end(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/report.json").write_text("{")
    (row,) = printing.listing("runs", tmp_path)
    assert row["folder"] == str(tmp_path / "bad")
    assert row["state"].startswith("unreadable: ")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    for name, size in {
        "config.yaml": 10, "cache/images.npy": 1000, "logs/export.log": 200,
        "checkpoints/student.safetensors": 300, "checkpoints/student.abc.state": 400,
        "bundle.zip": 50,
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"0" * size)
    return tmp_path


def test_disk_use_shows_and_frees_only_what_can_be_made_again(run_folder: Path) -> None:
    shown = printing.disk_use(run_folder)
    assert shown["parts"] == {
        "bundle.zip": 50, "cache": 1000, "checkpoints": 700, "config.yaml": 10, "logs": 200,
    }  # fmt: skip
    assert (shown["remakeable_bytes"], shown["freed"]) == (1600, False)
    lines = printing.disk_text(shown, freed=False).splitlines()
    assert lines[0].split() == ["1.0", "kB", "cache"]
    assert lines[-1].startswith("1.6 kB can be made again: edgekd clean ")
    assert (run_folder / "cache/images.npy").is_file()
    freed = printing.disk_use(run_folder, free=True)
    assert printing.disk_text(freed, freed=True).splitlines()[-1] == "freed 1.6 kB"
    left = sorted(p.name for p in run_folder.rglob("*") if p.is_file() and p.name != ".lock")
    assert left == ["bundle.zip", "config.yaml", "student.safetensors"]


def test_a_folder_at_work_is_not_freed(run_folder: Path) -> None:
    with RunStore(run_folder).lock(), pytest.raises(RunLockedError):
        printing.disk_use(run_folder, free=True)
    assert (run_folder / "cache/images.npy").is_file()


def test_what_is_no_run_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with pytest.raises(UsageError, match=r"not a run folder"):
        printing.disk_use(tmp_path, free=True)
    assert (tmp_path / "cache").is_dir()

"""The size budget of a file, a bundle and a run folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.errors import EdgeKDError, UsageError
from edgekd.sizes import zipped_size
from export.budget import TensorSize, check_path, count_parameters, largest_tensors
from tests.unit.tiny_models import tiny_onnx, tiny_tflite


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A .tflite with weights [20, 12] (960 bytes) and a bias [20] (80 bytes)."""
    return tiny_tflite(tmp_path / "m.tflite", np.ones((20, 12)), np.ones(20), (1, 2, 2, 3))


def test_a_file_within_its_budget(model: Path) -> None:
    result = check_path(model, "2kB")
    size = model.stat().st_size
    assert result.passed
    assert result.items == (
        {"name": "m.tflite", "passed": True, "size": size, "sizeLimit": 2000, "unit": "bytes"},
    )
    assert result.checked == "the file m.tflite"


def test_the_limit_itself_passes_and_one_byte_less_does_not(model: Path) -> None:
    size = model.stat().st_size
    assert check_path(model, size).passed
    assert not check_path(model, size - 1).passed


def test_the_largest_tensors_come_first_with_their_share(model: Path) -> None:
    size = model.stat().st_size
    result = check_path(model, "0.1kB")
    assert not result.passed
    assert result.largest == (
        TensorSize("weights", (20, 12), "float32", 960, 960 / size),
        TensorSize("bias", (20,), "float32", 80, 80 / size),
    )
    assert largest_tensors(model, top=1) == result.largest[:1]


def test_count_parameters(model: Path, tmp_path: Path) -> None:
    assert count_parameters(model) == 20 * 12 + 20
    assert count_parameters(tiny_onnx(tmp_path / "m.onnx", np.ones((6, 2)))) == 12


def test_zipped_compares_the_size_after_deflate(model: Path) -> None:
    result = check_path(model, "1kB", zipped=True)
    assert result.passed  # 240 equal weights pack well
    assert result.items[0]["size"] == zipped_size(model) < model.stat().st_size
    assert result.checked == "the file m.tflite, zipped"


def test_weights_beside_an_onnx_file_are_counted(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "m.onnx", np.ones((6, 2)), external=True)
    beside = tmp_path / "m.onnx.data"
    expected = path.stat().st_size + beside.stat().st_size
    assert check_path(path, "1MB").items[0]["size"] == expected
    assert largest_tensors(path)[0].share == 48 / expected
    beside.unlink()
    with pytest.raises(EdgeKDError, match=r"keeps weights in m\.onnx\.data, not found"):
        check_path(path, "1MB")


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_bundle_is_checked_whole_and_names_the_tensors_of_its_models(
    model: Path, tmp_path: Path, packing: int
) -> None:
    bundle = tmp_path / "bundle.zip"
    other = tiny_onnx(tmp_path / "m.onnx", np.ones((6, 2)))
    with zipfile.ZipFile(bundle, "w", packing) as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
        archive.write(model, "model.tflite")
        archive.write(other, "model.onnx")
    result = check_path(bundle, "1MB")
    assert [item["name"] for item in result.items] == ["bundle.zip"]
    assert result.items[0]["size"] == bundle.stat().st_size
    assert [(t.name, t.size_bytes) for t in result.largest] == [
        ("model.tflite: weights", 960),
        ("model.tflite: bias", 80),
        ("model.onnx: w", 48),
    ]


def test_a_run_folder_with_a_report_checks_the_chosen_file(tmp_path: Path) -> None:
    run = _run(tmp_path, {"path": "exports/small.tflite", "accuracy": {"value": 0.8}})
    result = check_path(run, "1kB")
    assert result.checked == "small.tflite, the file chosen in report.json"
    assert [item["name"] for item in result.items] == ["exports/small.tflite"]
    assert result.passed


def test_a_run_folder_without_a_report_checks_every_export(tmp_path: Path) -> None:
    run = _run(tmp_path, None)
    (run / "exports" / ".part.onnx").write_bytes(b"half written")
    result = check_path(run, "1kB")
    assert result.checked == "2 files under exports/ (no report.json yet)"
    assert [(item["name"], item["passed"]) for item in result.items] == [
        ("exports/large.tflite", False),
        ("exports/small.tflite", True),
    ]
    assert not result.passed
    assert result.largest[0].size_bytes == 4 * 20 * 12  # of the large file


@pytest.mark.parametrize(
    ("accuracy", "floor", "passed"),
    [
        ({"value": 0.80}, 0.80, True),
        ({"value": 0.79}, 0.80, False),
        (None, 0.10, False),  # not measured is not passed
    ],
)
def test_the_accuracy_floor(
    tmp_path: Path, accuracy: dict[str, float] | None, floor: float, passed: bool
) -> None:
    run = _run(tmp_path, {"path": "exports/small.tflite", "accuracy": accuracy})
    result = check_path(run, "1MB", min_accuracy=floor)
    assert result.items[1] == {
        "name": "accuracy",
        "passed": passed,
        "size": accuracy["value"] if accuracy else None,
        "sizeLimit": floor,
        "unit": "accuracy",
    }
    assert result.passed is passed


def test_a_floor_without_a_report_says_what_to_do(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"needs the report of a run\. Check the run folder"):
        check_path(model, "1MB", min_accuracy=0.5)
    with pytest.raises(UsageError, match=r"the run has none yet. Finish it with: edgekd run"):
        check_path(_run(tmp_path, None), "1MB", min_accuracy=0.5)
    with pytest.raises(UsageError, match="expected a share from 0 to 1, found 78"):
        check_path(model, "1MB", min_accuracy=78)


@pytest.mark.parametrize(
    "headline", [None, {}, {"path": None}, {"path": "exports/small.tflite", "accuracy": 0.8}]
)
def test_a_report_without_a_chosen_file_is_one_clear_error(tmp_path: Path, headline: Any) -> None:
    run = _run(tmp_path, None)
    (run / "report.json").write_text(json.dumps({"headline": headline}))
    with pytest.raises(EdgeKDError, match="no chosen file can be read from it"):
        check_path(run, "1MB")


def test_a_chosen_file_that_is_gone_is_named(tmp_path: Path) -> None:
    run = _run(tmp_path, {"path": "exports/small.tflite", "accuracy": None})
    (run / "exports" / "small.tflite").unlink()
    with pytest.raises(EdgeKDError, match=r"it names exports/small\.tflite, which is not there"):
        check_path(run, "1MB")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.tflite", b"\0" * 40, "not a whole tflite model"),
        ("b.zip", b"PK\x03\x04 cut off here", "not a whole zip file"),
        ("b.zip", b"", "not a whole zip file"),
    ],
)
def test_a_damaged_file_is_one_clear_error(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EdgeKDError, match=message) as caught:
        check_path(tmp_path / name, "1MB")
    assert "\n" not in str(caught.value)


def test_a_zip_cut_short_or_without_a_model_is_refused(model: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "b.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("labels.txt", "cat\n")
    with pytest.raises(
        EdgeKDError, match=r"expected a \.tflite or \.onnx model inside, found none"
    ):
        check_path(bundle, "1MB")
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.write(model, "model.tflite")
    bundle.write_bytes(bundle.read_bytes()[:-40])
    with pytest.raises(EdgeKDError, match="not a whole zip file"):
        check_path(bundle, "1MB")


def test_what_cannot_be_checked_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        check_path(tmp_path / "gone", "1MB")
    with pytest.raises(UsageError, match=r"expected a run folder with report\.json or models"):
        check_path(tmp_path, "1MB")
    (tmp_path / "m.pt").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"found '\.pt'"):
        check_path(tmp_path / "m.pt", "1MB")


def test_a_check_loads_nothing_heavy_and_reads_no_weights(tmp_path: Path) -> None:
    """A file of 100 MB: no more than 3 plain reads of it plus the interpreter's start."""
    path = tmp_path / "big.tflite"
    tiny_tflite(path, np.zeros((1000, 25_000), np.float32), np.zeros(1000), (1, 1, 1, 25_000))
    assert path.stat().st_size > 100_000_000
    code = (
        "import sys; from pathlib import Path; from export.budget import check_path\n"
        f"assert not check_path(Path({str(path)!r}), '1MB').passed\n"
        "heavy = ('torch', 'onnx', 'onnxruntime', 'ai_edge_litert', 'numpy', 'pydantic')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    check_seconds, printed = _best_seconds(code)
    assert printed == "[]"
    start_seconds, _ = _best_seconds("pass")
    read_seconds, _ = _best_seconds(f"open({str(path)!r}, 'rb').read()")
    assert check_seconds <= 3 * (read_seconds - start_seconds) + start_seconds


def _best_seconds(code: str) -> tuple[float, str]:
    """Seconds of a fresh interpreter running `code`, the best of 5, and what it printed."""
    root = Path(sys.modules["export.budget"].__file__ or "").parents[1]
    seconds, printed = [], ""
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
        )
        seconds.append(time.perf_counter() - start)
        printed = done.stdout.strip()
    return min(seconds), printed


def _run(folder: Path, headline: dict[str, Any] | None) -> Path:
    """A run folder with a small (below 1 kB) and a large (above) export."""
    run = folder / "run"
    (run / "exports").mkdir(parents=True)
    tiny_tflite(run / "exports" / "small.tflite", np.ones((2, 6)), np.ones(2), (1, 1, 2, 3))
    tiny_tflite(run / "exports" / "large.tflite", np.ones((20, 12)), np.ones(20), (1, 2, 2, 3))
    if headline is not None:
        (run / "report.json").write_text(json.dumps({"schema": 1, "headline": headline}))
    return run

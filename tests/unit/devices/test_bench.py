"""Timing a file in a process of its own."""

from __future__ import annotations

import contextlib
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from devices.bench import bench_file
from devices.bench_worker import random_inputs
from edgekd.errors import EdgeKDError, UsageError
from edgekd.records import TensorSpec
from tests.unit.tiny_models import tiny_onnx, tiny_tflite

LATENCIES = {
    "median", "avg", "p5", "p95", "min", "max", "stddev", "init", "first_inference", "warm_up_avg",
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "runtime", "accelerators"),
    [
        ("tflite", "litert", {"cpu", "cpu (XNNPACK)"}),
        ("onnx", "onnxruntime", {"cpu"}),
    ],
)
def test_a_record_is_complete(
    tmp_path: Path, kind: str, runtime: str, accelerators: set[str]
) -> None:
    path = _model(tmp_path, kind)
    result = bench_file(path, runs=20, warmup=3)
    assert (result.model, result.kind, result.runtime) == (path.name, "measured", runtime)
    assert result.accelerator in accelerators
    assert (result.threads, result.num_runs, result.num_warmup_runs) == (1, 20, 3)
    assert set(result.latency_ms) == LATENCIES  # p99 only from 100 runs on
    assert all(value > 0 for name, value in result.latency_ms.items() if name != "stddev")
    assert result.latency_ms["min"] <= result.latency_ms["median"] <= result.latency_ms["max"]
    assert result.nodes_total == {"tflite": 1, "onnx": 2}[kind]
    assert result.nodes_delegated is None
    assert result.date.endswith("+00:00")


def test_runs_go_on_until_min_seconds_and_give_p99(tmp_path: Path) -> None:
    result = bench_file(_model(tmp_path, "onnx"), runs=100, warmup=1, min_seconds=0.2)
    assert result.num_runs > 100  # one run takes far less than 2 ms
    assert result.latency_ms["p99"] >= result.latency_ms["median"]
    assert result.latency_ms["first_inference"] == result.latency_ms["warm_up_avg"]


def test_memory_is_that_of_the_file_and_not_ours(tmp_path: Path) -> None:
    """Weights of 40 MB show up; 300 MB held by the caller do not."""
    small = bench_file(_model(tmp_path, "onnx"), runs=1, warmup=1).memory_mb
    ballast = np.ones(300_000_000, np.uint8)
    weights = np.random.default_rng(0).standard_normal((10_000, 1_000))
    large_path = tiny_onnx(tmp_path / "large.onnx", weights)
    large = bench_file(large_path, runs=1, warmup=1).memory_mb
    assert small is not None
    assert large is not None
    assert small + 35 < large < small + 250
    assert len(ballast) == 300_000_000


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    path = _model(tmp_path, kind)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(EdgeKDError, match=f"not a whole {kind} model"):
        bench_file(path)


def test_what_the_runtime_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    path = tiny_tflite(
        tmp_path / "c.tflite", np.ones((2, 6)), np.ones(2), (1, 1, 2, 3), custom_op="my-accelerator"
    )
    with pytest.raises(
        EdgeKDError, match=r"c\.tflite: litert refuses it .*my-accelerator"
    ) as caught:
        bench_file(path)
    assert "\n" not in str(caught.value)


def test_a_failure_while_running_is_told(tmp_path: Path) -> None:
    """Row 1 of a table with one row: only found out when the model runs."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "rows"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("table", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("rows", TensorProto.INT64, [50]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 17)]
    path = tmp_path / "r.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(path))
    with pytest.raises(EdgeKDError, match=r"r\.onnx: onnxruntime fails while running it"):
        bench_file(path, runs=1, warmup=1)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "import os, signal\n"
            'print(\'edgekd-bench:{"phase": "running"}\', flush=True)\n'
            "os.kill(os.getpid(), signal.SIGSEGV)",
            r"the process that was running it died \(SIGSEGV\)",
        ),
        (
            "import sys; print('no memory left', file=sys.stderr); sys.exit(3)",
            r"the process that was starting it died \(no memory left\)",
        ),
        ("import sys; sys.exit(3)", r"died \(exit code 3\)"),
    ],
)
def test_a_crash_of_the_runtime_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    path = _model(tmp_path, "onnx")
    crashing = tmp_path / "python"
    crashing.write_text(f"#!{sys.executable}\n{script}\n")
    crashing.chmod(crashing.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(crashing))
    with pytest.raises(EdgeKDError, match=message) as caught:
        bench_file(path)
    assert str(path) in str(caught.value)


def test_taking_too_long_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EdgeKDError, match=r"not done after 0\.5 seconds"):
        bench_file(_model(tmp_path, "onnx"), min_seconds=60, timeout_seconds=0.5)


def test_modules_in_the_working_folder_are_not_picked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the wrong numpy')")
    path = _model(tmp_path, "onnx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # may hold a relative folder
    assert bench_file(Path(path.name), runs=1, warmup=1).num_runs == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": 0}, "runs: expected at least 1, found 0"),
        ({"warmup": 0}, "warmup: expected at least 1, found 0"),
        ({"threads": -1}, "threads: expected at least 1, found -1"),
        ({"device": "locla"}, r"device: unknown 'locla', expected one of local\. Closest: 'local'"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench_file(_model(tmp_path, "onnx"), **arguments)  # type: ignore[arg-type]


def test_files_that_are_no_model_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        bench_file(tmp_path / "gone.tflite")
    (tmp_path / "m.pt").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"expected a \.tflite or \.onnx file, found '\.pt'"):
        bench_file(tmp_path / "m.pt")


def test_random_inputs_fit_their_dtype_and_are_the_same_every_time() -> None:
    specs = [
        TensorSpec("f", (2, 3), "float32"),
        TensorSpec("u", (1, 200), "uint8"),
        TensorSpec("i", (1, 200), "int8"),
        TensorSpec("ids", (1, 50), "int64"),
        TensorSpec("mask", (1, 50), "tensor(bool)"),
        TensorSpec("open", (0, 3), "float32"),
    ]
    arrays = dict(zip([spec.name for spec in specs], random_inputs(specs, seed=0), strict=True))
    assert [a.dtype.name for a in arrays.values()] == [
        "float32", "uint8", "int8", "int64", "bool", "float32",
    ]  # fmt: skip
    assert arrays["f"].shape == (2, 3)
    assert arrays["open"].shape == (1, 3)
    assert abs(arrays["f"]).max() < 1
    assert arrays["u"].max() > 200
    assert arrays["i"].min() < -100
    assert arrays["i"].max() > 100
    assert set(arrays["ids"].ravel()) == {0, 1}
    again = random_inputs(specs, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(arrays.values(), again, strict=True))


def test_texts_cannot_be_made_up() -> None:
    with pytest.raises(EdgeKDError, match=r"input 't': no random values can be made for tensor"):
        random_inputs([TensorSpec("t", (1,), "tensor(string)")], seed=0)


ASKING = """
import sys
from pathlib import Path
from devices.bench import bench_file
print("asking", flush=True)
bench_file(Path(sys.argv[1]), runs=1, min_seconds=120)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of it")
def test_the_worker_goes_when_the_one_that_asked_is_killed(tmp_path: Path) -> None:
    asking = subprocess.Popen(
        [sys.executable, "-c", ASKING, str(_model(tmp_path, "onnx"))], stdout=subprocess.PIPE
    )
    try:
        worker = _child_of(asking, "bench_worker")
        asking.kill()
        asking.wait()
        gone, _ = psutil.wait_procs([worker], timeout=10)
        assert gone == [worker]
    finally:
        asking.kill()
        asking.wait()


def _child_of(process: subprocess.Popen[bytes], name: str) -> psutil.Process:
    """Returns the child whose command line names it, once it is at work."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.Error):
                if name in " ".join(child.cmdline()) and child.cpu_times().user > 0.5:
                    return child
        time.sleep(0.02)
    raise AssertionError("no worker was started")


def _model(folder: Path, kind: str) -> Path:
    path = folder / f"m.{kind}"
    if kind == "onnx":
        return tiny_onnx(path, np.ones((6, 2)))
    return tiny_tflite(path, np.ones((2, 6)), np.ones(2), (1, 1, 2, 3))

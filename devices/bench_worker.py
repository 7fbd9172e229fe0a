"""Times one model file in a process of its own, so that memory and crashes are that file's alone.

Started by devices.bench: one JSON request on stdin, lines of JSON on stdout, each behind MARK. The
last one holds `result` or `error`; lines with `phase` say what it is about to do.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import runtimes
from edgekd.errors import EdgeKDError
from edgekd.metrics import latency_summary
from edgekd.records import TensorSpec

MARK = "edgekd-bench:"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_RUNTIME_MODULES = {
    ".tflite": ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"),
    ".onnx": ("onnxruntime",),
}
_NUMPY_NAMES = {"tensor(bool)": "bool", "tensor(double)": "float64", "tensor(uint16)": "uint16",
                "tensor(int16)": "int16", "tensor(uint32)": "uint32", "tensor(uint64)": "uint64"}  # fmt: skip


def main() -> int:
    """Answers the request on stdin; returns the exit code."""
    request = json.loads(sys.stdin.read())
    _die_with(request.pop("parent"))
    try:
        _say({"result": measure(**request)})
    except EdgeKDError as error:
        _say({"error": str(error)})
        return 1
    return 0


def measure(
    path: str, runs: int, warmup: int, threads: int, min_seconds: float, seed: int
) -> dict[str, Any]:
    """Returns latencies in ms, memory in MB and the runtime's name for one file.

    Raises:
        EdgeKDError: the runtime refuses the file, or fails while running it.
    """
    _import_runtime(Path(path))  # so that loading is timed without it
    memory_before = _reset_peak()
    _say({"phase": "loading"})
    start = time.perf_counter()
    runner = runtimes.load(Path(path), threads, quiet=False)
    init_ms = _ms_since(start)
    arrays = random_inputs(runner.inputs, seed)
    _say({"phase": "running"})
    try:
        warmup_ms = [_timed(runner, arrays) for _ in range(warmup)]
        run_ms = _timed_runs(runner, arrays, runs, min_seconds)
    except Exception as error:  # the runtimes raise what they like
        raise EdgeKDError(f"{path}: {runner.runtime} fails while running it ({error})") from error
    return {
        "runtime": runner.runtime,
        "runtime_version": runner.version,
        "num_runs": len(run_ms),
        "num_warmup_runs": len(warmup_ms),
        "latency_ms": latency_summary(np.array(run_ms))
        | {
            "init": init_ms,
            "first_inference": warmup_ms[0],
            "warm_up_avg": float(np.mean(warmup_ms)),
        },
        "memory_mb": (_peak_bytes() - memory_before) / 1e6,
    }


def random_inputs(specs: list[TensorSpec], seed: int) -> list[np.ndarray]:
    """Returns one array an input: floats in [-1, 1), 8-bit over their range, wider integers 0 or 1.

    Wider integers are mostly indices, and 0 and 1 are inside every table.

    Raises:
        EdgeKDError: a dtype that cannot be made up, such as texts.
    """
    rng = np.random.default_rng(seed)
    return [_random_array(spec, rng) for spec in specs]


def _die_with(parent: int) -> None:
    """Ends this process as soon as the one that asked is gone, killed or not; Linux only."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # gone before we asked
        os._exit(1)


def _random_array(spec: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    try:
        dtype = np.dtype(_NUMPY_NAMES.get(spec.dtype, spec.dtype))
    except TypeError as error:
        raise EdgeKDError(
            f"input '{spec.name}': no random values can be made for {spec.dtype}"
        ) from error
    shape = tuple(max(1, size) for size in spec.shape)  # an open size counts as 1
    if dtype.kind == "f":
        return rng.uniform(-1, 1, shape).astype(dtype)
    if dtype.kind == "b" or (dtype.kind in "iu" and dtype.itemsize > 1):
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    raise EdgeKDError(f"input '{spec.name}': no random values can be made for {spec.dtype}")


def _timed_runs(
    runner: runtimes.Runner, arrays: list[np.ndarray], runs: int, min_seconds: float
) -> list[float]:
    start = time.perf_counter()
    times = [_timed(runner, arrays) for _ in range(runs)]
    while time.perf_counter() - start < min_seconds:
        times.append(_timed(runner, arrays))
    return times


def _timed(runner: runtimes.Runner, arrays: list[np.ndarray]) -> float:
    start = time.perf_counter()
    runner.invoke(*arrays)
    return _ms_since(start)


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3


def _import_runtime(path: Path) -> None:
    for module in _RUNTIME_MODULES.get(path.suffix, ()):
        with contextlib.suppress(ModuleNotFoundError):  # runtimes.load says what is missing
            importlib.import_module(module)
            return


def _reset_peak() -> int:
    """Returns the resident bytes now; forgets the peak of the imports where the system lets us."""
    import psutil

    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return int(psutil.Process().memory_info().rss)


def _peak_bytes() -> int:
    """The largest resident size so far.

    On Linux from VmHWM: ru_maxrss survives exec and would report the parent's size there.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import psutil

    peak_wset = getattr(psutil.Process().memory_info(), "peak_wset", None)
    if peak_wset is not None:  # Windows; never tried
        return int(peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _say(message: dict[str, Any]) -> None:
    print(MARK + json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())

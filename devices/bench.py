"""Times a model file on a device: start, first inference, steady latency, memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devices.bench_worker import MARK
from devices.targets import find_target
from edgekd.errors import EdgeKDError, UsageError
from edgekd.model_graph import read_graph
from edgekd.records import BenchmarkResult

_SEED = 0


def bench_file(
    path: Path,
    *,
    runs: int = 50,
    warmup: int = 5,
    threads: int = 1,
    device: str = "local",
    min_seconds: float = 0,
    timeout_seconds: float = 600,
) -> BenchmarkResult:
    """Returns the latency and memory of a .tflite or .onnx file, measured in a fresh process.

    `latency_ms` holds the summary of the timed runs, `init` (load and allocate, the runtime
    already imported), `first_inference` and `warm_up_avg` (all warm-up runs, the first one
    included). Timing goes on past `runs` until `min_seconds` have gone by. Inputs are random and
    the same every time. `memory_mb` is how far the process grew at its peak after the runtime was
    imported, in 10^6 bytes; what the runtime sets up on its first use is in it. `nodes_total` counts the operators of the main graph; `nodes_delegated`
    is None, since neither runtime tells it. `accelerator` is "cpu (XNNPACK)" where LiteRT says
    that it made that delegate; it may still leave operators to its own kernels.

    Raises:
        UsageError: no such file or device, another kind of file, or a count below 1.
        EdgeKDError: the file is damaged, the runtime refuses it, fails, crashes or takes too long.
    """
    _check_counts(runs=runs, warmup=warmup, threads=threads)
    target = find_target(device)
    graph = read_graph(path)
    request = {"path": str(path), "runs": runs, "warmup": warmup, "threads": threads,
               "min_seconds": min_seconds, "seed": _SEED, "parent": os.getpid()}  # fmt: skip
    measured, log = _ask_worker(path, request, timeout_seconds)
    return BenchmarkResult(
        model=path.name,
        device=target.description,
        kind="measured",
        runtime=measured["runtime"],
        runtime_version=measured["runtime_version"],
        accelerator="cpu (XNNPACK)" if "XNNPACK delegate" in log else "cpu",
        threads=threads,
        num_runs=measured["num_runs"],
        num_warmup_runs=measured["num_warmup_runs"],
        latency_ms=measured["latency_ms"],
        memory_mb=measured["memory_mb"],
        nodes_delegated=None,
        nodes_total=graph.num_operators,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name}: expected at least 1, found {count}")


def _ask_worker(
    path: Path, request: dict[str, Any], timeout_seconds: float
) -> tuple[dict[str, Any], str]:
    """The worker's result and what the runtime wrote to stderr."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "devices.bench_worker"],
            input=json.dumps(request),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_seconds,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EdgeKDError(
            f"{path}: not done after {timeout_seconds:g} seconds. Ask for fewer runs, or allow more time"
        ) from error
    messages = _messages(done.stdout)
    last = messages[-1] if messages else {}
    if "result" in last:
        return last["result"], done.stderr
    if "error" in last:
        raise EdgeKDError(" ".join(last["error"].split()))  # runtimes write several lines
    phase = last.get("phase", "starting")
    raise EdgeKDError(
        f"{path}: the process that was {phase} it died ({_cause(done.returncode, done.stderr)}). "
        "The file may need operators or a device that the runtime does not have here"
    )


def _messages(stdout: str) -> list[dict[str, Any]]:
    """What the worker said; a runtime may print lines of its own in between."""
    return [
        json.loads(line.removeprefix(MARK)) for line in stdout.splitlines() if line.startswith(MARK)
    ]


def _environment() -> dict[str, str]:
    """The worker finds the same packages as we do, installed or not, and nothing from `cwd`."""
    root = str(Path(__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH", "")
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, inherited)))}


def _cause(returncode: int, stderr: str) -> str:
    if returncode < 0:
        try:
            return signal.Signals(-returncode).name
        except ValueError:
            return f"signal {-returncode}"
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {returncode}"

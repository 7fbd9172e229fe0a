"""The four acts from Python; each imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd.predictor import Predictor
    from edgekd.records import BenchmarkResult
    from edgekd.run_config import RunConfig
    from export.budget import CheckResult


def run(
    config: str | Path | dict[str, Any] | RunConfig,
    overrides: list[str] | None = None,
    until: str | None = None,
) -> dict[str, Any]:
    """Runs the whole line for a YAML file, a run folder, a dict or a RunConfig; returns the report.

    Raises:
        ConfigError: faults in the config, all listed.
        GateError: over budget or below a floor; the report is written all the same.
    """
    from edgekd import config as configs
    from edgekd import pipeline
    from edgekd.run_config import RunConfig

    if isinstance(config, RunConfig):
        return pipeline.run(config, until)
    values = config if isinstance(config, dict) else configs.read_run(Path(config))
    values = configs.apply_overrides(values, overrides or [])
    return pipeline.run(configs.parse(RunConfig, values), until)


def check(
    path: str | Path,
    budget: str | int = "100MB",
    *,
    zipped: bool = False,
    min_accuracy: float | None = None,
) -> CheckResult:
    """Returns whether a model, a bundle or a run keeps to `budget`, and its largest tensors."""
    from export.budget import check_path

    return check_path(Path(path), budget, zipped=zipped, min_accuracy=min_accuracy)


def bench(
    path: str | Path, *, runs: int = 50, warmup: int = 5, threads: int = 1
) -> BenchmarkResult:
    """Returns the latency of a .tflite or .onnx file on this machine."""
    from devices.bench import bench_file

    return bench_file(Path(path), runs=runs, warmup=warmup, threads=threads)


def open_bundle(path: str | Path) -> Predictor:
    """Returns a predictor of a bundle.zip or its unzipped folder: `.predict(images)`."""
    from edgekd.predictor import open_bundle as open_

    return open_(Path(path))

"""The bench stage: exported files in, one latency record a file out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pydantic

from devices.bench import bench_file
from edgekd.config import Section
from edgekd.errors import EdgeKDError
from edgekd.records import BenchmarkResult, ExportedModel

SCHEMA = 1


class BenchConfig(Section):
    """How the exported files are timed."""

    enabled: bool = True
    device: str = pydantic.Field("local", description="see: edgekd list devices")
    runs: int = pydantic.Field(50, ge=1, description="timed runs; p99 is given from 100 on")
    warmup: int = pydantic.Field(5, ge=1, description="runs before that")
    threads: int = pydantic.Field(1, ge=1)
    min_seconds: float = pydantic.Field(
        0, ge=0, description="go on past `runs` until this long has gone by"
    )
    timeout_seconds: float = pydantic.Field(600, gt=0, description="for one file")


def run(
    models: Sequence[Path | ExportedModel],
    config: BenchConfig,
    progress: Callable[[int, int], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[BenchmarkResult]:
    """Returns one record a file, in order; none at all where the config switches it off.

    `progress` hears (done, total). With `warn`, a file that cannot be timed is told to it and left
    out: a failed measurement is missing, not zero.

    Raises:
        EdgeKDError: a file cannot be timed, and there is no `warn`.
    """
    results: list[BenchmarkResult] = []
    for index, model in enumerate(models if config.enabled else ()):
        try:
            results.append(_bench(model, config))
        except EdgeKDError as error:
            if warn is None:
                raise
            warn(str(error))
        if progress is not None:
            progress(index + 1, len(models))
    return results


def _bench(model: Path | ExportedModel, config: BenchConfig) -> BenchmarkResult:
    return bench_file(
        Path(model.path) if isinstance(model, ExportedModel) else model,
        runs=config.runs,
        warmup=config.warmup,
        threads=config.threads,
        device=config.device,
        min_seconds=config.min_seconds,
        timeout_seconds=config.timeout_seconds,
    )

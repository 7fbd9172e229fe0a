"""What the proofs share: a run of a config with changes, and figures out of its report."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results_file
from edgekd import assemble, assets, metrics, pipeline, targets_file
from edgekd import config as configs
from edgekd import manifest as manifests
from edgekd.display import Display
from edgekd.errors import GateError
from edgekd.stages import RunConfig
from edgekd.store import RunStore

Changes = dict[str, dict[str, Any]]


def run(
    config_name: str,
    folder: Path,
    out: Path,
    seed: int,
    changes: Changes | None = None,
    until: str | None = None,
    seen_in: Path | None = None,
    teacher: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the report of configs/<config_name>.yaml on a folder, with some keys changed.

    `changes` replaces keys of sections, `teacher` keys of caption.teacher.
    Finished stages are reused, so a stopped proof goes on. `seen_in` is a run on the same images
    whose observations spare this one the pass through the backbone.
    """
    values = configs.read_yaml(assets.configs_dir() / f"{config_name}.yaml")
    for section, keys in (changes or {}).items():
        values[section] = values.get(section, {}) | keys
    values["caption"]["teacher"] |= teacher or {}
    values["data"]["folder"] = str(folder)
    values |= {"seed": seed, "out": str(out)}
    config = configs.parse(RunConfig, values, f"{config_name}.yaml")
    if seen_in is not None:
        _lend_observations(seen_in, out)
    print(out.name, file=sys.stderr)
    with Display() as display:
        try:
            return pipeline.run(config, until, display)
        except GateError as error:  # the report is written all the same; the figures say it
            print(f"{out.name}: {error}", file=sys.stderr)
            return report_of(out)


def report_of(out: Path) -> dict[str, Any]:
    """Returns the report of a finished run."""
    return assemble.load(out)


def shares(values: list[float], n: int | None = None) -> dict[str, Any]:
    return results_file.figure(values, "share", n)


def sizes(values: list[int]) -> dict[str, Any]:
    return results_file.figure([float(value) for value in values], "bytes")


def seconds(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the seconds of all stages of a run, as they were when each stage was made."""
    return results_file.figure([_total(report) for report in reports], "seconds")


def cost(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the seconds of all runs of a claim together: what it costs on one core."""
    return results_file.figure([sum(_total(report) for report in reports)], "seconds")


def _total(report: dict[str, Any]) -> float:
    return float(sum(stage["seconds"] for stage in report["stages"]))


def accuracy(report: dict[str, Any], model: str, precision: str, format_: str = "tflite") -> float:
    """Returns the test accuracy of one exported file.

    Raises:
        SystemExit: the report has no such row.
    """
    for row in report["rows"]:
        if (row["model"], row["precision"], row["format"]) == (model, precision, format_):
            return row["accuracy"]["value"]
    raise SystemExit(f"the report has no {model} in {precision}")


def file_metrics(out: Path, model: str) -> dict[str, Any]:
    """Returns what was measured on a model's int8 TFLite file, by split."""
    record = RunStore(out).stage_record("evaluate")
    assert record is not None
    path = f"exports/{model}.int8.tflite"
    return next(file["metrics"] for file in record["result"] if file["path"] == path)


def targets_accuracy(out: Path, key: str = "probs") -> float:
    """Returns the share of labelled test images on which a run's targets are right."""
    items = manifests.load(out / "manifest.parquet").items
    targets = targets_file.Targets(out / "targets" / "targets.npz")
    tested = [(item.id, item.label) for item in items if item.split == "test"]
    probs = targets.probs(key).rows([targets.row_of[item_id] for item_id, _ in tested])
    return metrics.accuracy(probs, np.array([label for _, label in tested]))


def _lend_observations(source: Path, target: Path) -> None:
    lent, theirs = (run / "captions" / "observations.npz" for run in (target, source))
    if theirs.exists() and not lent.exists():
        lent.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(theirs, lent)

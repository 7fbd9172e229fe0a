"""Runs side by side: their configs, data and files, and how far their accuracies lie apart.

Accuracies on other test images are shown and not compared, and so are latencies of other devices.
The first run is the reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from edgekd import metrics, run_folders
from edgekd import report as reports
from edgekd.errors import EdgeKDError
from edgekd.records import SPLITS
from edgekd.report_format import without_nan
from edgekd.wholeness import damage

SCHEMA = 1
_SAME_LATENCY = ("device", "kind", "runtime", "runtime_version", "accelerator", "threads")
_LEFT_OUT = ("out", "schema")


def compare(folders: list[Path]) -> dict[str, Any]:
    """Returns {"runs", "config", "files", "differences", "warnings"} of two runs or more.

    Raises:
        UsageError: a folder is no run.
        EdgeKDError: a report of another schema version.
    """
    runs = [_read(run_folders.existing(folder)) for folder in folders]
    names = _names(runs)
    for run, name in zip(runs, names, strict=True):
        run["label"] = name
    reference, *others = runs
    return without_nan(
        {
            "schema": SCHEMA,
            "runs": [_shown(run) for run in runs],
            "config": _config_differences(runs),
            "files": _files(runs),
            "differences": [d for run in others for d in _differences(reference, run)],
            "warnings": [w for run in runs for w in run["missing"]] + _warnings(runs),
        }
    )


def _read(folder: Path) -> dict[str, Any]:
    """All that is there of a run; what is not there is named in "missing"."""
    run: dict[str, Any] = run_folders.summary(folder) | {"path": folder, "missing": []}
    report = reports.load(folder) if (folder / "report.json").is_file() else None
    if report is None:
        run["missing"].append(f"{folder}: no report.json ({run['state']}): no figures")
    elif run["state"] != "finished":
        run["missing"].append(
            f"{folder}: {run['state']} since its report: figures are of the run before"
        )
    config = _config(folder)
    if config is None:
        run["missing"].append(f"{folder}: no readable config.yaml: its keys are not compared")
    logits = folder / "exports" / "logits.npz"
    run |= {"report": report, "config": config, "logits": None}
    if logits.is_file() and damage(logits) is None:
        run["logits"] = logits
    elif report is not None:
        run["missing"].append(f"{folder}: no exports/logits.npz: no intervals of differences")
    return run | {"test_digest": _test_digest(run)}


def _shown(run: dict[str, Any]) -> dict[str, Any]:
    report = run["report"] or {}
    kept = ("label", "folder", "name", "date", "state", "chosen", "size_bytes", "accuracy")
    return {key: run[key] for key in (*kept, "gates", "seconds", "test_digest")} | {
        "seed": report.get("seed"),
        "edgekd_version": report.get("edgekd_version"),
        "machine": (report.get("machine") or {}).get("cpu"),
        "labels": report.get("labels"),
        "teacher_accuracy": (report.get("teacher") or {}).get("accuracy"),
        "headline": reports.headline(report) if report else None,
    }


def _names(runs: list[dict[str, Any]]) -> list[str]:
    """The shortest names that tell the runs apart: their own, their folders', or the paths."""
    own = [str(run["name"]) for run in runs]
    folders = [run["path"].resolve().name for run in runs]
    for names in (own, folders):
        if len(set(names)) == len(names):
            return names
    return [run["folder"] for run in runs]


def _config(folder: Path) -> dict[str, Any] | None:
    """The keys of config.yaml by dotted name; read as values, so that any version will do."""
    path = folder / "config.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return dict(_flat("", values)) if isinstance(values, dict) else None


def _flat(prefix: str, values: dict[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found += _flat(f"{prefix}{key}.", value)
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _config_differences(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a key that is not the same in all runs whose config is there; None: it has no such key."""
    known = [run["config"] for run in runs if run["config"] is not None]
    keys = dict.fromkeys(key for config in known for key in config if key not in _LEFT_OUT)
    return [
        {"key": key, "values": [run["config"] and run["config"].get(key) for run in runs]}
        for key in keys
        if any(config.get(key) != known[0].get(key) for config in known)
    ]


def _files(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a file name, a cell a run: None where the run has no such file."""
    by_name = [_rows(run) for run in runs]
    names = dict.fromkeys(name for rows in by_name for name in rows)
    return [{"file": name, "cells": [rows.get(name) for rows in by_name]} for name in names]


def _rows(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = (run["report"] or {}).get("rows", [])
    kept = ("size_bytes", "num_params", "accuracy", "chosen")
    return {
        Path(row["path"]).name: {key: row[key] for key in kept} | {"latency": _latency(row)}
        for row in rows
    }


def _latency(row: dict[str, Any]) -> dict[str, Any] | None:
    measured = row["latency"]
    if measured is None:
        return None
    return {key: measured[key] for key in _SAME_LATENCY} | {
        "median_ms": measured["latency_ms"].get("median")
    }


def _differences(reference: dict[str, Any], candidate: dict[str, Any]) -> list[dict[str, Any]]:
    """The chosen files against each other, and every file that both have against itself."""
    mine, theirs = _rows(candidate), _rows(reference)
    pairs = [(name, name) for name in mine if name in theirs]
    chosen = (reference["chosen"], candidate["chosen"])
    if None not in chosen:
        pairs = [chosen, *(pair for pair in pairs if pair != chosen)]
    return [
        {
            "candidate": candidate["label"],
            "reference": reference["label"],
            "file": new,
            "reference_file": old,
            "are_chosen": (old, new) == chosen,
            "size_bytes": mine[new]["size_bytes"] - theirs[old]["size_bytes"],
            "accuracy": _accuracy_difference(reference, candidate, old, new),
            "latency_ms": _latency_difference(theirs[old], mine[new]),
        }
        for old, new in pairs
        if new in mine and old in theirs
    ]


def _accuracy_difference(
    reference: dict[str, Any], candidate: dict[str, Any], old: str, new: str
) -> dict[str, Any]:
    """{"value", "low", "high", "why"}: the interval needs what both files answered."""
    shares = [_rows(run)[name]["accuracy"] for run, name in ((reference, old), (candidate, new))]
    nothing: dict[str, Any] = {"value": None, "low": None, "high": None}
    if None in shares:
        return nothing | {"why": "not measured in both"}
    if reference["test_digest"] is None or candidate["test_digest"] is None:
        return nothing | {"why": "unknown whether the test images are the same"}
    if reference["test_digest"] != candidate["test_digest"]:
        return nothing | {"why": "other test images"}
    right = [_right(run, name) for run, name in ((reference, old), (candidate, new))]
    if right[0] is None or right[1] is None:
        value = shares[1]["value"] - shares[0]["value"]
        return nothing | {"value": value, "why": "no interval: exports/logits.npz is not in both"}
    value, low, high = metrics.paired_difference_interval(right[1], right[0])
    return {"value": value, "low": low, "high": high, "why": None}


def _right(run: dict[str, Any], file: str) -> np.ndarray | None:
    """Which test images a file got right, in the order of their ids."""
    if run["logits"] is None:
        return None
    with np.load(run["logits"]) as stored:
        if f"{file}/test" not in stored or "test/ids" not in stored:
            return None
        right = metrics.right(stored[f"{file}/test"], stored["test/labels"])
        return right[np.argsort(stored["test/ids"])]


def _latency_difference(old: dict[str, Any], new: dict[str, Any]) -> float | None:
    """Milliseconds, where device and runtime are the same."""
    before, after = old["latency"], new["latency"]
    if before is None or after is None:
        return None
    if any(before[key] != after[key] for key in _SAME_LATENCY):
        return None
    return float(after["median_ms"] - before["median_ms"])


def _test_digest(run: dict[str, Any]) -> str | None:
    """From the report, else from logits.npz, else from the manifest."""
    report = run["report"]
    if report is None:
        return None
    stored = report.get("test_digest")
    if stored is not None:
        return str(stored)
    classes = report["task"]["classes"]
    if run["logits"] is not None:
        with np.load(run["logits"]) as logits:
            if "test/ids" in logits and logits["test/labels"].ndim == 1:
                pairs = zip(logits["test/ids"].tolist(), logits["test/labels"], strict=True)
                return run_folders.digest_of_test((id_, classes[label]) for id_, label in pairs)
    return _test_digest_of_manifest(run["path"] / "manifest.parquet")


def _test_digest_of_manifest(path: Path) -> str | None:
    from edgekd import manifest as manifests

    if not path.is_file() or damage(path) is not None:
        return None
    try:
        manifest = manifests.load(path)
    except EdgeKDError:  # of another schema version: then it is unknown
        return None
    return run_folders.digest_of_manifest(manifest)


def _warnings(runs: list[dict[str, Any]]) -> list[str]:
    reference, found = runs[0], []
    for run in runs[1:]:
        digests = (reference["test_digest"], run["test_digest"])
        both = f"{reference['label']} and {run['label']}"
        if None in digests:
            found.append(f"{both}: unknown whether the test images are the same")
        elif digests[0] != digests[1]:
            found.append(
                f"{both}: other test images ({_num_tested(reference)} and {_num_tested(run)}); "
                "their accuracies are shown and not compared"
            )
        found += _split_warnings(reference, run, both)
        if _machines(reference) != _machines(run):
            found.append(f"{both}: latencies of other devices or runtimes are not compared")
    return found


def _split_warnings(reference: dict[str, Any], run: dict[str, Any], both: str) -> list[str]:
    old, new = ((r["report"] or {}).get("labels") for r in (reference, run))
    if old is None or new is None:
        return []
    return [
        f"{both}: {split} has {old[split]['images']:,} and {new[split]['images']:,} images, "
        f"{old[split]['labels']:,} and {new[split]['labels']:,} labels"
        for split in SPLITS
        if old[split] != new[split]
    ]


def _num_tested(run: dict[str, Any]) -> str:
    accuracy = run["accuracy"]
    return "none" if accuracy is None else f"{accuracy['n']:,}"


def _machines(run: dict[str, Any]) -> set[tuple[Any, ...]]:
    measured = [row["latency"] for row in _rows(run).values() if row["latency"] is not None]
    return {tuple(latency[key] for key in _SAME_LATENCY) for latency in measured}

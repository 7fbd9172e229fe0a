"""One schema for all committed results: benchmarks/results/<claim>.json."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import machine
from edgekd.metrics import wilson_interval
from edgekd.store import write_json

SCHEMA = 1
RESULTS = Path(__file__).resolve().parent / "results"
_RESULTS = "benchmarks/results"
# Two-sided 95% quantiles of Student's t for 1 to 9 degrees of freedom; about 2 beyond.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def figure(per_seed: list[float], unit: str, n: int | None = None) -> dict[str, Any]:
    """Returns the mean over seeds with its 95% t interval; n is the items behind each value."""
    values = np.array(per_seed, dtype=np.float64)
    half = 0.0
    if len(values) > 1:
        quantile = _T95[len(values) - 2] if len(values) < len(_T95) + 2 else 2.0
        half = quantile * values.std(ddof=1) / np.sqrt(len(values))
    return {
        "value": float(values.mean()),
        "low": float(values.mean() - half),
        "high": float(values.mean() + half),
        "n": n,
        "unit": unit,
        "per_seed": [float(value) for value in values],
    }


def share(hits: Iterable[bool]) -> dict[str, Any]:
    """Returns the share that is true with its Wilson interval."""
    known = list(hits)
    low, high = wilson_interval(sum(known), len(known))
    return figure([sum(known) / len(known)], "share", len(known)) | {"low": low, "high": high}


def write(
    name: str,
    *,
    claim: str,
    command: str,
    seeds: list[int],
    data: dict[str, Any],
    figures: dict[str, Any],
    notes: str,
    extra: dict[str, Any] | None = None,
) -> Path:
    """Writes benchmarks/results/<name>.json; returns its path."""
    path = RESULTS / f"{name}.json"
    described = machine.describe()
    write_json(
        path,
        {
            "schema": SCHEMA,
            "claim": claim,
            "command": command,
            "date": datetime.now(UTC).date().isoformat(),
            "git_commit": _commit(),
            "machine": {"cpu": described["cpu"], "cores": described["cores"]},
            "versions": machine.versions(),
            "seeds": seeds,
            "data": data,
            "figures": figures,
            "notes": notes,
        }
        | (extra or {}),
    )
    return path


def _commit() -> str:
    """The commit, with "-dirty" where anything but results differs from it."""
    described = _git("describe", "--always", "--abbrev=12")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{_RESULTS}")
    return (described or "unknown") + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()

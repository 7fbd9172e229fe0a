"""Folders of a few demo images, and the command line as a user calls it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from edgekd import assets

CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
# Images of each class; and of the training images without a label.
COUNTS = {"train": 4, "tune": 2, "val": 2, "test": 2}
NUM_UNLABELLED = 20

SETTINGS: dict[str, Any] = {
    "name": "small",
    "caption": {
        "teacher": {
            "kind": "composed", "backbone": "efficientnet_lite0", "image_size": 32,
            "inverted": True, "names": False,
        },
        "block_size": 8,
    },
    "distill": {
        "arch": "mobilenetv4_conv_small_050", "image_size": 32, "steps": 6, "batch_size": 16,
        "lr": [0.003], "evaluations": 2,
    },
    "prune": {"macs_ratio": 0.6, "recovery_steps": 2},
    "export": {"calibration_images": 20},
    "bench": {"runs": 3, "warmup": 1},
    "report": {"samples": 4},
}  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """A finished run: its images, its config, its folder, and what the command printed."""

    images: Path
    config: Path
    folder: Path
    code: int
    stdout: str
    stderr: str

    def copy(self, target: Path) -> Path:
        """Returns a copy of the run folder that a test may change; use it with --out."""
        return Path(shutil.copytree(self.folder, target))


def edgekd(
    *words: str | Path, cwd: Path | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own, on one core."""
    return subprocess.run(
        command(*words), capture_output=True, text=True, cwd=cwd, env=environment(), timeout=timeout
    )


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "edgekd", *map(str, words)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}


def write_config(path: Path, folder: Path, out: Path, **changes: Any) -> Path:
    """Writes SETTINGS for a folder, with some sections replaced; returns `path`."""
    values = SETTINGS | {"data": {"folder": str(folder)}, "out": str(out)} | changes
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def unpack(target: Path) -> Path:
    """Returns a folder of 120 demo images with labels.csv, as the demo's own but small."""
    target.mkdir(parents=True)
    with tarfile.open(assets.demo_archive()) as archive:
        content = {m.name.partition("/")[2]: archive.extractfile(m) for m in archive.getmembers()}  # type: ignore[misc]
        table = csv.DictReader(io.StringIO(content["labels.csv"].read().decode()))  # type: ignore[union-attr]
        rows = _some_of_each(list(table))
        for row in rows:
            path = target / row["path"]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content[row["path"]].read())  # type: ignore[union-attr]
    with (target / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["path", "label", "split"])
        writer.writeheader()
        writer.writerows(rows)
    return target


def folder_a_class(source: Path, target: Path, splits: tuple[str, ...]) -> Path:
    """Returns a folder with one folder a class, of the labelled images of some splits."""
    for row in labelled(source):
        if row["split"] in splits:
            path = target / row["label"] / Path(row["path"]).name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / row["path"], path)
    return target


def strange_images(target: Path) -> Path:
    """Returns a folder of images of none of the classes: noise, plain colours, one that is broken."""
    target.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(4):
        noise = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(target / f"noise {index}.png")
        Image.new("RGB", (30, 50), (60 * index, 200, 90)).save(target / f"plain {index}.png")
    (target / "broken.png").write_bytes(b"no image")
    return target


def labelled(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of labels.csv that carry a label."""
    with (folder / "labels.csv").open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["label"]]


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def last_run(run: Path) -> dict[str, list[str]]:
    """Returns the stages that the last run in a folder {finished, reused}, in order."""
    found: dict[str, list[str]] = {"finished": [], "reused": []}
    for event in events(run):
        if event["event"] == "run started":
            found = {"finished": [], "reused": []}
        for how, stages in found.items():
            if event["event"] == f"stage {how}":
                stages.append(event["stage"])
    return found


def _some_of_each(table: list[dict[str, str]]) -> list[dict[str, str]]:
    taken: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in table:
        group = taken[row["split"], row["label"]]
        if len(group) < (COUNTS[row["split"]] if row["label"] else NUM_UNLABELLED):
            group.append(row)
    return [row for group in taken.values() for row in group]

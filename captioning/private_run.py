"""Private labels for the unlabelled images of a folder; of the labelled ones nothing is kept.

The features stay in memory: they, the votes and the given labels are what must not be written
(`captioning.private_labels.MUST_NOT_BE_WRITTEN`). What comes out is a table that can be given to a
run in place of the labels, on a folder without the labelled images.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from captioning.private_labels import ABSTAINS, PrivateLabelsConfig, private_labels
from captioning.teachers import looking
from captioning.teachers.composed_teacher import ComposedTeacher
from captioning.teachers.configs import ComposedTeacherConfig
from captioning.teachers.protocol import Brief
from edgekd.errors import DataError
from edgekd.manifest import Manifest
from edgekd.progress import Progress, silent
from edgekd.records import Item
from edgekd.store import write_text


def answer_privately(
    manifest: Manifest,
    folder: Path,
    teacher: ComposedTeacherConfig,
    config: PrivateLabelsConfig,
    out: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Writes path and label of each unlabelled training image that got an answer; returns the
    statement, which goes beside the table as .json.

    Raises:
        DataError: no labelled training image, or none to ask about.
    """
    if manifest.task.multilabel:
        raise DataError(
            "private labels: a vote gives one class an image, but data.multilabel is true"
        )
    train = manifest.of("train")
    labelled = [item for item in train if item.label is not None]
    asked = [item for item in train if item.label is None]
    if not labelled or not asked:
        raise DataError(
            f"private labels: {len(labelled)} labelled and {len(asked)} unlabelled training images, "
            "expected some of both: the labelled ones answer for the others"
        )
    told = Brief(manifest.task, 1, (1.0,), 0, Path())
    eye = ComposedTeacher(teacher, told)
    features = _features(eye, [*labelled, *asked], folder, progress)
    found = private_labels(
        features[len(labelled) :],
        features[: len(labelled)],
        np.array([item.label for item in labelled], dtype=np.int64),
        [item.id for item in labelled],
        manifest.task.num_classes,
        config,
    )
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["path", "label"])
    for item, label in zip(asked, found.labels_M.tolist(), strict=True):
        if label != ABSTAINS:
            writer.writerow([item.path, manifest.task.classes[label]])
    write_text(out, table.getvalue())
    write_text(out.with_suffix(".json"), json.dumps(found.statement, indent=1) + "\n")
    return found.statement


def _features(
    eye: ComposedTeacher, items: list[Item], folder: Path, progress: Progress
) -> np.ndarray:
    num_seen = 0

    def seen(count: int) -> None:
        nonlocal num_seen
        num_seen += count
        progress(num_seen, len(items), "images")

    found = looking.look(eye, items, folder, False, seen)
    return found.arrays["features"].astype(np.float32)

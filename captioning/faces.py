"""How many faces the images show: counted, and nothing else of them is kept.

The detector is scikit-image's cascade of local binary patterns with the frontal faces that OpenCV
trained it on; both come in its wheel. It looks for faces turned to the camera on a shrunk image.
`python -m benchmarks.faces` chose the settings and measures what is found.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from captioning.settings import CaptionConfig
from captioning.teachers import looking
from captioning.teachers.protocol import Conclusion, Files, Look
from edgekd.extras import require
from edgekd.manifest import Manifest
from edgekd.progress import Progress
from edgekd.records import SPLITS, Item
from edgekd.store import RunStore, atomic_path, digest

FACES_SCHEMA = 1  # another with other defaults of `Detection`: stored counts are then made anew
FOLDER = "faces"


@dataclasses.dataclass(frozen=True)
class Detection:
    """How the cascade looks at an image.

    `side` is the longest side it is shrunk to (a smaller one stays as it is); the smallest face
    found has 24 pixels there. Sizes of windows lie `scale_factor` apart, windows `step_ratio` pixels
    of the smallest. A face counts where more than `min_neighbours` windows lie on each other.
    """

    side: int = 160
    scale_factor: float = 1.1
    step_ratio: float = 1.0
    min_neighbours: int = 10


class FaceCounter:
    """Looks like a teacher (`captioning.teachers.protocol`), but says nothing."""

    name = "faces/lbp_frontal"

    def __init__(self, how: Detection = Detection()):
        self._how = how

    @property
    def settings(self) -> str:
        return digest([self.name, dataclasses.asdict(self._how)])

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        """Returns how many faces each image shows, int32 [n]."""
        return Look({"faces": np.array([self.count(image) for image in images], np.int32)})

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        return Conclusion()

    def count(self, image: Image.Image) -> int:
        """Returns how many faces an image shows."""
        how, grey = self._how, image.convert("L")
        grey.thumbnail((how.side, how.side), Image.Resampling.BILINEAR)
        least, most = self._cascade.window_width, min(grey.size)
        if most <= least:
            return 0
        found = self._cascade.detect_multi_scale(
            *(np.asarray(grey), how.scale_factor, how.step_ratio),
            *((least, least), (most, most), how.min_neighbours),
        )
        return len(found)

    @cached_property
    def _cascade(self) -> Any:
        file = require("skimage.data", "privacy").lbp_frontal_face_cascade_filename()
        return require("skimage.feature", "privacy").Cascade(file)


def count_faces(
    manifest: Manifest, folder: Path, config: CaptionConfig, store: RunStore, progress: Progress
) -> tuple[list[Path], dict[str, Any]]:
    """Writes faces/observations.npz, the count of every image, and faces/faces.csv, where any is.

    Returns the files and how many images of each split show how many faces.
    """
    counter, files = FaceCounter(), Files(store.path(FOLDER))
    with contextlib.ExitStack() as stack:
        hands = None
        if config.workers > 1 or config.ray_address is not None:
            from captioning.teachers.distributed import Workers

            workers = stack.enter_context(Workers(config.workers, config.ray_address))
            hands = workers.hands(FaceCounter)
        counts_N, seen = looking.look_and_keep(
            counter, manifest, folder, files, config.block_size, "faces", progress, hands
        )
    store.scratch(files.blocks(seen.settings))
    table = files.folder / "faces.csv"
    _write_table(table, manifest.items, counts_N)
    return [files.arrays, table], {
        "detector": counter.name,
        "num_observed": seen.num_new,
        "by_split": by_split(manifest.items, counts_N),
    }


def by_split(items: Iterable[Item], counts_N: np.ndarray) -> dict[str, dict[str, int]]:
    """Returns of each split how many images there are, how many show faces, and how many faces."""
    found: dict[str, dict[str, int]] = {
        split: dict.fromkeys(("images", "with_faces", "faces"), 0) for split in SPLITS
    }
    for item, count in zip(items, counts_N.tolist(), strict=True):
        summed = found[item.split]
        summed["images"] += 1
        summed["with_faces"] += count > 0
        summed["faces"] += count
    return found


def _write_table(path: Path, items: Sequence[Item], counts_N: np.ndarray) -> None:
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "split", "faces"])
        for row in np.flatnonzero(counts_N).tolist():
            writer.writerow([items[row].path, items[row].split, int(counts_N[row])])

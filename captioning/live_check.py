"""Whether what a run stored is still what its teachers and captions say.

Some images are looked at again, and the targets are made again by the stage that makes them, in a
folder of their own: nothing is written into the run.

n images that are looked at again, K classes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from captioning import stage, views
from captioning.borrowed import borrowed
from captioning.rows import Rows
from captioning.teachers import catalogue, looking
from captioning.teachers.configs import VisionServerConfig
from captioning.teachers.protocol import Files, Teacher
from edgekd.errors import DataError
from edgekd.manifest import Manifest
from edgekd.metrics import softmax
from edgekd.preprocess import open_image, resized
from edgekd.progress import Progress, silent
from edgekd.records import Item
from edgekd.store import RunStore, digest, file_sha256
from edgekd.targets_file import DISTRIBUTIONS, Probs, Targets, largest

# Of the stored value, or of 1 where that is smaller. An image among others is summed up in another
# order than before, which changes the last bits; rounding to float16 may turn that into one of its
# steps (2**-10 of the value), and an image that lies on another machine's step into a second one.
_TOLERANCE_FLOAT16 = 2.0**-9
_TOLERANCE_FLOAT32 = 1e-3
# The network for export sees features that were not rounded to float16.
_TOLERANCE_SCORES = 0.02
_TARGETS = "targets/targets.npz"
_TOLERANCE_TARGETS = 1e-5  # made of the same numbers: float32 rounding on another number of threads


@dataclass(frozen=True)
class Difference:
    """The largest difference between what is stored and what comes out now, and at which image.

    `file` of the run holds what is stored.
    """

    of: str
    name: str
    file: str
    largest: float
    tolerance: float
    path: str

    @property
    def is_beyond(self) -> bool:
        return not self.largest <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.of} {self.name}: largest difference {self.largest:.2g}, "
            f"tolerance {self.tolerance:.2g}"
        )


@dataclass(frozen=True)
class LiveCheck:
    """What was compared on how many images, what could not be, and what is wrong."""

    num_images: int
    differences: tuple[Difference, ...]
    changed: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def fault(self) -> str | None:
        """One line on what is stored and no longer so; None where all agrees."""
        beyond = [difference for difference in self.differences if difference.is_beyond]
        if not beyond and not self.changed:
            return None
        parts = list(self.changed)
        if beyond:
            worst = max(beyond, key=lambda each: each.largest / each.tolerance)
            more = f" ({len(beyond)} of {len(self.differences)} comparisons)"
            parts.append(f"{worst} at {worst.path}{more if len(beyond) > 1 else ''}")
        files = " and ".join(dict.fromkeys(each.file for each in beyond))
        remove = "Run" if self.changed else f"Remove {files} from the run, then run"
        return f"stored and live differ: {'; '.join(parts)}. {remove}: edgekd caption CONFIG"


def check(
    manifest: Manifest,
    folder: Path,
    caption: stage.CaptionConfig,
    targets: stage.TargetsConfig,
    store: RunStore,
    seed: int,
    num_images: int,
    rules: Path | None = None,
    progress: Progress = silent,
    deaf_to: Collection[float] = (),
) -> LiveCheck:
    """Compares a finished run's observations and targets with what comes out now.

    The images are `num_images` of all splits, drawn by their content and the seed; `folder` is
    where they lie. `deaf_to` are the temperatures whose captions the targets do not count.

    Raises:
        DataError: an image is gone.
    """
    items = sorted(manifest.items, key=lambda item: digest([seed, item.id]))[:num_images]
    for item in items:
        if not (folder / item.path).is_file():
            raise DataError(f"{folder / item.path}: gone. Expected the images that the run was of")
    differences: list[Difference] = []
    changed = [f"{name} is not what the targets were made of" for name in _changed(store)]
    notes: list[str] = []
    with borrowed(store) as copy:
        told = stage.brief(manifest, folder, caption, copy, seed)
        teachers = stage.built(caption, told, rules)
        for number, (section, teacher) in enumerate(
            zip(caption.teachers, teachers, strict=True), start=1
        ):
            files = stage.teacher_files(copy, number)
            if isinstance(section, VisionServerConfig):
                notes.append(f"{teacher.name}: not asked again, since answers cost")
            elif not looking.ids_before(files, teacher.settings):
                changed.append(f"{teacher.name} is not what looked: other settings or weights")
            else:
                differences += _looked_again(teacher, items, folder, files, copy, progress)
                differences += _scored_again(section, teacher.name, items, folder, files)
        differences += _made_again(manifest, caption, targets, store, copy, items, deaf_to)
    return LiveCheck(len(items), tuple(differences), tuple(changed), tuple(notes))


def _looked_again(
    teacher: Teacher,
    items: Sequence[Item],
    folder: Path,
    files: Files,
    copy: RunStore,
    progress: Progress,
) -> Iterator[Difference]:
    """Of each array that the teacher gives."""
    block = looking.Block(items, copy.path(f"again_{files.number}.npz"))
    done = 0

    def seen(count: int) -> None:
        nonlocal done
        done += count
        progress(done, len(items), "images looked at again")

    looking.look_at_block(teacher, block, folder, files.number == 1, seen)
    with np.load(block.path) as live, np.load(files.arrays) as stored:
        rows = _rows(stored["ids"].astype(str).tolist(), items)
        for name in live.files:
            was = stored[name][rows]
            tolerance = _TOLERANCE_FLOAT16 if was.dtype == np.float16 else _TOLERANCE_FLOAT32
            what = (teacher.name, name, f"captions/{files.arrays.name}")
            yield _difference(what, was, live[name], tolerance, items)


def _scored_again(
    section: Any, teacher: str, items: Sequence[Item], folder: Path, files: Files
) -> Iterator[Difference]:
    """Of the class probabilities, where the teacher can be a network of its own."""
    loaded = catalogue.load_module(section, files.head) if catalogue.exportable(section) else None
    if loaded is None:
        return
    network, preprocess = loaded
    with np.load(files.arrays) as stored:
        logits = stored["logits"][_rows(stored["ids"].astype(str).tolist(), items)]
    spoken = np.isfinite(logits).all(axis=1)
    some = [item for item, speaks in zip(items, spoken, strict=True) if speaks]
    if not some:
        return
    pixels = np.stack([resized(open_image(folder / item.path), preprocess) for item in some])
    was, now = softmax(logits[spoken]), softmax(views.answers(network, pixels, preprocess))
    what = (teacher, "probabilities", f"captions/{files.arrays.name}")
    yield _difference(what, was, now, _TOLERANCE_SCORES, some)


def _made_again(
    manifest: Manifest,
    caption: stage.CaptionConfig,
    targets: stage.TargetsConfig,
    store: RunStore,
    copy: RunStore,
    items: Sequence[Item],
    deaf_to: Collection[float],
) -> Iterator[Difference]:
    """Of the targets, made of the stored scores and the captions as they are now."""
    stage.soft_targets(
        manifest,
        targets,
        copy,
        [teacher.name for teacher in caption.teachers],
        caption.text_encoder,
        stage.class_descriptions(caption),
        deaf_to=deaf_to,
    )
    stored = Targets(store.path("targets", "targets.npz"))
    live = Targets(copy.path("targets", "targets.npz"))
    rows = [stored.row_of[item.id] for item in items]
    now = [live.row_of[item.id] for item in items]
    for name in (*DISTRIBUTIONS, "weight", "attributes"):
        if (name in stored) != (name in live):
            yield Difference("targets", name, _TARGETS, np.inf, _TOLERANCE_TARGETS, "all images")
        elif name in DISTRIBUTIONS and name in stored:
            was = stored.probs(name)
            again = _as_stored(live.probs(name).only(np.array(now)), was)
            yield _difference(
                ("targets", name, _TARGETS), was.rows(rows), again, _TOLERANCE_TARGETS, items
            )
        elif name in stored:
            was_N, is_N = stored.array(name)[rows], live.array(name)[now]
            yield _difference(("targets", name, _TARGETS), was_N, is_N, _TOLERANCE_TARGETS, items)


def _as_stored(live: Probs, stored: Probs) -> np.ndarray:
    """Whole rows, of as many classes as are stored."""
    if stored.classes is None or live.classes is not None:
        return live.rows()
    return largest(live.values, stored.values.shape[1]).rows()


def _changed(store: RunStore) -> Iterator[str]:
    """The files of the run that are other ones than when the targets were made."""
    record = store.stage_record("targets")
    files = record["made_of"]["files"] if record is not None else {}
    for name, sha256 in files.items():
        path = store.path(name)
        if path.is_file() and file_sha256(path) != sha256:
            yield name


def _difference(
    what: tuple[str, str, str],
    stored: np.ndarray,
    live: np.ndarray,
    tolerance: float,
    items: Sequence[Item],
) -> Difference:
    """Relative to the stored value where that is above 1; both missing (not finite) is no difference."""
    if stored.shape != live.shape:
        return Difference(*what, np.inf, tolerance, "all images")
    was = stored.reshape(len(items), -1).astype(np.float64)
    now = live.reshape(len(items), -1).astype(np.float64)
    finite = np.isfinite(was) & np.isfinite(now)
    same = (was == now) | (np.isnan(was) & np.isnan(now))
    apart = np.full(was.shape, np.inf)
    apart[finite] = (np.abs(now - was) / np.maximum(1, np.abs(was)))[finite]
    apart[same] = 0
    worst_n = apart.max(axis=1, initial=0)
    row = int(worst_n.argmax())
    return Difference(*what, float(worst_n[row]), tolerance, items[row].path)


def _rows(ids: list[str], items: Sequence[Item]) -> list[int]:
    row_of = Rows(ids)
    return [row_of[item.id] for item in items]

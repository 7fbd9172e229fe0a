"""How much work a stage is: what it counts, what its speed hangs on, what it writes.

Seconds are never guessed: they are those of an earlier run in the same folder, a unit at a time.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from captioning import audit
from captioning import stage as captioning
from captioning.attributes import WORDS
from captioning.teachers import catalogue, looking
from captioning.teachers.protocol import Teacher
from edgekd import machine, targets_file
from edgekd.errors import EdgeKDError
from edgekd.held_out import held_out
from edgekd.manifest import Manifest
from edgekd.run_config import RunConfig
from edgekd.running import Run
from edgekd.search import sweeps
from edgekd.sizes import format_size

# Config keys that make one unit of a stage's work another piece of work.
_SPEED: dict[str, tuple[str, ...]] = {
    "faces": ("caption.workers",),
    "caption": ("caption.teacher", "caption.more", "caption.workers"),
    "targets": ("targets",),
    "views": ("caption.teacher", "caption.more"),
    "sweep": ("distill.arch", "distill.image_size", "distill.batch_size"),
    "distill": ("distill.arch", "distill.image_size", "distill.batch_size"),
    "baseline": ("distill.arch", "distill.image_size", "distill.batch_size"),
    "prune": (
        "distill.arch",
        "distill.image_size",
        "distill.batch_size",
        "prune.macs_ratio",
        "prune.params_ratio",
    ),
    "export": ("distill.arch", "distill.image_size", "caption.teacher"),
    "quantize": (
        "distill.arch",
        "distill.image_size",
        "caption.teacher",
        "export.calibration_images",
    ),
    "evaluate": ("distill.arch", "distill.image_size", "caption.teacher"),
    "bench": ("distill.arch", "distill.image_size", "caption.teacher", "bench"),
}
# Stages whose work grows with images, captions, steps or files; the others are one short act.
_COUNTED = (
    *("validate", "faces", "caption", "filter", "audit", "sweep", "targets", "views"),
    *("distill", "baseline", "prune"),
    *("export", "quantize", "evaluate", "bench"),
)
TRAININGS = ("distill", "baseline", "prune")
_LARGE_TARGETS_BYTES = 10_000_000
_TOP_K = 10  # what is proposed for targets that are large


def units(stage: str, current: Run) -> dict[str, Any]:
    """Returns {"count", "of", "same_speed"}: as much work at the same speed costs the same time."""
    count, of = 1, "act"
    if stage in _COUNTED:
        count, of = _counted(stage, current.config, current.manifest)
    keys = {name: _value(current.config, name) for name in _SPEED.get(stage, ())}
    return {"count": count, "of": of, "same_speed": {"machine": _machine(), **keys}}


def images_read(stage: str, config: RunConfig, manifest: Manifest) -> int:
    """Returns how many image files a stage opens; of a training, where none are cached."""
    if stage in ("validate", "faces"):
        return len(manifest.items)
    if stage == "caption":
        return len(manifest.items) * len(config.caption.teachers)
    if stage == "audit":
        sample = audit.draw(manifest, config.report.audit_images)
        return len(sample.items) if sample.learned else 0
    if stage == "views":
        return len(manifest.of("train")) * sum(map(catalogue.exportable, config.caption.teachers))
    if stage in TRAININGS:
        return len(manifest.of("train")) + _num_labelled(manifest, "tune")
    if stage == "quantize":
        calibrating = min(config.export.calibration_images, len(manifest.of("train")))
        return calibrating * (_num_students(config, manifest) + _num_teachers(config))
    if stage == "evaluate":
        all_files = num_files(config, manifest) * _num_evaluated(manifest)
        return all_files + _num_choosable(config) * _num_for_confidence(config, manifest)
    return 0


def num_unseen(current: Run) -> int:
    """Returns how many images the caption stage's teachers must still look at, each counting."""
    config = current.config
    told = captioning.brief(
        current.manifest, current.data_folder, config.caption, current.store, config.seed
    )
    return sum(
        _num_unseen(current, teacher, number)
        for number, teacher in enumerate(
            captioning.built(config.caption, told, config.filter.rules), start=1
        )
    )


def targets_bytes(config: RunConfig, manifest: Manifest) -> int:
    """Returns the size of targets.npz but its header; where scores are withheld it has none."""
    return _targets_bytes(config, manifest, config.targets.top_k)


def targets_note(config: RunConfig, manifest: Manifest) -> str | None:
    """Returns a line on the size of targets.npz where that is above 10 MB, for before it is made."""
    size = targets_bytes(config, manifest)
    if size <= _LARGE_TARGETS_BYTES:
        return None
    images, classes = len(manifest.items), manifest.task.num_classes
    note = (
        f"targets.npz will take {format_size(size)} for {images:,} images and {classes:,} classes"
    )
    if config.targets.top_k is not None or classes <= _TOP_K:
        return note
    smaller = format_size(_targets_bytes(config, manifest, _TOP_K))
    return f"{note}; targets.top_k: {_TOP_K} makes it {smaller}"


def cache_bytes(config: RunConfig, manifest: Manifest) -> int:
    """Returns the size of the resized images that all trainings share."""
    return images_read("distill", config, manifest) * config.distill.image_size**2 * 3


def is_cached(current: Run) -> bool:
    """Whether as many resized images lie in the run's cache as a training reads."""
    pattern = f"images-{current.config.distill.image_size}px*"
    there = sum(path.stat().st_size for path in current.store.path("cache").glob(pattern))
    return there >= cache_bytes(current.config, current.manifest)


def num_files(config: RunConfig, manifest: Manifest) -> int:
    """Returns how many exported files are looked at; of the teacher it is the int8 one."""
    teacher = _num_teachers(config)
    students = _num_networks_in_formats(config, manifest) - teacher
    return students * len(config.export.precisions) + teacher


def _targets_bytes(config: RunConfig, manifest: Manifest, top_k: int | None) -> int:
    distributions = 2 if config.targets.evidence == "captions" else 3
    return targets_file.size_bytes(
        len(manifest.items), manifest.task.num_classes, len(WORDS), distributions, top_k
    )


def _counted(stage: str, config: RunConfig, manifest: Manifest) -> tuple[int, str]:
    num_items = len(manifest.items)
    recovery = config.prune.recovery_steps
    if stage in ("validate", "faces", "caption"):
        return num_items, "images"
    if stage == "audit":
        return images_read("audit", config, manifest), "images"
    if stage in ("filter", "targets"):
        return num_items * config.caption.captions_per_image, "captions"
    if stage == "views":
        candidates = len(config.distill.augment)
        return len(manifest.of("train")) * config.targets.views * candidates, "views"
    if stage == "sweep":
        return len(sweeps(config.caption.temperatures)) * config.targets.sweep_steps, "steps"
    if stage == "distill":
        return _steps(config, manifest, config.distill.steps), "steps"
    if stage == "baseline":
        extra = recovery if config.prune.enabled else 0
        return _steps(config, manifest, config.distill.steps + extra), "steps"
    if stage == "prune":
        return recovery, "steps"
    if stage == "export":
        return _num_networks_in_formats(config, manifest), "files"
    if stage == "quantize":
        alone = "int8" not in config.export.precisions  # the teacher's, alone
        return 1 if alone else _num_networks_in_formats(config, manifest), "files"
    if stage == "bench":
        return num_files(config, manifest), "files"
    return images_read("evaluate", config, manifest), "answers"


def _steps(config: RunConfig, manifest: Manifest, full: int) -> int:
    """Optimizer steps with those of the candidates that tune chooses from."""
    candidates = len(config.distill.lr) * len(config.distill.augment)
    if candidates == 1 or _num_labelled(manifest, "tune") == 0:
        return full
    short = max(1, round(full * config.distill.screen))
    return candidates * short + (full if short < full else 0)


def _num_labelled(manifest: Manifest, *splits: Any) -> int:
    return sum(item.label is not None for item in manifest.of(*splits))


def _num_evaluated(manifest: Manifest) -> int:
    return _num_labelled(manifest, "val", "test") or min(200, len(manifest.of("train")))


def _num_choosable(config: RunConfig) -> int:
    """Files of students in the format and precision of the bundle."""
    return 1 + config.prune.enabled


def _num_for_confidence(config: RunConfig, manifest: Manifest) -> int:
    """Images that temperature and threshold are fitted on, at most, and outliers."""
    from export import reject

    if not config.reject.enabled or manifest.task.multilabel:
        return 0
    num_tune = _num_labelled(manifest, "tune")
    held = len(held_out(manifest)) or len(manifest.of("train"))
    fitted = num_tune if num_tune >= reject.MIN_LABELS else min(held, reject.MAX_IMAGES)
    outliers = config.reject.outliers
    return fitted + (len(reject.outlier_files(outliers)) if outliers is not None else 0)


def _num_networks_in_formats(config: RunConfig, manifest: Manifest) -> int:
    """Students in every format, the baseline in one, the teacher in one."""
    students = len(config.export.formats) * (1 + config.prune.enabled)
    return students + _has_baseline(config, manifest) + _num_teachers(config)


def _num_teachers(config: RunConfig) -> int:
    """Teachers that become a file."""
    return int(config.exported_teacher is not None)


def _has_baseline(config: RunConfig, manifest: Manifest) -> bool:
    return config.baseline.enabled and _num_labelled(manifest, "train") > 0


def _num_students(config: RunConfig, manifest: Manifest) -> int:
    return 1 + config.prune.enabled + _has_baseline(config, manifest)


@functools.cache
def _machine() -> str:
    return f"{machine.cpu_name()}, {os.cpu_count()} cores"


def _value(config: RunConfig, name: str) -> Any:
    value: Any = config.model_dump(mode="json")
    for part in name.split("."):
        value = value[part]
    return value


def _num_unseen(current: Run, teacher: Teacher, number: int) -> int:
    """All of them where the teacher's weights are not even here yet."""
    items = current.manifest.items
    try:
        before = looking.ids_before(
            captioning.teacher_files(current.store, number), teacher.settings
        )
    except EdgeKDError:
        return len(items)
    return sum(item.id not in before for item in items)

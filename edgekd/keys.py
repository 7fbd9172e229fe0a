"""What the result of each stage depends on: keys of the config, facets of the images, files, results.

A stage runs again when one of these changed, and for no other reason. So a stage names no more than
it reads: a licence is no reason to train, a budget none to export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pydantic

from captioning import audit as auditing
from captioning.rules import rules_sha256
from captioning.teachers.protocol import Files
from captioning.views import scoring
from edgekd.manifest import Manifest
from edgekd.records import SPLITS, Label, to_dict
from edgekd.running import MadeOf, Run
from edgekd.sources import listing
from edgekd.store import digest, digest_each, file_sha256

_IMAGES = ("images", "classes", "synonyms")
_HOW = ("caption.block_size", "caption.workers", "caption.ray_address", "caption.count_faces")


def validate(current: Run) -> MadeOf:
    """The data section, and every file in the folder by size and time."""
    made = _made_of(current, config=("name", "seed", "data"))
    if current.config.data.labels is not None:  # may lie outside the folder
        made["files"]["data.labels"] = _content(current.data_folder / current.config.data.labels)
    return made


def faces(current: Run) -> MadeOf:
    """The images alone: which detector counts stands in the stage's schema."""
    return _made_of(current, images=("images", *SPLITS))


def caption(current: Run) -> MadeOf:
    made = _made_of(
        current, config=("seed", "caption"), images=(*_IMAGES, "train", "tune"), files=()
    )
    config = current.config.caption
    for name in tuple(made["config"]):  # how often it is saved, by whom; what others ask
        if name in _HOW or (name.startswith("caption.text_model") and not config.reword):
            del made["config"][name]
    if config.domain is not None and Path(config.domain).is_file():
        made["files"]["caption.domain"] = _content(Path(config.domain))
    if config.private != "keep":
        made["files"]["rules"] = rules_sha256(current.config.filter.rules)
    return made


def filter_(current: Run) -> MadeOf:
    files = ("captions/raw.parquet", "captions/observations.npz")  # of which attributes are read
    made = _made_of(current, config=("filter", "caption.text_encoder"), images=_IMAGES, files=files)
    made["files"]["rules"] = rules_sha256(current.config.filter.rules)
    return made


def audit(current: Run) -> MadeOf:
    made = _made_of(
        current,
        config=("report.audit_images",),
        images=(*_IMAGES, "train", "tune"),
        files=("captions.parquet",),
    )
    eye = auditing.eye(current.config.caption.teachers)
    made["config"]["audit.eye"] = None if eye is None else eye.model_dump(mode="json")
    return made


def sweep(current: Run) -> MadeOf:
    """What targets and a training hang on together, but for what the search leaves out."""
    made = _targets(current)
    training = _made_of(current, config=("seed", "distill", "caption.temperatures"))["config"]
    for name in ("steps", "screen", "evaluations", "lr"):
        del training[f"distill.{name}"]
    others = [name for name in training if name.startswith("distill.augment.")]
    for name in others:  # of several learning rates and augmentations the first are taken
        if not name.startswith("distill.augment.0."):
            del training[name]
    made["config"] |= training | {"distill.lr.0": current.config.distill.lr[0]}
    return made


def targets(current: Run) -> MadeOf:
    made = _targets(current)
    del made["config"]["targets.sweep_steps"]  # of the sweep, whose result counts
    if current.config.targets.temperatures == "student":
        made["results"]["sweep"] = digest(current.result("sweep")["chosen"])
    return made


def _targets(current: Run) -> MadeOf:
    teachers = range(1, len(current.config.caption.teachers) + 1)
    observations = [f"captions/{Files(Path(), number).arrays}" for number in teachers]
    return _made_of(
        current,
        config=("targets", "caption.text_encoder", "caption.descriptions"),
        images=(*_IMAGES, "train", "tune"),
        files=("captions.parquet", *observations),
    )


def views(current: Run) -> MadeOf:
    """What teachers say of views hangs on no caption: only distillation mixes the two."""
    teachers = current.config.caption.teachers
    heads = [Files(Path("captions"), number).head for number in scoring(teachers)]
    return _made_of(
        current,
        config=(
            *("seed", "targets.views", "targets.top_k", "distill.augment", "distill.image_size"),
            *("caption.teacher", "caption.more"),
        ),
        images=("num_classes", "train", "tune"),
        files=[head.as_posix() for head in heads],
    )


def distill(current: Run) -> MadeOf:
    viewed = ("targets/views.parquet", "targets/views.npz") if current.config.targets.views else ()
    return _made_of(
        current,
        config=("seed", "distill"),
        images=("num_classes", "train", "tune"),
        files=("targets/targets.npz", *viewed),
    )


def baseline(current: Run) -> MadeOf:
    """What it learns from are the given labels: no target, and none of the weights of a loss."""
    made = _made_of(
        current, config=("seed", "distill"), images=("num_classes", "train", "tune"), files=()
    )
    for name in ("kd_weight", "kd_temperature", "label_weight"):
        del made["config"][f"distill.{name}"]
    prune = current.config.prune
    made["config"]["prune.recovery_steps"] = prune.recovery_steps if prune.enabled else 0
    return made


def prune(current: Run) -> MadeOf:
    made = distill(current)
    made["config"] |= _made_of(current, config=("prune",))["config"]
    made["files"] |= current.sha256("checkpoints/student.safetensors")
    made["results"] |= current.result_digests("distill")  # which augmentation was chosen
    return made


def export(current: Run) -> MadeOf:
    files = [f"checkpoints/{name}.safetensors" for name in networks(current)]
    config = ["export.formats", "export.teacher", "choose.format"]
    teacher, head = current.config.exported_teacher, "captions/teacher_head.npz"
    if teacher is not None:
        config.append("caption.teacher")
        if teacher.kind == "composed" or current.store.path(head).is_file():
            files.append(head)
    return _made_of(current, config=config, images=("num_classes",), files=files)


def quantize(current: Run) -> MadeOf:
    return _made_of(
        current,
        config=("export.precisions", "export.calibration_images"),
        images=("train",),
        results=("export",),
    )


def evaluate(current: Run) -> MadeOf:
    """Without labelled images of val and test, training images are looked at."""
    manifest = current.manifest
    labelled = any(item.label is not None for item in manifest.of("val", "test"))
    made = _made_of(
        current,
        config=("export.precisions", "reject"),
        images=("num_classes", "val", "test") if labelled else ("num_classes", "train"),
        results=("export", "quantize"),
    )
    if current.config.reject.enabled:  # fitted on files that may be chosen, on one of these
        fitted = _made_of(
            current,
            config=("choose.format", "choose.precision"),
            images=("tune", "train"),
            files=("targets/targets.npz",),
        )
        made = {kind: made[kind] | fitted[kind] for kind in made}
    return made


def check(current: Run) -> MadeOf:
    return _made_of(current, config=("check", "choose"), results=("evaluate",))


def bench(current: Run) -> MadeOf:
    return _made_of(current, config=("bench", "export.precisions"), results=("export", "quantize"))


def bundle(current: Run) -> MadeOf:
    """What its model card says of the run, beside the model."""
    made = _made_of(
        current,
        config=("name", "distill.arch", "caption.teacher", "data.licence"),
        images=("classes", *SPLITS),
        results=("caption", "distill", "evaluate", "check", "bench"),
    )
    made["config"]["data.folder"] = current.data_folder.name
    return made


def report(current: Run) -> MadeOf:
    """Everything, and how long it took."""
    sections = [name for name in type(current.config).model_fields if name not in ("out", "data")]
    made = _made_of(
        current,
        config=[*sections, "data.licence"],
        images=(*_IMAGES, *SPLITS),
        files=("manifest.parquet", "captions.parquet"),
        results=tuple(current.records),
    )
    made["config"]["data.folder"] = current.data_folder.name
    made["files"]["captions/answers.json"] = _content(current.store.path("captions/answers.json"))
    made["results"] |= current.cost_digest()
    return made


def networks(current: Run) -> list[str]:
    """Returns the checkpoints that a run's config and labels lead to."""
    config = current.config
    alone = config.baseline.enabled and any(
        item.label is not None for item in current.manifest.of("train")
    )
    wanted = {"student": True, "student_pruned": config.prune.enabled, "labels_alone": alone}
    return [name for name, is_wanted in wanted.items() if is_wanted]


def _made_of(
    current: Run,
    config: Iterable[str] = (),
    images: Iterable[str] = (),
    files: Iterable[str] = (),
    results: Iterable[str] = (),
) -> MadeOf:
    values: dict[str, Any] = {}
    for name in config:
        value: Any = current.config
        for part in name.split("."):
            value = getattr(value, part)
        values |= dict(_flat(name, value))
    named = {name: _content(path.expanduser()) for name, path in values.items() if _is_path(path)}
    return {
        "config": {name: value for name, value in values.items() if name not in named},
        "images": {name: _facet(name)(current.manifest) for name in images},
        "files": named | current.sha256(*files),
        "results": current.result_digests(*results),
    }


def _flat(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    """A section's keys by their dotted names; of a path, what lies there will count."""
    if isinstance(value, pydantic.BaseModel):
        for field in type(value).model_fields:
            yield from _flat(f"{name}.{field}", getattr(value, field))
    elif isinstance(value, list) and any(isinstance(each, pydantic.BaseModel) for each in value):
        for number, each in enumerate(value):
            yield from _flat(f"{name}.{number}", each)
    else:
        yield name, value if _is_path(value) else _plain(value)


def _is_path(value: Any) -> bool:
    return isinstance(value, Path)


def _plain(value: Any) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if _is_path(value) else to_dict(value)


def _content(path: Path) -> str:
    """The digest of a file, or of a folder's listing by size and time."""
    if path.is_file():
        return file_sha256(path)
    if not path.is_dir():
        return "not there"
    return digest(sorted(listing(path)))


def _facet(name: str) -> Callable[[Manifest], Any]:
    """How one part of the manifest is told apart; a split is its images and their labels."""
    facets: dict[str, Callable[[Manifest], Any]] = {
        "images": lambda m: digest_each(m.ids),
        "classes": lambda m: _of_kind(m, digest(m.task.classes)),
        "num_classes": lambda m: _of_kind(m, m.task.num_classes),
        "synonyms": lambda m: digest(m.task.synonyms),
    }
    for split in SPLITS:
        facets[split] = lambda m, split=split: digest_each(  # type: ignore[misc]
            (item_id, label) for item_id, label, of in _labels(m) if of == split
        )
    return facets[name]


def _of_kind(manifest: Manifest, classes: Any) -> Any:
    """Tells a multi-label task from another with the same classes."""
    return ["multilabel", classes] if manifest.task.multilabel else classes


def _labels(manifest: Manifest) -> Iterable[tuple[str, Label | None, str]]:
    columns = ("id", "label", "split")
    return zip(*(manifest.column(name) for name in columns), strict=True)

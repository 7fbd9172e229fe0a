"""Students: distill from soft targets, the labels-alone baseline, prune and recover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic

from edgekd import targets_file
from edgekd.confidence import fit_platt
from edgekd.config import Section
from edgekd.errors import DataError, closest
from edgekd.held_out import students_images
from edgekd.machine import best_device
from edgekd.manifest import Manifest
from edgekd.progress import Progress, silent
from edgekd.records import StudentCheckpoint, to_dict
from edgekd.store import RunStore, digest, file_sha256
from edgekd.views_file import REPLAYS, SCORES, Layout, load_replays, save_replays
from students.catalogue import STUDENTS
from students.data import AugmentConfig

if TYPE_CHECKING:
    import torch

    from students.data import Changes, TrainingData
    from students.distill import Evaluate, Recipe, Training

DISTILL_SCHEMA = 3
BASELINE_SCHEMA = 3
PRUNE_SCHEMA = 3
MIN_LABELS_TO_CALIBRATE = 20


class DistillConfig(Section):
    """The student and how it is trained; the baseline trains exactly the same way."""

    arch: str = "mobilenetv2_050"
    pretrained: bool | None = pydantic.Field(
        None, description="start from ImageNet weights; by default where they are packaged"
    )
    weights: Path | None = pydantic.Field(None, description="local file instead of the package's")
    image_size: int = pydantic.Field(64, ge=16, le=512, multiple_of=8, description="pixels")
    steps: int = pydantic.Field(1500, ge=1, description="optimizer steps")
    batch_size: int = pydantic.Field(64, ge=2)
    lr: list[float] = pydantic.Field(
        [0.003], min_length=1, description="peak learning rates; tune chooses where several"
    )
    augment: list[AugmentConfig] = pydantic.Field(
        [AugmentConfig()], min_length=1, description="random changes; tune chooses where several"
    )
    screen: float = pydantic.Field(
        1.0,
        gt=0,
        le=1,
        description="share of the steps that compares candidates; at 1 the best one is the student",
    )
    weight_decay: float = pydantic.Field(0.02, ge=0)
    warmup: float = pydantic.Field(0.05, ge=0, lt=1, description="share of the steps")
    ema_decay: float = pydantic.Field(0.99, ge=0, lt=1, description="of the averaged weights")
    kd_weight: float = pydantic.Field(1.0, ge=0)
    kd_temperature: float = pydantic.Field(1.0, gt=0)
    label_weight: float = pydantic.Field(1.0, ge=0, description="of cross-entropy on given labels")
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    evaluations: int = pydantic.Field(10, ge=1, description="on tune, and saves, in a training")

    @pydantic.field_validator("arch")
    @classmethod
    def _known(cls, arch: str) -> str:
        if arch not in STUDENTS:
            raise ValueError(
                f"unknown '{arch}'.{closest(arch, STUDENTS)} See: edgekd list students"
            )
        return arch

    @property
    def starts_pretrained(self) -> bool:
        if self.pretrained is None:
            return self.weights is not None or STUDENTS[self.arch].weights is not None
        return self.pretrained

    @pydantic.model_validator(mode="after")
    def _has_weights(self) -> DistillConfig:
        if self.pretrained and self.weights is None and STUDENTS[self.arch].weights is None:
            raise ValueError(
                f"pretrained: no packaged weights for '{self.arch}'. Name a file in weights, "
                "choose efficientnet_lite0, or set pretrained: false"
            )
        return self


class BaselineConfig(Section):
    """The same student from the given labels alone, with equal steps and equal tuning."""

    enabled: bool = True


class PruneConfig(Section):
    """Structured pruning of the distilled student, and its recovery from the same targets."""

    enabled: bool = True
    macs_ratio: float = pydantic.Field(0.6, gt=0.05, lt=1, description="MACs kept")
    params_ratio: float | None = pydantic.Field(
        None,
        gt=0.05,
        lt=1,
        description="parameters kept instead, for a small file: only the layers with most are cut",
    )
    recovery_steps: int = pydantic.Field(500, ge=1)
    recovery_lr: float = pydantic.Field(0.001, gt=0)


def distill(
    manifest: Manifest,
    folder: Path,
    config: DistillConfig,
    store: RunStore,
    seed: int,
    progress: Progress = silent,
    with_views: bool = False,
) -> tuple[list[Path], dict[str, Any]]:
    """Writes checkpoints/student.safetensors, trained on soft targets and given labels.

    `with_views`: on the stored views of its images instead of new ones each time.
    """
    job = _job(manifest, folder, config, store, seed, progress)
    job = replace(job, has_views=with_views)
    recipe = _recipe(config, config.steps)
    return _fit("student", job.taught(), recipe)


def labels_alone(
    manifest: Manifest,
    folder: Path,
    config: DistillConfig,
    extra_steps: int,
    store: RunStore,
    seed: int,
    progress: Progress = silent,
) -> tuple[list[Path], dict[str, Any]]:
    """Writes checkpoints/labels_alone.safetensors, trained on the given labels and nothing else.

    `extra_steps` are those that the student gets after pruning: the baseline has as many in all.

    Raises:
        DataError: no training image carries a label.
    """
    job = _job(manifest, folder, config, store, seed, progress)
    labelled = job.data.labelled
    if not labelled.any():
        raise DataError("baseline: no training image carries a label. Set baseline.enabled: false")
    alone = config.model_copy(update={"kd_weight": 0.0, "label_weight": 1.0})
    return _fit("labels_alone", job.only(labelled), _recipe(alone, config.steps + extra_steps))


def prune(
    manifest: Manifest,
    folder: Path,
    config: PruneConfig,
    distill_config: DistillConfig,
    augment: AugmentConfig,
    store: RunStore,
    seed: int,
    progress: Progress = silent,
    with_views: bool = False,
) -> tuple[list[Path], dict[str, Any]]:
    """Writes checkpoints/student_pruned.safetensors: fewer channels, recovered by distillation.

    `augment` is the one that was chosen for the student.
    """
    from students import checkpoint
    from students.prune import prune_to_macs, prune_to_params

    network, parent = checkpoint.load(store.path("checkpoints", "student.safetensors"))
    progress(0, config.recovery_steps, "pruning")
    size = distill_config.image_size
    if config.params_ratio is None:
        pruned, cuts = prune_to_macs(network, size, config.macs_ratio)
    else:
        pruned, cuts = prune_to_params(network, size, config.params_ratio)
    pruned = pruned.to(best_device())
    # Another seed, so that recovery does not repeat the order of the training.
    job = _job(manifest, folder, distill_config, store, seed + 1, progress)
    job = replace(job, has_views=with_views)
    recovery = distill_config.model_copy(
        update={"lr": [config.recovery_lr], "evaluations": min(5, config.recovery_steps)}
    )
    recipe = _recipe(recovery, config.recovery_steps)
    salt = [config.model_dump(), parent.sha256]
    training = _run(pruned, "student_pruned", job.taught(), recipe, augment, salt)
    if job.calibrate is not None:
        job.calibrate(pruned)
    record = checkpoint.save(
        pruned,
        store.path("checkpoints", "student_pruned.safetensors"),
        name="student_pruned",
        architecture=parent.architecture,
        preprocess=parent.preprocess,
        parent=parent.sha256,
        metrics=training.best_metrics,
        pruning=cuts,
    )
    _remove_states(store, "student_pruned")
    return _outputs(store, record), _summary(record, training, {"lr": config.recovery_lr})


def draw_views(
    manifest: Manifest, config: DistillConfig, num_views: int, store: RunStore, seed: int
) -> tuple[Path, Layout]:
    """Writes targets/views.parquet: what each view of each training image changes.

    Returns it with the layout of its rows.
    """
    from students.views import draw_all

    ids = [item.id for item in students_images(manifest)]
    layout = Layout(ids, num_views, len(config.augment))
    path = store.path("targets", REPLAYS)
    save_replays(path, layout, draw_all(layout, config.augment, config.image_size, seed))
    return path, layout


def view_maker(
    config: DistillConfig, store: RunStore
) -> Callable[[np.ndarray, int, int], np.ndarray]:
    """Returns a function from (a picture of any size, candidate, row) to the view that is stored."""
    from students.views import Views

    views = [Views(augment, config.image_size) for augment in config.augment]
    replay_of = load_replays(store.path("targets", REPLAYS))
    return lambda pixels, candidate, row: views[candidate].replay(pixels, replay_of(row))


def load_student(store: RunStore, name: str) -> tuple[torch.nn.Module, StudentCheckpoint]:
    """Returns (network in eval mode, its record) of a checkpoint of the run."""
    from students import checkpoint

    return checkpoint.load(store.path("checkpoints", f"{name}.safetensors"))


@dataclass(frozen=True)
class _Job:
    """What every training of a stage shares; `evaluate` is None without tune labels.

    `calibrate` changes a trained network's logits so that their sigmoid says how often tune images
    show a class, and returns how; None where softmax's temperature is fitted later, or labels are few.

    `images` is the digest of the images it trains and tunes on, with their labels.
    """

    data: TrainingData
    evaluate: Evaluate | None
    num_classes: int
    config: DistillConfig
    store: RunStore
    seed: int
    progress: Progress
    images: str
    has_views: bool = False
    calibrate: Callable[[torch.nn.Module], dict[str, float]] | None = None

    def only(self, wanted_N: np.ndarray) -> _Job:
        return replace(self, data=self.data.only(np.flatnonzero(wanted_N)))

    def taught(self) -> _Job:
        """The images with something to learn from: a target the teacher stands by, or a label."""
        return self.only((self.data.weight > 0) | self.data.labelled)


def _job(
    manifest: Manifest,
    folder: Path,
    config: DistillConfig,
    store: RunStore,
    seed: int,
    progress: Progress,
) -> _Job:
    """Returns the training images with their targets, and the evaluation on tune."""
    from edgekd import metrics
    from students.data import TrainingData, image_cache
    from students.evaluate import logits_of
    from students.models import default_preprocess, scale_logits

    preprocess = default_preprocess(config.image_size)
    train = students_images(manifest)
    pixels = image_cache(train, folder, preprocess, store, progress)
    targets = targets_file.Targets(store.path("targets", "targets.npz"))
    rows = np.array([targets.row_of[item.id] for item in train])
    truth, multilabel = manifest.task.truth, manifest.task.multilabel
    labels = truth([item.label for item in train])
    data = TrainingData(pixels, targets.probs().only(rows), targets.array("weight")[rows], labels)
    tune = [item for item in manifest.of("tune") if item.label is not None]
    images = digest([(item.id, item.label) for item in [*train, *tune]])
    job = _Job(data, None, manifest.task.num_classes, config, store, seed, progress, images)
    if not tune:
        return job
    tune_pixels = image_cache(tune, folder, preprocess, store, progress)
    tune_labels = truth([item.label for item in tune])

    def evaluate(network: torch.nn.Module) -> dict[str, float]:
        logits = logits_of(network, tune_pixels, preprocess)
        if multilabel:  # as the network is calibrated when it is done
            slope, offset = fit_platt(logits, tune_labels)
            probs = metrics.sigmoid(slope * logits + offset)
        else:
            probs = metrics.softmax(logits)
        return {
            "accuracy": metrics.accuracy(probs, tune_labels),
            "nll": metrics.negative_log_likelihood(probs, tune_labels),
        }

    def calibrate(network: torch.nn.Module) -> dict[str, float]:
        slope, offset = fit_platt(logits_of(network, tune_pixels, preprocess), tune_labels)
        scale_logits(network, slope, offset)
        return {"slope": slope, "offset": offset}

    few = len(tune) < MIN_LABELS_TO_CALIBRATE
    return replace(job, evaluate=evaluate, calibrate=calibrate if multilabel and not few else None)


def _fit(name: str, job: _Job, recipe: Recipe) -> tuple[list[Path], dict[str, Any]]:
    """Trains every candidate for `screen` of the steps, the best of tune in full; saves it."""
    from students import checkpoint, models

    config = job.config

    def train_fresh(lr: float, augment: AugmentConfig, steps: int) -> tuple[Any, Training]:
        import torch

        torch.manual_seed(job.seed)
        network, _ = models.build(
            config.arch, job.num_classes, config.weights, config.starts_pretrained
        )
        network = network.to(best_device())
        return network, _run(network, name, job, replace(recipe, lr=lr, steps=steps), augment, [])

    candidates = [(lr, augment) for lr in config.lr for augment in config.augment]
    if job.evaluate is None:  # nothing to choose with
        candidates = candidates[:1]
    steps = max(1, round(recipe.steps * config.screen)) if len(candidates) > 1 else recipe.steps
    trained = [train_fresh(lr, augment, steps) for lr, augment in candidates]
    best = max(range(len(trained)), key=lambda index: _tune_rank(trained[index][1]))
    network, training = trained[best]
    if steps < recipe.steps:
        network, training = train_fresh(*candidates[best], recipe.steps)
    calibration = None if job.calibrate is None else job.calibrate(network)
    record = checkpoint.save(
        network,
        job.store.path("checkpoints", f"{name}.safetensors"),
        name=name,
        architecture=config.arch,
        preprocess=models.default_preprocess(config.image_size),
        metrics=training.best_metrics,
    )
    _remove_states(job.store, name)
    lr, augment = candidates[best]
    chosen: dict[str, Any] = {
        "lr": lr,
        "augment": augment.model_dump(),
        "candidates": [
            {"lr": lr, "augment": config.augment.index(augment)} | run.best_metrics
            for (lr, augment), (_, run) in zip(candidates, trained, strict=True)
        ],
        "images": len(job.data.labels),
        "weights": _initial_weights(config),
    } | ({} if calibration is None else {"calibration": calibration})
    return _outputs(job.store, record), _summary(record, training, chosen)


def _initial_weights(config: DistillConfig) -> dict[str, str] | None:
    """What a pretrained student started from, for the report and the bundle; None: from scratch."""
    from edgekd.weights import find

    if not config.starts_pretrained:
        return None
    found = find(STUDENTS[config.arch].weights or config.arch, config.weights)
    return {
        "name": found.name,
        "source": found.source,
        "sha256": found.sha256,
        "licence": found.licence,
    }


def _tune_rank(training: Training) -> tuple[float, float]:
    metrics = training.best_metrics
    return metrics.get("accuracy", 0.0), -metrics.get("nll", 0.0)


def _run(
    network: torch.nn.Module,
    name: str,
    job: _Job,
    recipe: Recipe,
    augment: AugmentConfig,
    salt: list[Any],
) -> Training:
    """One training whose saved state is found again only by exactly the same training."""
    from students.distill import train
    from students.models import default_preprocess

    read = ["targets.npz", *([REPLAYS, SCORES] if job.has_views else [])]
    targets = [file_sha256(job.store.path("targets", name)) for name in read]
    settings = [to_dict(recipe), augment.model_dump(), job.config.model_dump(mode="json")]
    key = digest([settings, targets, job.images, job.seed, salt])[:12]
    state = job.store.path("checkpoints", f"{name}.{key}.state")
    preprocess = default_preprocess(job.config.image_size)
    changes = _changes(job, augment)
    return train(
        network, job.data, preprocess, changes, recipe, job.seed, job.evaluate, state,
        job.progress, name,
    )  # fmt: skip


def _changes(job: _Job, augment: AugmentConfig) -> Changes:
    """The stored views of a candidate where there are any, else new changes each time."""
    from students.data import Augment
    from students.views import StoredViews

    if not job.has_views:
        return Augment(augment)
    candidate = job.config.augment.index(augment)
    return StoredViews(job.store.path("targets"), augment, candidate, job.config.image_size)


def _remove_states(store: RunStore, name: str) -> None:
    """Once the stage counts as finished: a kill before that must not cost the training."""
    store.scratch(*store.path("checkpoints").glob(f"{name}.*.state"))


def _recipe(config: DistillConfig, steps: int) -> Recipe:
    from students.distill import Recipe

    shared = {name: getattr(config, name) for name in Recipe.__dataclass_fields__}
    return Recipe(**shared | {"steps": steps, "lr": config.lr[0]})


def _outputs(store: RunStore, record: StudentCheckpoint) -> list[Path]:
    path = store.path("checkpoints", record.path)
    return [path, path.with_suffix(".json")]


def _summary(
    record: StudentCheckpoint, training: Training, chosen: dict[str, Any]
) -> dict[str, Any]:
    return {
        "checkpoint": to_dict(record),
        "history": training.history,
        "steps": training.history[-1]["step"],
        "chosen": chosen | {"step": training.best_metrics.get("step")},
    }

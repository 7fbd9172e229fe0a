"""Students: distill from soft targets, the labels-alone baseline, prune and recover."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic

from edgekd.config import Section
from edgekd.errors import DataError, closest
from edgekd.manifest import Manifest
from edgekd.progress import Progress, silent
from edgekd.records import StudentCheckpoint, to_dict
from edgekd.store import RunStore, digest, file_sha256
from students.catalogue import STUDENTS
from students.data import AugmentConfig

if TYPE_CHECKING:
    import torch

    from students.data import TrainingData
    from students.distill import Evaluate, Recipe, Training

DISTILL_SCHEMA = 1
BASELINE_SCHEMA = 1
PRUNE_SCHEMA = 1


class DistillConfig(Section):
    """The student and how it is trained; the baseline trains exactly the same way."""

    arch: str = "mobilenetv2_050"
    pretrained: bool = pydantic.Field(False, description="start from ImageNet weights")
    weights: Path | None = pydantic.Field(None, description="local file instead of the package's")
    image_size: int = pydantic.Field(64, ge=16, le=512, multiple_of=8, description="pixels")
    steps: int = pydantic.Field(1500, ge=1, description="optimizer steps")
    batch_size: int = pydantic.Field(64, ge=2)
    lr: list[float] = pydantic.Field(
        [0.003], min_length=1, description="peak learning rates; tune chooses where several"
    )
    screen: float = pydantic.Field(
        0.25, gt=0, le=1, description="share of the steps that compares learning rates"
    )
    weight_decay: float = pydantic.Field(0.02, ge=0)
    warmup: float = pydantic.Field(0.05, ge=0, lt=1, description="share of the steps")
    ema_decay: float = pydantic.Field(0.99, ge=0, lt=1, description="of the averaged weights")
    kd_weight: float = pydantic.Field(1.0, ge=0)
    kd_temperature: float = pydantic.Field(1.0, gt=0)
    label_weight: float = pydantic.Field(1.0, ge=0, description="of cross-entropy on given labels")
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    evaluations: int = pydantic.Field(10, ge=1, description="on tune, and saves, in a training")
    augment: AugmentConfig = AugmentConfig()

    @pydantic.field_validator("arch")
    @classmethod
    def _known(cls, arch: str) -> str:
        if arch not in STUDENTS:
            raise ValueError(
                f"unknown '{arch}'.{closest(arch, STUDENTS)} See: edgekd list students"
            )
        return arch

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
    recovery_steps: int = pydantic.Field(500, ge=1)
    recovery_lr: float = pydantic.Field(0.001, gt=0)


def distill(
    manifest: Manifest,
    folder: Path,
    config: DistillConfig,
    store: RunStore,
    seed: int,
    progress: Progress = silent,
) -> tuple[list[Path], dict[str, Any]]:
    """Writes checkpoints/student.safetensors, trained on soft targets and given labels."""
    data, evaluate = _training_data(manifest, folder, config, store, progress)
    spoken = np.flatnonzero((data.weight > 0) | (data.labels >= 0))
    recipe = _recipe(config, config.steps)
    return _fit(
        "student", manifest, data.only(spoken), recipe, config, store, seed, evaluate, progress
    )


def labels_alone(
    manifest: Manifest,
    folder: Path,
    config: DistillConfig,
    store: RunStore,
    seed: int,
    progress: Progress = silent,
) -> tuple[list[Path], dict[str, Any]]:
    """Writes checkpoints/labels_alone.safetensors, trained on the given labels and nothing else.

    Raises:
        DataError: no training image carries a label.
    """
    data, evaluate = _training_data(manifest, folder, config, store, progress)
    labelled = np.flatnonzero(data.labels >= 0)
    if len(labelled) == 0:
        raise DataError("baseline: no training image carries a label. Set baseline.enabled: false")
    recipe = _recipe(
        config.model_copy(update={"kd_weight": 0.0, "label_weight": 1.0}), config.steps
    )
    return _fit(
        "labels_alone",
        manifest,
        data.only(labelled),
        recipe,
        config,
        store,
        seed,
        evaluate,
        progress,
    )


def prune(
    manifest: Manifest,
    folder: Path,
    config: PruneConfig,
    distill_config: DistillConfig,
    store: RunStore,
    seed: int,
    progress: Progress = silent,
) -> tuple[list[Path], dict[str, Any]]:
    """Writes checkpoints/student_pruned.safetensors: fewer channels, recovered by distillation."""
    from students import checkpoint, models
    from students.prune import prune_to_macs

    network, parent = checkpoint.load(store.path("checkpoints", "student.safetensors"))
    progress(0, config.recovery_steps, "pruning")
    size = distill_config.image_size
    pruned, cuts = prune_to_macs(network, size, config.macs_ratio)
    data, evaluate = _training_data(manifest, folder, distill_config, store, progress)
    spoken = data.only(np.flatnonzero((data.weight > 0) | (data.labels >= 0)))
    recovery = distill_config.model_copy(
        update={"lr": [config.recovery_lr], "evaluations": min(5, config.recovery_steps)}
    )
    recipe = _recipe(recovery, config.recovery_steps)
    pruned = pruned.to(models.best_device())
    training = _run(
        pruned,
        "student_pruned",
        spoken,
        recipe,
        distill_config,
        store,
        seed + 1,
        evaluate,
        progress,
        [config.model_dump(), parent.sha256],
    )
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


def load_student(store: RunStore, name: str) -> tuple[torch.nn.Module, StudentCheckpoint]:
    """Returns (network in eval mode, its record) of a checkpoint of the run."""
    from students import checkpoint

    return checkpoint.load(store.path("checkpoints", f"{name}.safetensors"))


def _training_data(
    manifest: Manifest, folder: Path, config: DistillConfig, store: RunStore, progress: Progress
) -> tuple[TrainingData, Evaluate | None]:
    """Returns the training split with its targets, and the evaluation on tune (None: no labels)."""
    from edgekd import metrics
    from students.data import TrainingData, image_cache
    from students.evaluate import logits_of
    from students.models import default_preprocess

    preprocess = default_preprocess(config.image_size)
    train = manifest.of("train")
    pixels = image_cache(train, folder, preprocess, store, progress)
    targets = np.load(store.path("targets", "targets.npz"))
    row_of = {item_id: row for row, item_id in enumerate(targets["ids"].tolist())}
    rows = np.array([row_of[item.id] for item in train])
    labels = np.array([-1 if item.label is None else item.label for item in train], dtype=np.int64)
    data = TrainingData(pixels, targets["probs"][rows], targets["weight"][rows], labels)
    tune = [item for item in manifest.of("tune") if item.label is not None]
    if not tune:
        return data, None
    tune_pixels = image_cache(tune, folder, preprocess, store, progress)
    tune_labels = np.array([item.label for item in tune])

    def evaluate(network: torch.nn.Module) -> dict[str, float]:
        probs = metrics.softmax(logits_of(network, tune_pixels, preprocess))
        return {
            "accuracy": metrics.accuracy(probs, tune_labels),
            "nll": metrics.negative_log_likelihood(probs, tune_labels),
        }

    return data, evaluate


def _fit(
    name: str,
    manifest: Manifest,
    data: TrainingData,
    recipe: Recipe,
    config: DistillConfig,
    store: RunStore,
    seed: int,
    evaluate: Evaluate | None,
    progress: Progress,
) -> tuple[list[Path], dict[str, Any]]:
    """Chooses the learning rate on tune by short trainings, then trains in full."""
    from dataclasses import replace

    from students import checkpoint, models

    def fresh() -> torch.nn.Module:
        import torch

        torch.manual_seed(seed)
        network, _ = models.build(
            config.arch, manifest.task.num_classes, config.weights, config.pretrained
        )
        return network.to(models.best_device())

    screened: dict[float, float] = {}
    if len(config.lr) > 1 and evaluate is not None:
        steps = max(1, int(recipe.steps * config.screen))
        for lr in config.lr:
            short = replace(recipe, lr=lr, steps=steps, evaluations=1)
            training = _run(
                fresh(),
                f"{name}-lr{lr:g}",
                data,
                short,
                config,
                store,
                seed,
                evaluate,
                progress,
                [],
            )
            screened[lr] = training.best_metrics["accuracy"]
    lr = max(screened, key=lambda lr: screened[lr]) if screened else config.lr[0]
    network = fresh()
    training = _run(
        network, name, data, replace(recipe, lr=lr), config, store, seed, evaluate, progress, []
    )
    record = checkpoint.save(
        network,
        store.path("checkpoints", f"{name}.safetensors"),
        name=name,
        architecture=config.arch,
        preprocess=models.default_preprocess(config.image_size),
        metrics=training.best_metrics,
    )
    _remove_states(store, name)
    chosen = {"lr": lr, "screened": {f"{k:g}": v for k, v in screened.items()}}
    return _outputs(store, record), _summary(
        record, training, chosen | {"images": len(data.labels)}
    )


def _run(
    network: torch.nn.Module,
    name: str,
    data: TrainingData,
    recipe: Recipe,
    config: DistillConfig,
    store: RunStore,
    seed: int,
    evaluate: Evaluate | None,
    progress: Progress,
    salt: list[Any],
) -> Training:
    """One training whose saved state is found again only by exactly the same training."""
    from students.data import Augment
    from students.distill import train
    from students.models import default_preprocess

    targets = file_sha256(store.path("targets", "targets.npz"))
    key = digest([to_dict(recipe), config.model_dump(mode="json"), targets, seed, salt])[:12]
    state = store.path("checkpoints", f"{name}.{key}.state")
    preprocess = default_preprocess(config.image_size)
    return train(
        network,
        data,
        preprocess,
        Augment(config.augment),
        recipe,
        seed,
        evaluate,
        state,
        progress,
        name,
    )


def _remove_states(store: RunStore, name: str) -> None:
    for state in store.path("checkpoints").glob(f"{name}*.state"):
        state.unlink()


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
        "chosen": chosen | {"step": training.best_metrics.get("step")},
    }

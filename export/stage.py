"""Export: every model to .tflite and .onnx in fp32 and int8, then measured as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic

from edgekd import runtimes
from edgekd.confidence import ScoreName
from edgekd.config import Section
from edgekd.manifest import Manifest
from edgekd.progress import Progress, silent
from edgekd.records import ExportedModel, Item, Preprocess, Split
from edgekd.sizes import zipped_size
from edgekd.store import RunStore, atomic_path, file_sha256

if TYPE_CHECKING:
    import torch

EXPORT_SCHEMA = 2
QUANTIZE_SCHEMA = 1
EVALUATE_SCHEMA = 2

Format = Literal["tflite", "onnx"]


class ExportConfig(Section):
    """Which files are made of each student."""

    formats: list[Format] = pydantic.Field(["tflite", "onnx"], min_length=1)
    precisions: list[Literal["fp32", "int8"]] = pydantic.Field(["fp32", "int8"], min_length=1)
    calibration_images: int = pydantic.Field(200, ge=1, description="training images, for int8")
    teacher: bool = pydantic.Field(True, description="also the teacher with its head, .tflite int8")


class ChooseConfig(Section):
    """Which file goes into the bundle: of those within budget, the smallest nearly best on val."""

    format: Format = "tflite"
    precision: Literal["fp32", "int8"] = "int8"
    max_drop: float = pydantic.Field(
        0.01, ge=0, le=1, description="val accuracy it may lose against the best candidate"
    )


class RejectConfig(Section):
    """When the chosen file should say "unsure": fitted on tune labels, or without any.

    Its threshold is set for a share of answers or for their accuracy, one of the two.
    """

    enabled: bool = pydantic.Field(True, description="false: no temperature and no threshold")
    coverage: float | None = pydantic.Field(
        None, gt=0, le=1,
        description="share of images like yours still to be answered; by default 0.95",
    )  # fmt: skip
    min_accuracy: float | None = pydantic.Field(
        None, gt=0, le=1,
        description="instead: accuracy wanted among the answered ones; needs 50 labels on tune",
    )  # fmt: skip
    by: ScoreName = pydantic.Field("probability", description="score that the threshold is set on")
    outliers: Path | None = pydantic.Field(
        None, description="folder of images of none of the classes; only measured on, never fitted"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _some_coverage(cls, values: Any) -> Any:
        given = isinstance(values, dict) and (values.get("coverage"), values.get("min_accuracy"))
        if given == (None, None):
            return {**values, "coverage": 0.95}
        return values

    @pydantic.model_validator(mode="after")
    def _one_of_two(self) -> RejectConfig:
        if self.coverage is not None and self.min_accuracy is not None:
            raise ValueError(
                f"coverage {self.coverage:g} and min_accuracy {self.min_accuracy:g}: expected one "
                "of the two. Set the other to null"
            )
        return self


@dataclass(frozen=True)
class ToExport:
    """A network in eval mode, what the report says of it, and the formats that are wanted."""

    name: str
    network: torch.nn.Module
    preprocess: Preprocess
    num_params: int
    num_macs: int
    formats: tuple[Format, ...]


def export(
    models: list[ToExport], store: RunStore, progress: Progress = silent
) -> tuple[list[Path], list[ExportedModel]]:
    """Writes exports/<model>.fp32.<format>, also of models that are only wanted in int8."""
    from export.to_onnx import to_onnx
    from export.to_tflite import to_tflite

    makers = {"tflite": to_tflite, "onnx": to_onnx}
    total = sum(len(model.formats) for model in models)
    exported: list[ExportedModel] = []
    for model in models:
        for format_ in model.formats:
            path = store.path("exports", f"{model.name}.fp32.{format_}")
            makers[format_](model.network, model.preprocess, path)
            made = _file_facts(path, store)
            exported.append(
                ExportedModel(
                    model=model.name,
                    format=format_,
                    precision="fp32",
                    num_params=model.num_params,
                    num_macs=model.num_macs,
                    **made,
                )
            )
            progress(len(exported), total, path.name)
    return [store.path(record.path) for record in exported], exported


def quantize(
    exported: list[ExportedModel],
    preprocess: dict[str, Preprocess],
    manifest: Manifest,
    folder: Path,
    config: ExportConfig,
    store: RunStore,
    progress: Progress = silent,
) -> tuple[list[Path], list[ExportedModel]]:
    """Writes exports/<model>.int8.<format> beside each fp32 file, calibrated on training images.

    `preprocess` says how each model's images are prepared.
    """
    from export.calibration import calibration_inputs, calibration_items
    from export.quantize import quantize_onnx, quantize_tflite

    to_tflite = partial(quantize_tflite, whole_output=manifest.task.multilabel)
    quantizers: dict[str, Callable[[Path, Path, np.ndarray], None]] = {
        "tflite": to_tflite,
        "onnx": quantize_onnx,
    }
    chosen = calibration_items(manifest.of("train"), config.calibration_images)
    quantized: list[ExportedModel] = []
    for model in dict.fromkeys(record.model for record in exported):
        images = calibration_inputs(chosen, folder, preprocess[model])
        for record in (record for record in exported if record.model == model):
            path = store.path("exports", f"{model}.int8.{record.format}")
            quantizers[record.format](store.path(record.path), path, images)
            made = _file_facts(path, store)
            quantized.append(replace(record, precision="int8", **made))
            progress(len(quantized), len(exported), path.name)
    return [store.path(record.path) for record in quantized], quantized


def evaluate(
    exported: list[ExportedModel],
    preprocess: dict[str, Preprocess],
    manifest: Manifest,
    folder: Path,
    store: RunStore,
    reject: RejectConfig,
    choose: ChooseConfig,
    progress: Progress = silent,
) -> tuple[list[Path], list[ExportedModel]]:
    """Returns the records with parity and, where images carry labels, accuracy on val and test.

    Files that may be chosen also get their confidence: temperature, threshold, and what these do.
    Logits of every file lie in exports/logits.npz under "<file>/<split>" with "<split>/ids" and
    "<split>/labels". Without labelled val or test images, parity is taken on training images.
    """
    from export.parity import file_logits, parity, quality

    def answers(record: ExportedModel, images: list[Path]) -> np.ndarray:
        path = store.path(record.path)
        return file_logits(path, images, preprocess[record.model], progress)

    splits = _evaluation_splits(manifest)
    arrays: dict[str, np.ndarray] = {}
    for split, items in splits.items():
        arrays[f"{split}/ids"] = np.array([item.id for item in items])
        arrays[f"{split}/labels"] = manifest.task.truth([item.label for item in items])
    measured = []
    for record in exported:
        name = Path(record.path).name
        metrics: dict[str, Any] = {}
        for split, items in splits.items():
            logits = answers(record, [folder / item.path for item in items])
            arrays[f"{name}/{split}"] = logits
            if items[0].label is not None:
                metrics[split] = quality(logits, arrays[f"{split}/labels"])
        last = next(reversed(splits))
        reference = f"{record.model}.fp32.{record.format}/{last}"
        if reference in arrays:
            metrics["parity"] = parity(
                arrays[reference], arrays[f"{name}/{last}"], manifest.task.multilabel
            )
        measured.append(replace(record, metrics=metrics))
    if reject.enabled and not manifest.task.multilabel:  # its answers may be none as they are
        measured = _with_confidence(
            measured, answers, manifest, folder, store, reject, choose, arrays
        )
    path = store.path("exports", "logits.npz")
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
    return [path], measured


def choose(
    candidates: list[ExportedModel], config: ChooseConfig, budget_bytes: int
) -> ExportedModel:
    """Returns the smallest candidate whose val accuracy is within `max_drop` of the best.

    Files over the budget are no candidates while another is within it. Without val labels: the
    smallest.
    """
    allowed = _eligible(candidates, config)
    allowed = [record for record in allowed if record.size_bytes <= budget_bytes] or allowed
    if all("val" in record.metrics for record in allowed):
        values = {r.path: r.metrics["val"]["accuracy"]["value"] for r in allowed}
        floor = max(values.values()) - config.max_drop
        allowed = [record for record in allowed if values[record.path] >= floor - 1e-9]
    return min(allowed, key=lambda record: record.size_bytes)


def _eligible(candidates: list[ExportedModel], config: ChooseConfig) -> list[ExportedModel]:
    """Those of the wanted format and precision; all where there is none."""
    return [
        record
        for record in candidates
        if record.format == config.format and record.precision == config.precision
    ] or candidates


def _with_confidence(
    measured: list[ExportedModel],
    answers: Callable[[ExportedModel, list[Path]], np.ndarray],
    manifest: Manifest,
    folder: Path,
    store: RunStore,
    config: RejectConfig,
    choose: ChooseConfig,
    arrays: dict[str, np.ndarray],
) -> list[ExportedModel]:
    """The records, those that may be chosen with metrics["confidence"]; adds to the logits."""
    from export import reject

    held = reject.images_to_fit(manifest, store.path("targets", "targets.npz"))
    if held is None:
        return measured
    outliers = reject.outliers_in(config.outliers) if config.outliers is not None else None
    students = [record for record in measured if record.model.startswith("student")]
    found: dict[str, dict[str, Any]] = {}
    for record in _eligible(students, choose):
        name = Path(record.path).name
        arrays[f"{name}/held_out"] = answers(record, [folder / item.path for item in held.items])
        if outliers is not None:
            arrays[f"{name}/outliers"] = answers(record, outliers.images)
        test = (arrays[f"{name}/test"], arrays["test/labels"]) if "test/ids" in arrays else None
        found[record.path] = reject.fit_and_measure(
            config, held, arrays[f"{name}/held_out"], test, outliers, arrays.get(f"{name}/outliers")
        )
    arrays["held_out/ids"] = np.array([item.id for item in held.items])
    return [
        replace(record, metrics=record.metrics | {"confidence": found[record.path]})
        if record.path in found
        else record
        for record in measured
    ]


def _file_facts(path: Path, store: RunStore) -> dict[str, Any]:
    """What an ExportedModel says of its file."""
    runner = runtimes.load(path)
    return {
        "path": str(path.relative_to(store.folder)),
        "sha256": file_sha256(path),
        "size_bytes": path.stat().st_size,
        "zipped_bytes": zipped_size(path),
        "input": runner.inputs[0],
        "output": runner.outputs[0],
    }


def _evaluation_splits(manifest: Manifest) -> dict[Split, list[Item]]:
    """The labelled items of val and test, in that order; else some training items for parity."""
    named: tuple[Split, ...] = ("val", "test")
    splits = {
        split: [item for item in manifest.of(split) if item.label is not None] for split in named
    }
    found = {split: items for split, items in splits.items() if items}
    return found or {"train": [replace(i, label=None) for i in manifest.of("train")[:200]]}

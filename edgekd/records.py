"""The records that stages hand to each other. Small and frozen; big arrays stay on disk beside them.

TaskSpec -> Item -> Caption -> SoftTargets -> StudentCheckpoint -> ExportedModel -> Bundle
-> BenchmarkResult -> ReportRow
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Split = Literal["train", "tune", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "tune", "val", "test")
Precision = Literal["fp32", "fp16", "int8"]
Label = int | tuple[int, ...]
"""An index into the classes; in a multi-label task all that an image shows, ascending: () is none."""

LABEL_SEPARATOR = "|"
NO_CLASS = "-"


@dataclass(frozen=True)
class TaskSpec:
    """What the model must tell apart. `classes` is in output order.

    In a `multilabel` task an image shows any number of the classes, and each has a probability of
    its own; else it shows exactly one.
    """

    name: str
    classes: tuple[str, ...]
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    task: Literal["classification", "retrieval", "generation"] = "classification"
    modality: Literal["image", "text", "audio"] = "image"
    multilabel: bool = False

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def named(self, label: Label) -> str:
        """Returns a label as a labels file writes it: "cat", "cat|dog", or "-" for none of them."""
        indices = label if isinstance(label, tuple) else (label,)
        return LABEL_SEPARATOR.join(self.classes[index] for index in indices) or NO_CLASS

    def truth(self, labels: Sequence[Label | None]) -> np.ndarray:
        """Returns labels as an array: the class int64 [N], or 0 and 1 int8 [N, K] where multilabel.

        -1 stands where an image carries no label.
        """
        if not self.multilabel:
            return np.array([-1 if label is None else label for label in labels], dtype=np.int64)
        truth = np.full((len(labels), self.num_classes), -1, dtype=np.int8)
        for row, label in enumerate(labels):
            if isinstance(label, tuple):
                truth[row] = 0
                truth[row, list(label)] = 1
        return truth


@dataclass(frozen=True, slots=True)
class Item:
    """One image. `id` is the sha256 of the file's bytes, `path` is relative to the data folder.

    `label_origin` says how the label came: given with the data, or answered by a person when asked.
    `near` is the smallest id of its near copies, where it has any.
    """

    id: str
    path: str
    split: Split
    label: Label | None = None
    label_origin: Literal["given", "answered"] | None = None
    group: str | None = None
    licence: str | None = None
    width: int = 0
    height: int = 0
    near: str | None = None


@dataclass(frozen=True)
class Caption:
    """One sentence about one item. `confidence` is the teacher's own, at temperature 1.

    `dropped` is None for a kept caption, else the reason. `translation` says the same in a language
    that the text encoder and the rules read, where `text` is in another.
    """

    item_id: str
    index: int
    text: str
    template: str
    temperature: float
    seed: int
    teacher: str
    confidence: float
    dropped: str | None = None
    translation: str | None = None

    @property
    def readable(self) -> str:
        """What is matched and judged: the translation where there is one."""
        return self.translation or self.text


@dataclass(frozen=True)
class SoftTargets:
    """Probabilities over classes for N items; the arrays lie in the run's .npz at `path`.

    Keys of the file: `ids` [N] str, `probs` [N, K] float32 (captions and scores combined),
    `captions_only` [N, K], `scores_only` [N, K] (absent where scores were withheld),
    `weight` [N] float32 (0: the teacher abstains), `attributes` [N, A] float32. With
    `targets.top_k` the first three are [N, k] beside their classes: `edgekd.targets_file` reads it.
    """

    path: str
    sha256: str
    num_items: int
    num_classes: int
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Preprocess:
    """How pixels become the model's input; the whole truth of `preprocess.json` for an image.

    Values are `(pixel / 255 - mean) / std` of an RGB image resized as Pillow does it.
    """

    height: int
    width: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    resize: Literal["stretch", "shorter_side_crop", "letterbox"] = "stretch"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


@dataclass(frozen=True)
class StudentCheckpoint:
    """A trained network: safetensors at `path`, everything else in the .json beside it."""

    name: str
    architecture: str
    path: str
    sha256: str
    num_params: int
    num_macs: int
    preprocess: Preprocess
    parent: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of an exported file. `scale` and `zero_point` only where quantized."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: Literal["NHWC", "NCHW", "NC"] = "NHWC"
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class ExportedModel:
    """One exported file with what was measured on it."""

    model: str
    format: Literal["tflite", "onnx"]
    precision: Precision
    path: str
    sha256: str
    size_bytes: int
    zipped_bytes: int
    num_params: int
    num_macs: int
    input: TensorSpec
    output: TensorSpec
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkResult:
    """Latency of one file on one device. `kind` says whether it was measured there."""

    model: str
    device: str
    kind: Literal["measured", "emulated", "estimated"]
    runtime: str
    runtime_version: str
    accelerator: str
    threads: int
    num_runs: int
    num_warmup_runs: int
    latency_ms: dict[str, float]
    memory_mb: float | None
    nodes_delegated: int | None
    nodes_total: int | None
    date: str


@dataclass(frozen=True)
class Bundle:
    """What goes into an app: `bundle.zip` and the digests of what is inside."""

    path: str
    sha256: str
    size_bytes: int
    components: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Share:
    """A share of `n` items with its 95% interval (Wilson)."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class ReportRow:
    """One exported file in the report. `role` groups the rows: teacher, student, labels_alone."""

    model: str
    role: Literal["teacher", "student", "labels_alone"]
    format: Literal["tflite", "onnx"]
    precision: Precision
    path: str
    size_bytes: int
    zipped_bytes: int
    num_params: int
    num_macs: int
    accuracy: Share | None
    calibration_error: float | None
    agreement_with_fp32: float | None
    latency: BenchmarkResult | None
    chosen: bool = False
    note: str = ""


def to_dict(record: Any) -> Any:
    """Returns plain dicts, lists and numbers for JSON; numpy scalars become Python's."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: to_dict(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, dict):
        return {str(key): to_dict(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [to_dict(value) for value in record]
    if isinstance(record, np.generic):
        return record.item()
    if isinstance(record, np.ndarray):
        return record.tolist()
    return record

"""The user's own fine-tuned classifier as a teacher: it scores and gives features, it says nothing.

Its outputs are what a look keeps, under its own class names; which of the task's classes they mean
is concluded, so renaming a class costs no second look.

n items of a block, N of the run, C outputs, D features, K classes of the task.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
from PIL import Image

from captioning.teachers import classifier_files as files
from captioning.teachers.class_mapping import ClassMapping, listed, map_classes
from captioning.teachers.local_weights import LocalWeights, settings_in, weights_in
from captioning.teachers.protocol import Brief, Conclusion, Look
from edgekd.confidence import fit_temperature
from edgekd.config import Section
from edgekd.errors import WeightsError
from edgekd.machine import best_device
from edgekd.manifest import Manifest
from edgekd.mapped import Zeros, blocks, by_rows
from edgekd.metrics import logit
from edgekd.preprocess import from_json
from edgekd.records import Item, Preprocess
from edgekd.store import digest, file_sha256

if TYPE_CHECKING:
    from captioning.teachers.classifier_module import MappedNetwork

MIN_LABELS_TO_FIT = 20


class ImageConfig(Section):
    """How a classifier's images are prepared: (pixel / 255 - mean) / std."""

    height: int = pydantic.Field(ge=1, description="pixels")
    width: int = pydantic.Field(ge=1, description="pixels")
    mean: tuple[float, float, float] = pydantic.Field((0.5, 0.5, 0.5), description="of R, G, B")
    std: tuple[float, float, float] = pydantic.Field((0.5, 0.5, 0.5), description="of R, G, B")
    resize: Literal["stretch", "shorter_side_crop", "letterbox"] = pydantic.Field(
        "stretch", description="how an image of another shape becomes that of the input"
    )
    interpolation: Literal["bilinear", "bicubic"] = pydantic.Field(
        "bilinear", description="as Pillow does it"
    )


class ClassifierConfig(Section):
    """Your own fine-tuned classifier. It scores; it writes no captions."""

    kind: Literal["classifier"] = "classifier"
    model: Path = pydantic.Field(
        description="folder that timm (save_for_hf) or transformers wrote, a timm checkpoint "
        "(.safetensors, .pth), or a .onnx or .tflite file"
    )
    architecture: str | None = pydantic.Field(
        None, description="of a checkpoint, as timm calls it: mobilenetv3_small_050"
    )
    classes: list[str] | None = pydantic.Field(
        None,
        min_length=1,
        description="names of its outputs in order; by default its config's or labels.txt's",
    )
    partial: bool = pydantic.Field(
        False, description="it need not know all classes of the task; of others it says nothing"
    )
    abstain_above: float = pydantic.Field(
        0.9,
        gt=0,
        le=1,
        description="an image gets no score where outputs that are no class of the task have more",
    )
    activation: Literal["logits", "softmax", "sigmoid"] | None = pydantic.Field(
        None,
        description="what a .onnx or .tflite file puts out; by default seen from its values. sigmoid, "
        "of any kind: it was trained for several labels an image, for tasks with data.multilabel",
    )
    preprocess: ImageConfig | None = pydantic.Field(
        None, description="by default the model's own, or a preprocess.json beside it"
    )
    licence: str = pydantic.Field("not stated", description="of the model, for the report")
    device: str | None = pydantic.Field(None, description="as torch names it; by default the best")

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"{self.kind}/{self.model.stem if self.model.suffix else self.model.name}"


class ClassifierTeacher:
    """Implements `captioning.teachers.protocol.Teacher`."""

    def __init__(self, config: ClassifierConfig, brief: Brief):
        files.kind_of(config.model)
        self._config, self._brief = config, brief

    @property
    def name(self) -> str:
        return self._config.name

    @cached_property
    def settings(self) -> str:
        config = self._config
        seen_with = [_weights(config).sha256, config.architecture, _preprocess(config)]
        beside = settings_in(config.model) if config.model.is_dir() else ()
        return digest([*seen_with, *map(file_sha256, beside)])

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        """Returns `outputs` [n, C] float32 and, where the network has them, `features` float16."""
        classifier = self._classifier
        batch = [classifier.pixels.prepare(image) for image in images]
        if len({pixels.shape for pixels in batch}) > 1:
            raise WeightsError(
                f"{self._config.model}: prepares images to different sizes. Set one in "
                "caption.teacher.preprocess"
            )
        outputs, features = classifier.look(np.stack(batch))
        arrays = {"outputs": outputs}
        if features is not None:
            arrays["features"] = features.astype(np.float16)
        return Look(arrays)

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        """Returns class logits, at a temperature fitted on tune labels where there are 20."""
        config, labels = self._config, self._labels(observed["outputs"].shape[1])
        mapping = map_classes(labels, manifest.task, config.partial, self.name)
        independent = self._gives_several_labels()
        if independent and not manifest.task.multilabel:
            raise WeightsError(
                f"{config.model}: was trained for several labels an image (activation sigmoid, or its "
                "preprocess.json says so). Set data.multilabel: true, or another activation"
            )
        rows, classes = _tune_labels(manifest, mapping)
        floor = self._least_probability(observed["outputs"])
        on_tune = mapping.logits(_as_logits(observed["outputs"][rows], floor))
        temperature, how = _temperature(on_tune, classes, mapping)
        outputs, zeros = observed["outputs"], self._brief.zeros
        # A file may put out probabilities, which all lie between 0 and 1.
        if independent and outputs.min(initial=0) >= 0 and outputs.max(initial=0) <= 1:
            outputs = by_rows(logit, outputs, zeros=zeros, dtype=np.float64)
        logits, dropped = _in_blocks(mapping, outputs, floor, temperature, zeros)
        if independent:  # a class it does not know gets its even share, as in `ClassMapping.logits`
            logits[:, mapping.missing] = -np.log(max(mapping.num_classes - 1, 1))
            # What else it sees says nothing against the classes.
            dropped = np.zeros(len(logits))
        abstains = dropped > config.abstain_above
        logits[abstains] = np.nan
        head = {
            "temperature": temperature,
            "fitted_on": how,
            "outputs_without_a_class": listed([labels[i] for i in mapping.dropped], "output"),
            "their_mean_probability": float(dropped.mean()) if len(dropped) else 0.0,
            "classes_it_does_not_know": [manifest.task.classes[i] for i in mapping.missing],
            "num_abstained": int(abstains.sum()),
            "captions": "none: it only scores",
        }
        summary = {
            "weights": [_weights(config).origin(used=True)],
            "num_params": self._classifier.num_params,
            "head": head,
        }
        return Conclusion(logits, (), self._head(mapping, temperature), summary, independent)

    def _labels(self, num_outputs: int) -> tuple[str, ...]:
        config = self._config
        labels = tuple(config.classes or files.labels_of(config.model))
        if not labels:
            raise WeightsError(
                f"{config.model}: no names of its {num_outputs} outputs. List them in order in "
                "caption.teacher.classes, or in a labels.txt beside it"
            )
        if len(labels) != num_outputs:
            raise WeightsError(
                f"{config.model}: {len(labels)} names for {num_outputs} outputs. Expected one each, "
                "in their order"
            )
        return labels

    def _least_probability(self, outputs_NC: np.ndarray) -> float | None:
        """What a probability of 0 counts as; None where the outputs are logits."""
        if not self._puts_out_probabilities(outputs_NC):
            return None
        parts = (outputs_NC[some] for some in blocks(len(outputs_NC)))
        least = min((part.min(where=part > 0, initial=1.0) for part in parts), default=1.0)
        # A quantized 0 is less than half a step; all of them together are at most a hundredth.
        return float(np.clip(least / 2, 1e-9, 0.01 / outputs_NC.shape[1]))

    def _gives_several_labels(self) -> bool:
        config = self._config
        if config.activation is not None or config.model.is_dir():
            return config.activation == "sigmoid"
        stated = files.settings_beside(config.model).get("outputs") or [{}]
        return bool(stated[0].get("kind") == "multilabel")

    def _puts_out_probabilities(self, outputs_NC: np.ndarray) -> bool:
        kind = files.kind_of(self._config.model)
        if kind not in ("onnx", "tflite"):
            return False
        stated = files.settings_beside(self._config.model).get("outputs") or [{}]
        activation = self._config.activation or stated[0].get("activation")
        if activation is not None:
            return activation == "softmax"
        return _look_like_probabilities(outputs_NC)

    def _head(self, mapping: ClassMapping, temperature: float) -> dict[str, Any]:
        """What `load_module` needs; nothing where it would give none."""
        classifier = self._classifier
        if classifier.network is None or classifier.pixels.preprocess is None:
            return {}
        return {
            "to_class": mapping.to_class_C,
            "num_classes": mapping.num_classes,
            "temperature": temperature,
        }

    @cached_property
    def _classifier(self) -> files.Classifier:
        config = self._config
        device = config.device or best_device()
        return files.load(config.model, config.architecture, _preprocess(config), device)


def load_module(
    config: ClassifierConfig, head: dict[str, Any]
) -> tuple[MappedNetwork, Preprocess] | None:
    """Returns (torch module [B, 3, H, W] -> class logits [B, K], its Preprocess) of a stored head.

    None for a head that is empty: an ONNX or TFLite file, or images prepared in a way that no
    `Preprocess` describes.
    """
    if not head:
        return None
    from captioning.teachers.classifier_module import MappedNetwork

    classifier = files.load(config.model, config.architecture, _preprocess(config), "cpu")
    preprocess = classifier.pixels.preprocess
    assert classifier.network is not None
    assert preprocess is not None
    mapping = ClassMapping(np.asarray(head["to_class"]), int(head["num_classes"]))
    module = MappedNetwork(classifier.network, mapping, float(head["temperature"]))
    module.eval()
    return module, preprocess


def _weights(config: ClassifierConfig) -> LocalWeights:
    path = config.model
    found = weights_in(path) if path.is_dir() else (path,)
    if not found:
        raise WeightsError(
            f"{path}: a config without weights. Expected model.safetensors or pytorch_model.bin in it"
        )
    return LocalWeights(path.name, found, config.licence)


def _preprocess(config: ClassifierConfig) -> Preprocess | None:
    if config.preprocess is not None:
        return Preprocess(**config.preprocess.model_dump())
    beside = files.settings_beside(config.model)
    return from_json(beside) if beside else None


def _look_like_probabilities(outputs_NC: np.ndarray) -> bool:
    """Whether they are between 0 and 1 and add up to 1, as well as 8 bits can say it.

    Of 1,001 quantized probabilities most are rounded to 0, so the sum may be well below 1.
    """
    if outputs_NC.min(initial=0) < 0 or outputs_NC.max(initial=0) > 1:
        return False
    sums = outputs_NC.sum(axis=1, dtype=np.float64)
    return bool(sums.max(initial=0) < 1.02 + outputs_NC.shape[1] / 512 and sums.mean() > 0.5)


def _tune_labels(manifest: Manifest, mapping: ClassMapping) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of tune, of the classes the classifier knows; none in a multi-label task,
    where the pool of the scores is fitted instead."""
    rows, labels = manifest.labelled("tune")
    if manifest.task.multilabel:
        return rows[:0], np.zeros(0, dtype=np.int64)
    known = ~np.isin(labels, mapping.missing)
    return rows[known], labels[known]


def _temperature(
    logits_NK: np.ndarray, labels_N: np.ndarray, mapping: ClassMapping
) -> tuple[float, str]:
    """The best temperature among the classes it knows, and what it was fitted on."""
    if len(labels_N) < MIN_LABELS_TO_FIT:
        return 1.0, f"as it is: {len(labels_N)} tune labels, fitted from {MIN_LABELS_TO_FIT} on"
    known = np.setdiff1d(np.arange(mapping.num_classes), mapping.missing)
    targets = np.eye(mapping.num_classes)[labels_N][:, known]
    return fit_temperature(logits_NK[:, known], targets), f"{len(labels_N)} tune labels"


def _in_blocks(
    mapping: ClassMapping,
    outputs_NC: np.ndarray,
    least_probability: float | None,
    temperature: float,
    zeros: Zeros,
) -> tuple[np.ndarray, np.ndarray]:
    """Class logits [N, K] float32 and the mass on outputs without a class [N]."""
    logits = zeros((len(outputs_NC), mapping.num_classes), np.float32)
    dropped = np.empty(len(outputs_NC))
    for part in blocks(len(outputs_NC)):
        outputs = _as_logits(outputs_NC[part], least_probability)
        logits[part] = mapping.logits(outputs, temperature)
        dropped[part] = mapping.dropped_mass(outputs)
    return logits, dropped


def _as_logits(outputs_NC: np.ndarray, least_probability: float | None) -> np.ndarray:
    outputs = outputs_NC.astype(np.float64)
    if least_probability is None:
        return outputs
    return np.log(np.maximum(outputs, least_probability))

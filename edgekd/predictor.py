"""Images through a bundle: `open_bundle(path).predict(images)`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgekd import confidence, preprocess, runtimes
from edgekd.bundle_files import BundleFiles
from edgekd.errors import DataError, EdgeKDError
from edgekd.metrics import sigmoid, softmax

MODEL_NAMES = ("model.tflite", "model.onnx")


@dataclass(frozen=True)
class Prediction:
    """What the model says about one image; `top` is (label, probability), most likely first.

    Probabilities are those of softmax(logits / temperature). `confidence` is what the bundle holds
    against its `reject_below`: the probability, unless its `reject_by` names another score.
    `rejected` is True where it is below: take the answer as "none of them". Where the image could
    not be read, `error` says why, and there is no label.

    `labels` are the classes that the image shows, the surest first: one, unless the model names
    several (then probabilities are those of each class by itself, and there may be none).
    """

    path: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    rejected: bool = False
    error: str | None = None
    confidence: float | None = None
    labels: tuple[str, ...] = ()
    multilabel: bool = False


def open_bundle(path: Path | str, threads: int = 1) -> Predictor:
    """Returns the predictor of a bundle.zip or of its unpacked folder.

    The .tflite model is used where there is one, else the .onnx.

    Raises:
        UsageError: nothing there.
        EdgeKDError: a file is missing or damaged, or labels and model do not fit.
    """
    files = BundleFiles(Path(path))
    names = [name for name in MODEL_NAMES if name in files.names]
    if not names:
        raise EdgeKDError(f"{path}: expected {' or '.join(MODEL_NAMES)} inside, found neither")
    settings, labels = files.read_json("preprocess.json"), files.labels()
    return Predictor(files.local_path(names[0]), labels, settings, threads, files)


class Predictor:
    """A model with its labels and preprocessing, ready for images.

    `settings` is the content of preprocess.json, `keep` is held as long as the predictor lives.

    Raises:
        EdgeKDError: the settings are not whole, or the model's outputs and the labels differ.
    """

    def __init__(
        self,
        model: Path,
        labels: list[str],
        settings: dict[str, Any],
        threads: int = 1,
        keep: object = None,
    ):
        self.labels = labels
        self.preprocess = preprocess.from_json(settings)
        self.confidence = confidence.from_json(settings)
        try:
            output = settings["outputs"][0]
            self._activation = output["activation"]
            self.multilabel = output.get("kind") == "multilabel"
            self._threshold = float(output["threshold"]) if self.multilabel else 0.5
        except (KeyError, IndexError, TypeError) as error:
            raise EdgeKDError(
                f"preprocess.json: outputs[0] lacks activation or threshold ({error!r})"
            ) from error
        self._runner = runtimes.load(model, threads)
        self._keep = keep
        self._check_fit(model)

    def predict(
        self, images: Iterable[Path | str | Image.Image] | Path | str | Image.Image, top: int = 5
    ) -> Iterator[Prediction]:
        """Yields a prediction an image, in order; one that cannot be read gives its error."""
        if isinstance(images, Path | str | Image.Image):
            images = [images]
        for index, image in enumerate(images):
            name = _name(image, index)
            try:
                values = self.outputs(image)
            except DataError as error:
                yield Prediction(name, error=str(error))
                continue
            yield self.answer(values, name, top)

    def outputs(self, image: Path | str | Image.Image) -> np.ndarray:
        """Returns the model's dequantized outputs for one image, float32 [K]: logits, as a rule.

        Raises:
            DataError: the image cannot be read.
        """
        upright = preprocess.upright_rgb(image) if isinstance(image, Image.Image) else None
        rgb = upright or preprocess.open_image(Path(str(image)))
        pixels = preprocess.resized(rgb, self.preprocess)
        values = preprocess.normalized(pixels, self.preprocess)
        return runtimes.predict_logits(self._runner, values[None])[0]

    def answer(self, values: np.ndarray, name: str = "", top: int = 5) -> Prediction:
        """Returns what the model's dequantized outputs [K] for one image mean."""
        if self.multilabel:
            return self._classes_shown(values, name, top)
        logits_1K = self._logits(values)[None]
        (probs,) = softmax(logits_1K, self.confidence.temperature)
        score = confidence.scores(logits_1K, self.confidence.reject_by, self.confidence.temperature)
        ranked = self._ranked(probs)
        label, probability = ranked[0]
        return Prediction(
            path=name,
            label=label,
            probability=probability,
            top=ranked[:top],
            rejected=bool(self.confidence.rejects(score)[0]),
            confidence=float(score[0]),
            labels=(label,),
        )

    def _classes_shown(self, values: np.ndarray, name: str, top: int) -> Prediction:
        """Each class by itself: `label` is the surest of those above the threshold, None for none."""
        probs = values if self._activation == "sigmoid" else sigmoid(values)
        ranked = self._ranked(probs)
        shown = tuple(label for label, p in ranked if p > self._threshold)
        surest = ranked[0][1]
        return Prediction(
            path=name,
            label=shown[0] if shown else None,
            probability=surest,
            top=ranked[:top],
            confidence=surest,
            labels=shown,
            multilabel=True,
        )

    def _ranked(self, probs: np.ndarray) -> tuple[tuple[str, float], ...]:
        """All classes with their probabilities, the likeliest first."""
        order = np.argsort(-probs, kind="stable")
        return tuple((self.labels[index], float(probs[index])) for index in order)

    def _logits(self, values: np.ndarray) -> np.ndarray:
        if self._activation != "softmax":
            return values
        with np.errstate(divide="ignore"):  # a probability of 0 stays one
            return np.log(values.astype(np.float64))

    def _check_fit(self, model: Path) -> None:
        num_inputs = len(self._runner.inputs)
        if num_inputs != 1:
            raise EdgeKDError(f"{model.name}: expected one input, an image, found {num_inputs}")
        num_outputs = self._runner.outputs[0].shape[-1]
        if num_outputs != len(self.labels):
            raise EdgeKDError(
                f"{model.name}: it has {num_outputs} outputs, labels.txt has {len(self.labels)} "
                "lines. They belong to different models"
            )


def _name(image: Path | str | Image.Image, index: int) -> str:
    if isinstance(image, Image.Image):
        return str(getattr(image, "filename", "") or f"image {index}")
    return str(image)

"""A model that embeds images and texts together as a teacher: it scores and gives features.

A class is the mean of its texts: its words in every template, and what it looks like where that is
described. Images are embedded once; texts are for the conclusion, so other words cost no second look.

n items of a block, N of the run, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic
from PIL import Image

from captioning.teachers import clip_models
from captioning.teachers.clip_models import ClipModel
from captioning.teachers.composed import MOST_TO_FIT, balancing_bias
from captioning.teachers.local_weights import LocalWeights, settings_in
from captioning.teachers.protocol import Brief, Conclusion, Look
from edgekd.config import Section
from edgekd.machine import best_device
from edgekd.manifest import Manifest
from edgekd.mapped import Zeros, by_rows
from edgekd.metrics import unit
from edgekd.names import spoken
from edgekd.records import Item, TaskSpec
from edgekd.store import digest, file_sha256

_NAME = "{name}"
TEMPLATES = (
    "a photo of a {name}.",
    "a photo of the {name}.",
    "a close-up photo of a {name}.",
    "a cropped photo of a {name}.",
    "a photo of a small {name}.",
    "a photo of a large {name}.",
    "a picture of one {name}.",
)


class ClipConfig(Section):
    """open_clip, or transformers' CLIP and SigLIP: class scores from names. It writes no captions."""

    kind: Literal["open_clip"] = "open_clip"
    model: str = pydantic.Field(
        min_length=1,
        description="folder of an open_clip or a transformers CLIP or SigLIP model; or open_clip's "
        "name of an architecture, or hf-hub:OWNER/NAME",
    )
    pretrained: str | None = pydantic.Field(
        None, description="of an architecture: a local file of weights, or one of open_clip's tags"
    )
    templates: tuple[str, ...] = pydantic.Field(
        TEMPLATES, min_length=1, description="sentences with {name}, averaged"
    )
    synonyms: bool = pydantic.Field(True, description="all your words for a class; false: its name")
    balance: bool = pydantic.Field(False, description="assume the classes equally frequent")
    licence: str = pydantic.Field("not stated", description="of the model, for the report")
    device: str | None = pydantic.Field(None, description="as torch names it; by default the best")

    @pydantic.field_validator("templates")
    @classmethod
    def _with_a_name(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if _NAME not in template:
                raise ValueError(f"'{template}' has no {_NAME} in it")
        return templates

    @property
    def name(self) -> str:
        """What the report calls it."""
        folder = clip_models.folder_of(self.model)
        which = self.model if folder is None else folder.name
        return f"{self.kind}/{which.removeprefix('hf-hub:')}"


class ClipTeacher:
    """Implements `captioning.teachers.protocol.Teacher`."""

    def __init__(self, config: ClipConfig, brief: Brief):
        clip_models.kind_of(config.model, config.pretrained)
        self._config, self._brief = config, brief

    @property
    def name(self) -> str:
        return self._config.name

    @cached_property
    def settings(self) -> str:
        model, pretrained = self._config.model, self._config.pretrained
        folder = clip_models.folder_of(model)
        if folder is not None:
            return digest([self._weights.sha256, *map(file_sha256, settings_in(folder))])
        if pretrained is not None and Path(pretrained).is_file():
            return digest([model, self._weights.sha256])
        return digest([model, pretrained])

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        """Returns `features` [n, D] float16: unit vectors."""
        return Look({"features": self._model.images(images).astype(np.float16)})

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        """Returns class logits: cosines to the classes' texts, scaled as the model was trained."""
        texts = _texts(manifest.task, self._brief.descriptions, self._config)
        model = self._model
        classes = np.stack([_class_vector(of_class, model) for of_class in texts])
        logits = _logits(observed["features"], classes * model.scale, self._brief.zeros)
        if self._config.balance:
            train = manifest.rows("train", MOST_TO_FIT)
            logits += balancing_bias(logits[train].astype(np.float64)).astype(np.float32)
        head = {
            "logit_scale": model.scale,
            "num_texts": sum(len(group) for of_class in texts for group in of_class),
            "num_described": sum(len(of_class) > 1 for of_class in texts),
            "balanced": self._config.balance,
            "captions": "none: it only scores",
        }
        summary = {
            "weights": [self._weights.origin(used=True)],
            "num_params": model.num_params,
            "head": head,
        }
        return Conclusion(logits, (), {}, summary)

    @cached_property
    def _weights(self) -> LocalWeights:
        config = self._config
        return clip_models.weights(config.model, config.pretrained, self.name, config.licence)

    @cached_property
    def _model(self) -> ClipModel:
        config = self._config
        device = config.device or best_device()
        return clip_models.load(config.model, config.pretrained, device)


def _texts(
    task: TaskSpec, described: Mapping[str, tuple[str, ...]], config: ClipConfig
) -> list[list[list[str]]]:
    """Of each class its groups of texts: first the class's words in every template, then more.

    Each group counts the same.
    """
    texts = []
    for name in task.classes:
        words = (name, *(task.synonyms.get(name, ()) if config.synonyms else ()))
        sentences = [
            template.replace(_NAME, spoken(word)) for word in words for template in config.templates
        ]
        looks = [f"{spoken(name)}, {text}" for text in described.get(name, ())]
        texts.append([sentences, looks] if looks else [sentences])
    return texts


def _class_vector(groups: list[list[str]], model: ClipModel) -> np.ndarray:
    means = [unit(model.texts(group).astype(np.float64).mean(axis=0)) for group in groups]
    return unit(np.mean(means, axis=0))


def _logits(features_ND: np.ndarray, classes_KD: np.ndarray, zeros: Zeros) -> np.ndarray:
    """Class logits [N, K] float32; only a block of the features is widened at a time."""
    return by_rows(lambda some: some.astype(np.float64) @ classes_KD.T, features_ND, zeros=zeros)

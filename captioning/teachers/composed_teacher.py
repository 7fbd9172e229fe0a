"""The embedded teacher as a `Teacher`: backbones look, names and labels conclude, sentences follow.

Building one and asking its settings imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from captioning.teachers import composed, multilabel_probe
from captioning.teachers.composed import NamedHead
from captioning.teachers.configs import ComposedTeacherConfig
from captioning.teachers.protocol import Brief, Conclusion, Look
from captioning.teachers.prototypes import fit_prototypes
from edgekd.machine import best_device
from edgekd.manifest import Manifest
from edgekd.mapped import by_rows
from edgekd.metrics import softmax
from edgekd.preprocess import normalized, resized
from edgekd.records import Item, Preprocess
from edgekd.store import digest
from edgekd.weights import WeightsFile, find

if TYPE_CHECKING:
    from captioning.teachers.backbone import Backbones
    from captioning.teachers.module import TeacherModule

_BLOCK = 8192  # images that are scored at a time
# What a look depends on; the other settings are for the conclusion.
_SEEN_WITH = ("backbone", "image_size", "inverted")


class ComposedTeacher:
    """Implements `captioning.teachers.protocol.Teacher`. Features and ImageNet logits are float16."""

    def __init__(self, config: ComposedTeacherConfig, brief: Brief):
        self._config = config
        self._brief = brief
        self._preprocess = preprocess(config)

    @property
    def name(self) -> str:
        return self._config.name

    @property
    def settings(self) -> str:
        seen_with = self._config.model_dump(mode="json", include=set(_SEEN_WITH))
        weights = [find(name, self._config.weights) for name in self._config.backbone]
        return digest([seen_with, *(file.sha256 for file in weights)])

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        """Returns `features` [n, D] and `imagenet` [n, 1000], float16; it speaks when it concludes."""
        batch = np.stack([resized(image, self._preprocess) for image in images])
        features, imagenet = self._backbones.observe(normalized(batch, self._preprocess))
        return Look(
            {"features": features.astype(np.float16), "imagenet": imagenet.astype(np.float16)}
        )

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        """Returns the fitted head's scores and sentences sampled from them.

        On one core: sums of another number of threads round otherwise, and a rounding can change
        a sampled word.
        """
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="blas"):
            return self._concluded(manifest, observed)

    def _concluded(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        from captioning.teachers import speak

        backbones = self._backbones
        names, encoder_weights = None, []
        if self._config.names:
            names, file = self._named_head(manifest, observed, backbones.sizes)
            encoder_weights = [file]
        fit = multilabel_probe.fit if manifest.task.multilabel else composed.fit
        head = fit(
            observed["features"],
            observed["imagenet"],
            manifest.labelled("train"),
            manifest.labelled("tune"),
            names,
            manifest.task.num_classes,
            self._brief.seed,
        )

        def widened(features: np.ndarray, imagenet: np.ndarray) -> np.ndarray:
            return head.logits(features.astype(np.float32), imagenet.astype(np.float32))

        seen, zeros = (observed["features"], observed["imagenet"]), self._brief.zeros
        logits = by_rows(widened, *seen, zeros=zeros, dtype=np.float64, size=_BLOCK)
        independent = manifest.task.multilabel and head.probe_coef_DK is not None
        captions = speak.sentences(
            manifest,
            by_rows(_log_sigmoid, logits, zeros=zeros, dtype=np.float64) if independent else logits,
            observed["attributes"],
            self._brief,
            self.name,
            self._config.language,
        )
        summary = {
            "num_params": backbones.count_params(head.asks_imagenet) + head.num_params,
            "head": head.provenance,
            "weights": [file.origin(used=True) for file in backbones.weights]
            + [file.origin(used=head.asks_imagenet) for file in encoder_weights],
        }
        return Conclusion(logits, captions, head.arrays(), summary, independent)

    def _named_head(
        self, manifest: Manifest, observed: dict[str, np.ndarray], sizes: tuple[int, ...]
    ) -> tuple[NamedHead, WeightsFile]:
        """Returns what names and unlabelled training images say, and the encoder's file."""
        from captioning.teachers import speak

        config = self._config
        names, weights = speak.names_head(
            manifest,
            observed["imagenet"],
            self._brief.text_encoder,
            config.names_temperature,
            config.balance,
            config.synonyms,
            config.glosses,
            self._brief.descriptions,
        )
        train = manifest.rows("train", composed.MOST_TO_FIT)
        if config.prototypes == 0 or len(train) < manifest.task.num_classes:
            return names, weights
        features = observed["features"][train].astype(np.float32)
        probs = softmax(names.logits(features, observed["imagenet"][train].astype(np.float32)))
        temperature = config.prototype_temperature
        return fit_prototypes(features, probs, sizes, config.prototypes, temperature), weights

    @cached_property
    def _backbones(self) -> Backbones:
        return _backbones(self._config).to(best_device())


def load(config: ComposedTeacherConfig, head: dict[str, np.ndarray]) -> TeacherModule:
    """Returns the torch module [B, 3, H, W] -> class logits [B, K] of a stored head."""
    from captioning.teachers.module import TeacherModule

    module = TeacherModule(_backbones(config), head)
    module.eval()
    return module


def preprocess(config: ComposedTeacherConfig) -> Preprocess:
    """Returns how its images are prepared.

    Trained on (pixel - 127) / 128. Inversion is (255 - pixel), the same as a negative std.
    """
    mean, std = 127 / 255, 128 / 255
    if config.inverted:
        mean, std = 1 - mean, -std
    size = config.image_size
    return Preprocess(size, size, (mean,) * 3, (std,) * 3, "stretch", "bicubic")


def _backbones(config: ComposedTeacherConfig) -> Backbones:
    from captioning.teachers.backbone import Backbone, Backbones

    return Backbones([Backbone(name, config.weights) for name in config.backbone])


def _log_sigmoid(logits_nK: np.ndarray) -> np.ndarray:
    return np.asarray(-np.logaddexp(0, -logits_nK))

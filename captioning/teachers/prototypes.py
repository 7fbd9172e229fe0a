"""Class prototypes from unlabelled images: where the images of each class lie, as names first guess.

The names head looks at what ImageNet's classes say of an image; prototypes look at its features,
so images that look alike are called alike. A soft k-means seeded by the names, few rounds: more of
them drift to what is easy to tell apart. No label goes in.

N items, D features of one or several backbones beside each other, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from captioning.teachers.composed import MIN_NORM
from edgekd.metrics import softmax


@dataclass(frozen=True)
class PrototypeHead:
    """Class logits by cosine to the prototypes.

    Each backbone's features (`sizes` of them, in order) are centred and scaled to length 1, so
    that each backbone counts the same.
    """

    sizes: tuple[int, ...]
    mean_D: np.ndarray
    prototypes_KD: np.ndarray
    temperature: float

    @property
    def num_params(self) -> int:
        """Learned numbers: the prototypes and the mean."""
        return self.prototypes_KD.size + self.mean_D.size

    def arrays(self) -> dict[str, Any]:
        """Returns what rebuilds it for export."""
        return {
            "prototypes": self.prototypes_KD,
            "prototype_mean": self.mean_D,
            "prototype_sizes": self.sizes,
            "prototype_temperature": self.temperature,
        }

    def logits(self, features_ND: np.ndarray, imagenet_N1000: np.ndarray) -> np.ndarray:
        """Returns class logits [N, K]; ImageNet's own are not asked."""
        unit = _unit(features_ND - self.mean_D, self.sizes)
        return unit @ self.prototypes_KD.T / self.temperature


def fit_prototypes(
    features_ND: np.ndarray,
    probs_NK: np.ndarray,
    sizes: tuple[int, ...],
    rounds: int,
    temperature: float,
) -> PrototypeHead:
    """Returns the head after `rounds` of soft k-means that start from `probs_NK`."""
    mean_D = features_ND.mean(axis=0)
    unit = _unit(features_ND - mean_D, sizes)
    head = PrototypeHead(sizes, mean_D, _prototypes(unit, probs_NK), temperature)
    for _ in range(rounds - 1):
        probs_NK = softmax(unit @ head.prototypes_KD.T / temperature)
        head = PrototypeHead(sizes, mean_D, _prototypes(unit, probs_NK), temperature)
    return head


def _prototypes(unit_ND: np.ndarray, probs_NK: np.ndarray) -> np.ndarray:
    sums = probs_NK.T @ unit_ND
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)


def _unit(features_ND: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    parts = np.split(features_ND, np.cumsum(sizes)[:-1], axis=1)
    scaled = [p / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), MIN_NORM) for p in parts]
    return np.concatenate(scaled, axis=1) / np.sqrt(len(sizes))

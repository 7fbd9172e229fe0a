"""The embedded teacher's judgement: a linear probe on given labels, and names carried to names.

With a few given labels a class, a probe on backbone features; from the class names alone,
ImageNet probabilities times sentence embeddings (ConSE, arXiv:1312.5650). Both are combined
log-linearly, weights by likelihood on labelled items the probe did not see.

N items, D features, K classes, E embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from edgekd.errors import DataError
from edgekd.metrics import negative_log_likelihood, softmax

# Mean vectors of names are far longer than this. In int8 a shorter one would round to zero, which
# LiteRT refuses to divide by.
MIN_NORM = 0.05
C_GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
PROBE_WEIGHTS = tuple(np.geomspace(0.1, 4.0, 33))
_NAMES_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
_NAMES_GAIN = 0.01
MIN_LABELS_TO_FIT = 20
# Training images that means and prototypes are taken of: more would not move them.
MOST_TO_FIT = 20_000


class NamedHead(Protocol):
    """Class logits that no label went into: from names, or from prototypes that names seeded."""

    @property
    def num_params(self) -> int: ...

    def arrays(self) -> dict[str, Any]: ...

    def logits(self, features_ND: np.ndarray, imagenet_N1000: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class NamesHead:
    """ImageNet logits to class logits through sentence embeddings; `bias` balances the classes."""

    source_1000E: np.ndarray
    target_KE: np.ndarray
    temperature: float
    bias_K: np.ndarray

    @property
    def num_params(self) -> int:
        """Nothing here is learned from images."""
        return 0

    def arrays(self) -> dict[str, Any]:
        """Returns what rebuilds it for export."""
        return {
            "names_source": self.source_1000E,
            "names_target": self.target_KE,
            "names_temperature": self.temperature,
            "names_bias": self.bias_K,
        }

    def logits(self, features_ND: np.ndarray, imagenet_N1000: np.ndarray) -> np.ndarray:
        """Returns class logits [N, K]; the features are not asked."""
        return self.logits_of_imagenet(imagenet_N1000)

    def logits_of_imagenet(self, imagenet_N1000: np.ndarray) -> np.ndarray:
        """Returns class logits [N, K]."""
        vectors = softmax(imagenet_N1000) @ self.source_1000E
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), MIN_NORM)
        return vectors @ self.target_KE.T / self.temperature + self.bias_K


@dataclass(frozen=True)
class ComposedHead:
    """Features and ImageNet logits to class logits; a part that is not there is None."""

    probe_coef_DK: np.ndarray | None
    probe_intercept_K: np.ndarray | None
    probe_weight: float
    names: NamedHead | None
    names_weight: float
    provenance: dict[str, Any] = field(default_factory=dict)

    def logits(self, features_ND: np.ndarray, imagenet_N1000: np.ndarray) -> np.ndarray:
        """Returns class logits [N, K]; their softmax is the teacher's probability."""
        total: Any = 0.0
        if self.probe_coef_DK is not None:
            total = self.probe_weight * (features_ND @ self.probe_coef_DK + self.probe_intercept_K)
        if self.names is not None and self.names_weight > 0:
            total = total + self.names_weight * self.names.logits(features_ND, imagenet_N1000)
        return np.asarray(total)

    def arrays(self) -> dict[str, Any]:
        """Returns what rebuilds it for export."""
        arrays: dict[str, Any] = {
            "probe_weight": self.probe_weight,
            "names_weight": self.names_weight,
        }
        if self.probe_coef_DK is not None:
            arrays |= {"probe_coef": self.probe_coef_DK, "probe_intercept": self.probe_intercept_K}
        return arrays | (self.names.arrays() if self.names is not None else {})

    @property
    def num_params(self) -> int:
        """Learned numbers beside the backbone's."""
        probe = sum(a.size for a in (self.probe_coef_DK, self.probe_intercept_K) if a is not None)
        named = self.names.num_params if self.names is not None and self.names_weight > 0 else 0
        return probe + named

    @property
    def asks_imagenet(self) -> bool:
        """Whether ImageNet's own answers and the sentence vectors are needed to answer."""
        return isinstance(self.names, NamesHead) and self.names_weight > 0


def fit_names(
    source_1000E: np.ndarray,
    target_KE: np.ndarray,
    imagenet_N1000: np.ndarray,
    temperature: float,
    balance: bool,
) -> NamesHead:
    """Returns the head that needs names only; `balance` assumes classes equally frequent."""
    head = NamesHead(source_1000E, target_KE, temperature, np.zeros(len(target_KE)))
    if not balance:
        return head
    bias = balancing_bias(head.logits_of_imagenet(imagenet_N1000))
    return NamesHead(source_1000E, target_KE, temperature, bias)


def balancing_bias(logits_NK: np.ndarray) -> np.ndarray:
    """Returns the bias [K] that makes all classes equally frequent when added to the logits."""
    num_classes = logits_NK.shape[1]
    bias = np.zeros(num_classes)
    for _ in range(200):
        share = softmax(logits_NK + bias).mean(axis=0)
        bias -= 0.5 * np.log(np.maximum(share, 1e-9) * num_classes)
    return bias - bias.mean()


def fit(
    features_ND: np.ndarray,
    imagenet_N1000: np.ndarray,
    given: tuple[np.ndarray, np.ndarray],
    tune: tuple[np.ndarray, np.ndarray],
    names: NamedHead | None,
    num_classes: int,
    seed: int,
) -> ComposedHead:
    """Returns the head fitted on given labels and weighted on tune labels.

    Features and ImageNet logits may be float16; only labelled rows are read.

    `given` and `tune` are (rows into the features, labels). A probe needs at least two given
    labels of every class; without it the head is names alone.

    Raises:
        DataError: neither a probe nor names.
    """
    rows, labels = given
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < 2:
        note = _why_no_probe(counts)
        if names is None:
            raise DataError(
                "caption.teacher.names: false leaves a probe on given labels only, and it is "
                f"{note}. Label at least 2 training images of every class, or set it to true"
            )
        return ComposedHead(None, None, 0.0, names, 1.0, {"probe": note, "names": "used"})
    use_tune = len(tune[0]) >= MIN_LABELS_TO_FIT
    held_rows, held_labels = tune if use_tune else given
    held_by_c = {
        c: _on_tune(features_ND, given, held_rows, c, seed)
        if use_tune
        else _out_of_fold(features_ND, given, c, num_classes, seed)
        for c in C_GRID
    }
    c = min(held_by_c, key=lambda c: _calibrated_nll(held_by_c[c], held_labels))
    coef, intercept = _probe(features_ND[rows], labels, c, seed)
    names_logits = (
        names.logits(features_ND[held_rows], imagenet_N1000[held_rows])
        if names is not None
        else None
    )
    probe_weight, names_weight = _weights(held_by_c[c], names_logits, held_labels)
    provenance = {
        "probe": f"{len(rows)} given labels, C={c}, weighted on {len(held_labels)} "
        + ("tune labels" if use_tune else "given labels, out of fold"),
        "probe_weight": probe_weight,
        "names_weight": names_weight,
    }
    return ComposedHead(coef, intercept, probe_weight, names, names_weight, provenance)


def _why_no_probe(counts: np.ndarray) -> str:
    if counts.sum() == 0:
        return "not used: no given labels"
    return f"not used: {int((counts < 2).sum())} classes have fewer than 2 given labels"


def _probe(
    features: np.ndarray, labels: np.ndarray, c: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (coef [D, K], intercept [K]) of logistic regression on standardized features."""
    from sklearn.linear_model import LogisticRegression

    features = features.astype(np.float32)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    model = LogisticRegression(C=c, max_iter=300, random_state=seed)
    model.fit((features - mean) / scale, labels)
    coef, intercept = model.coef_, model.intercept_
    if len(coef) == 1:  # two classes: sklearn keeps one row
        coef, intercept = np.stack([-coef[0], coef[0]]) / 2, np.array([-1, 1]) * intercept / 2
    coef_DK = (coef / scale).T
    return coef_DK, intercept - mean @ coef_DK


def _on_tune(
    features_ND: np.ndarray,
    given: tuple[np.ndarray, np.ndarray],
    held_rows: np.ndarray,
    c: float,
    seed: int,
) -> np.ndarray:
    coef, intercept = _probe(features_ND[given[0]], given[1], c, seed)
    return features_ND[held_rows] @ coef + intercept


def _out_of_fold(
    features_ND: np.ndarray,
    given: tuple[np.ndarray, np.ndarray],
    c: float,
    num_classes: int,
    seed: int,
) -> np.ndarray:
    from sklearn.model_selection import StratifiedKFold

    rows, labels = given
    logits = np.zeros((len(rows), num_classes))
    num_folds = int(min(5, np.bincount(labels).min()))
    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    for fitted, held in splitter.split(rows, labels):
        coef, intercept = _probe(features_ND[rows[fitted]], labels[fitted], c, seed)
        logits[held] = features_ND[rows[held]] @ coef + intercept
    return logits


def _calibrated_nll(logits: np.ndarray, labels: np.ndarray) -> float:
    return min(negative_log_likelihood(softmax(w * logits), labels) for w in PROBE_WEIGHTS)


def _weights(
    probe: np.ndarray, names: np.ndarray | None, labels: np.ndarray
) -> tuple[float, float]:
    """Returns the (probe, names) weights of the highest likelihood.

    Names count only where they gain more than `_NAMES_GAIN` nats: with them, a text encoder
    belongs to the teacher's files.
    """
    extra: Any = 0.0 if names is None else names

    def best(names_weights: tuple[float, ...]) -> tuple[float, float, float]:
        return min(
            (negative_log_likelihood(softmax(w * probe + v * extra), labels), float(w), v)
            for v in names_weights
            for w in PROBE_WEIGHTS
        )

    alone, together = best((0.0,)), best(_NAMES_WEIGHTS if names is not None else (0.0,))
    _, probe_weight, names_weight = min(alone, (together[0] + _NAMES_GAIN, *together[1:]))
    return probe_weight, names_weight

"""The embedded teacher's judgement where images show any number of the classes.

A logistic regression a class on given labels (binary relevance), all with one strength of
regularization and one weight, both of the highest likelihood on labels the probe did not see.
Without enough labels the names judge, which only compare classes.

N items, D features, K classes, M labelled items.
"""

from __future__ import annotations

import numpy as np

from captioning.teachers.composed import (
    C_GRID,
    MIN_LABELS_TO_FIT,
    PROBE_WEIGHTS,
    ComposedHead,
    NamedHead,
)
from edgekd.errors import DataError
from edgekd.metrics import negative_log_likelihood, sigmoid

_NUM_FOLDS = 5


def fit(
    features_ND: np.ndarray,
    imagenet_N1000: np.ndarray,
    given: tuple[np.ndarray, np.ndarray],
    tune: tuple[np.ndarray, np.ndarray],
    names: NamedHead | None,
    num_classes: int,
    seed: int,
) -> ComposedHead:
    """Returns the head; `given` and `tune` are (rows into the features, labels of 0 and 1 [M, K]).

    With a probe its logits are log odds of each class, and names count for nothing. The probe needs
    two given images of every class, and two without it.

    Raises:
        DataError: neither a probe nor names.
    """
    rows, labels = given
    shown_K = labels.sum(axis=0, dtype=np.int64) if len(labels) else np.zeros(num_classes, np.int64)
    poor = int((np.minimum(shown_K, len(labels) - shown_K) < 2).sum())
    if poor:
        note = (
            f"not used: {poor} classes with fewer than 2 given labels, or shown by all but 1"
            if len(labels)
            else "not used: no given labels"
        )
        if names is None:
            raise DataError(
                f"caption.teacher.names: false leaves a probe on given labels only, and it is {note}. "
                "Label at least 2 training images that show each class and 2 that do not, or set it "
                "to true"
            )
        return ComposedHead(None, None, 0.0, names, 1.0, {"probe": note, "names": "used"})
    features = features_ND[rows].astype(np.float32)
    use_tune = len(tune[0]) >= MIN_LABELS_TO_FIT
    held_labels = tune[1] if use_tune else labels
    held_features = features_ND[tune[0]].astype(np.float32) if use_tune else None
    held_by_c = {
        c: _applied(_probe(features, labels, c, seed), held_features)
        if held_features is not None
        else _out_of_fold(features, labels, c, seed)
        for c in C_GRID
    }

    def loss(c: float, weight: float) -> float:
        return negative_log_likelihood(sigmoid(weight * held_by_c[c]), held_labels)

    c, weight = min(((c, w) for c in C_GRID for w in PROBE_WEIGHTS), key=lambda pair: loss(*pair))
    coef, intercept = _probe(features, labels, c, seed)
    provenance = {
        "probe": f"one a class, {len(rows)} given labels, C={c}, weighted on {len(held_labels)} "
        + ("tune labels" if use_tune else "given labels, out of fold"),
        "probe_weight": float(weight),
        "names_weight": 0.0,
    }
    return ComposedHead(coef, intercept, float(weight), None, 0.0, provenance)


def _probe(
    features: np.ndarray, labels_MK: np.ndarray, c: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (coef [D, K], intercept [K]) of logistic regressions on standardized features.

    A class that all show or none does keeps a coefficient of 0 and the log odds of its share.
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    standard = (features - mean) / scale
    num_items, num_classes = labels_MK.shape
    coef = np.zeros((features.shape[1], num_classes))
    shown_K = labels_MK.sum(axis=0)
    intercept = np.log(shown_K + 0.5) - np.log(num_items - shown_K + 0.5)
    for index in np.flatnonzero((shown_K > 0) & (shown_K < num_items)):
        model = LogisticRegression(C=c, max_iter=300, random_state=seed)
        model.fit(standard, labels_MK[:, index])
        coef[:, index] = model.coef_[0] / scale
        intercept[index] = model.intercept_[0] - mean @ coef[:, index]
    return coef, intercept


def _applied(probe: tuple[np.ndarray, np.ndarray], features: np.ndarray) -> np.ndarray:
    coef, intercept = probe
    return np.asarray(features @ coef + intercept)


def _out_of_fold(features: np.ndarray, labels_MK: np.ndarray, c: float, seed: int) -> np.ndarray:
    from sklearn.model_selection import KFold

    logits = np.zeros(labels_MK.shape)
    folds = KFold(min(_NUM_FOLDS, len(labels_MK)), shuffle=True, random_state=seed)
    for fitted, held in folds.split(features):
        probe = _probe(features[fitted], labels_MK[fitted], c, seed)
        logits[held] = _applied(probe, features[held])
    return logits

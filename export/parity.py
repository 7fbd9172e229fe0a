"""What an exported file answers, measured on the file itself with the runtime a phone uses.

N images, K classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekd import metrics, runtimes
from edgekd.preprocess import load_input
from edgekd.progress import Progress
from edgekd.records import Preprocess


def file_logits(
    path: Path, images: list[Path], preprocess: Preprocess, progress: Progress
) -> np.ndarray:
    """Returns float32 logits [N, K] of image files, one at a time."""
    runner = runtimes.load(path, threads=2)
    rows = []
    for index, image in enumerate(images):
        inputs_HWC = load_input(image, preprocess)
        rows.append(runtimes.predict_logits(runner, inputs_HWC[None])[0])
        if index % 50 == 49 or index + 1 == len(images):
            progress(index + 1, len(images), path.name)
    return np.stack(rows)


def parity(
    reference_NK: np.ndarray, candidate_NK: np.ndarray, multilabel: bool
) -> dict[str, float]:
    """Returns agreement of the answers, and the largest and mean difference of the logits."""
    difference = np.abs(reference_NK - candidate_NK)
    return {
        "agreement": metrics.agreement(reference_NK, candidate_NK, multilabel),
        "max_abs_difference": float(difference.max()),
        "mean_abs_difference": float(difference.mean()),
    }


def quality(logits_NK: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns accuracy with its Wilson interval, calibration error and confusion counts.

    Of labels [N, K], in place of confusions: `edgekd.metrics.multilabel_quality`.
    """
    multilabel = labels.ndim == 2
    probs = metrics.sigmoid(logits_NK) if multilabel else metrics.softmax(logits_NK)
    found: dict[str, Any] = {
        "accuracy": metrics.share(metrics.right(logits_NK, labels)),
        "calibration_error": metrics.expected_calibration_error(probs, labels),
    }
    if multilabel:
        return found | {"multilabel": metrics.multilabel_quality(probs, labels)}
    confusion = metrics.confusion_matrix(probs.argmax(axis=1), labels, logits_NK.shape[1])
    return found | {"confusion": confusion.tolist()}

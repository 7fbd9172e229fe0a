"""When a file should not answer: its temperature, its threshold, and what they do on other images.

Both are fitted on held-out images and measured on test images and outliers, which nothing is fitted
on. N images, M outliers, K classes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd import metrics, targets_file
from edgekd.confidence import SCORE_NAMES, Confidence, fit_temperature, scores
from edgekd.errors import DataError
from edgekd.held_out import MIN_IMAGES, held_out
from edgekd.manifest import Manifest
from edgekd.preprocess import open_image
from edgekd.records import Item, Split
from edgekd.sources import images_under
from edgekd.store import file_sha256

if TYPE_CHECKING:
    from export.stage import RejectConfig

MIN_LABELS = 50  # on tune; below it labels say less than many soft targets
MAX_IMAGES = 1000  # one temperature and one threshold need no more


@dataclass(frozen=True)
class HeldOut:
    """Images to fit on, with what the file should say of each [N, K].

    `labels_N` is None where these are soft targets and no label was looked at. `learned` says that
    the student was trained on them, for want of others.
    """

    split: Split
    learned: bool
    items: list[Item]
    targets_NK: np.ndarray
    labels_N: np.ndarray | None


@dataclass(frozen=True)
class Outliers:
    """Images of none of the classes, from a folder of this name."""

    folder: str
    images: list[Path]
    num_unreadable: int


def check(config: RejectConfig, manifest: Manifest) -> None:
    """Raises a DataError where the images at hand cannot give what `config` asks for."""
    if not config.enabled or manifest.task.multilabel:
        return
    if config.min_accuracy is not None:
        found = len(_labelled_tune(manifest))
        if found < MIN_LABELS:
            raise DataError(
                f"reject.min_accuracy: expected at least {MIN_LABELS} labels on tune to measure it "
                f"on, found {found}. Set reject.coverage instead, which needs none"
            )
    if config.outliers is not None:
        _check_outliers(config.outliers, manifest)


def outliers_in(folder: Path) -> Outliers:
    """Returns the images of a folder that can be read, and how many cannot.

    Raises:
        DataError: no such folder, or no image in it.
    """
    files = outlier_files(folder)
    images = [path for path in files if _can_be_read(path)]
    if not images:
        raise DataError(f"reject.outliers: none of the {len(files)} files can be read as an image")
    return Outliers(folder.name, images, len(files) - len(images))


def outlier_files(folder: Path) -> list[Path]:
    """Returns the image files of a folder, sorted.

    Raises:
        DataError: no such folder, or no image file in it.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise DataError(f"reject.outliers: no folder '{folder}'. Expected a folder of images")
    files = [folder / path for path in images_under(folder)]
    if not files:
        raise DataError(f"reject.outliers: no image files in '{folder}'")
    return files


def images_to_fit(manifest: Manifest, soft_targets: Path) -> HeldOut | None:
    """Returns the images to fit on, at most MAX_IMAGES, the first by digest.

    Tune images with their labels where there are enough. Else the images that students do not
    learn from, or at last those they do, with soft targets in place of labels. None where there
    are too few of all.
    """
    tune = _labelled_tune(manifest)
    if len(tune) >= MIN_LABELS:
        labels = np.array([item.label for item in tune], dtype=np.int64)
        return HeldOut("tune", False, tune, _smoothed(labels, manifest.task.num_classes), labels)
    stored = targets_file.Targets(soft_targets)
    row_of, weight_N = stored.row_of, stored.array("weight")
    for items, learned in ((held_out(manifest), False), (manifest.of("train"), True)):
        taught = _first([item for item in items if weight_N[row_of[item.id]] > 0])
        if len(taught) >= MIN_IMAGES:
            rows = [row_of[item.id] for item in taught]
            return HeldOut(taught[0].split, learned, taught, stored.probs().rows(rows), None)
    return None


def fit_and_measure(
    config: RejectConfig,
    held: HeldOut,
    held_NK: np.ndarray,
    test: tuple[np.ndarray, np.ndarray] | None,
    outliers: Outliers | None,
    outliers_MK: np.ndarray | None,
) -> dict[str, Any]:
    """Returns a file's temperature and threshold, what they were fitted on, and what they do.

    `held_NK`, `test` (logits and labels) and `outliers_MK` are what the file answered.
    """
    fitted = fit(held_NK, held, config)
    measured = measure(fitted, held_NK, test, outliers_MK)
    if outliers is not None:
        measured["outliers"] |= {
            "folder": outliers.folder,
            "num_unreadable": outliers.num_unreadable,
        }
    return {
        **asdict(fitted),
        "wanted": {"coverage": config.coverage, "min_accuracy": config.min_accuracy},
        "fitted_on": {
            "split": held.split,
            "images": len(held.items),
            "labels": 0 if held.labels_N is None else len(held.labels_N),
            "learned": held.learned,
        },
        **measured,
    }


def fit(logits_NK: np.ndarray, held: HeldOut, config: RejectConfig) -> Confidence:
    """Returns the temperature and threshold of a file that answered the held-out images like this.

    Its `reject_below` is None where no threshold reaches the wanted accuracy.
    """
    temperature = fit_temperature(logits_NK, held.targets_NK)
    found = scores(logits_NK, config.by, temperature)
    if config.min_accuracy is None:
        assert config.coverage is not None  # the config fills it in
        threshold: float | None = threshold_for_coverage(found, config.coverage)
    else:
        assert held.labels_N is not None  # `check` saw to it
        right_N = logits_NK.argmax(axis=1) == held.labels_N
        threshold = threshold_for_accuracy(found, right_N, config.min_accuracy)
    return Confidence(temperature, config.by, threshold)


def threshold_for_coverage(scores_N: np.ndarray, coverage: float) -> float:
    """Returns the threshold that at least this share of the images reaches."""
    return _just_below(scores_N, metrics.reached_by(scores_N, coverage))


def threshold_for_accuracy(
    scores_N: np.ndarray, right_N: np.ndarray, min_accuracy: float
) -> float | None:
    """Returns the threshold that answers the most with at least this accuracy; None for none."""
    curve = metrics.coverage_curve(scores_N, right_N, max_points=len(scores_N) + 1)
    good = [point["threshold"] for point in curve if point["accuracy"] >= min_accuracy - 1e-9]
    return _just_below(scores_N, min(good)) if good else None


def measure(
    fitted: Confidence,
    held_NK: np.ndarray,
    test: tuple[np.ndarray, np.ndarray] | None,
    outliers_MK: np.ndarray | None,
) -> dict[str, Any]:
    """Returns {test, outliers, scores}: what temperature and threshold do on images of neither fit.

    `test` holds logits and labels. Without it outliers are compared with the held-out images. What
    is not at hand is None. `scores` compares all scores, whichever rejects.
    """
    inliers_NK = held_NK if test is None else test[0]
    apart_from = "held-out" if test is None else "test"
    return {
        "test": test and _on_test(fitted, *test, outliers_MK),
        "outliers": None
        if outliers_MK is None
        else {
            "images": len(outliers_MK),
            "rejected": metrics.share(fitted.rejects(_scores(outliers_MK, fitted))),
            "compared_with": apart_from,
        },
        "scores": [
            {"score": name} | _apart(replace(fitted, reject_by=name), inliers_NK, test, outliers_MK)
            for name in SCORE_NAMES
        ],
    }


def _on_test(
    fitted: Confidence,
    logits_NK: np.ndarray,
    labels_N: np.ndarray,
    outliers_MK: np.ndarray | None,
) -> dict[str, Any]:
    found = _scores(logits_NK, fitted)
    right_N = logits_NK.argmax(axis=1) == labels_N
    answered_N = ~fitted.rejects(found)
    curve = metrics.coverage_curve(found, right_N)
    if outliers_MK is not None:
        outside = _scores(outliers_MK, fitted)
        for point in curve:
            point["outliers_rejected"] = float((outside < point["threshold"]).mean())
    before, after = (
        metrics.expected_calibration_error(metrics.softmax(logits_NK, temperature), labels_N)
        for temperature in (1.0, fitted.temperature)
    )
    return {
        "coverage": metrics.share(answered_N),
        "accuracy": metrics.share(right_N),
        "accuracy_answered": metrics.share(right_N[answered_N]),
        "accuracy_rejected": metrics.share(right_N[~answered_N]),
        "calibration_error": {"before": before, "after": after},
        "curve": curve,
    }


def _apart(
    fitted: Confidence,
    inliers_NK: np.ndarray,
    test: tuple[np.ndarray, np.ndarray] | None,
    outliers_MK: np.ndarray | None,
) -> dict[str, float | None]:
    """How well a score tells right answers from wrong ones, and inliers from outliers."""
    told: dict[str, float | None] = dict.fromkeys(("mistakes_auroc", "auroc", "fpr_at_95_tpr"))
    if test is not None:
        found, right_N = _scores(test[0], fitted), test[0].argmax(axis=1) == test[1]
        told["mistakes_auroc"] = metrics.auroc(found[right_N], found[~right_N])
    if outliers_MK is not None:
        inside, outside = _scores(inliers_NK, fitted), _scores(outliers_MK, fitted)
        told["auroc"] = metrics.auroc(inside, outside)
        told["fpr_at_95_tpr"] = metrics.false_positive_rate(inside, outside)
    # Where no answer was wrong there is nan: not measured.
    return {key: None if math.isnan(value or 0) else value for key, value in told.items()}


def _scores(logits_NK: np.ndarray, fitted: Confidence) -> np.ndarray:
    return scores(logits_NK, fitted.reject_by, fitted.temperature)


def _just_below(scores_N: np.ndarray, reached: float) -> float:
    """A threshold halfway to the next lower score, so that rounding on a phone changes no answer.

    Scores of int8 files are few: many images have exactly the one that is reached.
    """
    lower = scores_N[scores_N < reached]
    return float(
        (reached + lower.max()) / 2 if len(lower) else reached - 1e-6 * max(1, abs(reached))
    )


def _labelled_tune(manifest: Manifest) -> list[Item]:
    return _first([item for item in manifest.of("tune") if item.label is not None])


def _first(items: list[Item]) -> list[Item]:
    return sorted(items, key=lambda item: item.id)[:MAX_IMAGES]


def _smoothed(labels_N: np.ndarray, num_classes: int) -> np.ndarray:
    """Labels as targets of (N + 1) / (N + 2), the rest shared (Platt, 1999).

    With plain ones, a file that errs on none of a few images would be taken for certain.
    """
    sure = (len(labels_N) + 1) / (len(labels_N) + 2)
    targets_NK = np.full((len(labels_N), num_classes), (1 - sure) / max(1, num_classes - 1))
    targets_NK[np.arange(len(labels_N)), labels_N] = sure
    return targets_NK


def _check_outliers(folder: Path, manifest: Manifest) -> None:
    """Outliers that were trained on, or are of a class, would measure nothing."""
    path_of = {item.id: item.path for item in manifest.items}
    for path in outlier_files(folder):
        known = path_of.get(file_sha256(path))
        if known is not None:
            raise DataError(
                f"reject.outliers: '{path}' is also an image of data.folder ('{known}'). Expected "
                "images that the run does not use; move one of the two away"
            )


def _can_be_read(path: Path) -> bool:
    try:
        open_image(path)
    except DataError:
        return False
    return True

"""What was fitted and measured of a file's confidence, in sentences: for report, card and terminal.

`found` is what `export.reject` leaves in an exported file's metrics.
"""

from __future__ import annotations

from typing import Any

from edgekd.report_format import DASH, interval, percent, plural

SCORES_IN_WORDS = {
    "probability": "largest probability",
    "max_logit": "largest logit",
    "energy": "energy (log of the summed exponentials)",
}


def sentences(found: dict[str, Any]) -> list[str]:
    """Returns what a user must know, a sentence each: how it was set, and what was measured."""
    return [fitted(found), aim(found), *_on_test(found["test"]), *_on_outliers(found)]


def summary(found: dict[str, Any]) -> str:
    """Returns one line: how much it answers, how well, and what it turns away."""
    test, outliers = found["test"], found["outliers"]
    parts = []
    if test is not None:
        right = test["accuracy_answered"]
        parts.append(
            f"answers {percent(test['coverage']['value'])} of the test images, "
            f"{percent(right['value']) if right else DASH} of those right"
        )
    if outliers is not None:
        parts.append(
            f"turns away {percent(outliers['rejected']['value'])} of "
            f"{plural(outliers['images'], 'outlier')}"
        )
    if found["reject_below"] is None:
        return aim(found)
    return f"unsure below {found['reject_below']:.3g}: " + (", ".join(parts) or "not measured")


def fitted(found: dict[str, Any]) -> str:
    """Returns on what the temperature and the threshold were fitted."""
    on = found["fitted_on"]
    split = {"train": "training"}.get(on["split"], on["split"])
    images = plural(on["images"], f"{split} image")
    if on["labels"]:
        return f"The temperature {found['temperature']:.3g} was fitted on the labels of {images}."
    said = (
        f"The temperature {found['temperature']:.3g} was fitted without labels, against the soft "
        f"targets of {images}: it follows the teacher's confidence, right or not."
    )
    if on["learned"]:
        return said + " The student has learned from them, so it answers fewer new images."
    return said + " The student has not learned from them."


def aim(found: dict[str, Any]) -> str:
    """Returns what the threshold was set for."""
    coverage, accuracy = found["wanted"]["coverage"], found["wanted"]["min_accuracy"]
    if found["reject_below"] is None:
        return f"No threshold gets {percent(accuracy)} of the answers there right: none is set."
    threshold = f"The threshold of {found['reject_below']:.3g} on the {_score(found)}"
    if accuracy is None:
        return f"{threshold} was set to answer {percent(coverage)} of them."
    return f"{threshold} was set to get {percent(accuracy)} of the answers there right."


def _score(found: dict[str, Any]) -> str:
    return SCORES_IN_WORDS[found["reject_by"]]


def _on_test(test: dict[str, Any] | None) -> list[str]:
    if test is None:
        return ["No labelled test images: what it does on new ones was not measured."]
    error = test["calibration_error"]
    right = _with_interval(test["accuracy_answered"])
    return [
        f"Of {plural(test['coverage']['n'], 'test image')} it answers "
        f"{_with_interval(test['coverage'])}; {right} of the answers are right, against "
        f"{percent(test['accuracy']['value'])} of all.",
        f"Calibration error on test: {error['before']:.3f} without the temperature, "
        f"{error['after']:.3f} with it.",
    ]


def _on_outliers(found: dict[str, Any]) -> list[str]:
    outliers = found["outliers"]
    if outliers is None:
        return ["Whether it turns away images of none of the classes was not measured."]
    return [
        f"It turns away {_with_interval(outliers['rejected'])} of "
        f"{plural(outliers['images'], 'image')} of none of the classes ({outliers['folder']}), "
        "which nothing was fitted on."
    ]


def _with_interval(value: dict[str, Any] | None) -> str:
    return DASH if value is None else f"{percent(value['value'])} ({interval(value)})"

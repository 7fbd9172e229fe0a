"""What is said of a file's confidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgekd import confidence_words

EXAMPLE = Path(__file__).parents[2] / "data" / "report_example.json"


@pytest.fixture
def found() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text(encoding="utf-8"))["confidence"]


def test_everything_that_was_measured_is_said(found: dict[str, Any]) -> None:
    assert confidence_words.sentences(found) == [
        "The temperature 1.25 was fitted on the labels of 250 tune images.",
        "The threshold of 0.412 on the largest probability was set to answer 95.0% of them.",
        "Of 2,000 test images it answers 95.1% (94.1 to 96.0%); 83.5% (81.8 to 85.1%) of the "
        "answers are right, against 81.2% of all.",
        "Calibration error on test: 0.058 without the temperature, 0.021 with it.",
        "It turns away 60.0% (54.4 to 65.4%) of 300 images of none of the classes (others), "
        "which nothing was fitted on.",
    ]


def test_what_was_not_measured_is_said_too(found: dict[str, Any]) -> None:
    found.update(test=None, outliers=None)
    found["fitted_on"] = {"split": "train", "images": 20, "labels": 0, "learned": False}
    first, _, third, fourth = confidence_words.sentences(found)
    assert first == (
        "The temperature 1.25 was fitted without labels, against the soft targets of 20 training "
        "images: it follows the teacher's confidence, right or not. The student has not learned "
        "from them."
    )
    assert third == "No labelled test images: what it does on new ones was not measured."
    assert fourth == "Whether it turns away images of none of the classes was not measured."
    assert confidence_words.summary(found) == "unsure below 0.412: not measured"
    found["fitted_on"]["learned"] = True
    assert confidence_words.fitted(found).endswith("so it answers fewer new images.")


def test_the_accuracy_it_was_set_for(found: dict[str, Any]) -> None:
    found["wanted"] = {"coverage": None, "min_accuracy": 0.9}
    assert confidence_words.aim(found).endswith("set to get 90.0% of the answers there right.")
    found["reject_below"] = None
    said = "No threshold gets 90.0% of the answers there right: none is set."
    assert confidence_words.aim(found) == confidence_words.summary(found) == said


def test_a_threshold_above_every_image(found: dict[str, Any]) -> None:
    found["test"]["accuracy_answered"] = None
    assert "– of those right" in confidence_words.summary(found)

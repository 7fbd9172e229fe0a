"""Temperature and threshold: how they are fitted, and what is measured of them."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd import config as configs
from edgekd import metrics
from edgekd.confidence import Confidence, fit_temperature, scores
from edgekd.errors import ConfigError, DataError
from edgekd.manifest import Manifest
from edgekd.records import Item, TaskSpec
from export import reject
from export.stage import RejectConfig

# Two classes, logits (2, 0): at temperature T the first has the probability 1 / (1 + exp(-2 / T)).
PAIR = np.array([[2.0, 0.0]])


@pytest.mark.parametrize(("share", "expected"), [(0.75, 2 / math.log(3)), (0.9, 2 / math.log(9))])
def test_the_temperature_makes_the_mean_probability_the_share_that_is_right(
    share: float, expected: float
) -> None:
    """Where all logits are (2, 0), the odds exp(2 / T) become share / (1 - share)."""
    soft = np.array([[share, 1 - share]])
    assert fit_temperature(PAIR, soft) == pytest.approx(expected, rel=1e-6)
    right = round(share * 20)
    hard = np.array([[1.0, 0.0]] * right + [[0.0, 1.0]] * (20 - right))
    assert fit_temperature(np.repeat(PAIR, 20, axis=0), hard) == pytest.approx(expected)


def test_a_temperature_that_was_put_on_is_found_again() -> None:
    """Labels drawn from softmax(z), logits 3 z: dividing by 3 is right."""
    rng = np.random.default_rng(0)
    true_NK = rng.normal(size=(4000, 5)) * 2
    targets_NK = metrics.softmax(true_NK)
    assert fit_temperature(3 * true_NK, targets_NK) == pytest.approx(3.0, rel=1e-5)
    labels_N = np.array([rng.choice(5, p=row) for row in targets_NK])
    hard = np.eye(5)[labels_N]
    found = fit_temperature(3 * true_NK, hard)
    assert found == pytest.approx(3.0, rel=0.06)
    before, after = (
        metrics.expected_calibration_error(metrics.softmax(3 * true_NK, t), labels_N)
        for t in (1.0, found)
    )
    assert after < 0.02 < 0.1 < before


def test_the_temperature_stays_within_its_bounds() -> None:
    certain, none = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    assert fit_temperature(PAIR / 10, certain) == pytest.approx(0.05)
    assert fit_temperature(PAIR, none) == pytest.approx(20)


@pytest.mark.parametrize(
    ("coverage", "threshold"),
    [
        (0.5, (0.7 + 0.4) / 2),  # the two 0.7 are answered together
        (0.75, (0.7 + 0.4) / 2),
        (0.76, 0.4 - 1e-6),
        (1.0, 0.4 - 1e-6),
        (0.25, (0.9 + 0.7) / 2),
    ],
)
def test_threshold_for_coverage_lies_between_two_scores(coverage: float, threshold: float) -> None:
    found = np.array([0.7, 0.9, 0.4, 0.7])
    assert reject.threshold_for_coverage(found, coverage) == pytest.approx(threshold, abs=1e-12)
    answered = ~Confidence(reject_below=threshold).rejects(found)
    assert answered.mean() >= coverage


@pytest.mark.parametrize(
    ("min_accuracy", "threshold"),
    [
        (1.0, (0.9 + 0.8) / 2),
        (0.75, (0.6 + 0.5) / 2),  # right, wrong, right, right: three of four
        (0.6, 0.5 - 1e-6),  # three of all five
        (0.2, 0.5 - 1e-6),
    ],
)
def test_threshold_for_accuracy_answers_as_many_as_it_can(
    min_accuracy: float, threshold: float
) -> None:
    found = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, False, True, True, False])
    threshold_found = reject.threshold_for_accuracy(found, right, min_accuracy)
    assert threshold_found == pytest.approx(threshold, abs=1e-12)


def test_an_accuracy_that_no_threshold_reaches_sets_none() -> None:
    found, right = np.array([0.9, 0.8]), np.array([False, True])
    assert reject.threshold_for_accuracy(found, right, 0.75) is None


def test_measured_by_hand() -> None:
    """Answers at 0.6 or more. Logits (a, 0) have the probability 1 / (1 + exp(-a))."""
    fitted = Confidence(reject_below=0.6)
    test_NK = _pairs([0.9, 0.8, 0.55, 0.7])  # the last is wrong: its label is 1
    outliers_MK = _pairs([0.52, 0.75])
    found = reject.measure(fitted, test_NK, (test_NK, np.array([0, 0, 0, 1])), outliers_MK)
    on_test = found["test"]
    assert on_test["coverage"]["value"] == 0.75
    assert on_test["accuracy"]["value"] == 0.75
    assert on_test["accuracy_answered"]["value"] == pytest.approx(2 / 3)
    assert on_test["accuracy_answered"]["n"] == 3
    assert on_test["accuracy_rejected"]["value"] == 1.0
    assert (on_test["coverage"]["low"], on_test["coverage"]["high"]) == metrics.wilson_interval(
        3, 4
    )
    ends = on_test["curve"][0], on_test["curve"][-1]
    assert [(p["coverage"], p["accuracy"]) for p in ends] == [(0.25, 1.0), (1.0, 0.75)]
    assert [p["outliers_rejected"] for p in ends] == [1.0, 0.5]
    outliers = found["outliers"]
    assert (outliers["rejected"]["value"], outliers["images"]) == (0.5, 2)
    assert outliers["compared_with"] == "test"
    by_score = {row["score"]: row for row in found["scores"]}
    # 0.9 and 0.8 are above both outliers, 0.7 and 0.55 above one: 6 of 8 pairs.
    assert by_score["probability"]["auroc"] == 0.75
    assert by_score["probability"]["fpr_at_95_tpr"] == 0.5
    # Of the right answers 0.9 and 0.8 are surer than the wrong 0.7, 0.55 is not.
    assert by_score["probability"]["mistakes_auroc"] == pytest.approx(2 / 3)
    assert list(by_score) == ["probability", "max_logit", "energy"]


def test_without_test_labels_or_outliers_nothing_is_made_up() -> None:
    held_NK = _pairs([0.9, 0.6])
    found = reject.measure(Confidence(), held_NK, None, None)
    assert (found["test"], found["outliers"]) == (None, None)
    assert found["scores"][0] == {
        "score": "probability", "mistakes_auroc": None, "auroc": None, "fpr_at_95_tpr": None,
    }  # fmt: skip
    with_outliers = reject.measure(Confidence(), held_NK, None, _pairs([0.5]))
    assert with_outliers["outliers"]["compared_with"] == "held-out"
    assert with_outliers["scores"][0]["auroc"] == 1.0
    right_only = reject.measure(Confidence(), held_NK, (held_NK, np.zeros(2, int)), None)
    assert right_only["scores"][0]["mistakes_auroc"] is None


def test_enough_tune_labels_are_fitted_on(tmp_path: Path) -> None:
    manifest = _manifest(tune=50, label=1)
    held = reject.images_to_fit(manifest, _targets(tmp_path, manifest))
    assert held is not None
    assert (held.split, held.learned) == ("tune", False)
    assert held.labels_N is not None
    assert held.labels_N.tolist() == [1] * 50
    # (50 + 1) / (50 + 2) for the label, the rest for the other class.
    assert held.targets_NK[0] == pytest.approx([1 / 52, 51 / 52])
    assert [item.id for item in held.items] == sorted(item.id for item in manifest.items)


def test_with_fewer_labels_soft_targets_stand_in_and_labels_are_left_aside(tmp_path: Path) -> None:
    manifest = _manifest(tune=49, label=1)
    held = reject.images_to_fit(manifest, _targets(tmp_path, manifest))
    assert held is not None
    assert held.labels_N is None
    assert held.targets_NK == pytest.approx(np.tile([0.9, 0.1], (49, 1)), abs=1e-6)
    unlabelled = _manifest(train=400)
    kept = reject.images_to_fit(unlabelled, _targets(tmp_path, unlabelled))
    assert kept is not None
    assert (kept.split, kept.learned, len(kept.items)) == ("train", False, 20)
    few = _manifest(train=60)
    learned = reject.images_to_fit(few, _targets(tmp_path, few))
    assert learned is not None
    assert (learned.learned, len(learned.items)) == (True, 60)
    abstaining = _targets(tmp_path, few, weight=0.0)
    assert reject.images_to_fit(few, abstaining) is None


def test_the_record_says_all_of_it(tmp_path: Path) -> None:
    manifest = _manifest(tune=50, label=0)
    held = reject.images_to_fit(manifest, _targets(tmp_path, manifest))
    assert held is not None
    held_NK = _pairs(list(np.linspace(0.55, 0.99, 50)))
    found = reject.fit_and_measure(RejectConfig(coverage=0.9), held, held_NK, None, None, None)
    assert found["reject_by"] == "probability"
    assert found["wanted"] == {"coverage": 0.9, "min_accuracy": None}
    assert found["fitted_on"] == {"split": "tune", "images": 50, "labels": 50, "learned": False}
    answered = scores(held_NK, "probability", found["temperature"]) >= found["reject_below"]
    assert answered.sum() == 45
    strict = RejectConfig(min_accuracy=1.0)
    held_NK[0] = held_NK[0, ::-1]  # the least sure one errs
    at_best = reject.fit_and_measure(strict, held, held_NK, None, None, None)
    answered = scores(held_NK, "probability", at_best["temperature"]) >= at_best["reject_below"]
    assert answered.sum() == 49


# The config, and what is said before a run starts.


def test_one_aim_or_the_other() -> None:
    assert configs.parse(RejectConfig, {}).coverage == 0.95
    assert configs.parse(RejectConfig, {"coverage": None}).coverage == 0.95
    assert configs.parse(RejectConfig, {"min_accuracy": 0.9}).coverage is None
    with pytest.raises(ConfigError, match=r"coverage 0\.8 and min_accuracy 0\.9: expected one"):
        configs.parse(RejectConfig, {"min_accuracy": 0.9, "coverage": 0.8})


@pytest.mark.parametrize("labels", [49, 50])
def test_an_accuracy_needs_labels(labels: int) -> None:
    manifest = _manifest(tune=labels, label=0)
    config = RejectConfig(min_accuracy=0.9)
    if labels == 50:
        reject.check(config, manifest)
        return
    with pytest.raises(DataError, match=r"reject\.min_accuracy: .* 50 labels on tune .* found 49"):
        reject.check(config, manifest)
    reject.check(RejectConfig(enabled=False, min_accuracy=0.9), manifest)


def test_outliers_are_looked_at_before_the_run(tmp_path: Path) -> None:
    manifest = _manifest(train=1)
    config = RejectConfig(outliers=tmp_path / "others")
    with pytest.raises(DataError, match=r"reject\.outliers: no folder"):
        reject.check(config, manifest)
    (tmp_path / "others" / "deep").mkdir(parents=True)
    with pytest.raises(DataError, match=r"reject\.outliers: no image files in"):
        reject.check(config, manifest)
    image = tmp_path / "others" / "deep" / "a.PNG"
    Image.new("RGB", (2, 2), "red").save(image)
    reject.check(config, manifest)
    same = hashlib.sha256(image.read_bytes()).hexdigest()
    known = Manifest(manifest.task, [Item(same, "cats/b.png", "train")])
    with pytest.raises(DataError) as caught:
        reject.check(config, known)
    assert "a.PNG' is also an image of data.folder ('cats/b.png')" in str(caught.value)


def test_outliers_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 1 files can be read"):
        reject.outliers_in(folder)
    Image.new("RGB", (2, 2)).save(folder / "a.png")
    found = reject.outliers_in(folder)
    assert (found.folder, found.num_unreadable) == ("others", 1)
    assert found.images == [folder / "a.png"]


def _pairs(first: list[float]) -> np.ndarray:
    """Logits [N, 2] whose first class has these probabilities."""
    odds = np.array(first) / (1 - np.array(first))
    return np.stack([np.log(odds), np.zeros(len(first))], axis=1)


def _manifest(label: int | None = None, **counts: int) -> Manifest:
    items = [_item(split, index, label) for split, many in counts.items() for index in range(many)]
    return Manifest(TaskSpec("t", ("a", "b")), items)


def _item(split: Any, index: int, label: int | None) -> Item:
    digest = hashlib.sha256(f"{split}{index}".encode()).hexdigest()
    return Item(id=digest, path=f"{split}{index}.png", split=split, label=label)


def _targets(folder: Path, manifest: Manifest, weight: float = 1.0) -> Path:
    ids = [item.id for item in manifest.items]
    probs = np.tile(np.float32([0.9, 0.1]), (len(ids), 1))
    path = folder / "targets.npz"
    np.savez(path, ids=ids, probs=probs, weight=np.full(len(ids), weight))
    return path

"""What is done to the mixture: swaps, neighbours, prior, weights, hard labels; and its balance."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from captioning.attributes import WORDS
from captioning.refine import RefineConfig, balance, labels_to_review, refined
from edgekd.manifest import Manifest
from edgekd.records import Caption, Item, TaskSpec

TASK = TaskSpec("test", ("cat", "dog"))
MIXED = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]])
MANIFEST = Manifest(
    TASK,
    [Item(f"id{n}", f"{n}.png", "train") for n in range(3)] + [Item("id3", "3.png", "test", 1)],
)


def done(config: RefineConfig, weight: Iterable[float] = (1, 1, 1, 1), **kw: object) -> tuple:
    found = refined(
        MIXED, np.array(weight, dtype=float), kw.get("manifest", MANIFEST), config,  # type: ignore[arg-type]
        lambda: kw.get("captions", ()), kw.get("features"),  # type: ignore[arg-type, return-value]
    )  # fmt: skip
    assert found.probs_NK.dtype == found.weight_N.dtype == np.float32
    return found.probs_NK, found.weight_N, found.provenance


def test_by_default_nothing_is_done() -> None:
    probs, weight, provenance = done(RefineConfig(), weight=(1, 0, 1, 1))
    assert probs == pytest.approx(MIXED)
    assert weight.tolist() == [1, 0, 1, 1]
    assert provenance == {"neighbours": 0, "hard": False}


def test_a_uniform_prior_is_met_on_the_training_images() -> None:
    probs, weight, provenance = done(RefineConfig(prior="uniform"))
    assert probs[:3].mean(axis=0) == pytest.approx([0.5, 0.5], abs=1e-4)
    assert probs.sum(axis=1) == pytest.approx(1)
    odds = MIXED[:, 1] / MIXED[:, 0]
    factor = (probs[:, 1] / probs[:, 0]) / odds
    assert factor == pytest.approx(factor[0], rel=1e-3)  # the same for all, test's row too
    assert weight.tolist() == [1, 1, 1, 1]
    assert provenance["prior"] == [0.5, 0.5]


def test_the_prior_by_weights_leaves_the_targets() -> None:
    probs, weight, _ = done(RefineConfig(prior="uniform", prior_by="weights"), weight=(1, 1, 0, 1))
    assert probs == pytest.approx(MIXED)
    assert weight[1] > weight[0] > 0 == weight[2]  # the less cat-like counts more
    assert weight[:3].sum() == pytest.approx(2)
    assert weight[3] == 1


def test_hard_labels() -> None:
    assert done(RefineConfig(hard=True))[0].tolist() == [[1, 0], [1, 0], [1, 0], [0, 1]]


def test_swaps_need_tune_labels_to_count() -> None:
    captions = [Caption(f"id{n}", 0, "A cat.", "t", 1.0, 0, "t", 0.9) for n in range(4)]
    probs, _, provenance = done(RefineConfig(swaps="hard"), captions=captions)
    assert provenance["swaps_weight"] == 0
    assert probs == pytest.approx(MIXED)


def test_swaps_sharpen_where_tune_says_so() -> None:
    items = [Item(f"id{n}", f"{n}.png", "tune", 0) for n in range(40)]
    manifest = Manifest(TASK, items)
    mixed = np.tile([0.6, 0.4], (40, 1))
    captions = [Caption(item.id, 0, "A cat.", "t", 1.0, 0, "t", 0.9) for item in items]
    found = refined(
        mixed, np.ones(40), manifest, RefineConfig(swaps="random"), lambda: captions, None
    )
    assert found.provenance["swaps_weight"] > 0
    assert found.probs_NK[0, 0] > 0.6


def test_the_balance_names_the_class_that_is_too_frequent() -> None:
    train = [Item(f"a{n}", f"a{n}.png", "train") for n in range(200)]
    tune = [Item(f"t{n}", f"t{n}.png", "tune", n % 2) for n in range(60)]
    manifest = Manifest(TASK, [*train, *tune])
    probs = np.tile([0.95, 0.05], (260, 1))
    words = np.zeros((260, len(WORDS)))
    measured = np.full((260, len(WORDS)), 0.2)
    found = balance(probs, np.ones(260), words, measured, manifest)
    assert found is not None
    assert found["attributes"] == {}
    assert found["classes"]["distance"] == pytest.approx(0.45)
    assert any("class 'dog'" in line and "less" in line for line in found["warnings"])
    few = Manifest(TASK, [*train, *tune[:10]])
    assert balance(probs[:210], np.ones(210), words[:210], measured[:210], few) is None


def test_a_wrong_label_is_found_by_its_neighbours_though_its_own_target_repeats_it() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(80) % 2
    given = truth.copy()
    given[7] = 1 - given[7]
    features = np.stack([truth, 1 - truth], axis=1) + rng.normal(0, 0.05, (80, 2))
    items = [Item(f"id{n}", f"{n}.png", "train", int(given[n])) for n in range(80)]
    probs = np.where(np.eye(2)[given] == 1, 0.9, 0.1)  # as of a probe that learned the labels
    found = labels_to_review(probs, features, Manifest(TASK, items))
    assert found is not None
    (suspect,) = found.suspects
    assert (suspect.item_id, suspect.given, suspect.suggested) == ("7.png", "cat", "dog")
    assert labels_to_review(MIXED, None, Manifest(TASK, MANIFEST.items[:3])) is None

"""The independent checker: whom it looks at, that no image vouches for itself, what it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captioning import audit
from captioning.audit import Sample, answered, draw, eye, judged
from captioning.matching import Lexicon
from captioning.settings import CaptionConfig
from captioning.teachers.configs import ComposedTeacherConfig
from edgekd.errors import WeightsError
from edgekd.manifest import Manifest
from edgekd.metrics import wilson_interval
from edgekd.progress import silent
from edgekd.records import Caption, Item, TaskSpec
from edgekd.store import RunStore

TASK = TaskSpec("pets", ("cat", "dog", "fox"))


def said(item: str, text: str, temperature: float = 1.0, **more: Any) -> Caption:
    return Caption(
        item, 0, text, "t", temperature, 0, more.get("by", "x"), 0.5, more.get("dropped")
    )


@pytest.mark.parametrize(
    ("backbones", "sees"),
    [
        (["efficientnet_lite2"], "efficientnet_lite0"),
        (["efficientnet_lite0"], "efficientnet_lite1"),
        (["efficientnet_lite0", "efficientnet_lite1"], "efficientnet_lite2"),
        (["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"], None),
    ],
)
def test_it_sees_otherwise_than_the_teacher(backbones: list[Any], sees: str | None) -> None:
    found = eye([ComposedTeacherConfig(backbone=backbones, inverted=True)])
    assert (found and (found.backbone, found.inverted)) == (sees and ([sees], True))
    assert eye(CaptionConfig().teachers) == ComposedTeacherConfig(
        backbone=["efficientnet_lite0"], image_size=160
    )


def test_the_sample_is_drawn_by_digest_and_class_by_class() -> None:
    items = [
        *(Item(f"c{n}", f"c{n}.png", "train", 0) for n in (3, 1, 2, 0, 4)),
        Item("d0", "d0.png", "train", 1),
        Item("a0", "a0.png", "train"),
        Item("t1", "t1.png", "tune", 0),
        Item("t0", "t0.png", "tune"),
        Item("v0", "v0.png", "test", 2),
    ]
    sample = draw(Manifest(TASK, items), 2)
    assert [item.id for item in sample.learned] == ["c0", "c1", "d0"]  # two a class at least
    assert [item.id for item in sample.judged] == ["a0", "c0"]
    assert [item.id for item in sample.tune] == ["t1"]
    assert [item.id for item in sample.items] == ["a0", "c0", "c1", "d0", "t1"]


# Unit vectors on a circle, by angle in degrees: cats near 0, dogs near 90.
ANGLES = {"c0": 0, "c1": 10, "d0": 80, "d1": 50, "f0": 200, "u0": 5, "t0": 85, "t1": 20}
LEARNED = [
    Item("c0", "c0.png", "train", 0),
    Item("c1", "c1.png", "train", 0),
    Item("d0", "d0.png", "train", 1),
    Item("d1", "d1.png", "train", 1),
]
UNLABELLED = Item("u0", "u0.png", "train")
TUNE = [Item("t0", "t0.png", "tune", 1), Item("t1", "t1.png", "tune", 1)]


def vectors(sample: Sample) -> np.ndarray:
    radians = np.radians([ANGLES[item.id] for item in sample.items])
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float16) * 7


def test_the_nearest_mean_answers_and_no_image_vouches_for_itself() -> None:
    sample = Sample(LEARNED, [*LEARNED, UNLABELLED], TUNE)
    answers = answered(sample, vectors(sample), 3)
    assert answers.known == {0, 1}  # nothing is known of foxes
    # d1 at 50 degrees: the mean of dogs is at 65 with it, and at 80 without; that of cats at 5.
    assert {item_id: ranks[0] for item_id, ranks in answers.ranks.items()} == {
        "c0": 0, "c1": 0, "d0": 1, "d1": 1, "u0": 0, "t0": 1, "t1": 0,
    }  # fmt: skip
    near = Sample([*LEARNED[:2], Item("d1", "d1.png", "train", 1), LEARNED[2]], [], [])
    moved = dict(ANGLES, d1=40)  # 35 from the cats' mean, 40 from the other dog
    radians = np.radians([moved[item.id] for item in near.items])
    found = answered(near, np.stack([np.cos(radians), np.sin(radians)], axis=1), 3)
    assert found.ranks["d1"][0] == 0


def test_the_only_image_of_a_class_is_not_judged() -> None:
    alone = Item("f0", "f0.png", "train", 2)
    sample = Sample([*LEARNED, alone], [alone, UNLABELLED], [])
    answers = answered(sample, vectors(sample), 3)
    assert "f0" not in answers.ranks
    assert answers.ranks["u0"] == [0, 1, 2]


def test_what_it_says_of_captions() -> None:
    sample = Sample(LEARNED, [*LEARNED, UNLABELLED], TUNE)
    found = judged(
        sample,
        answered(sample, vectors(sample), 3),
        [
            said("c0", "A cat.", 0.5),
            said("c0", "A dog beside a cat.", 1.5),  # the first counts
            said("u0", "A cat.", 1.5),
            said("u0", "A cat.", 1.5, dropped="short"),
            said("u0", "A thing.", 1.5),
            said("u0", "A fox.", 1.5),  # of which it knows nothing
            said("d0", "A dog.", 1.5, by="another"),
            said("t0", "A dog.", 0.5),  # it agrees, and both are right
            said("t1", "A cat.", 0.5),  # it agrees, and both are wrong
            said("t1", "A dog.", 0.5),  # right, and it does not agree
            said("elsewhere", "A dog."),
        ],
        Lexicon(TASK),
    )
    low, high = wilson_interval(3, 4)
    assert found["overall"] == {
        "top_1": {"value": 0.75, "low": low, "high": high, "n": 4}, "among_first": None,
    }  # fmt: skip
    assert [
        (part["teacher"], part["temperature"], part["top_1"]["value"], part["top_1"]["n"])
        for part in found["by_source"]
    ] == [("another", 1.5, 1.0, 1), ("x", 0.5, 1.0, 1), ("x", 1.5, 0.5, 2)]
    assert (found["right_on_tune"]["top_1"]["value"], found["num_images"]) == (0.5, 3)
    tuned = found["captions_right_on_tune"]
    assert (tuned["agreed"]["value"], tuned["agreed"]["n"]) == (0.5, 2)
    assert (tuned["not_agreed"]["value"], tuned["not_agreed"]["n"]) == (1.0, 1)
    assert (found["num_without_class"], found["num_of_unknown_class"]) == (1, 1)


def test_among_its_first_few_where_there_are_many_classes() -> None:
    names = tuple(f"thing{k}" for k in range(6))
    learned = [Item(f"{k}{n}", "", "train", k) for k in range(6) for n in range(2)]
    sample = Sample(learned, learned, [])
    features = np.repeat(np.eye(6, 6) + 0.1 * np.arange(6), 2, axis=0)
    answers = answered(sample, features, 6)
    assert answers.first == 2
    second = answers.ranks["00"][1]
    found = judged(
        sample, answers, [said("00", f"A thing{second}.")], Lexicon(TaskSpec("many", names))
    )
    assert found["overall"]["top_1"]["value"] == 0
    assert found["overall"]["among_first"]["value"] == 1


def run(items: list[Item], tmp_path: Path, **caption: Any) -> tuple[list[Path], dict[str, Any]]:
    teachers = CaptionConfig(**caption).teachers
    store = RunStore(tmp_path / "run")
    return audit.audit(Manifest(TASK, items), tmp_path, [], teachers, 9, store, silent)


def test_without_given_labels_it_says_so(tmp_path: Path) -> None:
    files, found = run([UNLABELLED, *TUNE, *LEARNED[:2]], tmp_path)
    assert (files, found) == ([], {"note": "fewer than two classes have given labels on train"})


def test_where_images_show_several_classes_it_says_so(tmp_path: Path) -> None:
    task = TaskSpec("pets", TASK.classes, multilabel=True)
    several = Manifest(task, [Item("a", "a.png", "train", (0, 1)), Item("b", "b.png", "tune", ())])
    store = RunStore(tmp_path / "run")
    assert audit.audit(several, tmp_path, [], CaptionConfig().teachers, 9, store, silent) == (
        [], {"note": "it says one class, and here an image may show several"},
    )  # fmt: skip
    assert draw(several, 9).learned == []


def test_where_every_backbone_is_taken_it_says_so(tmp_path: Path) -> None:
    every = [f"efficientnet_lite{n}" for n in range(3)]
    _, found = run(LEARNED, tmp_path, teacher={"kind": "composed", "backbone": every})
    assert found["note"] == "every packaged backbone is a teacher's"


def test_without_weights_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(*_: object) -> None:
        raise WeightsError("weights 'efficientnet_lite0': not found")

    monkeypatch.setattr("captioning.teachers.composed_teacher.find", not_there)
    assert run(LEARNED, tmp_path)[1]["note"] == "weights 'efficientnet_lite0': not found"

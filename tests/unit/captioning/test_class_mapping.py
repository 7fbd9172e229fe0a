"""Which outputs of a classifier mean which classes of a task, and what becomes of the others."""

from __future__ import annotations

import math

import numpy as np
import pytest

from captioning.teachers.class_mapping import listed, map_classes
from edgekd.errors import DataError
from edgekd.metrics import softmax
from edgekd.records import TaskSpec


def task(*classes: str, **synonyms: tuple[str, ...]) -> TaskSpec:
    return TaskSpec("t", classes, synonyms)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("cat", 0),
        ("Cats", 0),
        ("house_cat", 0),  # a synonym
        ("electric guitar", 1),
        ("ElectricGuitar", 1),
        ("electric-guitars", 1),
        ("tench, Tinca tinca", 2),
        ("Tinca tinca, tench", 2),
        ("cat house", -1),  # not the whole of it
        ("dog", -1),
    ],
)
def test_a_label_means_a_class_in_any_spelling_and_number(label: str, expected: int) -> None:
    spec = task("cat", "electric_guitar", "tench", cat=("house cat",))
    labels = [label, "cat", "electric guitar", "tench"]
    assert map_classes(labels, spec, False, "x").to_class_C.tolist() == [expected, 0, 1, 2]


def test_a_form_that_two_classes_share_means_neither_but_a_name_is_a_name() -> None:
    spec = task("glass", "glasses", "axe", "axis")
    labels = ["glasses", "glass", "axe", "axis", "axes"]  # "axes" is of both
    assert map_classes(labels, spec, False, "x").to_class_C.tolist() == [1, 0, 2, 3, -1]


def test_outputs_of_one_class_add_up_and_others_are_dropped() -> None:
    mapping = map_classes(["tabby", "dog", "lynx", "Cat"], task("dog", "cat", cat=("tabby",)), False, "x")  # fmt: skip
    assert mapping.to_class_C.tolist() == [1, 0, -1, 1]
    assert not mapping.is_one_to_one
    probs = np.array([[0.1, 0.4, 0.2, 0.3]])
    logits = mapping.logits(np.log(probs))
    np.testing.assert_allclose(softmax(logits), [[0.5, 0.5]])  # .4 against .1 + .3
    np.testing.assert_allclose(mapping.dropped_mass(np.log(probs)), [0.2])


def test_of_a_class_it_does_not_know_it_says_nothing() -> None:
    mapping = map_classes(["dog", "cat"], task("cat", "emu", "dog", "owl"), True, "x")
    assert mapping.missing.tolist() == [1, 3]
    logits = mapping.logits(np.log([[0.9, 0.1]]))
    # Each unknown class keeps 1/4; the rest, a half, is shared 9 to 1.
    np.testing.assert_allclose(softmax(logits), [[0.05, 0.25, 0.45, 0.25]])
    # At temperature 2 the odds 9 become 3, and the unknown still keep 1/4.
    halved = mapping.logits(np.log([[0.9, 0.1]]), temperature=2)
    np.testing.assert_allclose(softmax(halved), [[0.125, 0.25, 0.375, 0.25]])
    assert mapping.dropped_mass(np.zeros((3, 2))).tolist() == [0, 0, 0]


def test_the_temperature_divides_logits() -> None:
    mapping = map_classes(["a", "b"], task("a", "b"), False, "x")
    logits = mapping.logits(np.array([[2.0, 0.0]]), temperature=4)
    assert softmax(logits)[0, 0] == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_a_class_without_an_output_is_named() -> None:
    with pytest.raises(DataError) as caught:
        map_classes(["dog", "feline"], task("dog", "cat"), False, "classifier/mine")
    assert str(caught.value) == (
        "classifier/mine: no output for 1 class: 'cat'; without a class are 1 output: 'feline'. "
        "If one is the other, say so in data.synonyms or name the outputs in "
        "caption.teacher.classes, or set partial: true"
    )
    with pytest.raises(DataError, match="no output for 2 classes: 'emu', 'owl'") as caught:
        map_classes(["dog"], task("emu", "owl"), True, "x")
    assert "partial" not in str(caught.value)


def test_long_lists_are_cut() -> None:
    assert listed([], "output") == "no output"
    assert listed(list("abcdefg"), "class") == "7 classes: 'a', 'b', 'c', 'd', 'e' and 2 more"

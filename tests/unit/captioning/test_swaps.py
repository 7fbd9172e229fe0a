"""Swapped captions: what they say, how they are told from the original, what targets make of them."""

from __future__ import annotations

import numpy as np
import pytest

from captioning import swaps as sw
from captioning.attributes import WORDS
from captioning.matching import Lexicon, Mentions
from edgekd.errors import DataError, UsageError
from edgekd.records import Caption, TaskSpec

TASK = TaskSpec("test", ("cat", "dog"), {"cat": ("kitty",)})
PAIRS = {
    ("cat", "dog"): TASK,
    ("dog", "owl"): TaskSpec("test", ("dog", "owl")),
    ("cat", "knife"): TaskSpec("test", ("cat", "knife")),
    ("apple", "pear"): TaskSpec("test", ("apple", "pear")),
    ("cat", "unicorn"): TaskSpec("test", ("cat", "unicorn")),
    ("owl", "hourglass"): TaskSpec("test", ("owl", "hourglass")),
    ("pear", "x-ray"): TaskSpec("test", ("pear", "x-ray")),
    ("t_shirt", "ankle boot"): TaskSpec("test", ("t_shirt", "ankle boot")),
    ("cat", "piano"): TaskSpec("test", ("cat", "piano")),
    ("cat", "potato"): TaskSpec("test", ("cat", "potato")),
    ("cat", "trousers"): TaskSpec("test", ("cat", "trousers")),
    ("cup of tea", "dog"): TaskSpec("test", ("cup of tea", "dog")),
    ("猫", "狗"): TaskSpec("test", ("猫", "狗")),
    ("straße", "owl"): TaskSpec("test", ("straße", "owl")),
}


def word(name: str) -> int:
    return next(index for index, (_, said) in enumerate(WORDS) if said == name)


def class_swap(text: str, task: TaskSpec) -> str:
    (swap,) = [s for s in sw.Swapper(task).swaps(text) if s.kind == sw.CLASS]
    assert (swap.old, swap.new) == (0, 1)
    return swap.text


@pytest.mark.parametrize(
    ("names", "text", "swapped"),
    [
        (("cat", "dog"), "A black cat.", "A black dog."),
        (("cat", "dog"), "Two cats and a cat", "Two dogs and a dog"),
        (("cat", "dog"), "Kitty on a mat.", "Dog on a mat."),
        (("cat", "dog"), "Kitties play.", "Dogs play."),
        (("dog", "owl"), "A dog, a black dog.", "An owl, a black owl."),
        (("dog", "owl"), "I see a dog.", "I see an owl."),
        (("cat", "knife"), "three cats", "three knives"),
        (("apple", "pear"), "An apple and an egg.", "A pear and an egg."),
        (("cat", "unicorn"), "a cat", "a unicorn"),
        (("owl", "hourglass"), "an owl", "an hourglass"),
        (("pear", "x-ray"), "a pear", "an x-ray"),
        (("t_shirt", "ankle boot"), "a t-shirt on a table", "an ankle boot on a table"),
        (("t_shirt", "ankle boot"), "grey t-shirts", "grey ankle boots"),
        (("cat", "piano"), "cats", "pianos"),
        (("cat", "potato"), "cats", "potatoes"),
        (("cat", "trousers"), "cats", "trousers"),
        (("cup of tea", "dog"), "cups of tea", "dogs"),
        (("猫", "狗"), "一只黑色的猫。", "一只黑色的狗。"),
        (("straße", "owl"), "Weiß ist eine Straße hier", "Weiß ist eine owl hier"),
    ],
)
def test_the_other_class_takes_article_number_and_capital(
    names: tuple[str, str], text: str, swapped: str
) -> None:
    assert class_swap(text, PAIRS[names]) == swapped


def test_words_swap_within_their_attribute_and_in_their_phrase() -> None:
    text = "A small grey cat on a plain dark background, square in shape."
    found = {swap.kind: swap for swap in sw.Swapper(TASK).swaps(text)}
    assert set(found) == {"class", "size", "colour", "setting", "shape"}
    lexicon = Lexicon(TASK)
    before = lexicon.parse(text)
    for kind, swap in found.items():
        after = lexicon.parse(swap.text)
        if kind != sw.CLASS:
            assert WORDS[swap.old][0] == WORDS[swap.new][0] == kind
            assert set(after.words) ^ set(before.words) == {swap.old, swap.new}
            assert after.classes == before.classes
    assert "background" in found["setting"].text
    assert "in shape" in found["shape"].text


def test_an_article_before_a_swapped_colour_agrees() -> None:
    likeness = np.zeros((len(WORDS), len(WORDS)))
    likeness[word("grey"), word("orange")] = 1
    (swap,) = [
        s for s in sw.Swapper(TASK, word_likeness_AA=likeness).swaps("A grey cat.")
        if s.kind == "colour"
    ]  # fmt: skip
    assert swap.text == "An orange cat."
    assert swap.record(TASK) == {
        "text": "An orange cat.", "kind": "colour", "from": "grey", "to": "orange",
    }  # fmt: skip


def test_the_likest_class_comes_first_and_what_is_said_never() -> None:
    task = TaskSpec("test", ("cat", "dog", "bird", "fish"))
    likeness = np.array([[1, 0.9, 0.2, 0.5], [0] * 4, [0] * 4, [0] * 4])

    def new(text: str, most: int) -> list[int]:
        made = sw.Swapper(task, most=most, likeness_KK=likeness).swaps(text)
        return [swap.new for swap in made if swap.kind == sw.CLASS]

    assert new("A cat.", 1) == [1]
    assert new("A cat.", 9) == [1, 3, 2]
    assert new("A cat, perhaps a dog.", 1) == [3]
    assert new("A stone.", 1) == []


def test_random_swaps_hang_on_text_and_seed_only() -> None:
    task = TaskSpec("test", tuple(f"thing{n}" for n in range(50)))
    texts = [f"A thing{n}." for n in range(20)]
    once, other = sw.Swapper(task, seed=1), sw.Swapper(task, seed=2)
    forwards = [once.swaps(text) for text in texts]
    assert [once.swaps(text) for text in reversed(texts)] == forwards[::-1]
    assert [other.swaps(text) for text in texts] != forwards


def test_a_swap_that_would_say_something_else_is_left_out() -> None:
    # "an orange cat": the class "orange" cannot be swapped out of a word that describes.
    task = TaskSpec("test", ("cat", "orange"))
    found = sw.Swapper(task).swaps("A cat on a table.")
    assert [swap.text for swap in found] == ["An orange on a table."]
    assert [s for s in sw.Swapper(task).swaps("A cat cat.") if s.kind == sw.CLASS] == []


def test_likeness_by_targets_is_a_cosine() -> None:
    # Columns (1, .5, 0) and (0, .5, 0): .25 / sqrt(1.25 * .25).
    likeness = sw.likeness_by_targets(np.array([[1, 0], [0.5, 0.5], [0, 0]]))
    assert likeness[0, 1] == pytest.approx(0.25 / np.sqrt(1.25 * 0.25))
    assert np.diag(likeness) == pytest.approx(1)


def test_likeness_by_text_embeds_names_as_they_are_said() -> None:
    asked: list[str] = []

    def encode(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return np.array([[3.0, 0], [1, 1]])

    likeness = sw.likeness_by_text(TaskSpec("t", ("ankle_boot", "dog")), encode)
    assert asked == ["a photo of a ankle boot", "a photo of a dog"]
    assert likeness[0, 1] == pytest.approx(np.sqrt(0.5))


def test_match_adds_log_probabilities() -> None:
    log_probs = np.log([0.5, 0.2, 0.3])
    measured = np.zeros(len(WORDS))
    measured[word("grey")] = 0.25
    one = sw.match(Mentions((0,), (word("grey"),)), log_probs, measured)
    assert one == pytest.approx(np.log(0.5) + np.log(0.25))
    two = sw.match(Mentions((0, 1, 2), ()), log_probs)
    assert two == pytest.approx(np.log(0.7 * 0.5 + 0.3 * 0.25))
    nothing = sw.match(Mentions((), (word("red"),)), log_probs, measured)
    assert nothing == pytest.approx(np.log(sw.LOWEST))
    assert sw.match(Mentions((), ()), log_probs, measured) == 0


def caption(item: str, text: str, dropped: str | None = None) -> Caption:
    return Caption(item, 0, text, "plain", 1.0, 0, "test", 0.9, dropped)


def judged() -> list[sw.Judged]:
    probs = np.array([[0.8, 0.2], [0.3, 0.7], [0.5, 0.5]])
    measured = np.full((3, len(WORDS)), 0.5)
    captions = [
        caption("a", "A grey cat."),
        caption("b", "A cat."),
        caption("c", "A cat."),
        caption("c", "A dog.", dropped="low confidence"),
        caption("zzz", "A dog."),
    ]
    matched = sw.matcher(np.log(probs), measured)
    rows = {"a": 0, "b": 1, "c": 2}
    return list(sw.judge(captions, rows, sw.Swapper(TASK), Lexicon(TASK), matched))


def test_detection_counts_what_matches_less_and_no_ties() -> None:
    ones = judged()
    assert [(one.row, one.swap.kind) for one in ones] == [
        (0, "colour"), (0, "class"), (1, "class"), (2, "class"),
    ]  # fmt: skip
    found = sw.detection(ones, {0: 0, 1: 1})
    # The colour is measured alike for all words: a tie. Rows 1 and 2: worse, and a tie.
    assert found["overall"]["value"] == pytest.approx(1 / 4)
    assert found["overall"]["n"] == 4
    assert found["by_kind"]["colour"]["value"] == 0
    assert found["by_kind"]["class"]["value"] == pytest.approx(1 / 3)
    by_original = found["class_by_original"]
    assert (by_original["right"]["value"], by_original["right"]["n"]) == (1, 1)
    assert (by_original["wrong"]["value"], by_original["wrong"]["n"]) == (0, 1)
    # Wilson of 1 of 1: n / (n + z**2) = 1 / 4.8415.
    assert by_original["right"]["low"] == pytest.approx(1 / 4.84146, abs=1e-5)
    assert by_original["unknown"]["n"] == 1
    assert sw.detection([], {})["overall"] is None


def test_negative_evidence_is_how_much_less_the_swap_matched() -> None:
    negative = sw.negative_evidence(judged(), 3, 2)
    assert negative == pytest.approx(np.array([[0, np.log(0.8 / 0.2)], [0, 0], [0, 0]]))


def test_against_lowers_what_was_swapped_in() -> None:
    probs = np.array([[0.5, 0.5], [0.2, 0.8]])
    negative = np.array([[0, np.log(4)], [0, 0]])
    # .5 and .5 / 4**.5
    assert sw.against(probs, negative, 0.5)[0] == pytest.approx([2 / 3, 1 / 3])
    assert sw.against(probs, negative, 0.5)[1] == pytest.approx([0.2, 0.8])
    assert sw.against(probs, negative, 0.0) == pytest.approx(probs)
    with pytest.raises(DataError, match=r"negative evidence: \(2, 1\), expected \(2, 2\)"):
        sw.against(probs, negative[:, :1], 0.5)


def test_the_weight_is_fitted_and_stays_zero_where_it_harms() -> None:
    probs = np.tile([0.5, 0.5], (40, 1))
    negative = np.tile([0, 1.0], (40, 1))
    good = dict.fromkeys(range(40), 0)
    assert sw.fit_weight(probs, negative, good) == max(sw.WEIGHTS)
    assert sw.fit_weight(probs, negative, dict.fromkeys(range(40), 1)) == 0
    # A share of 1 / (1 + exp(-w)) right: .731 is w = 1.
    mixed = {row: int(row >= 29) for row in range(40)}
    assert sw.fit_weight(probs, negative, mixed) == 1.0
    assert sw.fit_weight(probs, negative, dict.fromkeys(range(19), 0)) == 0


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(UsageError, match=r"likeness_KK: shape \(3, 3\), expected \(2, 2\)"):
        sw.Swapper(TASK, likeness_KK=np.eye(3))
    with pytest.raises(UsageError, match="most: 0 swaps"):
        sw.Swapper(TASK, most=0)

"""The filter with all its rules: each drops what it should, in order, and is counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from captioning.attributes import WORDS
from captioning.matching import Lexicon
from captioning.quality import Counts, QualityFilter, Topics, length_fault, logical_consistency
from captioning.repeated import find_repeated
from captioning.rules import load_rules
from edgekd.records import Caption, TaskSpec

RULES = load_rules()
TASK = TaskSpec("test", ("cat", "dog", "black swan"), {"cat": ("kitten",)})
DEFAULTS = {"near_duplicate_jaccard": 0.75, "min_attribute": 0.03, "min_confidence": 0.05}


def caption(text: str, item: str = "a", confidence: float = 0.9) -> Caption:
    return Caption(item, 0, text, "plain", 1.0, 0, "test", confidence)


def run(
    texts: list[str] | list[Caption], measured: dict[str, np.ndarray] | None = None, **more: Any
) -> tuple[list[str | None], Counts]:
    quality = QualityFilter(TASK, RULES, **(DEFAULTS | more))
    captions = [caption(text) if isinstance(text, str) else text for text in texts]
    return [c.dropped for c in quality(captions, measured or {})], quality.counts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A cat on a sofa.", None),
        ("I'm sorry, I cannot describe this cat.", "refused"),
        ("Image may contain: cat, sofa.", "boilerplate: Image may contain"),
        ("IMG_2041.JPG", "boilerplate: IMG_2041.JPG"),
        ("Cat.", "length: 1 words, at least 2"),
        ("A cat a cat a cat a cat.", "length: says the same again and again"),
        ("Eine schwarze Katze sitzt auf dem Dach.", "language: de"),
        ("一只黑色的猫坐在屋顶上。", "language: zh"),
        ("A red blue cat.", "impossible colour: red and blue (cat)"),
        ("A white black swan on a lake.", None),
    ],
)
def test_one_caption(text: str, reason: str | None) -> None:
    assert run([text])[0] == [reason]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "The model may not talk about this; it is against its rules for privacy reasons.",
            "refused",
        ),
        ("Hi there! What shall I do?", "refused"),
        ("It is unclear what this is.", "refused"),
        ("The upload you sent is corrupted", "refused"),
        ("Bad Request: 400 bad request", "refused"),
        ("Insert description here", "boilerplate: Insert description"),
        ("Zoom in to see the full image", "boilerplate: Zoom in"),
        ("Slide 4 of 9", "boilerplate: Slide 4 of 9"),
        # As wide as that only where no class is named.
        ("It is unclear what the cat looks at.", None),
        ("Zoom in to see the cat in the full image", None),
        ("A cat beside an error message, try again, it says.", None),
        # And not what people say of pictures.
        ("Our garden in full bloom.", None),
        ("I love this little guy!", None),
        ("Close up of a bee on a flower.", None),
        ("The photo shows a woman who is not looking at the camera.", None),
        ("A broken picture frame lies on the floor.", None),
        ("Boeing 747", None),
        ("A laptop with an error message on its screen.", None),
    ],
)
def test_refusals_and_boilerplate_where_no_class_is_named(text: str, reason: str | None) -> None:
    assert run([text])[0] == [reason]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A cat under a board that says 'Follow us'.", None),
        ("A cat. Follow us!", "boilerplate: Follow us"),
        ('"Follow us", cat', "boilerplate: Follow us"),
        ("A board says 'Follow us'.", None),
        ("The cat's bowl, the dog's bowl, shop now", "boilerplate: shop now"),
    ],
)
def test_quoted_words_beside_a_class_are_read_off_the_picture(
    text: str, reason: str | None
) -> None:
    assert run([text])[0] == [reason]


@pytest.mark.parametrize(
    ("text", "asked", "not_asked"),
    [
        # Both kinds of pattern are found: the model says which it is, else page words go first.
        ("No caption could be generated.", "refused", "boilerplate: No caption"),
        # No pattern is found.
        ("Warming up the captioner, check back soon", "refused", None),
        # A pattern is found, and the model is sure that it is a caption.
        ("Error in the brickwork: one yellow brick in a red wall", None, "refused"),
        ("Sorry, I cannot help with that.", "refused", "refused"),
    ],
)
def test_the_small_model_is_asked_or_not(
    text: str, asked: str | None, not_asked: str | None
) -> None:
    without = RULES.limits.no_caption.model_copy(update={"min_probability": 2.0})
    limits = RULES.limits.model_copy(update={"no_caption": without})
    rules = dataclasses.replace(RULES, limits=limits)
    caption = Caption("a", 0, text, "plain", 1.0, 0, "test", 0.9)
    for given, reason in ((RULES, asked), (rules, not_asked)):
        (judged,) = QualityFilter(TASK, given, **DEFAULTS)([caption], {})
        assert judged.dropped == reason


def test_a_language_may_be_allowed() -> None:
    quality = QualityFilter(TASK, RULES.allowing(["zh"]), **DEFAULTS)
    texts = ["一只黑色的猫坐在屋顶上。", "Eine schwarze Katze sitzt auf dem Dach."]
    assert [c.dropped for c in quality(map(caption, texts), {})] == [None, "language: de"]


def test_a_near_duplicate_adds_nothing_and_a_swapped_word_is_none() -> None:
    reasons, _ = run(
        [
            "A small cat sits on a red chair in the kitchen.",
            "A photo of a small cat that sits on a red chair in the kitchen.",  # fillers only
            "A small dog sits on a red chair in the kitchen.",
            "A cat sits on a chair in the kitchen.",  # adds nothing, yet is another sentence
            caption("A small cat sits on a red chair in the kitchen.", "b"),
            caption("A small cat sits on a green chair in the kitchen.", "b"),
            caption("Clearly a small cat, sitting on the red chair in a kitchen!", "b"),
            caption("In the kitchn a small cat sits on a red chair.", "b"),
        ]
    )
    assert reasons[:5] == [None, "near duplicate", None, None, None]
    # Duplicates are voices nevertheless.
    assert reasons[5] == "contradicts other captions on colour: green, not red (chair)"
    assert reasons[6:] == ["near duplicate", "near duplicate"]


def test_the_order_of_reasons() -> None:
    """A refusal that is also too short and a duplicate is a refusal."""
    reasons, counts = run(["Sorry.", "Sorry.", "A tiny huge cat.", "A tiny huge cat."])
    assert reasons == [
        "refused", "refused", *["impossible size: small and large (cat)"] * 2,
    ]  # fmt: skip
    assert counts.dropped == {"refused": 2, "impossible size": 2}
    assert counts.violations == {"impossible size": 2}
    assert (counts.judged, counts.kept) == (4, 0)


def test_a_violation_counts_whatever_it_was_dropped_for() -> None:
    """The second is a refusal by its words and contradicts itself too."""
    _, counts = run(["A red blue cat.", "I'm sorry, a red blue cat is all I see."])
    assert counts.dropped == {"impossible colour": 1, "refused": 1}
    assert counts.violations == {"impossible colour": 2}


def test_what_comes_dropped_stays_dropped_and_is_not_judged() -> None:
    first = caption("A cat.")
    given = Caption(**(vars(first) | {"dropped": "private: phone"}))
    reasons, counts = run([given, first])
    assert reasons == ["private: phone", None]
    assert (counts.judged, counts.kept, counts.dropped) == (1, 1, {"private": 1})


def test_the_minority_of_an_image_goes() -> None:
    reasons, counts = run(
        [
            "A red kitten here.",
            "The cat is red and asleep.",
            "One sees a blue cat.",
            "A dog at night.",
        ]
    )
    assert reasons == [
        None,
        None,
        "contradicts other captions on colour: blue, not red (cat)",
        None,
    ]
    assert counts.violations == {"contradicts other captions on colour": 1}


def test_a_minority_about_where_things_stand() -> None:
    texts = [
        "A cat on the left of a lamp.",
        "The lamp is right of the cat.",
        "A lamp left of a cat.",
    ]
    assert run(texts)[0] == [
        None, None, "contradicts other captions on left or right: cat and lamp the other way round",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "texts",
    [
        ["A red cat.", "The blue cat sleeps."],  # nobody knows which
        ["A red cat.", "A red cat sleeps here.", "A red and white cat lies there."],
        ["A cat on a red mat.", "A red mat below it.", "A blue cat."],
        ["A street by day.", "A sunny day at noon.", "A lamp."],
    ],
)
def test_no_minority(texts: list[str]) -> None:
    assert run(texts)[0] == [None] * len(texts)


def test_what_was_measured_is_not_voted_on() -> None:
    texts = ["A black cat.", "The cat looks black and asleep.", "One sees a white cat."]
    assert run(texts)[0][2] == "contradicts other captions on colour: white, not black (cat)"
    even_A = np.full(len(WORDS), 0.5)
    assert run(texts, {"a": even_A})[0] == [None] * 3
    low = ["A low-contrast picture of a cat.", "A dog in a low-contrast picture, asleep."]
    texts = [*low, "A high-contrast picture of a cat and a dog."]
    assert run(texts)[0][2] is not None
    assert run(texts, {"a": even_A})[0] == [None] * 3


def test_classes_exclude_each_other_only_when_asked() -> None:
    texts = ["A cat here.", "One kitten on a mat.", "This is a dog.", "A cat, perhaps a dog."]
    assert run(texts)[0] == [None] * 4
    assert run(texts, one_class=True)[0] == [
        None, None, "contradicts other captions on class: dog, not cat", None,
    ]  # fmt: skip


def test_off_topic_by_a_function() -> None:
    asked: list[str] = []

    def embed(texts: list[str]) -> np.ndarray:
        """Animals point one way, all else the other; lengths do not matter."""
        asked.extend(texts)
        return np.array([[3.0, 0] if "pet" in t or t == "topic" else [0, 0.5] for t in texts])

    reasons, _ = run(
        ["A furry pet sits.", "Shares fell in the market.", "A cat and shares."],
        topics=Topics(embed, ["topic"]),
    )
    assert reasons == [None, "off topic: 0.00", None]
    assert asked == ["topic", "A furry pet sits.", "Shares fell in the market."]  # names a class


def test_a_small_model_votes() -> None:
    seen: list[list[str]] = []

    def vote(captions: list[Caption]) -> list[float]:
        seen.append([c.text for c in captions])
        return [0.5 if "good" in c.text else 0.49 for c in captions]

    reasons, counts = run(["A good cat.", "A poor cat sleeps.", "Sorry."], vote=vote)
    assert reasons == [None, "voted down: 0.49", "refused"]
    assert seen == [["A good cat.", "A poor cat sleeps."]]
    assert counts.dropped == {"voted down": 1, "refused": 1}


def test_boilerplate_over_images() -> None:
    said = "Something lies in the middle of the picture today"
    captions = [
        caption(text, f"item{i}")
        for i in range(40)
        for text in (
            f"A cat with {i} stripes.",
            said if i % 2 else f"Number {i} stands for itself.",
        )
    ]
    repeated = find_repeated(captions, Lexicon(TASK), RULES.limits.duplicates)
    reasons, counts = run(captions, repeated=repeated)
    assert set(reasons[1::4]) == {None}
    assert set(reasons[3::4]) == {f"repeated on many images: {said}"}
    assert counts.dropped == {"repeated on many images": 20}


@pytest.mark.parametrize(("more", "size"), [({}, 1), ({"vote": lambda c: [1.0] * len(c)}, 256)])
def test_it_streams(more: dict[str, Any], size: int) -> None:
    """It never reads further ahead than a block and the caption that ends an image."""
    read = 0

    def endless() -> Iterator[Caption]:
        nonlocal read
        while True:
            read += 1
            yield caption(f"A cat by tree {read}.", f"item{read}")

    quality = QualityFilter(TASK, RULES, **DEFAULTS, **more)
    for done, one in enumerate(quality(endless(), {}), 1):
        assert one.item_id == f"item{done}"
        assert read <= done + size
        if done == 600:
            break


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("A cat", None),
        ("猫在睡觉", None),
        ("猫睡", "2 words, at least 2"),
        ("word " * 81, "81 words, at most 80"),
        ("x" * 601, "601 characters, at most 600"),
        ("A red cat and a red dog and a red bird.", None),
        ("the the the the", "says the same again and again"),
        ("", "0 words, at least 2"),
    ],
)
def test_length(text: str, fault: str | None) -> None:
    assert length_fault(text, RULES.limits.length) == fault


def test_logical_consistency() -> None:
    """Wilson by hand, 1 of 4: centre (1 + 1.92) / (4 + 3.84) = .373, half .327."""
    result = logical_consistency({"impossible size": 1, "contradicts measured colour": 2}, 4)
    assert result["judged"] == 4
    assert list(result["rules"]) == ["contradicts measured colour", "impossible size"]
    rule = result["rules"]["impossible size"]
    assert (rule["captions"], rule["share"]) == (1, 0.25)
    assert rule["low"] == pytest.approx(0.0456, abs=1e-3)
    assert rule["high"] == pytest.approx(0.6994, abs=1e-3)


def test_no_caption_no_rate() -> None:
    assert logical_consistency({}, 0) == {"judged": 0, "rules": {}}

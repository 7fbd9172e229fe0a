"""What is left of a caption for comparing, and what counts as nearly the same."""

from __future__ import annotations

import pytest

from captioning.alike import Alike, slip
from captioning.rules import load_rules

ALIKE = Alike(load_rules().limits.duplicates)


@pytest.mark.parametrize(
    ("text", "stems"),
    [
        ("A dog is running in the park.", ("dog", "run", "park")),
        ("2 dogs RUN  in Parks!", ("two", "dog", "run", "park")),
        ("The photo shows a grey-haired man", ("grai", "hair", "man")),
        ("There's a café", ("caf",)),
        ("A fly lies there; flies lying", ("fli", "li", "fli", "li")),
        ("two kids, three children", ("two", "child", "thre", "child")),
        ("a photo of it", ()),
        ("In short, a man photographs photos of a dog", ("man", "photograph", "dog")),
    ],
)
def test_what_is_left_of_a_text(text: str, stems: tuple[str, ...]) -> None:
    assert ALIKE.read(text).stems == stems


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("sleeps", "sleps", True),
        ("sleeps", "sleepps", True),
        ("sleeps", "selpes", False),
        ("sleeps", "seleps", True),
        ("sleeps", "sleept", False),
        ("elephant", "elephent", True),
        ("horse", "house", False),
        ("coat", "cat", False),
        ("sleeps", "sleeps", False),
    ],
)
def test_slips_of_the_hand(one: str, other: str, found: bool) -> None:
    assert slip(one, other) is found
    assert slip(other, one) is found


@pytest.mark.parametrize(
    ("one", "other", "near", "same"),
    [
        ("A man sits on a bench.", "Clearly, the man is sitting on the bench", True, True),
        ("A man sits on a bench in a park.", "In a park, a man sits on a bench.", True, False),
        (
            "A big man sits on a bench outside.",
            "A man sits on a bench outside.",
            True,
            False,
        ),  # 4 of 5
        ("A big man sits on a bench.", "A man sits on a bench.", False, False),  # 3 of 4
        ("A man sits on a bench.", "A man sits on a wall.", False, False),  # 2 of 4
        ("A man sits there.", "A woman sits there.", False, False),
        ("A man sits on the bench.", "A man sits on the benhc.", True, True),
        ("", "", True, True),
        ("In a barn, a red owl sleeps", "A red owl sleeps in a barn", True, False),
        ("Near a wall stands a red owl", "A red owl stands near a wall", True, False),
        ("A doll and a red owl lie there", "A red owl and a doll lie there", True, False),
        ("A parrot next to a brown pallet", "The pallet next to the parrot is brown", False, False),
        ("A gate is next to the red owl", "The red owl is next to a gate", True, False),
        ("The dog chases a red cat", "A red cat chases the dog", False, False),
    ],
)
def test_nearly_the_same(one: str, other: str, near: bool, same: bool) -> None:
    first, second = ALIKE.read(one), ALIKE.read(other)
    assert ALIKE.near(first, second) is ALIKE.near(second, first) is near
    assert ALIKE.same(first, second) is same


@pytest.mark.parametrize(
    ("one", "other", "exchanged"),
    [
        ("A man draws a dog in a park", "A girl draws a dog in a park", True),
        ("A man draws a dog in a park", "A man draws a big dog in a park", False),
        ("A man draws a dog in a park", "A man drwas the dogs in a park", False),
    ],
)
def test_another_word_in_place_of_one(one: str, other: str, exchanged: bool) -> None:
    assert ALIKE.exchanged(ALIKE.read(one), ALIKE.read(other)) is exchanged

"""What a sentence states, and what it cannot state at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.attributes import WORDS
from captioning.contradictions import Reader
from captioning.prompts import sample_sentence
from captioning.rules import load_rules

READER = Reader(load_rules().contradictions)

IMPOSSIBLE = {
    "A solid red blue mug on a table.": "impossible colour: red and blue (mug)",
    "The mug is entirely red and entirely blue.": "impossible colour: red and blue (mug)",
    "A uniformly green and purple vase.": "impossible colour: green and purple (vase)",
    "The red car is blue.": "impossible colour: red and blue (car)",
    "A red car parked on the street. The car is green.": "impossible colour: red and green (car)",
    "A red car. It is yellow.": "impossible colour: red and yellow (car)",
    "A tiny huge elephant.": "impossible size: small and large (elephant)",
    "A big and small dog.": "impossible size: large and small (dog)",
    "The tall building is short.": "impossible height: tall and short (building)",
    "The full glass is empty.": "impossible filling: full and empty (glass)",
    "An open door that is closed.": "impossible opening: open and closed (door)",
    "A sunny street at night.": "impossible time of day: day and night",
    "A deserted square crowded with shoppers.": "impossible company: deserted and crowd",
    "A dog indoors in a green meadow.": "impossible place: indoors and outdoors",
    "A cat to the left of a dog and to the right of the dog.": "impossible left or right: cat and dog both ways",
    "The cat is left of the dog. The dog is left of the cat.": "impossible left or right: dog and cat both ways",
    "The book lies on top of the box and the box lies on top of the book.": "impossible above or below: box and book both ways",
    "A bird above a tree, and the bird is below the tree.": "impossible above or below: bird and tree both ways",
    "A cup inside a box, and the box is inside the cup.": "impossible inside or outside: box and cup both ways",
    "The tree is taller than the house, and the house is taller than the tree.": "impossible taller or lower: house and tree both ways",
    "A little house of enormous size.": "impossible size: small and large (house)",
    "A blunt knife, very sharp.": "impossible sharpness: blunt and sharp (knife)",
    "Sunrise over a town at nightfall.": "impossible time of day: morning and late",
    "A wet dog that is dry.": "impossible moisture: wet and dry (dog)",
    "A wooden table made of metal.": "impossible material: wood and metal (table)",
    "The wooden table is made of metal.": "impossible material: wood and metal (table)",
    "The transparent bottle is opaque.": "impossible clarity: transparent and opaque (bottle)",
    "A bench in front of the house and behind the house.": "impossible before or behind: bench and house both ways",
    "The jar is opaque and the jar is transparent.": "impossible clarity: opaque and transparent (jar)",
    "A bright, large cat that looks dark and lightly textured.": "impossible light: bright and dark (cat)",
    "A smooth rough stone.": "impossible surface: smooth and rough (stone)",
    "The old man is young.": "impossible life: old and young (man)",
    "A snowy field in summer, in winter.": "impossible season: summer and winter",
    "A snowy day in the height of summer.": "impossible season: summer and snow",
    "Rain falls under a cloudless sky.": "impossible weather: clear and rain",
    "A crate made entirely of glass and entirely of stone.": "impossible material: glass and stone (crate)",
    "A wooden barrow made of solid steel.": "impossible material: wood and metal (barrow)",
    "The enormous barrow is a very small one.": "impossible size: large and small (barrow)",
    "The white owl beside a river is not white.": "impossible colour: white and not white (owl)",
    "The door isn't open, it is wide open.": "impossible opening: closed and open (door)",
    "A watering can that is full is empty.": "impossible filling: full and empty (can)",
    "The see-through watering can is opaque.": "impossible clarity: transparent and opaque (can)",
    "The clock stands upright, lying on its side.": "impossible posture: upright and lying (clock)",
    "A dog fast asleep and wide awake.": "impossible sleep: asleep and awake (dog)",
    "The lamp is switched on and switched off.": "impossible power: on and off (lamp)",
    "There is no owl here, and an owl sits on a gate.": "impossible presence: owl and no owl",
    "There is only one owl, and there are three owls.": "impossible number: one and three (owl)",
    "The owl is directly to the right of the piano and directly to its left.": "impossible left or right: owl and piano both ways",
    "The owl hangs above the gate, which hangs above the owl.": "impossible above or below: gate and owl both ways",
    "The owl is taller than the gate and shorter than the gate.": "impossible taller or lower: owl and gate both ways",
    "This clock is yellow all over and black from top to bottom.": "impossible colour: yellow and black (clock)",
    "The colour of the owl is red; the owl is blue.": "impossible colour: red and blue (owl)",
    "A light brown owl that is dark brown.": "impossible shade: light and dark (owl)",
    "The owl is in the box and it isn't in the box.": "impossible inside or outside: box and owl so and not so",
    "A plain red owl; its only colour is pink.": "impossible colour: red and pink (owl)",
    "An owl in plain red. The colour of the owl is black.": "impossible colour: red and black (owl)",
    "A single owl by a river, and there are two of them.": "impossible number: one and two (owl)",
    "The owl is in the left half of the picture, at its right edge.": "impossible side: left and right (owl)",
    "The clock is upside down and the right way up.": "impossible posture: lying and upright (clock)",
    "The man beside the owl is sitting down and standing up.": "impossible pose: sitting and standing (man)",
    "The lamp is on, and the lamp is switched off.": "impossible power: on and off (lamp)",
    "The box is made only of steel and only of paper.": "impossible material: metal and paper (box)",
    "An owl in the foreground, far back in the background.": "impossible ground: fore and back (owl)",
    "The owl is badly damaged and without a scratch.": "impossible integrity: broken and whole (owl)",
    "The owl is young. It's an old owl.": "impossible life: young and old (owl)",
}
POSSIBLE = [
    "An easel as white as the owl is green.",
    "By day the owl is in shade; by night a lamp lights it.",
    "Once empty, the jar is now full.",
    "The owl is not on the piano but under it.",
    "One can in front of the owl and another behind it.",
    "On top of the gate sits a pigeon, and below it is a tulip.",
    "An owl under the midnight sun.",
    "The owl is mostly pink, partly blue.",
    "The owl is not only white but white all over.",
    "There is no owl on the sofa, the owl sits under it.",
    "Two owls with three chicks.",
    "The owl may be old, yet the bottle beside it looks new.",
    "A huge owl makes the bench look small.",
    "A light blue owl with a dark blue beak.",
    "An owl with a gate behind it, behind the gate a barn.",
    "The can can be opened.",
    "A red and white shirt.",
    "A red car next to a blue car.",
    "One car is red and one is blue.",
    "Two cats, one black and one white.",
    "An open barn door, closed windows.",
    "Two dogs, three cats and four dogs.",
    "A toy with one red wheel and one blue wheel.",
    "A cat that is smaller than a dog and larger than a mouse.",
    "A man stands outside a shop that sells indoor plants.",
    "A man in a coat inside a car.",
    "The red car and the blue car.",
    "A red car. The dog is blue.",
    "A red, white and blue flag.",
    "A dark red bright car.",
    "A car on a red mat is blue.",
    "The car on the red mat is blue.",
    "A black and white cat with green eyes.",
    "Big and small dogs play.",
    "A cat indoors looks at the garden outside through a window.",
    "A cat to the left of a dog, and a bird to the right of the dog.",
    "A light blue green-eyed cat.",
    "A wooden glass cabinet.",
    "The glass is full, the cup is empty.",
    "A dog not wet but dry.",
    "A tall man and a short woman.",
    "The sky is turning from blue to red.",
    "A cat is either black or brown.",
    "A small black cat on a plain light background.",
    "This looks like a dark cat, perhaps a dog; tall, small.",
    "Probably a red cat, possibly a dog, with a smooth surface.",
    "On a plain dark background: a bright orange, tall in outline.",
    "A large cat that looks dark and lightly textured.",
    "A hard hat on a soft chair.",
    "A man before a house after the rain.",
    "A dog sits near a tree, far from the lake.",
    "An orange on a green plate.",
    "The cat is on the table and the dog is under the table.",
    "A yellow golden retriever.",
    "An old man with a young boy.",
    "Two cats, one black, the other white.",
    "A long table with short legs.",
    "Person in blue jeans and white shirt holding a red umbrella over a black dog in front of a brown house.",
]


@pytest.mark.parametrize(("text", "reason"), IMPOSSIBLE.items())
def test_impossible(text: str, reason: str) -> None:
    assert READER.read(text).impossible[0] == reason


@pytest.mark.parametrize("text", POSSIBLE)
def test_possible(text: str) -> None:
    assert READER.read(text).impossible == ()


def test_another_language_states_nothing_impossible() -> None:
    assert READER.read("一只红色和蓝色的猫。Ein rotes, blaues Auto.").impossible == ()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A red car.", {("colour", "car"): {"red"}}),
        ("Two small dogs.", {("number", "dog"): {"two"}, ("size", "dog"): {"small"}}),
        ("The sofa is brown and soft.", {("colour", "sofa"): {"brown"}, ("hardness", "sofa"): {"soft"}}),
        ("A dark blue mug.", {("colour", "mug"): {"blue"}, ("shade", "mug"): {"dark"}}),
        ("A dog, not brown.", {}),
        # Whose colour is it? Two cars: nothing is said of "the" car.
        ("A red car and a green car.", {}),
        ("A cat behind a dog.", {("before or behind", "cat|dog"): {"one: dog"}}),
        ("A dog in front of a cat.", {("before or behind", "cat|dog"): {"one: dog"}}),
        ("A pond far from a barn.", {("near or far", "barn|pond"): {"opposite"}}),
        ("A street at night.", {("time of day", ""): {"night"}}),
        ("A cow in a wide green meadow.", {("place", ""): {"outdoors"}, ("colour", "meadow"): {"green"},
                                           ("width", "meadow"): {"wide"},
                                           ("inside or outside", "cow|meadow"): {"one: cow"}}),
        ("The box has a red colour.", {("colour", "box"): {"red"}}),
        ("A cat, small and black, sleeps.", {("size", "cat"): {"small"}, ("colour", "cat"): {"black"},
                                             ("sleep", "cat"): {"asleep"}}),
        ("The flagpole beneath the owl is made of stone.", {("material", "flagpole"): {"stone"},
                                                            ("above or below", "flagpole|owl"): {"one: owl"}}),
        ("You can see that the owl is red.", {("colour", "owl"): {"red"}}),
        ("Two cradles guard a boat.", {("number", "cradle"): {"two"}}),
        ("The green wall sets off the owl.", {("colour", "wall"): {"green"}}),
        ("A woman in red.", {("colour", "woman"): {"red"}, ("company", ""): {"people", "crowd"}}),
        ("An owl in plain.", {}),
        ("In the foreground there is an owl.", {("ground", "owl"): {"fore"}}),
        ("A cup sitting on a table.", {("above or below", "cup|table"): {"one: cup"}}),
        ("The lamp is on, by an owl.", {("power", "lamp"): {"on"}}),
        ("A gate that is not open.", {("opening", "gate"): {"closed"}}),
        ("Over the owl is a lamp.", {("above or below", "lamp|owl"): {"one: lamp"}}),
        ("An owl with a gate behind it.", {("before or behind", "gate|owl"): {"one: owl"}}),
        ("The gate has an owl on it.", {("above or below", "gate|owl"): {"one: owl"}}),
        ("An owl in the evening.", {("time of day", ""): {"late", "evening", "night"}}),
        ("A sunny afternoon with an owl.", {("time of day", ""): {"afternoon"}, ("weather", ""): {"clear"},
                                          ("fog", ""): {"clear"}}),
        ("A cat on the left, a dog on the right.", {("left or right", "cat|dog"): {"one: cat"}}),
        ("A lamp, and behind it is a big bed.", {("size", "bed"): {"large"}}),
        ("A book on a desk.", {("above or below", "book|desk"): {"one: book"}}),
        ("The chair is made of oak.", {("material", "chair"): {"wood"}}),
        ("", {}),
    ],
)  # fmt: skip
def test_what_is_stated(text: str, values: dict[tuple[str, str], set[str]]) -> None:
    assert READER.read(text).values == values


def test_names_of_several_words_are_no_descriptions() -> None:
    reader = Reader(load_rules().contradictions, ["black swan", "cat"])
    assert READER.read("A white black swan.").impossible
    assert reader.read("A white black swan, two grey black swans.").impossible == ()
    assert reader.read("A white black cat.").impossible


def test_the_composed_teacher_never_contradicts_itself() -> None:
    names = ("cat", "orange", "T-shirt", "ankle_boot", "glass", "stop sign", "black swan", "reed")
    reader = Reader(load_rules().contradictions, [name.replace("_", " ") for name in names])
    rng = np.random.default_rng(0)
    even_K, even_A = np.full(len(names), 1 / len(names)), np.full(len(WORDS), 0.5)
    for _ in range(300):
        text, _, _ = sample_sentence(even_K, even_A, names, 1.0, rng)
        assert reader.read(text).impossible == (), text


RULES = load_rules().contradictions
GRAMMAR = sorted(
    {
        *(word for words in RULES.grammar.model_dump().values() for word in words),
        *(word for words in (RULES.joins, RULES.uniform, RULES.negations) for word in words),
        *("owl", "gates", "red", "small", "it", "can", "there", "on the left", ",", ".", "isn't"),
        *(phrase for relation in RULES.relations.values() for phrase in relation.one[:3]),
        *(values[0] for group in RULES.groups.values() for values in group.values.values()),
    }
)


@given(st.lists(st.sampled_from(GRAMMAR), max_size=14))
def test_any_row_of_words_can_be_read(words: list[str]) -> None:
    facts = READER.read(" ".join(words))
    assert facts.values == READER.read(" ".join(words)).values
    assert not facts.seen & facts.missing

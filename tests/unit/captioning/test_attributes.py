"""Attributes of pictures drawn for it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from captioning.attributes import ATTRIBUTES, WORDS, measure, split

RED = (200, 30, 35)
WHITE = (255, 255, 255)


def picture(
    box: tuple[int, int, int, int], colour: tuple[int, int, int], ground: tuple[int, int, int]
) -> Image.Image:
    image = Image.new("RGB", (96, 96), ground)
    ImageDraw.Draw(image).rectangle(box, fill=colour)
    return image


def words(image: Image.Image) -> dict[str, str]:
    """The most likely word of each attribute."""
    parts = split(measure(image))
    return {name: ATTRIBUTES[name][int(part.argmax())] for name, part in parts.items()}


def test_a_red_square_on_white() -> None:
    # A rectangle of 60 x 60 in 96 x 96 covers .39: medium-sized.
    said = words(picture((18, 18, 77, 77), RED, WHITE))
    assert said["colour"] == "red"
    assert said["shape"] == "square"
    assert said["size"] == "medium-sized"
    assert said["setting"] == "plain light"
    assert said["contrast"] == "low-contrast"


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((10, 10, 10), "black"),
        ((128, 128, 128), "grey"),
        ((30, 150, 60), "green"),
        ((30, 60, 200), "blue"),
        ((240, 220, 50), "yellow"),
        ((240, 130, 30), "orange"),
        ((100, 65, 35), "brown"),
        ((130, 50, 150), "purple"),
        ((240, 150, 180), "pink"),
        ((175, 175, 175), "grey"),
        ((90, 60, 40), "brown"),
        ((140, 20, 20), "red"),
    ],
)
def test_colours(colour: tuple[int, int, int], name: str) -> None:
    parts = split(measure(picture((18, 18, 77, 77), colour, WHITE)))
    assert ATTRIBUTES["colour"][int(parts["colour"].argmax())] == name
    assert parts["colour"].max() > 0.85  # the rest: the square's edge, half white


def test_a_tall_small_dark_thing_and_a_wide_large_bright_one() -> None:
    tall = words(picture((40, 20, 51, 79), (15, 15, 60), WHITE))
    assert (tall["shape"], tall["size"], tall["brightness"]) == ("tall", "small", "dark")
    wide = words(picture((4, 24, 91, 71), (250, 250, 250), (0, 0, 0)))
    assert (wide["shape"], wide["brightness"]) == ("wide", "bright")
    assert wide["setting"] == "plain dark"
    assert wide["colour"] == "white"


def test_noise_is_textured_and_a_noisy_border_cluttered() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    said = words(Image.fromarray(noise))
    assert said["texture"] == "heavily textured"
    flat = words(Image.new("RGB", (48, 48), (128, 128, 128)))
    assert flat["texture"] == "smooth"
    stripes = np.zeros((48, 48, 3), dtype=np.uint8)
    stripes[::8] = stripes[1::8] = stripes[2::8] = stripes[3::8] = 255
    assert words(Image.fromarray(stripes))["setting"] == "cluttered"


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (48, 48), (500, 7)])
@pytest.mark.parametrize("shade", [0, 128, 255])
def test_every_attribute_sums_to_one_whatever_the_image(size: tuple[int, int], shade: int) -> None:
    measured = measure(Image.new("RGB", size, (shade,) * 3))
    assert measured.dtype == np.float32
    assert measured.shape == (len(WORDS),)
    assert (measured >= 0).all()
    for part in split(measured).values():
        assert part.sum() == pytest.approx(1, abs=1e-5)


def test_split_takes_rows_and_follows_the_order_of_words() -> None:
    rows = np.tile(np.arange(len(WORDS)), (2, 1))
    parts = split(rows)
    assert list(parts) == list(ATTRIBUTES)
    assert np.concatenate(list(parts.values()), axis=1).tolist() == rows.tolist()
    for name, part in parts.items():
        assert [WORDS[index] for index in part[0]] == [(name, word) for word in ATTRIBUTES[name]]

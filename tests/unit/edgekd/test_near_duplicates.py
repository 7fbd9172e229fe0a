"""Near copies are found, and what only looks alike is not."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from edgekd import manifest, near_duplicates
from edgekd.near_duplicates import Fingerprints


def scene(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A smooth random picture with a few shapes, as different from another as two photographs."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(30, 220, (7, 9, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def pairs(images: list[Image.Image]) -> set[tuple[int, int]]:
    prints = Fingerprints()
    for image in images:
        prints.add(image)
    return {(min(pair), max(pair)) for pair in prints.pairs()}


CHANGES = {
    "half the size": lambda image: image.resize((60, 45), Image.Resampling.BICUBIC),
    "twice the size": lambda image: image.resize((240, 180), Image.Resampling.LANCZOS),
    "JPEG 50": lambda image: encoded(image, 50),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.85),
    "all at once": lambda image: encoded(
        ImageEnhance.Brightness(image.resize((90, 68))).enhance(1.05), 70
    ),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_copy_among_others_is_found(change: str) -> None:
    originals = [scene(seed) for seed in range(30)]
    copies = [CHANGES[change](image) for image in originals]
    found = pairs(originals + copies)
    assert found == {(index, index + 30) for index in range(30)}


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.crop((20, 15, 120, 90)),
        lambda image: Image.merge("RGB", image.split()[::-1]),  # other colours
        lambda image: Image.eval(image, lambda value: 255 - value),
        lambda image: image.resize((90, 90)),  # another shape
        lambda image: ImageEnhance.Brightness(image).enhance(0.4),
    ],
)
def test_a_picture_that_differs_is_none(change: object) -> None:
    originals = [scene(seed) for seed in range(10)]
    assert pairs(originals + [change(image) for image in originals]) == set()  # type: ignore[operator]


def test_plain_images_are_like_any_other_and_no_copies() -> None:
    assert pairs([Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in range(0, 60, 2)]) == set()


def test_none_or_one_image() -> None:
    assert pairs([]) == set()
    assert pairs([scene(0)]) == set()


def test_many_copies_of_one_are_joined() -> None:
    """More than fit into the window of a bucket."""
    copies = [encoded(scene(0), 40 + index % 60) for index in range(200)]
    together = manifest._Together(200)
    for first, second in pairs(copies):
        together.join(first, second)
    assert together.sets() == [list(range(200))]


def test_the_hash_is_of_the_lowest_frequencies_and_ignores_brightness() -> None:
    pixels = np.asarray(scene(3).resize((16, 16)))
    darker = (pixels * 0.8).astype(np.uint8)
    assert near_duplicates._hash(pixels).bit_length() <= 64
    assert bin(near_duplicates._hash(pixels)).count("1") == 32  # half lie above the median
    assert bin(near_duplicates._hash(pixels) ^ near_duplicates._hash(darker)).count("1") <= 4


def test_flipped_bits_by_hand() -> None:
    bits = np.array([0, 1, 0b1011, 2**64 - 1], dtype=np.uint64)
    assert near_duplicates._flipped(bits).tolist() == [0, 1, 3, 64]


def test_the_dct_keeps_lengths() -> None:
    assert np.allclose(near_duplicates._DCT @ near_duplicates._DCT.T, np.eye(16), atol=1e-6)


def test_candidates_grow_with_the_images_not_with_their_pairs() -> None:
    """Thousands in one bucket: each is compared with the next 48 in each band, not with all."""
    prints = Fingerprints()
    count = 3000
    prints._hashes.extend([7] * count)
    prints._aspects.extend([0.0] * count)
    prints._plain.extend([0] * count)
    hashes = np.frombuffer(prints._hashes, dtype=np.uint64)
    compared = sum(len(first) for first, _ in prints._candidates(hashes))
    assert compared <= 4 * 48 * count
    neighbours = {(a, b) for a, b in itertools.pairwise(range(count))}
    found = {pair for f, s in prints._candidates(hashes) for pair in zip(f, s, strict=True)}
    assert neighbours <= found

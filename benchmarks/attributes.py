"""Are the measured attributes right? `python -m benchmarks.attributes`: on pictures that are drawn.

An ellipse or a rectangle of a known colour, brightness, texture, shape and size stands on a known
background; everything that is not asked about is drawn at random, and positions and noise too. A
word counts as right where it is the one that `captioning.attributes.measure` finds likeliest. What is
drawn lies within what people would call so, not at the measure's own centres.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks import arguments, results_file
from captioning.attributes import ATTRIBUTES, measure, split

CLAIM = (
    "Share of drawn pictures whose colour, brightness, texture, shape, size and setting are found."
)
SIDE = 192
# Ranges of HSV (degrees, shares) that people call so (Berlin and Kay's eleven, by hand).
COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "black": ((0, 360), (0, 0.2), (0.02, 0.12)),
    "white": ((0, 360), (0, 0.04), (0.93, 1)),
    "grey": ((0, 360), (0, 0.06), (0.4, 0.62)),
    "red": ((-8, 6), (0.8, 1), (0.65, 0.9)),
    "green": ((105, 140), (0.55, 0.9), (0.4, 0.65)),
    "blue": ((215, 240), (0.65, 0.95), (0.55, 0.85)),
    "yellow": ((48, 58), (0.65, 0.95), (0.85, 1)),
    "orange": ((22, 34), (0.75, 1), (0.88, 1)),
    "brown": ((18, 32), (0.5, 0.8), (0.3, 0.5)),
    "purple": ((275, 295), (0.5, 0.8), (0.4, 0.65)),
    "pink": ((335, 350), (0.25, 0.5), (0.9, 1)),
}
BRIGHTNESS = {"dark": (0.05, 0.28), "mid-toned": (0.42, 0.58), "bright": (0.74, 0.98)}
ASPECT = {"tall": (0.35, 0.6), "square": (0.9, 1.1), "wide": (1.7, 2.8)}
AREA = {"small": (0.06, 0.2), "medium-sized": (0.34, 0.46), "large": (0.62, 0.78)}
# Standard deviation of a grain of four pixels, of 255.
GRAIN = {"smooth": (0, 3), "lightly textured": (18, 28), "heavily textured": (60, 80)}
ASKED = ("colour", "brightness", "texture", "shape", "size", "setting")


def main() -> int:
    parser = arguments.parser(__doc__)
    parser.add_argument("--images", type=int, default=300, help="drawn for each attribute and seed")
    words = parser.parse_args()
    found = {name: [_right(name, words.images, seed) for seed in words.seeds] for name in ASKED}
    n = words.images * len(words.seeds)
    path = results_file.write(
        "attributes",
        claim=CLAIM,
        command=f"python -m benchmarks.attributes --seeds {' '.join(map(str, words.seeds))}",
        seeds=words.seeds,
        data={"name": "drawn pictures", "digest": "", "counts": {"images": n * len(ASKED)}},
        figures={
            f"{name}_right": results_file.figure(values, "share", n)
            for name, values in found.items()
        },
        notes="Contrast is left out: what people call so depends on more than an object's own spread.",
    )
    print(path.read_text())
    return 0


def _right(attribute: str, images: int, seed: int) -> float:
    rng = np.random.default_rng([seed, ASKED.index(attribute)])
    words = [word for word in ATTRIBUTES[attribute] if attribute != "colour" or word in COLOURS]
    right = 0
    for index in range(images):
        word = words[index % len(words)]
        measured = split(measure(_picture(rng, {attribute: word})))[attribute]
        right += ATTRIBUTES[attribute][int(measured.argmax())] == word
    return right / images


def _picture(rng: np.random.Generator, wanted: dict[str, str]) -> Image.Image:
    """A picture with these words true; the others are drawn, as far as they go together."""

    def word(attribute: str, among: Any) -> str:
        return wanted.get(attribute) or str(rng.choice(list(among)))

    if "brightness" in wanted:
        level = rng.uniform(*BRIGHTNESS[wanted["brightness"]])
        colour = np.full(3, 255 * level)
    else:
        colour = _rgb(rng, word("colour", COLOURS))
    dark_object = colour @ (0.299, 0.587, 0.114) < 128
    setting = wanted.get("setting") or ("plain light" if dark_object else "plain dark")
    if wanted.get("setting") in ("plain dark", "plain light"):  # the object must stand out
        colour = np.array([200, 30, 35] if setting == "plain dark" else [40, 80, 180], float)
    pixels = np.asarray(_background(rng, setting), dtype=np.float64)
    sizes = [size for size in AREA if "shape" not in wanted or size != "large"]  # that leave room
    mask = np.asarray(_mask(rng, word("shape", ASPECT), word("size", sizes)), dtype=bool)
    calm = [] if "texture" in wanted else ["smooth", "lightly textured"]
    grain = rng.uniform(*GRAIN[word("texture", calm or GRAIN)])
    if "colour" in wanted or "brightness" in wanted:
        grain = min(grain, 12)
    noise = rng.normal(0, grain, (SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)
    pixels[mask] = (colour + noise[..., None])[mask]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _rgb(rng: np.random.Generator, name: str) -> np.ndarray:
    import colorsys

    hue, saturation, value = (rng.uniform(*limits) for limits in COLOURS[name])
    return 255 * np.array(colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value))


def _background(rng: np.random.Generator, setting: str) -> Image.Image:
    if setting == "plain dark":
        return Image.new("RGB", (SIDE, SIDE), (int(rng.integers(5, 45)),) * 3)
    if setting == "plain light":
        return Image.new("RGB", (SIDE, SIDE), (int(rng.integers(215, 252)),) * 3)
    patches = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = Image.fromarray(patches).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return image.filter(ImageFilter.GaussianBlur(1))


def _mask(rng: np.random.Generator, shape: str, size: str) -> Image.Image:
    """An ellipse or a rectangle of that shape and share of the picture."""
    aspect, area = rng.uniform(*ASPECT[shape]), rng.uniform(*AREA[size])
    ellipse = bool(rng.integers(2)) and size != "large"
    full = area / (np.pi / 4 if ellipse else 1)
    aspect = float(np.clip(aspect, full / 0.96**2, 0.96**2 / full))  # as far as it fits
    width, height = SIDE * np.sqrt(full * aspect), SIDE * np.sqrt(full / aspect)
    left, top = rng.uniform(2, SIDE - width - 2), rng.uniform(2, SIDE - height - 2)
    image = Image.new("1", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    box = (left, top, left + width, top + height)
    (draw.ellipse if ellipse else draw.rectangle)(box, fill=1)
    return image


if __name__ == "__main__":
    sys.exit(main())

"""Attributes measured on the pixels: colour, brightness, contrast, texture, shape, size, setting.

Each attribute is a probability over its words, so a teacher can sample a word and a filter can
say how far a word is from what was measured. No learning, no labels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# sRGB anchors of the eleven basic colour terms (Berlin and Kay, 1969).
_COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (15, 15, 15),
    "white": (245, 245, 245),
    "grey": (128, 128, 128),
    "red": (200, 30, 35),
    "green": (50, 140, 60),
    "blue": (40, 80, 180),
    "yellow": (235, 210, 60),
    "orange": (235, 130, 40),
    "brown": (110, 70, 40),
    "purple": (120, 55, 140),
    "pink": (235, 150, 175),
}

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "colour": tuple(_COLOURS),
    "brightness": ("dark", "mid-toned", "bright"),
    "contrast": ("low-contrast", "high-contrast"),
    "texture": ("smooth", "lightly textured", "heavily textured"),
    "shape": ("tall", "square", "wide"),
    "size": ("small", "medium-sized", "large"),
    "setting": ("plain dark", "plain light", "cluttered"),
}

WORDS: tuple[tuple[str, str], ...] = tuple(
    (attribute, word) for attribute, words in ATTRIBUTES.items() for word in words
)
"""(attribute, word) in the order of `measure`'s output, length A."""

_SIDE = 48
_SOFTNESS = {"brightness": 0.1, "contrast": 0.08, "texture": 0.03, "shape": 0.2, "size": 0.08}
# Where each word lies on its measure; the memberships are Gaussians around these.
_CENTRES = {
    "brightness": (0.2, 0.5, 0.8),
    "contrast": (0.1, 0.35),
    "texture": (0.02, 0.08, 0.2),
    "shape": (-0.6, 0.0, 0.6),
    "size": (0.15, 0.4, 0.7),
}


def measure(image: Image.Image) -> np.ndarray:
    """Returns probabilities over the words of each attribute, float32 [A]; each attribute sums to 1.

    The object is what differs from the border's median colour by more than Otsu's threshold
    (IEEE Trans. SMC 9, 1979).
    """
    pixels = np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float32) / 255
    luminance = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    border = _border(pixels)
    mask = _object_mask(pixels, np.median(border, axis=0))
    parts = {
        "colour": _colour_shares(pixels[mask]),
        "brightness": _membership("brightness", luminance[mask].mean()),
        "contrast": _membership("contrast", luminance[mask].std()),
        "texture": _membership("texture", _gradient(luminance)[mask].mean()),
        "shape": _membership("shape", _log_aspect(mask)),
        "size": _membership("size", mask.mean()),
        "setting": _setting(_border(luminance[..., None])[:, 0]),
    }
    return np.concatenate([parts[name] for name in ATTRIBUTES]).astype(np.float32)


def split(measured_A: np.ndarray) -> dict[str, np.ndarray]:
    """Returns each attribute's part of a measured vector [..., A]."""
    bounds = np.cumsum([0] + [len(words) for words in ATTRIBUTES.values()])
    return {name: measured_A[..., bounds[i] : bounds[i + 1]] for i, name in enumerate(ATTRIBUTES)}


def _border(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [
            pixels[:2].reshape(-1, pixels.shape[-1]),
            pixels[-2:].reshape(-1, pixels.shape[-1]),
            pixels[:, :2].reshape(-1, pixels.shape[-1]),
            pixels[:, -2:].reshape(-1, pixels.shape[-1]),
        ]
    )


def _object_mask(pixels: np.ndarray, background: np.ndarray) -> np.ndarray:
    distance = np.abs(pixels - background).max(axis=-1)
    mask = distance > max(_otsu(distance), 0.04)
    return mask if mask.sum() >= 8 else np.ones_like(mask)


def _otsu(values: np.ndarray) -> float:
    counts, edges = np.histogram(values, bins=64, range=(0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    mass = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    return float(centres[np.nanargmax(np.where(np.isfinite(between), between, -1))])


def _colour_shares(pixels: np.ndarray) -> np.ndarray:
    anchors = np.array(list(_COLOURS.values()), dtype=np.float32) / 255
    difference = _opponent(pixels)[:, None] - _opponent(anchors)
    nearest = (difference**2).sum(axis=-1).argmin(axis=1)
    return np.bincount(nearest, minlength=len(anchors)) / len(nearest)


def _opponent(pixels: np.ndarray) -> np.ndarray:
    """Lightness, red against green, yellow against blue; hue counts more than lightness.

    In plain RGB a light grey lies nearer to pink than to white or grey.
    """
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return np.stack(
        [(red + green + blue) / 3, 1.5 * (red - green), 1.5 * ((red + green) / 2 - blue)], axis=-1
    )


def _membership(attribute: str, value: float) -> np.ndarray:
    centres = np.array(_CENTRES[attribute])
    clipped = np.clip(value, centres[0], centres[-1])
    scores = -((clipped - centres) ** 2) / (2 * _SOFTNESS[attribute] ** 2)
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def _gradient(luminance: np.ndarray) -> np.ndarray:
    rows, columns = np.gradient(luminance)
    return np.hypot(rows, columns)


def _log_aspect(mask: np.ndarray) -> float:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(np.log((np.ptp(columns) + 1) / (np.ptp(rows) + 1)))


def _setting(border: np.ndarray) -> np.ndarray:
    clutter = float(np.clip((border.std() - 0.05) / 0.15, 0, 1))
    light = float(np.clip((border.mean() - 0.3) / 0.4, 0, 1))
    return np.array([(1 - clutter) * (1 - light), (1 - clutter) * light, clutter])

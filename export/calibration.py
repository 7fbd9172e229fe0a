"""Which training images calibrate a quantization, and in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekd.preprocess import load_input
from edgekd.records import Item, Preprocess


def calibration_items(train: list[Item], count: int) -> list[Item]:
    """Returns up to `count` training items, spread by content digest: the same for the same images."""
    return sorted(train, key=lambda item: item.id)[:count]


def calibration_inputs(items: list[Item], folder: Path, preprocess: Preprocess) -> np.ndarray:
    """Returns float32 inputs [N, H, W, 3], as the app would feed them."""
    return np.stack([load_input(folder / item.path, preprocess) for item in items])

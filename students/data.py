"""Training images as bytes on disk, and the augmented, seeded batches that are drawn from them.

N images, B batch, H W height and width, K classes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pydantic

from edgekd.config import Section
from edgekd.preprocess import normalized, open_image, resized
from edgekd.progress import Progress
from edgekd.records import Item, Preprocess, to_dict
from edgekd.store import RunStore, append, digest, write_bytes
from edgekd.targets_file import Probs

_BLOCK = 100  # images between two writes of the cache; a stopped one repeats one block at most


class AugmentConfig(Section):
    """Random changes of a training image (albumentations); 0 switches one off."""

    flip: float = pydantic.Field(0.5, ge=0, le=1, description="chance of a horizontal flip")
    shift: float = pydantic.Field(0.08, ge=0, le=0.5, description="share of the side, both ways")
    scale: float = pydantic.Field(0.1, ge=0, le=0.5, description="zoom by 1 +- this")
    rotate: float = pydantic.Field(8.0, ge=0, le=180, description="degrees, both ways")
    brightness: float = pydantic.Field(0.2, ge=0, le=1, description="brightness and contrast")
    cutout: float = pydantic.Field(0.5, ge=0, le=1, description="chance of one erased rectangle")


@dataclass(frozen=True)
class TrainingData:
    """N images with targets [N, K], their weights [N] and labels as `TaskSpec.truth` has them.

    `pixels` [M, H, W, 3] uint8 may be a memory map of more images; `rows` [N] says which are meant
    (None: all), so that a selection copies no pixels.
    """

    pixels: np.ndarray
    probs: Probs
    weight: np.ndarray
    labels: np.ndarray
    rows: np.ndarray | None = None

    @property
    def labelled(self) -> np.ndarray:
        """Which images carry a label, bool [N]."""
        return np.asarray((self.labels >= 0).reshape(len(self.labels), -1).all(axis=1))

    def only(self, kept: np.ndarray) -> TrainingData:
        """The same for some of the images."""
        rows = kept if self.rows is None else self.rows[kept]
        return TrainingData(
            self.pixels, self.probs.only(kept), self.weight[kept], self.labels[kept], rows
        )

    def images(self, wanted: np.ndarray) -> np.ndarray:
        """Returns pixels [B, H, W, 3] of some of the images, read into memory."""
        return self.pixels[wanted if self.rows is None else self.rows[wanted]]


def image_cache(
    items: list[Item], folder: Path, preprocess: Preprocess, store: RunStore, progress: Progress
) -> np.ndarray:
    """Returns the resized images, uint8 [N, H, W, 3], memory-mapped from the run's cache.

    Built once for a list of items and a size; only resizing is cached, never normalization. One
    that was stopped goes on after its last whole block.
    """
    key = digest([[item.id for item in items], to_dict(preprocess)])[:16]
    path = store.path("cache", f"images-{preprocess.height}px-{key}.npy")
    shape = (len(items), preprocess.height, preprocess.width, 3)
    if not _is_whole(path, shape):
        part = path.with_suffix(".part")
        for start in range(_start_or_go_on(part, shape), len(items), _BLOCK):
            block = items[start : start + _BLOCK]
            pixels = [resized(open_image(folder / item.path), preprocess) for item in block]
            append(part, np.stack(pixels).tobytes())
            progress(start + len(block), len(items), "images resized")
        os.replace(part, path)
    return np.load(path, mmap_mode="r")


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    wanted = len(_header(shape)) + int(np.prod(shape))
    return path.is_file() and path.stat().st_size == wanted


def _start_or_go_on(part: Path, shape: tuple[int, ...]) -> int:
    """Returns how many images a file holds whole: a .npy header, then a row an image.

    Written in order rather than into a map: on a full disk a write fails, a map kills the process.
    """
    header, row = _header(shape), int(np.prod(shape[1:]))
    done = (part.stat().st_size - len(header)) // row if part.is_file() else 0
    if done > 0:
        os.truncate(part, len(header) + done * row)
        return done
    write_bytes(part, header)
    return 0


def _header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


class Augment:
    """albumentations' pipeline of an AugmentConfig; the same seed gives the same images."""

    def __init__(self, config: AugmentConfig):
        steps = transforms(config)
        import albumentations as A

        self._compose = A.Compose(steps)

    def __call__(self, pixels_BHWC: np.ndarray, seed: int) -> np.ndarray:
        """Returns the augmented copies, uint8 [B, H, W, 3]."""
        self._compose.set_random_seed(seed)
        return np.stack([self._compose(image=image)["image"] for image in pixels_BHWC])

    def batch(
        self, data: TrainingData, rows: np.ndarray, positions: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns pixels [B, H, W, 3], changed anew, and targets [B, K] of some images."""
        return self(np.ascontiguousarray(data.images(rows)), seed), data.probs.rows(rows)


class Changes(Protocol):
    """How images are changed in training: anew each time, or to views that are stored."""

    def batch(
        self, data: TrainingData, rows: np.ndarray, positions: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns pixels [B, H, W, 3] and targets [B, K]; `positions` count images since the start."""


def transforms(config: AugmentConfig) -> list[Any]:
    """Returns albumentations' transforms of a config, those that are switched on."""
    # albumentations asks the network for updates on import unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)  # its threads and torch's would fight for the same cores
    affine = A.Affine(
        translate_percent=(-config.shift, config.shift),
        scale=(1 - config.scale, 1 + config.scale),
        rotate=(-config.rotate, config.rotate),
        p=0.8,
    )
    erase = A.CoarseDropout(
        num_holes_range=(1, 1),
        hole_height_range=(0.15, 0.4),
        hole_width_range=(0.15, 0.4),
        fill="random_uniform",
        p=config.cutout,
    )
    light = A.RandomBrightnessContrast(config.brightness, config.brightness, p=0.5)
    steps: list[Any] = [A.HorizontalFlip(p=config.flip)] if config.flip else []
    steps += [affine] if config.shift or config.scale or config.rotate else []
    steps += [light] if config.brightness else []
    steps += [erase] if config.cutout else []
    return steps


def batches(
    data: TrainingData,
    preprocess: Preprocess,
    augment: Changes,
    batch_size: int,
    seed: int,
    first_step: int,
    num_steps: int,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields (images float32 [B, H, W, 3], probs [B, K], weight [B], labels [B]) for each step.

    A batch depends on the seed and its step only, so a resumed run sees what it would have seen.
    """
    for step in range(first_step, num_steps):
        rows = rows_of_step(len(data.labels), batch_size, seed, step)
        positions = step * batch_size + np.arange(batch_size)
        pixels, probs = augment.batch(data, rows, positions, seed * 1_000_003 + step)
        yield normalized(pixels, preprocess), probs, data.weight[rows], data.labels[rows]


def rows_of_step(num_rows: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Returns the rows of one step: passes over shuffled data without a gap, int64 [B]."""
    start = step * batch_size
    positions = np.arange(start, start + batch_size)
    rows = np.empty(batch_size, dtype=np.int64)
    for epoch in range(positions[0] // num_rows, positions[-1] // num_rows + 1):
        order = np.random.default_rng([seed, epoch]).permutation(num_rows)
        here = positions // num_rows == epoch
        rows[here] = order[positions[here] % num_rows]
    return rows

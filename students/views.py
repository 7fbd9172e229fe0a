"""Views of training images: drawn once, stored, and made again to the same pixels.

What a view changes is drawn at the student's size. Another network may look at the same view at its
own size: shifts, turns and erased rectangles then cover the same share of the picture.

N images, V views, B batch, H W height and width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.store import digest
from edgekd.views_file import REPLAYS, Layout, Replay, ViewTargets, load_replays
from students.data import AugmentConfig, TrainingData, transforms

# What of a transform's parameters is drawn; the rest follows from the config and the picture's size.
_DRAWN: dict[str, tuple[str, ...]] = {
    "HorizontalFlip": (),
    "Affine": ("matrix",),
    "RandomBrightnessContrast": ("alpha", "beta"),
    "CoarseDropout": ("holes", "seed"),
}


class Views:
    """Draws and replays the views of one AugmentConfig, by albumentations' ReplayCompose.

    `size` is the student's, in pixels.
    """

    def __init__(self, config: AugmentConfig, size: int):
        self._recording, self._standing = transforms(config), transforms(config)
        import albumentations as A

        self._compose = A.ReplayCompose(self._recording)
        self._canvas = np.zeros((size, size, 3), dtype=np.uint8)

    def draw(self, seed: int) -> Replay:
        """Returns what one view changes; the same seed gives the same."""
        self._compose.set_random_seed(seed)
        replay = self._compose(image=self._canvas)["replay"]
        drawn: Replay = []
        for transform, record in zip(self._recording, replay["transforms"], strict=True):
            if record["applied"]:
                name = type(transform).__name__
                drawn.append((name, {key: _plain(record["params"][key]) for key in _DRAWN[name]}))
        return drawn

    def replay(self, pixels_HWC: np.ndarray, replay: Replay) -> np.ndarray:
        """Returns the view of a picture of any size, uint8 [H, W, 3]."""
        by_name = {type(transform).__name__: transform for transform in self._standing}
        for name, drawn in replay:
            params = _at_size(drawn, self._canvas.shape[:2], pixels_HWC.shape[:2])
            pixels_HWC = by_name[name].apply_with_params(
                params | {"shape": pixels_HWC.shape, "output_shape": pixels_HWC.shape[:2]},
                image=pixels_HWC,
            )["image"]
        return pixels_HWC


class StoredViews:
    """In the place of `students.data.Augment`: draws no new views, but takes turns among the stored."""

    def __init__(self, folder: Path, config: AugmentConfig, candidate: int, size: int):
        self._views = Views(config, size)
        self._targets = ViewTargets(folder)
        self._replay_of = load_replays(folder / REPLAYS)
        self._candidate = candidate

    def batch(
        self, data: TrainingData, rows: np.ndarray, positions: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns pixels [B, H, W, 3] and targets [B, K] of an image's next view each."""
        layout = self._targets.layout
        images = rows if data.rows is None else data.rows[rows]
        views = (positions // len(data.labels) + images) % layout.num_views
        stored = layout.rows(self._candidate, images, views)
        pixels = [
            self._views.replay(image, self._replay_of(int(row)))
            for image, row in zip(data.images(rows), stored, strict=True)
        ]
        return np.stack(pixels), self._targets.of(self._candidate, images, views)


def draw_all(
    layout: Layout, candidates: Iterable[AugmentConfig], size: int, seed: int
) -> list[Replay]:
    """Returns what each row's view changes: it depends on image, view, candidate and seed alone."""
    views = [(Views(config, size), config.model_dump()) for config in candidates]
    found = []
    for candidate, image, view in layout:
        drawing, settings = views[candidate]
        found.append(drawing.draw(_seed(seed, layout.ids[image], view, settings)))
    return found


def _seed(seed: int, item_id: str, view: int, settings: dict[str, Any]) -> int:
    """Below 2**32, as albumentations wants it."""
    return int(digest([seed, item_id, view, settings])[:8], 16)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def _at_size(drawn: dict[str, Any], of: tuple[int, ...], to: tuple[int, ...]) -> dict[str, Any]:
    """The drawn parameters for a picture of another size: the same share of height and width."""
    params = dict(drawn)
    down, across = to[0] / of[0], to[1] / of[1]
    if "matrix" in params:
        matrix = np.array(params["matrix"], dtype=np.float64)
        if (down, across) != (1, 1):
            # Pixel centres lie at halves: x' + 1/2 = across * (x + 1/2).
            larger = np.array(
                [[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1.0]]
            )
            matrix = larger @ matrix @ np.linalg.inv(larger)
        params["matrix"] = matrix
    if "holes" in params:
        edges = np.array(params["holes"]) * np.array([across, down, across, down])
        params["holes"] = np.rint(edges).astype(np.int64)
    return params

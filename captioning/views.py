"""What teachers say of augmented views of the training images: looked at once, as the images were.

A teacher looks at a view through its network for export with the head it fitted on the images
themselves. The view is made on the image as the teacher prepares it, at the teacher's own size.

N images, V views, C candidates, R rows of views, K classes, H W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from captioning.rows import Rows
from captioning.teachers import catalogue
from captioning.teachers.catalogue import TeacherConfig
from captioning.teachers.protocol import Files
from edgekd.errors import ConfigError
from edgekd.machine import best_device
from edgekd.metrics import softmax
from edgekd.preprocess import normalized, open_image, resized
from edgekd.progress import Progress
from edgekd.records import Item, Preprocess
from edgekd.store import RunStore, atomic_path, digest, file_sha256
from edgekd.views_file import Layout

# (a picture [H, W, 3] uint8 of any size, candidate, row) -> the view of that row.
MakeView = Callable[[np.ndarray, int, int], np.ndarray]
# Kinds that never give class scores: what their captions say is the same for all views.
_ONLY_SPEAK = ("file", "openai")
_BLOCK = 64  # images between two saves; a stopped stage repeats one block at most
_AT_ONCE = 64  # views in one pass of the network


def scoring(teachers: Sequence[TeacherConfig]) -> list[int]:
    """Returns the numbers, from 1, of the teachers that can score views.

    Raises:
        ConfigError: one gives scores but cannot be a network of its own, or none gives any.
    """
    numbers = []
    for number, config in enumerate(teachers, start=1):
        if catalogue.exportable(config):
            numbers.append(number)
        elif config.kind not in _ONLY_SPEAK:
            raise ConfigError([f"targets.views: {_cannot(config)}"])
    if not numbers:
        raise ConfigError(
            ["targets.views: no teacher here scores images. Expected composed or classifier, or 0"]
        )
    return numbers


def look(
    layout: Layout,
    items: Sequence[Item],
    folder: Path,
    config: TeacherConfig,
    files: Files,
    make_view: MakeView,
    drawn: str,
    store: RunStore,
    progress: Progress,
) -> np.ndarray:
    """Returns what one teacher says of all views, probabilities float32 [R, K].

    `items` are those of the layout, `drawn` the digest of what the views change. Rows of images on
    which the teacher abstains are NaN. Blocks of images are saved in the cache and go with the stage.

    Raises:
        ConfigError: the teacher left no head.
    """
    loaded = catalogue.load_module(config, files.head)
    if loaded is None:
        raise ConfigError([f"targets.views: {_cannot(config)}"])
    network, preprocess = loaded
    device = best_device()
    network = network.to(device)
    per_image = layout.num_candidates * layout.num_views
    found: np.ndarray | None = None
    key = digest([file_sha256(files.head), config.model_dump(mode="json"), drawn])[:16]
    for start in range(0, len(items), _BLOCK):
        block = items[start : start + _BLOCK]
        path = store.path("cache", f"views-{key}-{start}.npy")
        if not path.is_file():
            parts = [
                _views_of(start + n, item, folder, preprocess, layout, make_view)
                for n, item in enumerate(block)
            ]
            logits = answers(network, np.concatenate(parts), preprocess, device)
            with atomic_path(path) as temporary, temporary.open("wb") as stream:
                np.save(stream, logits)
        logits = np.load(path)
        if found is None:
            shape = (layout.num_candidates, len(items), layout.num_views, logits.shape[1])
            found = np.empty(shape, np.float32)
        by_image = softmax(logits).reshape(len(block), *shape[:1], *shape[2:])
        found[:, start : start + len(block)] = by_image.swapaxes(0, 1)
        store.scratch(path)
        progress(min(start + _BLOCK, len(items)) * per_image, len(layout), "views")
    assert found is not None
    found[:, _abstains(files, items)] = np.nan
    return found.reshape(len(layout), -1)


def answers(
    network: Any, pixels_RHWC: np.ndarray, preprocess: Preprocess, device: str = "cpu"
) -> np.ndarray:
    """Returns what a network for export says of resized pictures (uint8), logits float32 [R, K].

    The network lies on `device`.
    """
    import torch

    found = []
    for start in range(0, len(pixels_RHWC), _AT_ONCE):
        some = normalized(pixels_RHWC[start : start + _AT_ONCE], preprocess)
        images = torch.from_numpy(some).permute(0, 3, 1, 2).to(device)
        with torch.inference_mode():
            found.append(network(images).float().cpu().numpy())
    return np.concatenate(found)


def _views_of(
    image: int,
    item: Item,
    folder: Path,
    preprocess: Preprocess,
    layout: Layout,
    make_view: MakeView,
) -> np.ndarray:
    """Pixels [C * V, H, W, 3] of an image's views, at the teacher's size."""
    pixels = resized(open_image(folder / item.path), preprocess)
    return np.stack(
        [
            make_view(pixels, candidate, layout.rows(candidate, image, view))
            for candidate in range(layout.num_candidates)
            for view in range(layout.num_views)
        ]
    )


def _abstains(files: Files, items: Sequence[Item]) -> np.ndarray:
    """Which images [N] the teacher gave no scores."""
    with np.load(files.arrays) as observations:
        row_of = Rows(observations["ids"].astype(str).tolist())
        logits = observations["logits"][[row_of[item.id] for item in items]]
    return np.asarray(~np.isfinite(logits).all(axis=1))


def _cannot(config: TeacherConfig) -> str:
    return (
        f"{config.name} (kind: {config.kind}) scores images but is no network that can be exported, "
        "so it cannot look at views. Expected composed or classifier (not .onnx or .tflite), or 0"
    )

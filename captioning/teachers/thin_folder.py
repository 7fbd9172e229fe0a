"""A transformers teacher in a folder, made smaller by the blocks that change least, as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from captioning.teachers.quiet import quiet
from edgekd.errors import UsageError, WeightsError, one_line
from edgekd.preprocess import open_image
from edgekd.sources import images_under

Way = Literal["greedy", "contiguous"]
Measure = Literal["cka", "angular"]
_BATCH = 16


def thin_folder(
    model: Path,
    images: Path,
    drop: int,
    out: Path,
    way: Way = "greedy",
    measure: Measure = "cka",
    most: int = 256,
) -> dict[str, Any]:
    """Writes a copy of an image classifier without `drop` blocks, which its own class loads.

    Of the images in a folder `most` are looked at, evenly spaced. Half of them rank the blocks, the other half tell what the copy lost: returns the blocks
    with their distances, agreement, KL divergence, speed-up and parameters. `out` has the image
    processor too, so it can be `caption.teacher.model` of kind `classifier`.

    Raises:
        UsageError: `out` is there already, or too few images.
        WeightsError: the folder holds no image classifier of transformers.
    """
    if out.exists():
        raise UsageError(f"{out}: is there already. Name a folder that is not, with --out")
    found = images_under(images) if images.is_dir() else []
    if len(found) < 2 * _BATCH:
        raise UsageError(
            f"{images}: {len(found)} images, expected {2 * _BATCH} or more: half rank, half test"
        )
    rows = np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)
    pictures = [open_image(images / found[row]) for row in rows]
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    from captioning.teachers import thinning

    try:
        with quiet():
            whole = AutoModelForImageClassification.from_pretrained(model, local_files_only=True)
            processor = AutoImageProcessor.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{model}: no image classifier that transformers saved with its processor ({one_line(error)})"
        ) from error
    whole.eval()
    with torch.inference_mode():
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
    batches = [{"pixel_values": part} for part in pixels.split(_BATCH) if len(part) == _BATCH]
    ranking, testing = batches[::2], batches[1::2]
    thinned = thinning.thin(whole, ranking, drop, way=way, measure=measure)
    compared = thinning.compare(whole, thinned.model, testing)
    thinning.save(thinned.model, out, testing[0])
    processor.save_pretrained(out)
    return {
        "dropped": [{"block": name, "distance": distance} for name, distance in thinned.dropped],
        "num_images": {"ranking": _BATCH * len(ranking), "testing": _BATCH * len(testing)},
        **compared,
    }

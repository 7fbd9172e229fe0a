"""From an image file to the model's input. Exists once; its settings travel in the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from edgekd.confidence import Confidence
from edgekd.errors import DataError, EdgeKDError
from edgekd.records import Preprocess, TensorSpec

SCHEMA = 1
_RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def open_image(path: Path) -> Image.Image:
    """Returns the image in RGB, turned upright by its EXIF tag; transparency becomes white.

    Raises:
        DataError: the file is not an image Pillow can read; says why.
    """
    try:
        with Image.open(path) as opened:
            opened.load()
            return upright_rgb(opened)
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image that Pillow can read") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Returns an opened image in RGB, turned upright; transparency becomes white."""
    return _to_rgb(ImageOps.exif_transpose(image))


def resized(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """Returns the resized pixels, uint8 [H, W, 3]."""
    resample = _RESAMPLE[preprocess.interpolation]
    size = (preprocess.width, preprocess.height)
    if preprocess.resize == "stretch":
        out = image.resize(size, resample)
    elif preprocess.resize == "shorter_side_crop":
        out = ImageOps.fit(image, size, resample)
    else:
        out = ImageOps.pad(image, size, resample, color=(0, 0, 0))
    return np.asarray(out, dtype=np.uint8)


def normalized(pixels: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Returns float32 `(pixels / 255 - mean) / std`, same shape [..., 3]."""
    mean = np.asarray(preprocess.mean, dtype=np.float32)
    std = np.asarray(preprocess.std, dtype=np.float32)
    return (pixels.astype(np.float32) / np.float32(255) - mean) / std


def load_input(path: Path, preprocess: Preprocess) -> np.ndarray:
    """Returns the model's float input for one image file, float32 [H, W, 3]."""
    return normalized(resized(open_image(path), preprocess), preprocess)


def to_json(
    preprocess: Preprocess,
    input_spec: TensorSpec,
    output_spec: TensorSpec,
    confidence: Confidence | None = None,
) -> dict[str, Any]:
    """Returns the content of `preprocess.json` (schema 1); `edgekd.confidence` reads its share."""
    confidence = confidence or Confidence()
    return {
        "schema": SCHEMA,
        "inputs": [
            {
                "modality": "image",
                "name": input_spec.name,
                "shape": list(input_spec.shape),
                "dtype": input_spec.dtype,
                "layout": input_spec.layout,
                "scale": input_spec.scale,
                "zero_point": input_spec.zero_point,
                "resize": {
                    "mode": preprocess.resize,
                    "height": preprocess.height,
                    "width": preprocess.width,
                    "interpolation": preprocess.interpolation,
                    "antialias": True,
                },
                "color": "RGB",
                "mean": list(preprocess.mean),
                "std": list(preprocess.std),
                "value_range": [0, 1],
            }
        ],
        "outputs": [
            {
                "name": output_spec.name,
                "head": "class",
                "labels": "labels.txt",
                "activation": "logits",
                "dtype": output_spec.dtype,
                "scale": output_spec.scale,
                "zero_point": output_spec.zero_point,
                "temperature": confidence.temperature,
            }
        ],
        "reject_by": confidence.reject_by,
        "reject_below": confidence.reject_below,
    }


def from_json(values: dict[str, Any]) -> Preprocess:
    """Returns the record in a `preprocess.json`.

    Raises:
        EdgeKDError: another schema version, or a key is missing.
    """
    if values.get("schema") != SCHEMA:
        raise EdgeKDError(
            f"preprocess.json: schema {values.get('schema')!r}, this edgekd reads schema {SCHEMA}"
        )
    try:
        entry = values["inputs"][0]
        return Preprocess(
            height=entry["resize"]["height"],
            width=entry["resize"]["width"],
            mean=tuple(entry["mean"]),
            std=tuple(entry["std"]),
            resize=entry["resize"]["mode"],
            interpolation=entry["resize"]["interpolation"],
        )
    except (KeyError, IndexError) as error:
        raise EdgeKDError(f"preprocess.json: {error} is missing") from error


def preprocess_from(values: dict[str, Any]) -> Preprocess:
    """Returns the record of its own dict, as `to_dict` made it."""
    return Preprocess(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow clips 16-bit values at 255 on conversion, so scale them first.
        values = np.asarray(image, dtype=np.float64)
        image = Image.fromarray((np.clip(values, 0, 65535) / 257).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")

"""From an image file to the model's input. Exists once; its settings travel in the bundle."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from edgekd.confidence import Confidence
from edgekd.errors import DataError, EdgeKDError, SchemaError, one_line
from edgekd.records import Preprocess, TensorSpec

SCHEMA = 1
MAX_PIXELS = 128_000_000
"""More are refused before anything is decoded. Phones reach 108 million; this many take 1 GB."""
NOT_PIXELS = frozenset({"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"})
"""Pillow names these, but runs Ghostscript or asks for a handler to decode them."""
_RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


# Pillow logs an error of some TIFFs before it raises it; without a handler that goes to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def open_image(path: Path) -> Image.Image:
    """Returns the image in RGB, turned upright by its EXIF tag; transparency becomes white.

    Of an animation or a file of several pages it is the first. The file's name does not matter.

    Raises:
        DataError: the file is not an image Pillow can read, or has too many pixels; says why.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on odd but readable files, and on size: see MAX_PIXELS
        try:
            with Image.open(path, formats=_formats()) as opened:
                _refuse_huge(opened.size)
                with _silenced() if opened.format == "TIFF" else contextlib.nullcontext():
                    opened.load()
                return upright_rgb(opened)
        except Exception as error:  # on bad bytes Pillow's plugins raise nearly anything
            raise DataError(f"{path}: {_reason(path, error)}") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Returns an opened image in RGB, turned upright; transparency becomes white."""
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF; the pixels are good
        upright = image
    return _to_rgb(upright)


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
    multilabel: bool = False,
) -> dict[str, Any]:
    """Returns the content of `preprocess.json` (schema 1); `edgekd.confidence` reads its share.

    Of a `multilabel` model each output is by itself: the image shows the classes whose sigmoid is
    above the `threshold`.
    """
    confidence = confidence or Confidence()
    decided: dict[str, Any] = {"kind": "multilabel", "threshold": 0.5} if multilabel else {}
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
                **decided,
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
        advice = "Use the edgekd that made the bundle, or make it anew with: edgekd run CONFIG"
        raise SchemaError("preprocess.json", values.get("schema"), SCHEMA, advice)
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


@functools.cache
def _formats() -> tuple[str, ...]:
    """The formats to try, in Pillow's order."""
    Image.init()
    return tuple(name for name in Image.ID if name not in NOT_PIXELS)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Within it stderr is closed to native code too: libtiff prints what it then reports."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _refuse_huge(size: tuple[int, int]) -> None:
    num_pixels = size[0] * size[1]
    if num_pixels > MAX_PIXELS:
        raise DataError(_too_large(f"{size[0]} x {size[1]} is {num_pixels:,} pixels"))


def _too_large(found: str) -> str:
    return f"too large: {found}, the limit is {MAX_PIXELS:,}. Make it smaller first"


def _reason(path: Path, error: Exception) -> str:
    """Why a file could not be read, in one line."""
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(path)
    if isinstance(error, Image.DecompressionBombError):  # its message begins with the pixels
        found = re.search(r"\d+", str(error))
        return _too_large(f"{int(found.group()):,} pixels" if found else "a decompression bomb")
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    text = one_line(error)
    plain = isinstance(error, OSError | ValueError | SyntaxError) and text
    told = text if plain else f"{type(error).__name__}: {text}".removesuffix(": ")
    return f"cannot be read as an image ({told})"


def _unidentified(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as stream:
        head = stream.read(12)
        if not head:
            return "an empty file (0 bytes)"
        if head.startswith((b"%!PS", b"%PDF", b"\xc5\xd0\xd3\xc6")):
            return "PostScript and PDF are programs, not pixels: convert it to PNG"
        if head[4:8] == b"ftyp" and head[8:11] in (b"hei", b"hev", b"mif", b"msf"):
            return "HEIC is not read by Pillow alone: convert it to JPEG"
    return "not an image that Pillow can read"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        premultiplied = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
        rgba = (image.convert(premultiplied) if premultiplied else image).convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of 16 or 32 bits or floats as 8 bits; Pillow would clip them at 255."""
    values = np.asarray(image, dtype=np.float32)
    values = np.nan_to_num(values, nan=0, posinf=0, neginf=0)
    transparent = image.info.get("transparency")
    low, high = _black_and_white(image.mode, float(values.min()), float(values.max()))
    scaled = np.clip((values - low) * (255 / (high - low)), 0, 255).round().astype(np.uint8)
    if isinstance(transparent, int):
        scaled[values == transparent] = 255
    return Image.fromarray(scaled)


def _black_and_white(mode: str, least: float, most: float) -> tuple[float, float]:
    """What counts as black and as white: 16 bits, for floats also 0 to 1 and 0 to 255.

    Values outside of these have no meaning of their own: the least is black, the most white.
    """
    whites = {"I": (65535.0,), "F": (1.0, 255.0, 65535.0)}.get(mode, (65535.0,))
    for white in whites:
        if least >= 0 and most <= white:
            return 0.0, white
    return least, max(most, least + 1)

"""How timm and transformers prepare an image, said as a `Preprocess` wherever that can say it.

What it says is also what is done, so a network sees the same pixels here, in an exported file and
in an app. It differs from the library's own by the rounding of a resized edge, at most a pixel,
and not at all for square images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from edgekd.preprocess import normalized, resized
from edgekd.records import Preprocess

_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class Window:
    """The part in the middle that a network looks at."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Pixels:
    """`prepare` makes an RGB image a network's input, float32 [H, W, 3].

    `preprocess` is None where no record says what `prepare` does. With a `window`, the network
    takes only that part of it.
    """

    prepare: Callable[[Image.Image], np.ndarray]
    preprocess: Preprocess | None
    window: Window | None = None


def of_record(preprocess: Preprocess, window: Window | None = None) -> Pixels:
    """Returns the pixels that a record describes."""
    return Pixels(
        lambda image: normalized(resized(image, preprocess), preprocess), preprocess, window
    )


def of_timm(data_config: dict[str, Any]) -> Pixels:
    """Returns the pixels of what `timm.data.resolve_model_data_config` says."""
    _, height, width = data_config["input_size"]
    modes = {"center": "shorter_side_crop", "squash": "stretch"}
    mode = modes.get(data_config["crop_mode"])
    if mode is None or data_config["interpolation"] not in _INTERPOLATIONS.values():
        return _of_timm_itself(data_config)
    whole = tuple(math.floor(size / data_config["crop_pct"]) for size in (height, width))
    preprocess = Preprocess(
        height=whole[0],
        width=whole[1],
        mean=tuple(data_config["mean"]),
        std=tuple(data_config["std"]),
        resize=mode,  # type: ignore[arg-type]
        interpolation=data_config["interpolation"],
    )
    # torchvision's rounding
    top, left = round((whole[0] - height) / 2), round((whole[1] - width) / 2)
    return of_record(preprocess, _window(whole, top, left, height, width))


def of_processor(processor: Any) -> Pixels:
    """Returns the pixels of a transformers image processor (its "pil" backend)."""
    return _said(processor) or _of_processor_itself(processor)


def _said(processor: Any) -> Pixels | None:
    """What it does as a record; None for one with steps of its own, or that leaves some out."""
    if not _is_plain(processor) or not (processor.do_rescale and processor.do_normalize):
        return None
    if not processor.do_resize or processor.do_pad:
        return None
    size, interpolation = processor.size, _INTERPOLATIONS.get(processor.resample)
    if interpolation is None or not math.isclose(processor.rescale_factor, 1 / 255):
        return None
    if size.shortest_edge and not size.longest_edge and processor.do_center_crop:
        whole, mode = (size.shortest_edge, size.shortest_edge), "shorter_side_crop"
    elif size.height and size.width:
        whole, mode = (size.height, size.width), "stretch"
    else:
        return None
    preprocess = Preprocess(
        height=whole[0],
        width=whole[1],
        mean=_three(processor.image_mean),
        std=_three(processor.image_std),
        resize=mode,  # type: ignore[arg-type]
        interpolation=interpolation,  # type: ignore[arg-type]
    )
    if not processor.do_center_crop:
        return of_record(preprocess)
    height, width = processor.crop_size.height, processor.crop_size.width
    if height > whole[0] or width > whole[1]:
        return None
    top, left = (whole[0] - height) // 2, (whole[1] - width) // 2
    return of_record(preprocess, _window(whole, top, left, height, width))


def _is_plain(processor: Any) -> bool:
    """Whether every step is that of transformers' base class."""
    from transformers.image_processing_backends import PilBackend

    steps = ("process_image", "resize", "center_crop", "rescale", "normalize", "_preprocess")
    return isinstance(processor, PilBackend) and all(
        getattr(type(processor), step) is getattr(PilBackend, step) for step in steps
    )


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = np.broadcast_to(np.asarray(values, dtype=np.float64), 3).tolist()
    return first, second, third


def _window(whole: tuple[int, ...], top: int, left: int, height: int, width: int) -> Window | None:
    return None if whole == (height, width) else Window(top, left, height, width)


def _of_timm_itself(data_config: dict[str, Any]) -> Pixels:
    import timm

    transform = timm.data.create_transform(**data_config, is_training=False)
    return Pixels(lambda image: transform(image).permute(1, 2, 0).numpy(), None)


def _of_processor_itself(processor: Any) -> Pixels:
    def prepare(image: Image.Image) -> np.ndarray:
        (pixels_CHW,) = processor(images=image, return_tensors="np")["pixel_values"]
        return np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0), dtype=np.float32)

    return Pixels(prepare, None)

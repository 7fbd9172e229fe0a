"""The composed teacher as one torch module, so that it can be exported beside its students."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from captioning.teachers.backbone import Backbones
from captioning.teachers.composed import MIN_NORM


class TeacherModule(torch.nn.Module):
    """Images [B, 3, H, W] to class logits [B, K], the same as `ComposedHead.logits`."""

    def __init__(self, backbones: Backbones, arrays: dict[str, np.ndarray]):
        super().__init__()
        self.backbones = backbones
        weight = float(arrays["names_weight"])
        self.names = _names(arrays, weight) if weight and "names_source" in arrays else None
        self.prototypes = _Prototypes(arrays, weight) if weight and "prototypes" in arrays else None
        self.probe = _probe(arrays) if "probe_coef" in arrays else None
        if self.names is None:
            backbones.forget_imagenet()

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        logits: Any = 0.0
        if self.names is None:
            features = self.backbones.features(images_BCHW)
        else:
            features, imagenet = self.backbones(images_BCHW)
            logits = self.names(imagenet)
        for head in (self.probe, self.prototypes):
            if head is not None:
                logits = logits + head(features)
        return logits


class _Names(torch.nn.Module):
    def __init__(self, to_sentence: torch.nn.Linear, to_class: torch.nn.Linear):
        super().__init__()
        self.to_sentence, self.to_class = to_sentence, to_class

    def forward(self, imagenet: torch.Tensor) -> torch.Tensor:
        vectors = self.to_sentence(torch.softmax(imagenet, dim=1))
        return self.to_class(torch.nn.functional.normalize(vectors, dim=1, eps=MIN_NORM))


class _Prototypes(torch.nn.Module):
    def __init__(self, arrays: dict[str, np.ndarray], weight: float):
        super().__init__()
        self.sizes = [int(size) for size in arrays["prototype_sizes"]]
        self.mean_D: torch.Tensor
        self.register_buffer("mean_D", torch.from_numpy(arrays["prototype_mean"]).float())
        scale = weight / float(arrays["prototype_temperature"]) / np.sqrt(len(self.sizes))
        self.to_class = _linear(arrays["prototypes"] * scale, None)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        # Slices: litert-torch cannot convert a torch.split into one part.
        centred, ends = features - self.mean_D, np.cumsum(self.sizes).tolist()
        parts = [centred[:, end - size : end] for size, end in zip(self.sizes, ends, strict=True)]
        unit = [torch.nn.functional.normalize(part, dim=1, eps=MIN_NORM) for part in parts]
        return self.to_class(torch.cat(unit, dim=1))


def _names(arrays: dict[str, np.ndarray], weight: float) -> _Names:
    to_class = _linear(
        arrays["names_target"] / float(arrays["names_temperature"]) * weight,
        arrays["names_bias"] * weight,
    )
    return _Names(_linear(arrays["names_source"].T, None), to_class)


def _probe(arrays: dict[str, np.ndarray]) -> torch.nn.Linear:
    weight = float(arrays["probe_weight"])
    return _linear(arrays["probe_coef"].T * weight, arrays["probe_intercept"] * weight)


def _linear(weight_OI: np.ndarray, bias_O: np.ndarray | None) -> torch.nn.Linear:
    num_out, num_in = weight_OI.shape
    layer = torch.nn.Linear(num_in, num_out, bias=bias_O is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight_OI)))
        if bias_O is not None:
            layer.bias.copy_(torch.from_numpy(np.asarray(bias_O)))
    return layer

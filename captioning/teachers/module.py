"""The composed teacher as one torch module, so that it can be exported beside its students."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from captioning.teachers.backbone import Backbone
from captioning.teachers.composed import MIN_NORM


class TeacherModule(torch.nn.Module):
    """Images [B, 3, H, W] to class logits [B, K], the same as `ComposedHead.logits`."""

    def __init__(self, backbone: Backbone, arrays: dict[str, np.ndarray]):
        super().__init__()
        self.backbone = backbone
        self.names_weight = float(arrays["names_weight"]) if "names_source" in arrays else 0.0
        if self.names_weight == 0:
            backbone.network.reset_classifier(0)  # ImageNet's names are not asked for
        self.probe: torch.nn.Linear | None = None
        if "probe_coef" in arrays:
            weight = float(arrays["probe_weight"])
            coef, intercept = arrays["probe_coef"], arrays["probe_intercept"]
            self.probe = _linear(coef.T * weight, intercept * weight)
        if self.names_weight > 0:
            temperature = float(arrays["names_temperature"])
            self.to_sentence = _linear(arrays["names_source"].T, None)
            self.to_class = _linear(
                arrays["names_target"] / temperature * self.names_weight,
                arrays["names_bias"] * self.names_weight,
            )

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        features, imagenet = self.backbone(images_BCHW)
        logits: Any = self.probe(features) if self.probe is not None else 0.0
        if self.names_weight > 0:
            vectors = self.to_sentence(torch.softmax(imagenet, dim=1))
            unit = torch.nn.functional.normalize(vectors, dim=1, eps=MIN_NORM)
            logits = logits + self.to_class(unit)
        return logits


def _linear(weight_OI: np.ndarray, bias_O: np.ndarray | None) -> torch.nn.Linear:
    num_out, num_in = weight_OI.shape
    layer = torch.nn.Linear(num_in, num_out, bias=bias_O is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight_OI)))
        if bias_O is not None:
            layer.bias.copy_(torch.from_numpy(np.asarray(bias_O)))
    return layer

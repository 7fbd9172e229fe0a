"""An ImageNet classifier as the composed teacher's eye: features and ImageNet logits.

B images, D features, H W height and width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from timm.data import ImageNetInfo

from edgekd.weights import WeightsFile, find, in_order, read


class Backbone(torch.nn.Module):
    """EfficientNet-Lite with its ImageNet classifier (TensorFlow weights, SAME padding)."""

    def __init__(self, name: str, weights: Path | None = None):
        super().__init__()
        self.weights: WeightsFile = find(name, weights)
        network: Any = timm.create_model(f"tf_{name}", pretrained=False)
        network.load_state_dict(in_order(read(self.weights.path), network.state_dict()))
        self.network: Any = network.eval()
        self.num_features: int = network.num_features

    def forward(self, images_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns features [B, D] and ImageNet logits [B, 1000]."""
        maps = self.network.forward_features(images_BCHW)
        features = self.network.forward_head(maps, pre_logits=True)
        return features, self.network.classifier(features)

    def count_params(self, with_classifier: bool) -> int:
        """Returns the learned numbers, with or without the ImageNet classifier's."""
        spared = 0 if with_classifier else _count(self.network.classifier)
        return _count(self.network) - spared

    @torch.inference_mode()
    def observe(self, images_BHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns features [B, D] and ImageNet logits [B, 1000], float32."""
        device = next(self.network.parameters()).device
        # The NHWC memory stays as it is: permuted, it is channels_last, which runs faster.
        images = torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).to(device)
        features, logits = self(images)
        return features.cpu().numpy(), logits.cpu().numpy()


def imagenet_names() -> list[list[str]]:
    """Returns for each of the 1,000 classes its WordNet lemmas, the first the most usual."""
    info = ImageNetInfo()
    return [info.index_to_description(index).split(", ") for index in range(info.num_classes())]


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

"""ImageNet classifiers as the composed teacher's eye: features and ImageNet logits.

B images, D features (of all backbones beside each other), H W height and width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

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


class Backbones(torch.nn.Module):
    """One or several backbones that look at the same pixels."""

    def __init__(self, backbones: list[Backbone]):
        super().__init__()
        self.parts = torch.nn.ModuleList(backbones)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of features of each backbone."""
        return tuple(part.num_features for part in self._each)

    @property
    def weights(self) -> list[WeightsFile]:
        return [part.weights for part in self._each]

    def forward(self, images_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns features [B, D] beside each other and the mean ImageNet logits [B, 1000]."""
        seen = [part(images_BCHW) for part in self.parts]
        features = torch.cat([features for features, _ in seen], dim=1)
        return features, torch.stack([logits for _, logits in seen]).mean(dim=0)

    def features(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Returns features [B, D] beside each other; works without the ImageNet classifiers."""
        return torch.cat([part(images_BCHW)[0] for part in self.parts], dim=1)

    def forget_imagenet(self) -> None:
        """Drops the ImageNet classifiers; only `features` can be asked from then on."""
        for part in self._each:
            part.network.reset_classifier(0)

    def count_params(self, with_classifier: bool) -> int:
        """Returns the learned numbers, with or without the ImageNet classifiers'."""
        return sum(part.count_params(with_classifier) for part in self._each)

    @torch.inference_mode()
    def observe(self, images_BHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns features [B, D] and ImageNet logits [B, 1000], float32."""
        device = next(self.parameters()).device
        # The NHWC memory stays as it is: permuted, it is channels_last, which runs faster.
        images = torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).to(device)
        features, logits = self(images)
        return features.cpu().numpy(), logits.cpu().numpy()

    @property
    def _each(self) -> list[Backbone]:
        return list(self.parts)  # type: ignore[arg-type]


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

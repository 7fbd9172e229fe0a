"""A classifier of timm or transformers as a torch module, with a view of its last features.

B images, C outputs, D features, K classes of the task, H W height and width.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from captioning.teachers.class_mapping import ClassMapping
from captioning.teachers.pixels import Window


class Network(torch.nn.Module):
    """Images [B, 3, H, W] to the classifier's own outputs [B, C]; it looks at `window` alone."""

    def __init__(self, network: torch.nn.Module, window: Window | None):
        super().__init__()
        self.network = network
        self.window = window

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        if self.window is not None:
            top, left = self.window.top, self.window.left
            bottom, right = top + self.window.height, left + self.window.width
            images_BCHW = images_BCHW[:, :, top:bottom, left:right]
        outputs: Any = self.network(images_BCHW)
        return getattr(outputs, "logits", outputs)

    @torch.inference_mode()
    def look(self, images_BHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns outputs [B, C] and what goes into the last layer [B, D], float32.

        None for a network whose last layer takes no vector an image.
        """
        device = next(self.parameters()).device
        images = torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).to(device)
        taken: list[torch.Tensor] = []
        layer = _last_layer(self.network)
        hook = layer.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
        try:
            outputs = self(images)
        finally:
            hook.remove()
        features = taken[-1].flatten(1) if taken else None
        if features is None or taken[-1].numel() != len(images) * taken[-1].shape[1]:
            return outputs.float().cpu().numpy(), None
        return outputs.float().cpu().numpy(), features.float().cpu().numpy()


class MappedNetwork(torch.nn.Module):
    """Images [B, 3, H, W] to the task's class logits [B, K], as `ClassMapping.logits` gives them."""

    def __init__(self, network: Network, mapping: ClassMapping, temperature: float):
        super().__init__()
        self.network = network
        self.inverse = 1 / temperature
        self.is_one_to_one = mapping.is_one_to_one
        num_outputs, missing = len(mapping.to_class_C), mapping.missing
        known = [index for index in range(mapping.num_classes) if index not in missing]
        gather = np.zeros((len(known), num_outputs), dtype=np.float32)
        for column, index in enumerate(mapping.to_class_C):
            if index >= 0:
                gather[known.index(index), column] = 1
        place = np.zeros((mapping.num_classes, len(known) + 1), dtype=np.float32)
        place[known, range(len(known))] = 1
        place[missing, -1] = 1  # the mean of the known ones
        self.gather = _linear(gather)
        self.place = _linear(place) if len(missing) else None
        self.log_known = math.log(len(known))

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        outputs = self.network(images_BCHW)
        if self.is_one_to_one:
            logits = self.gather(outputs)
        else:
            most = outputs.amax(dim=1, keepdim=True)
            logits = torch.log(self.gather(torch.exp(outputs - most)) + 1e-30) + most
        logits = logits * self.inverse
        if self.place is None:
            return logits
        mean = torch.logsumexp(logits, dim=1, keepdim=True) - self.log_known
        return self.place(torch.cat([logits, mean], dim=1))


def _last_layer(network: torch.nn.Module) -> torch.nn.Module:
    """The last layer that multiplies, in the order of the network's parts: the classifier."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    *_, last = [part for part in network.modules() if isinstance(part, kinds)]
    return last


def _linear(weight_OI: np.ndarray) -> torch.nn.Linear:
    layer = torch.nn.Linear(weight_OI.shape[1], weight_OI.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight_OI))
    return layer

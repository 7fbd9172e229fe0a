"""Logits of a torch network on resized pixels."""

from __future__ import annotations

import numpy as np
import torch

from edgekd.preprocess import normalized
from edgekd.records import Preprocess
from students.models import device_of


@torch.inference_mode()
def logits_of(
    network: torch.nn.Module, pixels_NHWC: np.ndarray, preprocess: Preprocess, batch: int = 128
) -> np.ndarray:
    """Returns float32 logits [N, K] of uint8 pixels, network in eval mode."""
    was_training = network.training
    network.eval()
    rows = []
    for start in range(0, len(pixels_NHWC), batch):
        images = torch.from_numpy(normalized(pixels_NHWC[start : start + batch], preprocess))
        logits = network(images.permute(0, 3, 1, 2).to(device_of(network)))
        rows.append(logits.float().cpu().numpy())
    network.train(was_training)
    return np.concatenate(rows)

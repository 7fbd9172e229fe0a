"""The student networks: timm's MobileNets and EfficientNet-Lites by their timm names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch

from edgekd.records import Preprocess
from edgekd.weights import WeightsFile, find, in_order, read
from students.catalogue import STUDENTS


def build(
    architecture: str, num_classes: int, weights: Path | None = None, pretrained: bool = False
) -> tuple[torch.nn.Module, WeightsFile | None]:
    """Returns a fresh student, or one that starts from ImageNet weights with a new classifier.

    Raises:
        WeightsError: `pretrained` and no weights are to be had.
    """
    entry = STUDENTS[architecture]
    name = entry.timm_name or architecture
    if not pretrained:
        return _undecided(timm.create_model(name, num_classes=num_classes)), None
    found = find(entry.weights or architecture, weights)
    network: Any = timm.create_model(name, num_classes=1000)
    network.load_state_dict(in_order(read(found.path), network.state_dict()))
    network.reset_classifier(num_classes)
    return _undecided(network), found


def _undecided(network: Any) -> Any:
    """Starts the classifier at zero, so that the first loss is log K and not several times that.

    timm's MobileNets start it so wide that a short training spends its first steps undoing it.
    """
    torch.nn.init.zeros_(network.get_classifier().weight)
    return network


@torch.no_grad()
def scale_logits(network: Any, slope: float, offset: float) -> None:
    """Changes the classifier in place: its logits become slope * logit + offset."""
    classifier = network.get_classifier()
    classifier.weight.mul_(slope)
    classifier.bias.mul_(slope).add_(offset)


def default_preprocess(image_size: int) -> Preprocess:
    """Returns the students' preprocessing: values in [-1, 1], what mobile apps feed."""
    return Preprocess(image_size, image_size)


def num_params(network: torch.nn.Module) -> int:
    """Returns the number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def num_macs(network: torch.nn.Module, image_size: int) -> int:
    """Returns multiply-accumulates for one image (torch-pruning's counter)."""
    import torch_pruning

    was_training = network.training
    network.eval()
    example = torch.zeros(1, 3, image_size, image_size, device=device_of(network))
    macs, _ = torch_pruning.utils.count_ops_and_params(network, example)
    network.train(was_training)
    return int(macs)


def device_of(network: torch.nn.Module) -> torch.device:
    """Returns where the network's parameters lie."""
    return next(network.parameters()).device

"""Structured pruning to a share of the MACs or parameters: whole channels go, no new operators.

Groups of coupled channels and their importance are torch-pruning's (arXiv:2301.12900).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch_pruning as tp

from edgekd.errors import EdgeKDError
from students.models import device_of, num_macs, num_params

_ROUND_TO = 8  # what mobile kernels like
_BISECTIONS = 7
_HEAVY_SHARE = 0.8


def prune_to_macs(
    network: torch.nn.Module, image_size: int, macs_ratio: float
) -> tuple[torch.nn.Module, list[Any]]:
    """Returns (a pruned copy with at most `macs_ratio` of the MACs, the cuts that made it).

    Raises:
        EdgeKDError: no ratio of channels reaches the target.
    """
    return _bisected(
        network, image_size, "macs_ratio", macs_ratio, lambda net: num_macs(net, image_size), []
    )


def prune_to_params(
    network: torch.nn.Module, image_size: int, params_ratio: float
) -> tuple[torch.nn.Module, list[Any]]:
    """Returns (a pruned copy with at most `params_ratio` of the parameters, its cuts).

    Only the layers that hold most parameters are cut. These are the late ones: a smaller file
    costs less accuracy so, and saves fewer MACs.

    Raises:
        EdgeKDError: no ratio of channels reaches the target.
    """
    light = _light_layers(network)
    return _bisected(network, image_size, "params_ratio", params_ratio, num_params, light)


def replay(network: torch.nn.Module, cuts: list[Any], image_size: int) -> None:
    """Cuts a fresh network in place as recorded, so that pruned weights can be loaded."""
    graph = tp.DependencyGraph().build_dependency(network, _example(network, image_size))
    graph.load_pruning_history(cuts)


def _bisected(
    network: torch.nn.Module,
    image_size: int,
    key: str,
    ratio: float,
    size_of: Callable[[torch.nn.Module], int],
    spared: list[str],
) -> tuple[torch.nn.Module, list[Any]]:
    """The channel ratio that meets the target is found by bisection: channels are not MACs."""
    target = size_of(network) * ratio
    low, high = 0.0, 0.9
    best = _pruned(network, image_size, high, spared)
    if size_of(best[0]) > target:
        raise EdgeKDError(
            f"prune.{key}: {ratio} is not reached even at a channel ratio of {high}. "
            "Choose a larger ratio or a smaller student"
        )
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        candidate = _pruned(network, image_size, middle, spared)
        if size_of(candidate[0]) <= target:
            high, best = middle, candidate
        else:
            low = middle
    return best


def _light_layers(network: torch.nn.Module) -> list[str]:
    """Names of the convolutions beside those that hold `_HEAVY_SHARE` of their parameters.

    Depthwise ones follow the layer before them and are none of either.
    """
    convolutions = {
        name: layer.weight.numel()
        for name, layer in network.named_modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.groups == 1
    }
    left = _HEAVY_SHARE * sum(convolutions.values())
    light = []
    for name, size in sorted(convolutions.items(), key=lambda entry: -entry[1]):
        if left <= 0:
            light.append(name)
        left -= size
    return light


def _pruned(
    network: torch.nn.Module, image_size: int, ratio: float, spared: list[str]
) -> tuple[torch.nn.Module, list[Any]]:
    clone: Any = copy.deepcopy(network)
    pruner = tp.pruner.BasePruner(
        clone,
        _example(clone, image_size),
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        round_to=_ROUND_TO,
        ignored_layers=[clone.get_classifier(), *map(clone.get_submodule, spared)],
    )
    pruner.step()
    return clone, [list(cut) for cut in pruner.pruning_history()]


def _example(network: torch.nn.Module, image_size: int) -> torch.Tensor:
    return torch.zeros(1, 3, image_size, image_size, device=device_of(network))

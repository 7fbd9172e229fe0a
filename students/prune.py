"""Structured pruning to a MACs target: whole channels go, the network stays an ordinary one.

Groups of coupled channels and their importance are torch-pruning's (arXiv:2301.12900).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch_pruning as tp

from edgekd.errors import EdgeKDError
from students.models import device_of, num_macs

_ROUND_TO = 8  # what mobile kernels like
_BISECTIONS = 7


def prune_to_macs(
    network: torch.nn.Module, image_size: int, macs_ratio: float
) -> tuple[torch.nn.Module, list[Any]]:
    """Returns (a pruned copy with at most `macs_ratio` of the MACs, the cuts that made it).

    The channel ratio that meets the target is found by bisection, since channels are not MACs.

    Raises:
        EdgeKDError: no ratio reaches the target.
    """
    target = num_macs(network, image_size) * macs_ratio
    low, high = 0.0, 0.9
    best = _pruned(network, image_size, high)
    if num_macs(best[0], image_size) > target:
        raise EdgeKDError(
            f"prune.macs_ratio: {macs_ratio} is not reached even at a channel ratio of {high}. "
            "Choose a larger ratio or a smaller student"
        )
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        candidate = _pruned(network, image_size, middle)
        if num_macs(candidate[0], image_size) <= target:
            high, best = middle, candidate
        else:
            low = middle
    return best


def replay(network: torch.nn.Module, cuts: list[Any], image_size: int) -> None:
    """Cuts a fresh network in place as recorded, so that pruned weights can be loaded."""
    graph = tp.DependencyGraph().build_dependency(network, _example(network, image_size))
    graph.load_pruning_history(cuts)


def _pruned(
    network: torch.nn.Module, image_size: int, ratio: float
) -> tuple[torch.nn.Module, list[Any]]:
    clone: Any = copy.deepcopy(network)
    pruner = tp.pruner.BasePruner(
        clone,
        _example(clone, image_size),
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        round_to=_ROUND_TO,
        ignored_layers=[clone.get_classifier()],
    )
    pruner.step()
    return clone, [list(cut) for cut in pruner.pruning_history()]


def _example(network: torch.nn.Module, image_size: int) -> torch.Tensor:
    return torch.zeros(1, 3, image_size, image_size, device=device_of(network))

"""Pruning reaches its target, and what was cut can be cut again."""

from __future__ import annotations

import pytest
import torch

from edgekd.errors import EdgeKDError
from students import models
from students.prune import prune_to_macs, prune_to_params, replay

SIDE = 32


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    network, _ = models.build("mobilenetv4_conv_small_050", 5)
    torch.nn.init.normal_(network.get_classifier().weight)  # type: ignore[operator]
    return network.eval()


@pytest.mark.parametrize("ratio", [0.7, 0.4])
def test_the_macs_target_is_met_and_not_by_far(network: torch.nn.Module, ratio: float) -> None:
    before = models.num_macs(network, SIDE), models.num_params(network)
    pruned, cuts = prune_to_macs(network, SIDE, ratio)
    macs = models.num_macs(pruned, SIDE)
    assert macs <= ratio * before[0]
    assert macs > 0.6 * ratio * before[0]
    assert models.num_params(pruned) < before[1]
    assert (models.num_macs(network, SIDE), models.num_params(network)) == before
    assert cuts
    with torch.inference_mode():
        assert pruned(torch.zeros(2, 3, SIDE, SIDE)).shape == (2, 5)


def test_the_same_cuts_give_a_network_the_weights_fit(network: torch.nn.Module) -> None:
    pruned, cuts = prune_to_macs(network, SIDE, 0.5)
    again, _ = models.build("mobilenetv4_conv_small_050", 5)
    replay(again, cuts, SIDE)
    again.load_state_dict(pruned.state_dict())
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = pruned.eval()(images)
        assert torch.equal(again.eval()(images), expected)
        assert expected.std() > 0


@pytest.mark.parametrize("ratio", [0.8, 0.6])
def test_the_parameter_target_is_met_where_the_parameters_are(
    network: torch.nn.Module, ratio: float
) -> None:
    pruned, _ = prune_to_params(network, SIDE, ratio)
    left = models.num_params(pruned) / models.num_params(network)
    assert ratio - 0.15 < left <= ratio
    # Early layers hold few parameters and most of the work.
    assert models.num_macs(pruned, SIDE) / models.num_macs(network, SIDE) > left + 0.1
    assert pruned.conv_stem.out_channels == network.conv_stem.out_channels  # type: ignore[union-attr]
    with torch.inference_mode():
        assert pruned(torch.zeros(2, 3, SIDE, SIDE)).shape == (2, 5)


def test_channels_come_in_eights(network: torch.nn.Module) -> None:
    pruned, _ = prune_to_macs(network, SIDE, 0.5)
    widths = {m.out_channels for m in pruned.modules() if isinstance(m, torch.nn.Conv2d)}
    assert all(width % 8 == 0 for width in widths), widths


def test_a_target_out_of_reach_is_said(network: torch.nn.Module) -> None:
    with pytest.raises(EdgeKDError, match=r"prune.macs_ratio: 0.0001 is not reached"):
        prune_to_macs(network, SIDE, 0.0001)
    with pytest.raises(EdgeKDError, match=r"prune.params_ratio: 0.0001 is not reached"):
        prune_to_params(network, SIDE, 0.0001)

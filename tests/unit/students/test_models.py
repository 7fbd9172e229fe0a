"""Networks as they are built and changed."""

from __future__ import annotations

import torch

from students import models


def test_logits_are_scaled_in_the_network_itself() -> None:
    network, _ = models.build("mobilenetv4_conv_small_050", 3)
    torch.nn.init.normal_(network.get_classifier().weight)
    network.eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        before = network(images)
        models.scale_logits(network, 2.0, -0.5)
        after = network(images)
    assert torch.allclose(after, 2 * before - 0.5, atol=1e-5)

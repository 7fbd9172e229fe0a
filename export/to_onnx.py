"""A torch network to a float32 .onnx file, simplified by onnxslim; NHWC input as the .tflite has."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import torch

from edgekd.errors import EdgeKDError
from edgekd.extras import require
from edgekd.records import Preprocess
from edgekd.store import atomic_path
from export.to_tflite import quiet_logs


class _ChannelsLast(torch.nn.Module):
    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image.permute(0, 3, 1, 2))


def to_onnx(network: torch.nn.Module, preprocess: Preprocess, path: Path) -> None:
    """Writes `path`: input `image` float32 [1, H, W, 3], output `logits` float32 [1, K].

    Raises:
        EdgeKDError: the exporter refuses the network.
    """
    onnx = require("onnx", "export")
    onnxslim = require("onnxslim", "export")
    example = (torch.zeros(1, preprocess.height, preprocess.width, 3),)
    module = _ChannelsLast(network.eval().cpu()).eval()
    try:
        with warnings.catch_warnings(), quiet_logs(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                external_data=False,
                input_names=["image"],
                output_names=["logits"],
                verbose=False,
            )
            assert program is not None
            slim = onnxslim.slim(program.model_proto)
    except Exception as error:  # the exporter raises whatever its passes raise
        raise EdgeKDError(f"{path.name}: torch.onnx cannot export the network ({error})") from error
    with atomic_path(path) as temporary:
        onnx.save(slim, str(temporary))

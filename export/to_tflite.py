"""A torch network to a float32 .tflite file (litert-torch), NHWC input as mobile apps feed it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch

from edgekd.errors import EdgeKDError
from edgekd.extras import require
from edgekd.records import Preprocess
from edgekd.store import write_bytes


def to_tflite(network: torch.nn.Module, preprocess: Preprocess, path: Path) -> None:
    """Writes `path`: one float32 input [1, H, W, 3], one float32 output of logits [1, K].

    Raises:
        EdgeKDError: the converter refuses the network.
    """
    litert_torch = require("litert_torch", "export")
    example = (torch.zeros(1, preprocess.height, preprocess.width, 3),)
    nhwc = litert_torch.to_channel_last_io(network.eval().cpu(), args=[0])
    try:
        with warnings.catch_warnings(), quiet_logs():
            warnings.simplefilter("ignore")
            model = litert_torch.convert(nhwc, example)
    except Exception as error:  # the converter raises whatever its passes raise
        raise EdgeKDError(
            f"{path.name}: litert-torch cannot convert the network ({error})"
        ) from error
    # Not model.export(path): on a full disk LLVM, which writes there, ends the process.
    write_bytes(path, model.model_content())


class quiet_logs:
    """Within it, libraries log errors only."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)

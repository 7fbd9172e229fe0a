"""Checkpoints: weights as safetensors, everything else as JSON; nothing is pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from safetensors import torch as safetensors

from edgekd.errors import EdgeKDError, SchemaError
from edgekd.preprocess import preprocess_from
from edgekd.records import Preprocess, StudentCheckpoint
from edgekd.store import file_sha256, read_json, write_bytes, write_json
from students import models

SCHEMA = 1


def save(
    network: torch.nn.Module,
    path: Path,
    *,
    name: str,
    architecture: str,
    preprocess: Preprocess,
    parent: str | None = None,
    metrics: dict[str, float] | None = None,
    pruning: list[Any] | None = None,
) -> StudentCheckpoint:
    """Writes `path` (.safetensors) and the .json beside it; `pruning` is what replays the cuts."""
    tensors = {key: value.contiguous().cpu() for key, value in network.state_dict().items()}
    # Not `save_file`: it makes files that only their owner can read.
    write_bytes(path, safetensors.save(tensors))
    record = StudentCheckpoint(
        name=name,
        architecture=architecture,
        path=path.name,
        sha256=file_sha256(path),
        num_params=models.num_params(network),
        num_macs=models.num_macs(network, preprocess.height),
        preprocess=preprocess,
        parent=parent,
        metrics=metrics or {},
    )
    num_classes = int(cast(Any, network).get_classifier().out_features)
    extra = {"schema": SCHEMA, "num_classes": num_classes, "pruning": pruning or []}
    write_json(path.with_suffix(".json"), extra | vars(record))
    return record


def load(path: Path) -> tuple[torch.nn.Module, StudentCheckpoint]:
    """Returns (network in eval mode, its record) of a .safetensors file.

    Raises:
        EdgeKDError: another schema version, or the weights are not the recorded ones.
    """
    values = read_json(path.with_suffix(".json"))
    if values.get("schema") != SCHEMA:
        advice = "Train it anew with: edgekd distill CONFIG"
        raise SchemaError(path.with_suffix(".json"), values.get("schema"), SCHEMA, advice)
    if file_sha256(path) != values["sha256"]:
        raise EdgeKDError(
            f"{path}: its sha256 is not the one in {path.stem}.json. Delete both and start again: "
            "its stage trains it anew"
        )
    network, _ = models.build(values["architecture"], values["num_classes"])
    if values["pruning"]:
        from students.prune import replay

        replay(network, values["pruning"], values["preprocess"]["height"])
    network.load_state_dict(safetensors.load_file(path))
    fields = {key: values[key] for key in StudentCheckpoint.__dataclass_fields__}
    fields["preprocess"] = preprocess_from(values["preprocess"])
    return network.eval(), StudentCheckpoint(**fields)

"""Checkpoints: saved and loaded, whole and pruned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edgekd.errors import EdgeKDError
from edgekd.records import Preprocess
from students import checkpoint, models
from students.prune import prune_to_macs

ARCH, SIDE = "mobilenetv4_conv_small_050", 32
PREPROCESS = Preprocess(SIDE, SIDE, (0.1, 0.2, 0.3), (0.5, 0.5, 0.4), "letterbox", "bicubic")
IMAGES = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    network, _ = models.build(ARCH, 5)
    torch.nn.init.normal_(network.get_classifier().weight)  # type: ignore[operator]
    return network.eval()


def logits(network: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return network(IMAGES)


def test_a_network_comes_back_with_its_record(network: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    saved = checkpoint.save(
        network, path, name="student", architecture=ARCH, preprocess=PREPROCESS,
        parent="abc", metrics={"accuracy": 0.5},
    )  # fmt: skip
    loaded, record = checkpoint.load(path)
    assert record == saved
    assert record.preprocess == PREPROCESS
    assert record.num_params == sum(p.numel() for p in network.parameters())
    assert record.num_macs == models.num_macs(network, SIDE) > 1_000_000
    assert not loaded.training
    assert torch.equal(logits(loaded), logits(network))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["student.json", "student.safetensors"]
    # Whoever may read the one may read the other.
    assert path.stat().st_mode == path.with_suffix(".json").stat().st_mode


def test_a_pruned_network_comes_back_to_equal_logits(
    network: torch.nn.Module, tmp_path: Path
) -> None:
    pruned, cuts = prune_to_macs(network, SIDE, 0.5)
    path = tmp_path / "pruned.safetensors"
    saved = checkpoint.save(
        pruned, path, name="pruned", architecture=ARCH, preprocess=PREPROCESS, pruning=cuts
    )
    loaded, record = checkpoint.load(path)
    assert record == saved
    assert record.num_macs <= 0.5 * models.num_macs(network, SIDE)
    assert torch.equal(logits(loaded), logits(pruned.eval()))
    assert not torch.equal(logits(loaded), logits(network))


def saved_at(path: Path, network: torch.nn.Module) -> Path:
    checkpoint.save(network, path, name="x", architecture=ARCH, preprocess=PREPROCESS)
    return path


def test_other_weights_than_recorded_are_refused(network: torch.nn.Module, tmp_path: Path) -> None:
    path = saved_at(tmp_path / "x.safetensors", network)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        EdgeKDError, match=r"its sha256 is not the one in x.json. Delete both and start again"
    ):
        checkpoint.load(path)


def test_another_schema_is_refused(network: torch.nn.Module, tmp_path: Path) -> None:
    path = saved_at(tmp_path / "x.safetensors", network)
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(record | {"schema": 99}))
    with pytest.raises(EdgeKDError, match=r"x\.json: schema 99, this edgekd reads schema 1"):
        checkpoint.load(path)


def test_a_missing_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(EdgeKDError, match=r"none.json: no such file"):
        checkpoint.load(tmp_path / "none.safetensors")

"""The bench stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from devices.stage import BenchConfig, run
from edgekd.config import parse
from edgekd.errors import ConfigError, EdgeKDError
from edgekd.records import ExportedModel, TensorSpec
from tests.unit.tiny_models import tiny_onnx

QUICK = BenchConfig(runs=2, warmup=1)


def test_one_record_a_file_in_order(tmp_path: Path) -> None:
    first = tiny_onnx(tmp_path / "a.onnx", np.ones((6, 2)))
    second = tiny_onnx(tmp_path / "b.onnx", np.ones((3, 2)))
    spec = TensorSpec("x", (1, 3), "float32")
    exported = ExportedModel(
        "student", "onnx", "fp32", str(second), "", 0, 0, 6, 6, input=spec, output=spec
    )
    heard: list[tuple[int, int]] = []
    results = run([first, exported], QUICK, lambda *counts: heard.append(counts))
    assert [result.model for result in results] == ["a.onnx", "b.onnx"]
    assert [(result.num_runs, result.num_warmup_runs) for result in results] == [(2, 1), (2, 1)]
    assert heard == [(1, 2), (2, 2)]


def test_switched_off_it_measures_nothing(tmp_path: Path) -> None:
    assert run([tmp_path / "gone.onnx"], BenchConfig(enabled=False)) == []


def test_a_file_that_cannot_be_timed_is_left_out_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x09")
    good = tiny_onnx(tmp_path / "good.onnx", np.ones((6, 2)))
    warnings: list[str] = []
    results = run([tmp_path / "bad.onnx", good], QUICK, warn=warnings.append)
    assert [result.model for result in results] == ["good.onnx"]
    assert len(warnings) == 1
    assert "bad.onnx: not a whole onnx model" in warnings[0]
    with pytest.raises(EdgeKDError, match="not a whole onnx model"):
        run([tmp_path / "bad.onnx"], QUICK)


def test_config_faults_are_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(BenchConfig, {"runs": 0, "thread": 2})
    assert caught.value.faults[0].startswith("runs: input should be greater than or equal to 1")
    assert caught.value.faults[1] == "thread: unknown key. Closest: 'threads'."

"""Exported files at work, on models small enough to work out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd import runtimes
from edgekd.errors import EdgeKDError, UsageError
from edgekd.records import TensorSpec
from tests.unit.tiny_models import tiny_onnx, tiny_tflite

WEIGHTS_KF = np.array([[1.0, 0, 0], [0, 2, 0]])
BIAS_K = np.array([0.5, -0.5])


def test_a_tflite_file_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    runner = runtimes.load(tiny_tflite(tmp_path / "m.tflite", WEIGHTS_KF, BIAS_K, (1, 1, 1, 3)))
    assert runner.runtime == "litert"
    assert runner.version
    (entry,), (out,) = runner.inputs, runner.outputs
    assert (entry.name, entry.shape, entry.dtype, entry.layout) == (
        "image", (1, 1, 1, 3), "float32", "NHWC",
    )  # fmt: skip
    assert (out.shape, out.dtype, out.layout) == ((1, 2), "float32", "NC")
    assert entry.scale is None
    assert entry.zero_point is None


def test_tflite_logits_by_hand_for_several_images(tmp_path: Path) -> None:
    runner = runtimes.load(tiny_tflite(tmp_path / "m.tflite", WEIGHTS_KF, BIAS_K, (1, 1, 1, 3)))
    images = np.array([[[[1.0, 2, 3]]], [[[-1.0, 0, 9]]]], dtype=np.float32)
    logits = runtimes.predict_logits(runner, images)
    assert logits.dtype == np.float32
    assert logits.tolist() == [[1.5, 3.5], [-0.5, -0.5]]


def test_an_integer_input_is_quantized_by_its_own_scale(tmp_path: Path) -> None:
    path = tiny_tflite(
        tmp_path / "m.tflite", WEIGHTS_KF, np.zeros(2), (1, 1, 1, 3), input_scale=0.5
    )
    runner = runtimes.load(path)
    assert (runner.inputs[0].dtype, runner.inputs[0].scale) == ("uint8", 0.5)
    # 1.3 / .5 = 2.6 becomes 3, so 1.5; 200 / .5 = 400 becomes 255, so 127.5 and twice that.
    images = np.array([[[[1.3, 200, 0]]]], dtype=np.float32)
    assert runtimes.predict_logits(runner, images).tolist() == [[1.5, 255.0]]


def test_an_onnx_file(tmp_path: Path) -> None:
    runner = runtimes.load(tiny_onnx(tmp_path / "m.onnx", WEIGHTS_KF.T))
    assert runner.runtime == "onnxruntime"
    assert [(s.name, s.shape, s.dtype, s.layout) for s in (*runner.inputs, *runner.outputs)] == [
        ("x", (1, 3), "float32", "NC"),
        ("y", (1, 2), "float32", "NC"),
    ]
    (values,) = runner.invoke(np.array([[1.0, 2, 3]], dtype=np.float32))
    assert values.tolist() == [[1.0, 4.0]]


def test_as_input_turns_and_quantizes() -> None:
    batch = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    nchw = runtimes.as_input(batch, TensorSpec("x", (1, 3, 2, 2), "float32", "NCHW"))
    assert nchw.shape == (1, 3, 2, 2)
    assert nchw[0, 1].tolist() == [[1, 4], [7, 10]]
    assert nchw.flags.c_contiguous
    int8 = runtimes.as_input(batch, TensorSpec("x", (1, 2, 2, 3), "int8", "NHWC", 0.05, -10))
    assert int8.dtype == np.int8
    assert int8.ravel()[:8].tolist() == [-10, 10, 30, 50, 70, 90, 110, 127]


def test_halves_are_rounded_to_even() -> None:
    """As numpy rounds: a stranger's script with np.round gives the same bytes."""
    batch = np.array([[[[0.5, 1.5, 2.5]]]], dtype=np.float32)
    spec = TensorSpec("x", (1, 1, 1, 3), "uint8", "NHWC", 1.0, 0)
    assert runtimes.as_input(batch, spec).ravel().tolist() == [0, 2, 2]


def test_an_integer_input_without_a_scale_is_refused() -> None:
    with pytest.raises(EdgeKDError, match=r"input 'x' is int8 but has no scale and zero point"):
        runtimes.as_input(np.zeros((1, 1, 1, 3)), TensorSpec("x", (1, 1, 1, 3), "int8"))


def test_dequantize_by_hand() -> None:
    spec = TensorSpec("y", (1, 2), "int8", "NC", 0.25, -4)
    values = runtimes.dequantize(np.array([[-128, 127]], dtype=np.int8), spec)
    assert values.tolist() == [[-31.0, 32.75]]
    plain = runtimes.dequantize(np.array([[1.5]]), TensorSpec("y", (1, 1), "float32", "NC"))
    assert plain.dtype == np.float32


@pytest.mark.parametrize("name", ["m.tflite", "m.onnx"])
def test_a_damaged_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"nothing a runtime knows")
    with pytest.raises(EdgeKDError, match=rf"{name}: .* refuses it"):
        runtimes.load(tmp_path / name)


def test_a_file_that_cannot_run_is_named(tmp_path: Path) -> None:
    runner = runtimes.load(tiny_tflite(tmp_path / "m.tflite", WEIGHTS_KF, BIAS_K, (1, 1, 1, 3)))

    class Broken:
        def set_tensor(self, index: int, array: np.ndarray) -> None: ...

        def invoke(self) -> None:
            raise RuntimeError("Node number 68 (DIV) failed to invoke.")

    runner._interpreter = Broken()  # type: ignore[attr-defined]
    with pytest.raises(EdgeKDError, match=r"m\.tflite: litert cannot run it \(Node number 68"):
        runner.invoke(np.zeros((1, 1, 1, 3), np.float32))


def test_what_is_no_model_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file"):
        runtimes.load(tmp_path / "m.tflite")
    (tmp_path / "m.pt").write_bytes(b"")
    with pytest.raises(UsageError, match=r"expected a .tflite or .onnx file, found '.pt'"):
        runtimes.load(tmp_path / "m.pt")


def test_a_loaded_runner_leaves_stderr_open(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import sys

    runtimes.load(tiny_tflite(tmp_path / "m.tflite", WEIGHTS_KF, BIAS_K, (1, 1, 1, 3)))
    print("still here", file=sys.stderr)
    assert capfd.readouterr().err == "still here\n"

"""Constants and operators of model files, read from their tables alone."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import EdgeKDError, UsageError
from edgekd.model_graph import ConstantTensor, parse_graph, read_graph
from tests.unit.tiny_models import tiny_onnx, tiny_tflite


def test_tflite_constants_and_operators(tmp_path: Path) -> None:
    path = tiny_tflite(tmp_path / "m.tflite", np.ones((2, 6)), np.ones(2), (1, 1, 2, 3))
    graph = read_graph(path)
    assert graph.format == "tflite"
    assert graph.tensors == (
        ConstantTensor("weights", (2, 6), "float32", 48, True),
        ConstantTensor("bias", (2,), "float32", 8, True),
    )
    assert (graph.num_params, graph.num_operators) == (14, 1)


def test_tflite_with_a_quantized_input_has_two_operators(tmp_path: Path) -> None:
    path = tiny_tflite(
        tmp_path / "m.tflite", np.ones((2, 6)), np.ones(2), (1, 1, 2, 3), input_scale=0.5
    )
    assert (read_graph(path).num_params, read_graph(path).num_operators) == (14, 2)


def test_onnx_constants_and_operators(tmp_path: Path) -> None:
    graph = read_graph(tiny_onnx(tmp_path / "m.onnx", np.ones((6, 2))))
    assert graph.tensors == (ConstantTensor("w", (6, 2), "float32", 48, True),)
    assert (graph.format, graph.num_params, graph.num_operators) == ("onnx", 12, 2)
    assert graph.external_files == ()


def test_onnx_with_weights_beside_it_names_the_file(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "m.onnx", np.ones((6, 2)), external=True)
    graph = read_graph(path)
    assert graph.external_files == ("m.onnx.data",)
    assert graph.tensors[0].size_bytes == 48
    assert (tmp_path / "m.onnx.data").stat().st_size >= 48


def test_onnx_parameters_leave_out_scales_zero_points_and_shapes(tmp_path: Path) -> None:
    """int8 weights [3, 4] and an int32 bias [4], dequantized: 12 + 4 parameters."""
    constants = {
        "w_q": np.zeros((3, 4), np.int8),
        "w_scale": np.ones(4, np.float32),
        "w_zero": np.zeros(4, np.int8),
        "b_q": np.zeros(4, np.int32),
        "b_scale": np.ones(4, np.float32),
        "shape": np.array([1, 4], np.int64),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["w_q", "w_scale", "w_zero"], ["w"], axis=1),
        helper.make_node("DequantizeLinear", ["b_q", "b_scale"], ["b"], axis=0),
        helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
        helper.make_node("Reshape", ["z", "shape"], ["y"]),
    ]
    graph = read_graph(_saved(tmp_path / "q.onnx", nodes, constants, [1, 3], [1, 4]))
    assert graph.num_params == 16
    sizes = {tensor.name: tensor.size_bytes for tensor in graph.tensors}
    assert sizes == {"w_q": 12, "w_scale": 16, "w_zero": 4, "b_q": 16, "b_scale": 16, "shape": 16}


def test_onnx_constant_nodes_and_typed_fields_count(tmp_path: Path) -> None:
    """A weight in a Constant node, one written as float_data, and one in an inner graph."""
    inner = helper.make_graph(
        [helper.make_node("Add", ["s", "inner_w"], ["inner_y"])],
        "inner",
        [],
        [helper.make_tensor_value_info("inner_y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.ones(2, np.float32), "inner_w")],
    )
    nodes = [
        helper.make_node(
            "Constant", [], ["c"], value=numpy_helper.from_array(np.ones((1, 2), np.float32))
        ),
        helper.make_node("Mul", ["x", "c"], ["m"]),
        helper.make_node("Add", ["m", "typed"], ["s"]),
        helper.make_node("If", ["flag"], ["y"], then_branch=inner, else_branch=inner),
    ]
    path = tmp_path / "c.onnx"
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("typed", TensorProto.FLOAT, [2], [0.5, 0.25])],
    )
    onnx.save(helper.make_model(graph), str(path))
    found = read_graph(path)
    assert [(t.name, t.size_bytes) for t in found.tensors] == [
        ("c", 8), ("inner_w", 8), ("inner_w", 8), ("typed", 8),
    ]  # fmt: skip
    assert found.num_operators == 4


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_a_model_cut_anywhere_is_refused_with_one_line(tmp_path: Path, kind: str) -> None:
    """Every cut is refused, but for a byte or two of padding behind the last table."""
    whole = _model(tmp_path, kind).read_bytes()
    messages = [_refusal(whole[:length], f"m.{kind}") for length in range(1, len(whole))]
    refused = [message for message in messages if message is not None]
    assert len(refused) >= len(messages) - 4
    for message in refused:
        assert message.startswith(f"m.{kind}: not a whole {kind} model (")
        assert "\n" not in message


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_changed_bytes_never_crash_the_reader(tmp_path: Path, kind: str) -> None:
    whole = _model(tmp_path, kind).read_bytes()
    rng = np.random.default_rng(0)
    num_refused = 0
    for _ in range(2_000):
        changed = bytearray(whole)
        for position in rng.integers(0, len(whole), size=3):
            changed[position] = rng.integers(0, 256)
        num_refused += _refusal(bytes(changed), f"m.{kind}") is not None
    assert num_refused > 100  # the changes do reach what is read


def test_a_part_that_lies_behind_the_end_is_named(tmp_path: Path) -> None:
    whole = bytearray(_model(tmp_path, "onnx").read_bytes())
    with pytest.raises(EdgeKDError, match=r"cut off: a part misses \d+ bytes"):
        parse_graph(bytes(whole[: len(whole) // 2]), "m.onnx")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.tflite", b"", "the file is empty"),
        ("m.onnx", b"", "the file is empty"),
        ("m.tflite", b"PK\x03\x04 this is a zip", "the mark 'TFL3' at byte 4 is missing"),
        ("m.tflite", struct.pack("<I4sI", 4_000_000_000, b"TFL3", 0), "not a whole tflite model"),
        ("m.onnx", b"<html>not found</html>", "not a whole onnx model"),
        ("m.onnx", b"\x08\x09", "it has no graph"),
    ],
)
def test_what_is_no_model_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(EdgeKDError, match=message) as caught:
        read_graph(path)
    assert str(path) in str(caught.value)


def test_other_kinds_and_missing_files_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_graph(tmp_path / "gone.tflite")
    (tmp_path / "m.pt").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"expected a \.tflite or \.onnx file, found '\.pt'"):
        read_graph(tmp_path / "m.pt")


def test_reading_loads_no_runtime_and_no_numpy(tmp_path: Path) -> None:
    path = _model(tmp_path, "tflite")
    code = (
        "import sys; from pathlib import Path; from edgekd.model_graph import read_graph\n"
        f"read_graph(Path({str(path)!r}))\n"
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'ai_edge_litert', 'torch')"
        " if m in sys.modules])"
    )
    root = Path(sys.modules["edgekd.model_graph"].__file__ or "").parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"


def _refusal(content: bytes, name: str) -> str | None:
    """Our message about these bytes, None where they read; any other error fails the test."""
    try:
        parse_graph(content, name)
    except EdgeKDError as error:
        return str(error)
    return None


def _model(folder: Path, kind: str) -> Path:
    path = folder / f"m.{kind}"
    if kind == "onnx":
        return tiny_onnx(path, np.ones((6, 2)))
    return tiny_tflite(path, np.ones((2, 6)), np.ones(2), (1, 1, 2, 3))


def _saved(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    input_shape: list[int],
    output_shape: list[int],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph), str(path))
    return path

"""Model files small enough to work out by hand, built in the test run."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def tiny_tflite(
    path: Path,
    weights_KF: np.ndarray,
    bias_K: np.ndarray,
    input_shape: tuple[int, ...],
    *,
    input_scale: float | None = None,
    custom_op: str | None = None,
) -> Path:
    """Writes a one-operator .tflite: logits = flattened input x weights^T + bias; returns `path`.

    With `input_scale` the input is uint8 with zero point 0, made float32 by a DEQUANTIZE operator
    in front. `custom_op` replaces the FULLY_CONNECTED operator by a custom one of that name.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, shape: tuple[int, ...], buffer: int, dtype: int = 0) -> object:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name.encode(), list(shape), buffer, dtype
        return made

    def operator(code: int, inputs: list[int], outputs: list[int]) -> object:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
        return made

    def operator_code(builtin: int, custom: str | None = None) -> object:
        made = schema.OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode = builtin, min(builtin, 127)
        made.customCode = custom.encode() if custom else None
        made.version = 1
        return made

    weights, bias = weights_KF.astype(np.float32), bias_K.astype(np.float32)
    dense = operator(0, [0, 1, 2], [3])
    if custom_op is None:
        dense.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        dense.builtinOptions = schema.FullyConnectedOptionsT()
        codes = [operator_code(schema.BuiltinOperator.FULLY_CONNECTED)]
    else:
        codes = [operator_code(schema.BuiltinOperator.CUSTOM, custom_op)]
    subgraph = schema.SubGraphT()
    subgraph.tensors = [
        tensor("image", input_shape, 0),
        tensor("weights", weights.shape, 1),
        tensor("bias", bias.shape, 2),
        tensor("logits", (1, len(bias)), 0),
    ]
    subgraph.operators = [dense]
    subgraph.inputs, subgraph.outputs = [0], [3]
    if input_scale is not None:
        subgraph.tensors.append(
            _quantized(schema, tensor("pixels", input_shape, 0, 3), input_scale)
        )
        codes.append(operator_code(schema.BuiltinOperator.DEQUANTIZE))
        subgraph.operators = [operator(1, [4], [0]), dense]
        subgraph.inputs = [4]

    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, codes, [subgraph]
    model.buffers = [schema.BufferT() for _ in range(3)]
    model.buffers[1].data = np.frombuffer(weights.tobytes(), np.uint8)
    model.buffers[2].data = np.frombuffer(bias.tobytes(), np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def tiny_onnx(path: Path, weights_FK: np.ndarray, *, external: bool = False) -> Path:
    """Writes y = x @ weights, x float32 [1, F], as two nodes (MatMul, Identity); returns `path`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    num_features, num_classes = weights_FK.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Identity", ["z"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, num_features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, num_classes])],
        [numpy_helper.from_array(weights_FK.astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(
        model,
        str(path),
        save_as_external_data=external,
        location=f"{path.name}.data" if external else None,
        size_threshold=0,
    )
    return path


def _quantized(schema: object, tensor: object, scale: float) -> object:
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [scale], [0]
    tensor.quantization = quantization
    return tensor

"""Reads the few protobuf fields of an .onnx file that name its tensors and operators.

Field numbers are those of onnx.proto; the onnx package is not needed. Weights are stepped over by
their length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

from edgekd.model_graph import ConstantTensor, DamagedFileError, ModelGraph

_DTYPES = (
    "undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool",
    "float16", "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16",
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "uint4", "int4",
    "float4_e2m1", "float8_e8m0", "uint2", "int2",
)  # fmt: skip
_MODEL_IR_VERSION, _MODEL_GRAPH, _MODEL_OPSETS = 1, 7, 8
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE_INITIALIZER = 1, 5, 15
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP_TYPE, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 5, 6, 11
_SPARSE_VALUES = 1
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_EXTERNAL = 1, 2, 8, 13
_TENSOR_PAYLOADS = {4, 5, 6, 7, 9, 10, 11}  # float, int32, string, int64, raw, double, uint64
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_onnx(data: memoryview) -> ModelGraph:
    """Returns the graph of an .onnx file; operators are the nodes of the main graph.

    Raises:
        DamagedFileError, IndexError: not a whole .onnx file.
    """
    fields = list(_fields(data))
    graphs = [value for number, value in fields if number == _MODEL_GRAPH]
    if not graphs or not isinstance(graphs[-1], memoryview):
        raise DamagedFileError("it has no graph")
    missing = {_MODEL_IR_VERSION, _MODEL_OPSETS} - {number for number, _ in fields}
    if missing:
        raise DamagedFileError("it is cut off: its version numbers are missing")
    found = _Found()
    num_operators = _read_graph(graphs[-1], found)
    tensors = tuple(_constant(raw, found) for raw in found.tensors)
    external = sorted({raw.location for raw in found.tensors if raw.location is not None})
    return ModelGraph("onnx", tensors, num_operators, tuple(external))


@dataclass
class _RawTensor:
    name: str = ""
    shape: list[int] = field(default_factory=list)
    type_code: int = 0
    size_bytes: int = 0
    location: str | None = None


@dataclass
class _Found:
    """What the walk over a graph and its inner graphs gathers.

    `dequantized` are values of DequantizeLinear nodes, `scales` their scales and zero points.
    """

    tensors: list[_RawTensor] = field(default_factory=list)
    dequantized: set[str] = field(default_factory=set)
    scales: set[str] = field(default_factory=set)


def _read_graph(graph: memoryview, found: _Found) -> int:
    num_nodes = 0
    for number, value in _fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == _GRAPH_NODE:
            num_nodes += 1
            _read_node(value, found)
        elif number == _GRAPH_INITIALIZER:
            found.tensors.append(_read_tensor(value))
        elif number == _GRAPH_SPARSE_INITIALIZER:
            found.tensors += [_read_tensor(v) for n, v in _parts(value) if n == _SPARSE_VALUES]
    return num_nodes


def _read_node(node: memoryview, found: _Found) -> None:
    inputs, outputs, op_type = [], [], ""
    attributes = []
    for number, value in _parts(node):
        if number == _NODE_INPUT:
            inputs.append(_text(value))
        elif number == _NODE_OUTPUT:
            outputs.append(_text(value))
        elif number == _NODE_OP_TYPE:
            op_type = _text(value)
        elif number == _NODE_ATTRIBUTE:
            attributes.append(value)
    if op_type in ("QuantizeLinear", "DequantizeLinear"):
        found.scales.update(inputs[1:])
    if op_type == "DequantizeLinear":
        found.dequantized.update(inputs[:1])
    for attribute in attributes:
        for number, value in _parts(attribute):
            if number == _ATTRIBUTE_TENSOR and op_type == "Constant":
                tensor = _read_tensor(value)
                tensor.name = outputs[0] if outputs else tensor.name
                found.tensors.append(tensor)
            elif number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                _read_graph(value, found)


def _read_tensor(data: memoryview) -> _RawTensor:
    tensor = _RawTensor()
    for number, value in _fields(data):
        if number == _TENSOR_DIMS:
            # Packed or one by one, as the writer likes.
            tensor.shape += [value] if isinstance(value, int) else _packed(value)
        elif number == _TENSOR_TYPE and isinstance(value, int):
            tensor.type_code = value
        elif number in _TENSOR_PAYLOADS:
            tensor.size_bytes += len(value) if isinstance(value, memoryview) else 4
        elif isinstance(value, memoryview):
            if number == _TENSOR_NAME:
                tensor.name = _text(value)
            elif number == _TENSOR_EXTERNAL:
                _read_external(value, tensor)
    return tensor


def _read_external(entry: memoryview, tensor: _RawTensor) -> None:
    parts = {number: _text(value) for number, value in _parts(entry)}
    key, value = parts.get(1, ""), parts.get(2, "")
    if key == "location":
        tensor.location = value
    elif key == "length" and value.isdigit():
        tensor.size_bytes = int(value)


def _constant(raw: _RawTensor, found: _Found) -> ConstantTensor:
    dtype = _DTYPES[raw.type_code] if raw.type_code < len(_DTYPES) else f"type {raw.type_code}"
    if raw.location is not None and raw.size_bytes == 0 and dtype in ("float32", "int32"):
        raw.size_bytes = 4 * prod(raw.shape)  # "length" may be left out
    learned = "float" in dtype or raw.name in found.dequantized
    return ConstantTensor(
        name=raw.name,
        shape=tuple(raw.shape),
        dtype=dtype,
        size_bytes=raw.size_bytes,
        is_parameter=bool(raw.shape) and learned and raw.name not in found.scales,
    )


def _parts(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that hold bytes: texts, messages and packed numbers."""
    for number, value in _fields(data):
        if isinstance(value, memoryview):
            yield number, value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field number and value of each field; bytes come as a view that is not read."""
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise DamagedFileError("a field has the number 0")
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == _BYTES:
            length, position = _varint(data, position)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise DamagedFileError(f"a field has the unknown kind {kind}")
        if position + length > end:
            raise DamagedFileError(f"it is cut off: a part misses {position + length - end} bytes")
        if kind == _BYTES:
            yield number, data[position : position + length]
        position += length


def _packed(data: memoryview) -> list[int]:
    values, position = [], 0
    while position < len(data):
        value, position = _varint(data, position)
        values.append(value)
    return values


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise DamagedFileError("a number is longer than 10 bytes")


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")

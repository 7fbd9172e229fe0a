"""Reads the few FlatBuffer tables of a .tflite file that name its tensors and operators.

Field numbers are those of TFLite's schema.fbs, version 3. Every offset is checked against the
length of the file, so that a cut or foreign file is refused instead of read past its end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from edgekd.model_graph import ConstantTensor, DamagedFileError, ModelGraph

_DTYPES = (
    "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64",
    "int8", "float64", "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4",
    "bfloat16", "int2", "uint4", "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip
_MODEL_CODES, _MODEL_SUBGRAPHS, _MODEL_BUFFERS = 1, 2, 4
_SUBGRAPH_TENSORS, _SUBGRAPH_OPERATORS = 0, 3
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_NAME, _TENSOR_QUANTIZATION = 0, 1, 2, 3, 4
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 0, 1, 2
_CODE_VERSION, _CODE_BUILTIN = 2, 3
_BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 0, 1, 2
_QUANTIZATION_SCALE = 2


def read_tflite(data: memoryview) -> ModelGraph:
    """Returns the graph of a .tflite file; operators are those of the first subgraph.

    Raises:
        DamagedFileError, struct.error: not a whole .tflite file.
    """
    if bytes(data[4:8]) != b"TFL3":
        raise DamagedFileError("the mark 'TFL3' at byte 4 is missing")
    model = _Table(data, _uint32(data, 0))
    subgraphs = list(model.tables(_MODEL_SUBGRAPHS))
    if not subgraphs:
        raise DamagedFileError("it has no subgraph")
    sizes = [_buffer_size(buffer) for buffer in model.tables(_MODEL_BUFFERS)]
    tensors: dict[int, ConstantTensor] = {}
    for subgraph in subgraphs:
        for table in subgraph.tables(_SUBGRAPH_TENSORS):
            index = table.number("I", _TENSOR_BUFFER)
            if index == 0 or index in tensors:  # 0: no data; a shared buffer is counted once
                continue
            if index >= len(sizes):
                raise DamagedFileError(f"a tensor names buffer {index} of {len(sizes)}")
            if sizes[index]:
                tensors[index] = _constant(table, sizes[index])
    num_operators = [_check_operators(model, subgraph) for subgraph in subgraphs]
    return ModelGraph("tflite", tuple(tensors.values()), num_operators[0])


class _Table:
    """A FlatBuffer table; fields are asked for by their number in the schema."""

    def __init__(self, data: memoryview, position: int):
        self.data, self.position = data, position
        self._fields = position - _int32(data, position)
        self._fields_bytes = _uint16(data, self._fields)

    def offset(self, field: int) -> int:
        """Where the field lies, or 0 where it is left out."""
        slot = 4 + 2 * field
        if slot + 2 > self._fields_bytes:
            return 0
        inside = _uint16(self.data, self._fields + slot)
        return self.position + inside if inside else 0

    def number(self, code: str, field: int) -> int:
        offset = self.offset(field)
        return _unpack(code, self.data, offset) if offset else 0

    def table(self, field: int) -> _Table | None:
        offset = self.offset(field)
        return _Table(self.data, offset + _uint32(self.data, offset)) if offset else None

    def vector(self, field: int, item_bytes: int = 4) -> tuple[int, int]:
        """Start and length of a vector; (0, 0) where it is left out."""
        offset = self.offset(field)
        if not offset:
            return 0, 0
        start = offset + _uint32(self.data, offset)
        length = _uint32(self.data, start)
        if start + 4 + length * item_bytes > len(self.data):
            raise DamagedFileError(f"it is cut off: a part ends after byte {len(self.data)}")
        return start + 4, length

    def tables(self, field: int) -> Iterator[_Table]:
        start, length = self.vector(field)
        for position in range(start, start + 4 * length, 4):
            yield _Table(self.data, position + _uint32(self.data, position))


def _buffer_size(buffer: _Table) -> int:
    """Bytes of a buffer; in files above 2 GB they lie behind the tables, at a stated offset."""
    outside, size = buffer.number("Q", _BUFFER_OFFSET), buffer.number("Q", _BUFFER_SIZE)
    if outside > 1:
        if outside + size > len(buffer.data):
            raise DamagedFileError(f"it is cut off: a part ends after byte {len(buffer.data)}")
        return size
    return buffer.vector(_BUFFER_DATA, item_bytes=1)[1]


def _check_operators(model: _Table, subgraph: _Table) -> int:
    """Returns the number of operators; each is read once, since a cut file ends among them."""
    codes = list(model.tables(_MODEL_CODES))
    for code in codes:
        code.number("i", _CODE_VERSION)
        code.number("i", _CODE_BUILTIN)
    operators = list(subgraph.tables(_SUBGRAPH_OPERATORS))
    for operator in operators:
        operator.vector(_OPERATOR_INPUTS)
        operator.vector(_OPERATOR_OUTPUTS)
        index = operator.number("I", _OPERATOR_CODE)
        if index >= len(codes):
            raise DamagedFileError(f"an operator names code {index} of {len(codes)}")
    return len(operators)


def _constant(tensor: _Table, size_bytes: int) -> ConstantTensor:
    start, rank = tensor.vector(_TENSOR_SHAPE)
    code = tensor.number("b", _TENSOR_TYPE)
    dtype = _DTYPES[code] if 0 <= code < len(_DTYPES) else f"type {code}"
    quantization = tensor.table(_TENSOR_QUANTIZATION)
    # int32 biases carry a scale, int32 shapes and axes do not.
    scaled = quantization is not None and quantization.vector(_QUANTIZATION_SCALE)[1] > 0
    return ConstantTensor(
        name=_text(tensor, _TENSOR_NAME),
        shape=tuple(_int32(tensor.data, start + 4 * axis) for axis in range(rank)),
        dtype=dtype,
        size_bytes=size_bytes,
        is_parameter=rank > 0 and (scaled or "float" in dtype),
    )


def _text(table: _Table, field: int) -> str:
    start, length = table.vector(field, item_bytes=1)
    return bytes(table.data[start : start + length]).decode("utf-8", "replace")


def _uint16(data: memoryview, offset: int) -> int:
    return _unpack("H", data, offset)


def _uint32(data: memoryview, offset: int) -> int:
    return _unpack("I", data, offset)


def _int32(data: memoryview, offset: int) -> int:
    return _unpack("i", data, offset)


def _unpack(code: str, data: memoryview, offset: int) -> int:
    if offset < 0:
        raise DamagedFileError("a table points before the start of the file")
    return struct.unpack_from("<" + code, data, offset)[0]

"""What a model file holds: its constant tensors and operators, read without reading the weights.

The file is mapped into memory and only its tables are touched, so that a large file costs no more
than a small one. No runtime is loaded.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

from edgekd.errors import EdgeKDError, UsageError


@dataclass(frozen=True)
class ConstantTensor:
    """One tensor stored in a model file. `size_bytes` is what it takes there.

    `is_parameter` tells learned values (weights and biases, quantized or not) from shapes, axes,
    scales and zero points.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int
    is_parameter: bool

    @property
    def num_values(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class ModelGraph:
    """The constants of a model file, and the number of operators of its main graph.

    `external_files` names the files beside an ONNX model that hold some of its weights.
    """

    format: str
    tensors: tuple[ConstantTensor, ...]
    num_operators: int
    external_files: tuple[str, ...] = ()

    @property
    def num_params(self) -> int:
        return sum(tensor.num_values for tensor in self.tensors if tensor.is_parameter)


class DamagedFileError(ValueError):
    """Raised inside the readers: the bytes do not follow the format; says how."""


def read_graph(path: Path) -> ModelGraph:
    """Returns the graph of a .tflite or .onnx file.

    Raises:
        UsageError: no such file, or another kind of file.
        EdgeKDError: the file is empty, cut off or not what its name says.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    reader = _reader(path.name)
    if path.stat().st_size == 0:
        raise EdgeKDError(f"{path}: the file is empty. Export or download it again.")
    with path.open("rb") as stream:
        # Not closed by hand: an error's traceback may still hold views of it.
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return _read(reader, memoryview(data), str(path))


def parse_graph(data: bytes | memoryview, name: str) -> ModelGraph:
    """Returns the graph of a model that lies in memory; `name` says its kind by the suffix."""
    return _read(_reader(name), memoryview(data), name)


def _reader(name: str) -> Callable[[memoryview], ModelGraph]:
    suffix = Path(name).suffix
    if suffix == ".tflite":
        from edgekd.tflite_tables import read_tflite

        return read_tflite
    if suffix == ".onnx":
        from edgekd.onnx_tables import read_onnx

        return read_onnx
    raise UsageError(f"{name}: expected a .tflite or .onnx file, found '{suffix or 'no suffix'}'")


def _read(reader: Callable[[memoryview], ModelGraph], view: memoryview, name: str) -> ModelGraph:
    try:
        return reader(view)
    except (DamagedFileError, struct.error, IndexError, RecursionError) as error:
        kind = Path(name).suffix.removeprefix(".")
        raise EdgeKDError(
            f"{name}: not a whole {kind} model ({error}). Export or download it again."
        ) from error

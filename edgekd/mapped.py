"""Arrays with a row an item, in files that are mapped: however many, they take no memory of their own.

What is read or written there is the system's to keep or to drop. N rows.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from edgekd.store import disk_error

Zeros = Callable[[Any, Any], np.ndarray]
"""From a shape and a dtype to an array of zeros, as `np.zeros` has it in memory."""

_BLOCK = 2048
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Texts(Collection[str]):
    """An array of strings, or of their bytes, as strings; some are read at a time."""

    def __init__(self, values_N: np.ndarray):
        self._values = values_N

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        for some in blocks(len(self)):
            yield from self._values[some].astype(str).tolist()

    def __contains__(self, text: object) -> bool:
        return any(each == text for each in self)


def zeros_in(folder: Path) -> Zeros:
    """Returns what makes arrays in files without a name in a folder; a file goes with its array.

    It raises DiskError where there is no room for one.
    """
    return partial(_zeros, folder)


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz by name; those that lie in it as `np.savez` writes them, mapped."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        return {info.filename.removesuffix(".npy"): _member(path, stream, info) for info in members}


def blocks(count: int, size: int | None = None) -> Iterator[slice]:
    """Yields the rows from 0 to `count`, some at a time."""
    size = size or _BLOCK
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def by_rows(
    function: Callable[..., np.ndarray],
    *of: np.ndarray,
    zeros: Zeros,
    dtype: Any = np.float32,
    size: int | None = None,
) -> np.ndarray:
    """Returns what a function makes of arrays [N, ...], called with some rows of each at a time."""
    found = None
    for some in blocks(len(of[0]), size):
        part = function(*(values[some] for values in of))
        if found is None:
            found = zeros((len(of[0]), *part.shape[1:]), dtype)
        found[some] = part
    return function(*of).astype(dtype) if found is None else found


def from_texts(values: Collection[str], kind: Literal["S", "U"], zeros: Zeros) -> np.ndarray:
    """Returns strings, for S of ASCII, as an array as wide as the longest."""
    found = zeros(len(values), f"{kind}{max(map(len, values), default=1)}")
    for row, text in enumerate(values):
        found[row] = text
    return found


def _zeros(folder: Path, shape: Any, dtype: Any) -> np.ndarray:
    size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not size_bytes:
        return np.zeros(shape, dtype)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            if hasattr(os, "posix_fallocate"):  # a full disk can be told of here, not in a map
                os.posix_fallocate(stream.fileno(), 0, size_bytes)
            return np.memmap(stream, dtype, "r+", shape=shape).view(np.ndarray)
    except OSError as error:
        raise disk_error(folder, error) from error


def _member(path: Path, stream: BinaryIO, info: zipfile.ZipInfo) -> np.ndarray:
    if info.compress_type == zipfile.ZIP_STORED:
        stream.seek(info.header_offset)
        stream.seek(sum(struct.unpack("<26x2H", stream.read(30))), os.SEEK_CUR)
        version = np.lib.format.read_magic(stream)
        shape, is_fortran, dtype = _HEADERS[version](stream)
        if not dtype.hasobject and 0 not in shape:
            order: Any = "F" if is_fortran else "C"
            return np.memmap(stream, dtype, "r", stream.tell(), shape, order).view(np.ndarray)
    with np.load(path) as stored:
        return np.asarray(stored[info.filename.removesuffix(".npy")])

"""Whether a file that is not the recorded one is whole: an edit counts, damage does not."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path


def damage(path: Path) -> str | None:
    """Returns why a file cannot be what anybody meant to leave there, or None.

    Of the kinds a run leaves, contents are read as far as their checksums go; of others only
    emptiness is seen.
    """
    if path.stat().st_size == 0:
        return "empty"
    check = _CHECKS.get(path.suffix)
    try:
        return check(path) if check else None
    except Exception as error:  # readers raise what they like on bad bytes
        return f"not readable ({' '.join(str(error).split())})"


def _parquet(path: Path) -> str | None:
    import pyarrow.parquet as pq

    # Buffered before it is read, all of it would be held.
    file = pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
    for _ in file.iter_batches():
        pass
    return None


def _zip(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    return None if bad is None else f"the checksum of '{bad}' inside is wrong"


def _json(path: Path) -> str | None:
    json.loads(path.read_text(encoding="utf-8"))
    return None


def _safetensors(path: Path) -> str | None:
    """The first 8 bytes say how long the JSON header is, the header where the tensors end."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > path.stat().st_size:
            return "shorter than its header"
        header = json.loads(stream.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    wanted, found = 8 + length + max(ends, default=0), path.stat().st_size
    return None if found == wanted else f"{found:,} bytes, its header says {wanted:,}"


_CHECKS: dict[str, Callable[[Path], str | None]] = {
    ".parquet": _parquet,
    ".npz": _zip,
    ".zip": _zip,
    ".json": _json,
    ".safetensors": _safetensors,
}

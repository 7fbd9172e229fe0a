"""Sizes as people write them: MB is 10^6 bytes, MiB is 2^20. Standard library only."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from edgekd.errors import UsageError

_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", re.ASCII)
_BLOCK_BYTES = 1 << 20


def parse_size(text: str | int) -> int:
    """Returns bytes: "2MB" is 2,000,000, "1.5 MiB" is 1,572,864, a bare number is bytes.

    Upper and lower case are the same. Parts of a byte are rounded.

    Raises:
        UsageError: no number, an unknown unit, or less than one byte.
    """
    match = _SIZE.fullmatch(str(text)) if not isinstance(text, bool) else None
    factor = _UNITS.get((match[2] or "B").lower()) if match else None
    if match is None or factor is None:
        raise UsageError(
            f"size '{text}': expected a number with B, kB, MB, GB (powers of 1000) "
            "or KiB, MiB, GiB (powers of 1024), for example 2MB"
        )
    size_bytes = round(float(match[1]) * factor)
    if size_bytes < 1:
        raise UsageError(f"size '{text}': expected at least one byte, for example 2MB")
    return size_bytes


def format_size(size_bytes: int) -> str:
    """Returns "488 B", "12.3 kB", "0.41 MB", "1.23 MB" or "2.50 GB"; units are powers of 1000."""
    if abs(size_bytes) < 1_000:
        return f"{size_bytes} B"
    if abs(size_bytes) < 99_950:  # what would round to 100.0 kB is written in MB
        return f"{size_bytes / 1e3:.1f} kB"
    if abs(size_bytes) < 999_995_000:
        return f"{size_bytes / 1e6:.2f} MB"
    return f"{size_bytes / 1e9:.2f} GB"


def zipped_size(path: Path) -> int:
    """Returns the bytes of a file after deflate at level 6, as a zip or an app store packs it.

    The headers of the archive are not counted. Reads the whole file, in blocks.
    """
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    size_bytes = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            size_bytes += len(packer.compress(block))
    return size_bytes + len(packer.flush())

"""Which row an item has, and what stands there: dicts for very many items, that may lie in files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b

import numpy as np

from edgekd.mapped import Zeros

_DIGEST, _ROW = 16, 4  # bytes


class Rows(Mapping[str, int]):
    """From an id to its row: 20 bytes an item, in files where `zeros` makes its arrays there.

    They are sorted digests of the ids with their rows behind; no two ids have the same. Asking
    takes a few microseconds.
    """

    def __init__(self, ids: Collection[str], zeros: Zeros = np.zeros):
        self._ids = ids
        self._found = zeros(len(ids), f"S{_DIGEST + _ROW}")
        for row, item_id in enumerate(ids):
            self._found[row] = _digest(item_id) + row.to_bytes(_ROW, "big")
        self._found.sort()  # where it lies

    def __getitem__(self, item_id: str) -> int:
        wanted = _digest(item_id)
        place = self._found.searchsorted(wanted)
        # Trailing zeros of S are cut where one is read.
        found = self._found[place : place + 1].tobytes()
        if found[:_DIGEST] != wanted:
            raise KeyError(item_id)
        return int.from_bytes(found[_DIGEST:], "big")

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


class ByItem(Mapping[str, np.ndarray]):
    """From an id to what an array has of the item."""

    def __init__(self, rows: Mapping[str, int], values: np.ndarray):
        self._rows, self._values = rows, values

    def __getitem__(self, item_id: str) -> np.ndarray:
        return np.asarray(self._values[self._rows[item_id]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _digest(item_id: str) -> bytes:
    return blake2b(item_id.encode(), digest_size=_DIGEST).digest()

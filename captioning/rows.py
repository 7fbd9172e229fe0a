"""Which row an item has, and what stands there: dicts for very many items, in few bytes each."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

import numpy as np


class Rows(Mapping[str, int]):
    """From an id to its row; beside the ids it takes 13 bytes an item, a dict about nine times that.

    Asking takes a few microseconds.
    """

    def __init__(self, ids: Sequence[str]):
        hashes_N = np.fromiter(map(hash, ids), np.int64, len(ids))
        order_N = np.argsort(hashes_N)
        self._ids = ids
        self._hashes = array("q", hashes_N[order_N].tobytes())
        self._order = array("I", order_N.astype(np.uint32).tobytes())

    def __getitem__(self, item_id: str) -> int:
        wanted = hash(item_id)
        place = bisect_left(self._hashes, wanted)
        while place < len(self._hashes) and self._hashes[place] == wanted:
            row = self._order[place]
            if self._ids[row] == item_id:
                return row
            place += 1
        raise KeyError(item_id)

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

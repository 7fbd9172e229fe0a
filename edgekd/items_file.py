"""The items of a manifest.parquet, read as they are asked for: however many, one row group is held."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, overload

from edgekd.records import Item


class Items(Sequence[Item]):
    """Items in a parquet file that stays open, so that they stay what they are if it is replaced.

    Asking for one reads its row group, of which the last is kept; a pass over all reads each once.
    """

    def __init__(self, file: Any):
        self._file = file
        about = file.metadata
        sizes = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
        self._ends = list(accumulate(sizes))
        self._last = lru_cache(maxsize=1)(self._group)

    def column(self, name: str) -> Iterator[Any]:
        """Yields one field of every item; nothing else is read."""
        for group in range(len(self._ends)):
            table = self._file.read_row_group(group, columns=[name])
            yield from map(_as_in_records, table.column(name).to_pylist())

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Item]:
        for group in range(len(self._ends)):
            yield from self._group(group)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        row = range(len(self))[index]  # as a list counts, and refuses
        return [self[each] for each in row] if isinstance(row, range) else self._at(row)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def _at(self, row: int) -> Item:
        group = bisect_right(self._ends, row)
        return self._last(group)[row - self._ends[group]]

    def _group(self, group: int) -> list[Item]:
        rows = self._file.read_row_group(group).to_pylist()
        return [Item(**row | {"label": _as_in_records(row["label"])}) for row in rows]


def _as_in_records(value: Any) -> Any:
    """Several labels are a tuple there."""
    return tuple(value) if isinstance(value, list) else value

"""Rows of items by their ids, as a dict has them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from captioning.rows import ByItem, Rows


class Colliding(str):
    """Ids of which some have the same hash."""

    def __hash__(self) -> int:
        return len(self)

    __eq__ = str.__eq__


@pytest.mark.parametrize(
    "ids",
    [
        [],
        ["b", "a", "c"],
        [f"{n:064x}" for n in range(500)],
        [Colliding(text) for text in ("aa", "b", "cc", "d", "ee", "")],
    ],
)
def test_rows_are_those_of_a_dict(ids: list[str]) -> None:
    rows, expected = Rows(ids), {item_id: row for row, item_id in enumerate(ids)}
    assert dict(rows) == expected
    assert len(rows) == len(ids)
    for unknown in ("x", Colliding("xx"), ""):
        assert (unknown in rows) == (unknown in expected)
    with pytest.raises(KeyError, match="not there"):
        rows["not there"]


def test_values_come_by_item() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = ByItem(Rows(["b", "a", "c"]), values)
    assert found["a"].tolist() == [2, 3]
    assert found.get("x") is None
    assert list(found) == ["b", "a", "c"]


def test_an_item_takes_thirteen_bytes() -> None:
    rows = Rows([str(n) for n in range(10_000)])
    size = sys.getsizeof(rows._hashes) + sys.getsizeof(rows._order)
    assert 12 * 10_000 <= size <= 13 * 10_000  # arrays keep some room

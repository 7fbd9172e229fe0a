"""Rows of items by their ids, as a dict has them."""

from __future__ import annotations

import numpy as np
import pytest

from captioning.rows import ByItem, Rows


@pytest.mark.parametrize(
    "ids",
    [
        [],
        ["b", "a", "c"],
        [f"{n:064x}" for n in range(500)],
        [str(n) for n in range(70_000)],
    ],
)
def test_rows_are_those_of_a_dict(ids: list[str]) -> None:
    rows, expected = Rows(ids), {item_id: row for row, item_id in enumerate(ids)}
    assert dict(rows) == expected
    assert len(rows) == len(ids)
    for unknown in ("x", "70000", ""):
        assert unknown not in rows
    with pytest.raises(KeyError, match="not there"):
        rows["not there"]


def test_values_come_by_item() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = ByItem(Rows(["b", "a", "c"]), values)
    assert found["a"].tolist() == [2, 3]
    assert found.get("x") is None
    assert list(found) == ["b", "a", "c"]


def test_an_item_takes_twenty_bytes_where_arrays_are_made() -> None:
    made: list[np.ndarray] = []

    def zeros(shape: int, dtype: str) -> np.ndarray:
        made.append(np.zeros(shape, dtype))
        return made[-1]

    rows = Rows([str(n) for n in range(1000)], zeros)
    assert rows["999"] == 999
    assert sum(array.nbytes for array in made) == 20 * 1000

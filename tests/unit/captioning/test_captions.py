"""captions.parquet: what is written is what is read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captioning import captions
from edgekd.errors import DataError
from edgekd.records import Caption


def some(count: int) -> list[Caption]:
    return [
        Caption(
            f"id{i // 3}", i % 3, f"Ein schöner Satz, {i} 猫", "plain", 0.5, 2**47 + i, "test", 0.25,
            None if i % 2 else "low confidence",
        )
        for i in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 7])
def test_and_back(count: int, tmp_path: Path) -> None:
    path = tmp_path / "captions.parquet"
    assert captions.save(iter(some(count)), path) == count
    assert list(captions.load(path)) == some(count)


def test_row_groups_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "_ROWS_A_GROUP", 4)
    path = tmp_path / "captions.parquet"
    assert captions.save(iter(some(10)), path) == 10
    assert pq.ParquetFile(path).num_row_groups == 3
    assert list(captions.load(path)) == some(10)


def test_a_stop_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    def stopped() -> object:
        yield from some(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        captions.save(stopped(), tmp_path / "captions.parquet")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("no parquet")
    with pytest.raises(DataError, match=r"x.parquet: not readable as parquet"):
        list(captions.load(path))
    with pytest.raises(DataError, match=r"none.parquet: not readable"):
        list(captions.load(tmp_path / "none.parquet"))
    pq.write_table(pa.table({"item_id": ["a"], "caption": ["b"]}), path)
    with pytest.raises(DataError, match=r"expected the columns of captions, missing .*'text'"):
        list(captions.load(path))

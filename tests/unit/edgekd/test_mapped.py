"""Arrays in files: what an .npz holds, what is made without a name, some rows at a time."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd import mapped
from edgekd.errors import DiskError

ARRAYS: dict[str, Any] = {
    "ids": np.array(["a", "bcd"]),
    "odd": np.arange(5, dtype=np.uint8),  # what follows lies at odd bytes
    "rows": np.arange(12, dtype=np.float32).reshape(4, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "number": np.array(7),
    "none": np.zeros((0, 3)),
    "text": np.array("settings"),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_is_read_as_numpy_does(save: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save(path, **ARRAYS)
    found = mapped.arrays(path)
    assert list(found) == list(ARRAYS)
    for name, values in ARRAYS.items():
        assert found[name].dtype == values.dtype
        assert found[name].tolist() == values.tolist()
    is_mapped = isinstance(found["rows"].base, np.memmap)
    assert is_mapped == (save is np.savez)
    assert found["rows"].flags.writeable != is_mapped


def test_what_was_mapped_stays_when_the_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, values=np.arange(3))
    values = mapped.arrays(path)["values"]
    np.savez(tmp_path / "b.npz", values=np.zeros(3))
    os.replace(tmp_path / "b.npz", path)
    assert values.tolist() == [0, 1, 2]


def test_arrays_lie_in_files_that_leave_nothing(tmp_path: Path) -> None:
    zeros = mapped.zeros_in(tmp_path / "new")
    one, other, empty = zeros((2, 3), np.float32), zeros(4, "S20"), zeros((0, 3), np.int32)
    assert isinstance(one.base, np.memmap)
    assert not one.any()
    one[1, 2] = 5
    assert one.tolist() == [[0, 0, 0], [0, 0, 5]]
    assert other.tolist() == [b""] * 4
    assert empty.shape == (0, 3)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="takes no room at once here")
def test_a_full_disk_is_told_of_and_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        DiskError, match=r"run: cannot be written \(No space left on device\)\. Free"
    ):
        mapped.zeros_in(tmp_path / "run")(3, np.float32)


def test_blocks_are_all_rows_once() -> None:
    assert [(b.start, b.stop) for b in mapped.blocks(5, 2)] == [(0, 2), (2, 4), (4, 5)]
    assert list(mapped.blocks(0)) == []


@pytest.mark.parametrize("num_rows", [0, 1, 5000])
def test_by_rows_is_the_function_of_all(num_rows: int) -> None:
    first, second = np.random.default_rng(0).random((2, num_rows, 3))
    found = mapped.by_rows(lambda a, b: (a * b).sum(axis=1), first, second, zeros=np.zeros)
    assert found.dtype == np.float32
    assert found.tolist() == (first * second).sum(axis=1).astype(np.float32).tolist()


@pytest.mark.parametrize(("kind", "texts"), [("S", ["a", "", "bcd"]), ("U", ["é", "犬犬"]), ("S", [])])  # fmt: skip
def test_texts_come_back(kind: Any, texts: list[str]) -> None:
    found = mapped.from_texts(texts, kind, np.zeros)
    assert found.dtype.kind == kind
    assert list(mapped.Texts(found)) == texts
    assert len(mapped.Texts(found)) == len(texts)
    assert all(text in mapped.Texts(found) for text in texts)

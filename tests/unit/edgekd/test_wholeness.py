"""Damage told from edits, by what each kind of file checks of itself."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgekd.wholeness import damage


def parquet(path: Path) -> None:
    table = pa.table({"text": ["a photo of a bag"] * 50})
    pq.write_table(table, path, write_page_checksum=True, compression="none")


def npz(path: Path) -> None:
    np.savez(path, ids=np.arange(40))


def text(path: Path) -> None:
    path.write_text(json.dumps({"a": 1}))


def safetensors(path: Path) -> None:
    """One tensor of four bytes, laid out by hand as the format says."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\x00\x00\x80\x3f")


KINDS = {"x.parquet": parquet, "x.npz": npz, "x.json": text, "x.safetensors": safetensors}


@pytest.mark.parametrize("name", KINDS)
def test_whole_files_of_each_kind(name: str, tmp_path: Path) -> None:
    KINDS[name](tmp_path / name)
    assert damage(tmp_path / name) is None


@pytest.mark.parametrize("name", [*KINDS, "x.txt", "x.tflite"])
def test_an_empty_file_is_damaged_whatever_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert damage(tmp_path / name) == "empty"


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("cut", [1, 6, 20])
def test_a_cut_file_is_damaged(name: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / name
    KINDS[name](path)
    path.write_bytes(path.read_bytes()[: max(1, path.stat().st_size - cut)])
    reason = damage(path)
    assert reason is not None
    assert "\n" not in reason


def swapped(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("x.parquet", b"photo", b"phota"),
        ("x.npz", struct.pack("<q", 39), struct.pack("<q", 38)),
    ],
)
def test_a_flipped_byte_is_seen_where_there_are_checksums(
    name: str, old: bytes, new: bytes, tmp_path: Path
) -> None:
    KINDS[name](tmp_path / name)
    swapped(tmp_path / name, old, new)
    assert damage(tmp_path / name) is not None


def test_safetensors_that_are_too_long(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors(path)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"more")
    assert damage(path) == f"{size + 4} bytes, its header says {size}"


def test_of_other_kinds_any_content_is_an_edit(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("other text")
    assert damage(tmp_path / "x.txt") is None

"""Sizes as people write them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from edgekd.errors import UsageError
from edgekd.sizes import format_size, parse_size, zipped_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("2MB", 2_000_000),
        ("1.5 MiB", 1_572_864),
        ("100kB", 100_000),
        ("100 KB", 100_000),
        ("0.1MB", 100_000),
        (".5mb", 500_000),
        ("1.1MB", 1_100_000),
        ("3 GB", 3_000_000_000),
        ("1KiB", 1_024),
        ("1 GiB", 1_073_741_824),
        ("488", 488),
        ("488 B", 488),
        (" 7 ", 7),
        (1234, 1234),
    ],
)
def test_parse_size(text: str | int, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "MB", "2M", "2 megabytes", "-1MB", -5, "1,5MB", "nan", "1e6", "1.2.3MB", True, "٢MB"],
)
def test_parse_size_refuses_and_says_what_it_expects(text: str | int) -> None:
    with pytest.raises(UsageError, match="expected a number with B, kB, MB, GB") as caught:
        parse_size(text)
    assert f"'{text}'" in str(caught.value)


@pytest.mark.parametrize("text", ["0", 0, "0MB", "0.4 B"])
def test_parse_size_refuses_less_than_a_byte(text: str | int) -> None:
    with pytest.raises(UsageError, match="at least one byte"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (12_345, "12.3 kB"),
        (99_949, "99.9 kB"),
        (99_950, "0.10 MB"),
        (410_000, "0.41 MB"),
        (1_234_567, "1.23 MB"),
        (999_994_999, "999.99 MB"),
        (999_995_000, "1.00 GB"),
        (2_500_000_000, "2.50 GB"),
    ],
)
def test_format_size(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


def test_zipped_size_is_what_a_zip_holds(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(range(256)) * 9_000)  # three blocks, so that blocks are joined
    with zipfile.ZipFile(io.BytesIO(), "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.write(path, "model.bin")
        packed = archive.getinfo("model.bin").compress_size
    assert zipped_size(path) == packed
    assert packed < path.stat().st_size / 50

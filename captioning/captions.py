"""captions.parquet: one row a caption, written and read in item order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edgekd.errors import DataError, SchemaError
from edgekd.records import Caption
from edgekd.store import atomic_path

_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("index", pa.int32()),
        ("text", pa.string()),
        ("template", pa.string()),
        ("temperature", pa.float64()),
        ("seed", pa.int64()),
        ("teacher", pa.string()),
        ("confidence", pa.float64()),
        ("dropped", pa.string()),
        ("translation", pa.string()),
    ],
    metadata={"edgekd_schema": "2"},
)
_LATER = frozenset({"translation"})  # columns that the first version had not
_READ = (b"1", b"2")
_VERSION = b"edgekd_schema"
_ROWS_A_GROUP = 8192


def save(captions: Iterable[Caption], path: Path) -> int:
    """Writes the captions as they come, a row group at a time; returns how many."""
    count = 0
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, _SCHEMA, write_page_checksum=True) as writer,
    ):
        rows: list[dict[str, object]] = []
        for caption in captions:
            rows.append(vars(caption))
            count += 1
            if len(rows) == _ROWS_A_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
    return count


def load(path: Path) -> Iterator[Caption]:
    """Yields the captions of a file, a row group at a time.

    Raises:
        DataError: not a captions file, or a damaged one.
        SchemaError: another version.
    """
    try:
        file = pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
        found = (file.schema_arrow.metadata or {}).get(_VERSION, _SCHEMA.metadata[_VERSION])
        if found not in _READ:  # a table that a person saved may name none
            reads = int(_SCHEMA.metadata[_VERSION])
            advice = "Make it anew with: edgekd caption CONFIG"
            raise SchemaError(path, found.decode(errors="replace"), reads, advice)
        missing = set(_SCHEMA.names) - set(file.schema_arrow.names) - _LATER
        if missing:
            raise DataError(f"{path}: expected the columns of captions, missing {sorted(missing)}")
        columns = [name for name in _SCHEMA.names if name in file.schema_arrow.names]
        for batch in file.iter_batches(_ROWS_A_GROUP, columns=columns):
            for row in batch.to_pylist():
                yield Caption(**row)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as parquet ({error})") from error

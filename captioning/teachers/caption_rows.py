"""Rows of captions in a table that a user brings: CSV, JSONL or parquet, read as a stream.

A row that cannot be used comes with its reason; a file that cannot be read as what it is raises.
"""

from __future__ import annotations

import csv
import io
import json
import math
import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.errors import DataError, closest

CSV, JSONL, PARQUET = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson"), (".parquet", ".pq")
_DELIMITERS = (",", ";", "\t", "|")
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called; `is_id` says that `image` holds sha256 digests."""

    image: str
    text: str
    is_id: bool = False
    temperature: str | None = None
    confidence: str | None = None
    speaker: str | None = None
    language: str | None = None

    @property
    def named(self) -> list[str]:
        """Those that must be there."""
        found = (self.image, self.text, self.temperature, self.confidence, self.speaker)
        return [name for name in (*found, self.language) if name is not None]


@dataclass(frozen=True)
class Row:
    """One caption of an image, which is named by its path, its file name or its digest."""

    number: int
    image: str
    text: str
    temperature: float = 1.0
    confidence: float = 1.0
    speaker: str = ""
    language: str = ""


@dataclass(frozen=True)
class BadRow:
    """A row that is left out, and why."""

    number: int
    reason: str


def read(path: Path, columns: Columns) -> Iterator[Row | BadRow]:
    """Yields the rows of a table in order; only a few are held at a time.

    A row's number is its line in a text file, 1 for the first, or its row in a parquet file.

    Raises:
        DataError: not a table of its kind, in no known encoding, or without one of the columns;
            names the file and, in a text file, the line.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in CSV:
            records = _csv(path, columns)
        elif suffix in JSONL:
            records = _jsonl(path, columns)
        elif suffix in PARQUET:
            records = _parquet(path, columns)
        else:
            expected = ", ".join((*CSV, *JSONL, *PARQUET))
            raise DataError(f"{path}: unknown suffix '{suffix}', expected one of {expected}")
        for number, values in records:
            yield (
                _row(number, values, columns)
                if isinstance(values, Mapping)
                else BadRow(number, values)
            )
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def key(image: str) -> str:
    """Returns a path as it is compared: composed letters, "/" between folders, no "./"."""
    return posixpath.normpath(unicodedata.normalize("NFC", image.strip()).replace("\\", "/"))


# A record is a mapping of columns to values, or the reason why there is none.
_Record = tuple[int, Mapping[str, Any] | str]


def _csv(path: Path, columns: Columns) -> Iterator[_Record]:
    lines = _lines(path)
    first = next(lines, None)
    if first is None or not first.strip():
        raise DataError(f"{path}, line 1: empty. Expected {_expected(columns)}")
    delimiter = _delimiter(first, columns)
    reader = csv.reader(_before(first, lines), delimiter=delimiter, strict=True)
    begins = 1
    try:
        header = [name.strip() for name in next(reader)]
        _check(f"{path}, line 1", header, columns)
        begins = reader.line_num + 1
        for cells in reader:
            if any(cells):
                yield begins, _cells(header, cells)
            begins = reader.line_num + 1
    except csv.Error as error:
        found = str(error).replace("\t", _shown("\t"))
        raise DataError(
            f"{path}, line {begins}: not readable as CSV ({found}). Expected cells "
            f"between '{_shown(delimiter)}', and quotes around a text that has one in it"
        ) from error


def _cells(header: Sequence[str], cells: list[str]) -> Mapping[str, Any] | str:
    while len(cells) > len(header) and not cells[-1].strip():
        cells.pop()  # as spreadsheets leave them
    if len(cells) != len(header):
        return f"{len(cells)} cells, expected {len(header)}"
    return dict(zip(header, cells, strict=True))


def _delimiter(header: str, columns: Columns) -> str:
    """The delimiter that finds the text's column; without it the most frequent one."""
    for delimiter in _DELIMITERS:
        if columns.text in [name.strip(' "\r\n') for name in header.split(delimiter)]:
            return delimiter
    return max(_DELIMITERS, key=header.count)


def _shown(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else delimiter


def _jsonl(path: Path, columns: Columns) -> Iterator[_Record]:
    is_first = True
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        values = _json(line)
        if is_first and not isinstance(values, Mapping):
            found = values if isinstance(values, str) else "something else"
            raise DataError(
                f"{path}, line {number}: {found}. Expected a JSON object a line, with "
                f"{_expected(columns)}"
            )
        if is_first and isinstance(values, Mapping):
            _check(f"{path}, line {number}", list(values), columns)
        is_first = False
        yield number, values
    if is_first:
        raise DataError(f"{path}: empty. Expected a JSON object a line")


def _json(line: str) -> Mapping[str, Any] | str:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    return values if isinstance(values, dict) else f"no JSON object: {line.strip()[:40]}"


def _parquet(path: Path, columns: Columns) -> Iterator[_Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            _check(str(path), file.schema_arrow.names, columns)
            number = 0
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns.named):
                for values in batch.to_pylist():
                    number += 1
                    yield number, values
    except pa.ArrowException as error:
        raise DataError(f"{path}: not readable as parquet ({error})") from error


def _lines(path: Path) -> Iterator[str]:
    """The lines with their ends, in UTF-8, or in UTF-16 where the file says so."""
    with path.open("rb") as stream:
        if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            stream.seek(0)
            yield from _decoded(path, io.TextIOWrapper(stream, "utf-16", newline=""))
            return
        stream.seek(0)
        for number, line in enumerate(stream, 1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {number}: byte {line[error.start]:#04x} is not UTF-8. "
                    "Expected UTF-8 or UTF-16; save the file anew"
                ) from error


def _decoded(path: Path, lines: Iterable[str]) -> Iterator[str]:
    number = 1
    try:
        for line in lines:
            yield line
            number += 1
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number} or after: not UTF-16 ({error.reason}). Save the file anew in UTF-8"
        ) from error


def _before(first: str, lines: Iterable[str]) -> Iterator[str]:
    yield first
    yield from lines


def _check(where: str, found: Sequence[str], columns: Columns) -> None:
    for name in columns.named:
        if name not in found:
            shown = ", ".join(map(str, found[:10])) + (", ..." if len(found) > 10 else "")
            raise DataError(
                f"{where}: no column '{name}', found {shown or 'none'}.{closest(name, found)} "
                f"Expected {_expected(columns)}; name yours in the config"
            )


def _expected(columns: Columns) -> str:
    return f"the columns {', '.join(columns.named)}"


def _row(number: int, values: Mapping[str, Any], columns: Columns) -> Row | BadRow:
    image, text = values.get(columns.image), values.get(columns.text)
    if image is None or not str(image).strip():
        return BadRow(number, f"no {columns.image}")
    if text is not None and not isinstance(text, str):
        return BadRow(number, f"{columns.text} is {_kind(text)}, expected a text")
    said = " ".join((text or "").split())
    if not said:
        return BadRow(number, f"no {columns.text}")
    if any(0xD800 <= ord(letter) < 0xE000 for letter in f"{said}{image}"):
        return BadRow(number, "half a character (a lone surrogate) in it")
    temperature = _number(values, columns.temperature, math.inf)
    confidence = _number(values, columns.confidence, 1.0)
    for fault in (temperature, confidence):
        if isinstance(fault, str):
            return BadRow(number, fault)
    named = str(image).strip().removeprefix("sha256:").lower() if columns.is_id else key(str(image))
    assert isinstance(temperature, float)
    assert isinstance(confidence, float)
    speaker, language = (_word(values, name) for name in (columns.speaker, columns.language))
    return Row(number, named, said, temperature, confidence, speaker, language)


def _number(values: Mapping[str, Any], column: str | None, most: float) -> float | str:
    """The number in a column, 1 where there is none, or what is wrong with it."""
    value = values.get(column) if column is not None else None
    if value is None or value == "":
        return 1.0
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not 0 <= found <= most or math.isinf(found):
        limits = "0 or more" if math.isinf(most) else f"0 to {most:g}"
        return f"{column} is {str(value)[:40]!r}, expected a number, {limits}"
    return found


def _word(values: Mapping[str, Any], column: str | None) -> str:
    value = values.get(column) if column is not None else None
    return "" if value is None else " ".join(str(value).split())


def _kind(value: Any) -> str:
    kinds = {"list": "a list", "dict": "an object", "int": "a number", "float": "a number"}
    return kinds.get(type(value).__name__, f"{value!r}"[:40])

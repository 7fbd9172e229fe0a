"""Captions that the user already has, from a table, as a teacher: it speaks and gives no scores.

An image is named by its path, or by its file name where no other image has the same. Which one that
is hangs on all images, so the captions come in the conclusion and a look sees nothing; an edited
file costs no second look. The rows are joined to the images in an SQLite file among the teacher's
notes, so memory stays flat however many there are, and are read from there in the images' order.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from PIL import Image

from captioning.teachers import caption_rows
from captioning.teachers.caption_rows import BadRow, Columns, Row
from captioning.teachers.protocol import Brief, Conclusion, Look
from edgekd.config import Section
from edgekd.errors import DataError, DiskError
from edgekd.manifest import Manifest
from edgekd.records import Caption, Item
from edgekd.store import digest, file_sha256

_SHOWN = 5
_TEMPLATE = "given"


class CaptionsFileConfig(Section):
    """Captions you already have: a row a caption, as many an image as you like. It has no scores."""

    kind: Literal["file"] = "file"
    path: Path = pydantic.Field(description=".csv, .jsonl or .parquet file")
    path_column: str | None = pydantic.Field(
        None,
        description='paths relative to data.folder, or file names; "path" if no id_column is given',
    )
    id_column: str | None = pydantic.Field(
        None, description="instead of paths: the sha256 of the images' bytes"
    )
    text_column: str = pydantic.Field("text", description="the captions")
    temperature_column: str | None = pydantic.Field(
        None, description="the temperature each was sampled at; 1 without"
    )
    confidence_column: str | None = pydantic.Field(
        None, description="how sure the captions' author was, 0 to 1; 1 without"
    )
    teacher_column: str | None = pydantic.Field(None, description="who or which model wrote each")
    language_column: str | None = pydantic.Field(None, description="the language of each: en, zh")
    licence: str = pydantic.Field("not stated", description="of the captions, for the report")

    @pydantic.model_validator(mode="after")
    def _one_of_them(self) -> CaptionsFileConfig:
        if self.path_column is not None and self.id_column is not None:
            raise ValueError("path_column and id_column are both set. Set one")
        return self

    @property
    def name(self) -> str:
        """What its captions and the report call it."""
        return f"{self.kind}/{self.path.name}"

    @property
    def columns(self) -> Columns:
        """The columns to read."""
        return Columns(
            image=self.id_column or self.path_column or "path",
            text=self.text_column,
            is_id=self.id_column is not None,
            temperature=self.temperature_column,
            confidence=self.confidence_column,
            speaker=self.teacher_column,
            language=self.language_column,
        )


class CaptionsFileTeacher:
    """Implements `captioning.teachers.protocol.Teacher`."""

    def __init__(self, config: CaptionsFileConfig, brief: Brief):
        if not config.path.is_file():
            raise DataError(
                f"{config.path}: no such file. Expected a .csv, .jsonl or .parquet file"
            )
        self._config = config
        # Another file's captions may be read at the same time.
        which = digest(config.model_dump(mode="json"))[:16]
        self._index = brief.notes / f"captions-{which}.sqlite"

    @property
    def name(self) -> str:
        return self._config.name

    @property
    def settings(self) -> str:
        """The same for all files: a look depends on nothing."""
        return digest([self._config.kind])

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        """Returns nothing; see `conclude`."""
        return Look({})

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        """Returns the captions, to be read any number of times while the notes are there.

        Raises:
            DataError: the file cannot be read, or none of its rows names an image.
            DiskError: the disk is full.
        """
        config = self._config
        rows = caption_rows.read(config.path, config.columns)
        counts = _build(self._index, manifest.items, rows, config.columns.is_id)
        if counts.num_placed == 0:
            raise DataError(f"{config.path}: {_why_none(counts, manifest, config.columns)}")
        captions = _Captions(self._index, manifest.items, self.name)
        return Conclusion(None, captions, {}, self._summary(counts))

    def _summary(self, counts: _Counts) -> dict[str, Any]:
        return {
            "weights": [],
            "num_params": None,
            "head": {},
            "file": self._origin,
            "num_captions": counts.num_placed,
            "skipped_captions": counts.num_bad,
            "skipped_first": counts.bad,
            "captions_of_unknown_images": counts.num_unknown,
            "unknown_first": counts.unknown,
            "captions_of_ambiguous_names": counts.num_ambiguous,
            "ambiguous_first": counts.ambiguous,
            "images_without_captions": counts.num_silent,
        }

    @cached_property
    def _origin(self) -> dict[str, Any]:
        path = self._config.path
        return {
            "name": path.name,
            "sha256": file_sha256(path),
            "size_bytes": path.stat().st_size,
            "licence": self._config.licence,
        }


@dataclass
class _Counts:
    """What became of the rows; of each kind the first few are named."""

    num_placed: int = 0
    num_bad: int = 0
    bad: list[str] = field(default_factory=list)
    num_unknown: int = 0
    unknown: list[str] = field(default_factory=list)
    num_ambiguous: int = 0
    ambiguous: list[str] = field(default_factory=list)
    num_silent: int = 0


@dataclass(frozen=True)
class _Captions:
    """The captions in the order of the items, an item's in that of the file; read when iterated."""

    index: Path
    items: Sequence[Item]
    teacher: str

    def __iter__(self) -> Iterator[Caption]:
        where = f"{self.index.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(where, uri=True)) as database:
            last, index = -1, 0
            for row, text, temperature, confidence, speaker, language in database.execute(
                _IN_ORDER
            ):
                index = index + 1 if row == last else 0
                last = row
                yield Caption(
                    self.items[row].id,
                    index,
                    text,
                    f"{_TEMPLATE}.{language}" if language else _TEMPLATE,
                    temperature,
                    0,
                    f"{self.teacher}/{speaker}" if speaker else self.teacher,
                    confidence,
                )


_TABLES = """
CREATE TABLE images (row INTEGER PRIMARY KEY, key TEXT, name TEXT);
CREATE TABLE said (number INTEGER PRIMARY KEY, key TEXT, text TEXT, temperature REAL,
                   confidence REAL, speaker TEXT, language TEXT);
CREATE TABLE placed (row INTEGER, number INTEGER, PRIMARY KEY (row, number)) WITHOUT ROWID;
CREATE TABLE ambiguous (number INTEGER PRIMARY KEY);
"""
_JOIN = """
CREATE INDEX of_key ON images (key);
CREATE INDEX of_name ON images (name);
INSERT INTO placed SELECT images.row, said.number FROM said JOIN images USING (key);
"""
# Those that are no path, but the file name of one image, or of several.
_JOIN_NAMES = """
CREATE TABLE names AS SELECT number, min(row) AS row, count(*) AS images
    FROM said JOIN images ON images.name = said.key
    WHERE NOT EXISTS (SELECT 1 FROM images AS exact WHERE exact.key = said.key) GROUP BY number;
INSERT INTO placed SELECT row, number FROM names WHERE images = 1;
INSERT INTO ambiguous SELECT number FROM names WHERE images > 1;
"""
_LEFT = """
CREATE TABLE known AS SELECT number FROM placed UNION SELECT number FROM ambiguous;
CREATE INDEX of_known ON known (number);
CREATE TABLE unknown AS SELECT number FROM said WHERE number NOT IN (SELECT number FROM known);
"""
_IN_ORDER = (
    "SELECT row, text, temperature, confidence, speaker, language "
    "FROM placed JOIN said USING (number) ORDER BY row, number"
)


def _build(
    index: Path, items: Sequence[Item], rows: Iterable[Row | BadRow], by_id: bool
) -> _Counts:
    """Writes the index anew; returns what became of the rows."""
    counts = _Counts()
    index.parent.mkdir(parents=True, exist_ok=True)
    index.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(index)) as database:
            # It is made anew whenever it is needed, so nothing of it must outlast a power cut.
            database.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _TABLES)
            database.executemany("INSERT INTO images VALUES (?, ?, ?)", _images(items, by_id))
            said = (_values(row) for row in _good(rows, counts))
            database.executemany("INSERT INTO said VALUES (?, ?, ?, ?, ?, ?, ?)", said)
            database.commit()
            database.executescript(_JOIN + ("" if by_id else _JOIN_NAMES) + _LEFT)
            database.commit()
            _count(database, counts, len(items))
    except sqlite3.OperationalError as error:
        raise DiskError(
            f"{index}: cannot be written ({error}). Free some space, then start again"
        ) from error
    return counts


def _images(items: Sequence[Item], by_id: bool) -> Iterator[tuple[int, str, str]]:
    for row, item in enumerate(items):
        path = caption_rows.key(item.path)
        yield row, item.id if by_id else path, path.rpartition("/")[2]


def _good(rows: Iterable[Row | BadRow], counts: _Counts) -> Iterator[Row]:
    for row in rows:
        if isinstance(row, Row):
            yield row
            continue
        counts.num_bad += 1
        if len(counts.bad) < _SHOWN:
            counts.bad.append(f"row {row.number}: {row.reason}")


def _values(row: Row) -> tuple[int, str, str, float, float, str, str]:
    return (row.number, row.image, row.text, row.temperature, row.confidence, row.speaker,
            row.language)  # fmt: skip


def _count(database: sqlite3.Connection, counts: _Counts, num_images: int) -> None:
    def number(of: str) -> int:
        return int(database.execute(f"SELECT count({of}").fetchone()[0])

    def first(table: str) -> list[str]:
        found = database.execute(
            f"SELECT number, key FROM {table} JOIN said USING (number) ORDER BY number LIMIT ?",
            (_SHOWN,),
        )
        return [f"row {line}: {key}" for line, key in found]

    counts.num_placed = number("*) FROM placed")
    counts.num_unknown, counts.unknown = number("*) FROM unknown"), first("unknown")
    counts.num_ambiguous, counts.ambiguous = number("*) FROM ambiguous"), first("ambiguous")
    counts.num_silent = num_images - number("DISTINCT row) FROM placed")


def _why_none(counts: _Counts, manifest: Manifest, columns: Columns) -> str:
    if counts.ambiguous:
        return (
            f"its file names are those of several images ({counts.ambiguous[0]}). Expected paths "
            f"relative to data.folder, like {manifest.items[0].path}"
        )
    if counts.unknown:
        wanted = "a sha256 of an image's bytes, like " + manifest.items[0].id
        paths = "a path relative to data.folder or a file name, like " + manifest.items[0].path
        return (
            f"none of its captions is of an image of the data "
            f"({counts.unknown[0]}). Expected in '{columns.image}' "
            f"{wanted if columns.is_id else paths}"
        )
    if counts.bad:
        return f"none of its rows can be used ({counts.bad[0]})"
    return "it has no rows"

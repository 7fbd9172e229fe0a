"""Which files a data folder offers, and what its folders or its CSV say of each.

Three layouts are read: a CSV of labels beside the images, one folder a class (under split folders
or not), and images without any labels.
"""

from __future__ import annotations

import csv
import functools
import io
import os
import posixpath
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from edgekd import names
from edgekd.errors import DataError
from edgekd.records import LABEL_SEPARATOR, NO_CLASS, SPLITS, Split

SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "tune": "tune",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_BROKEN_LINK = "a link to a file that is not there"
# What other tools call the column; read past, its labels would be lost without a word.
_NOT_LABEL = ("labels", "class", "classes", "category", "target")


@dataclass(frozen=True, slots=True)
class Source:
    """One image file, relative to the data folder, and what is said of it."""

    path: str
    label: str | None = None
    split: Split | None = None
    group: str | None = None


@dataclass(frozen=True)
class Sources:
    """The image files in the order of their names, and those that cannot even be opened, with why.

    `from_folders` says that the labels are the names of folders.
    """

    files: list[Source]
    unusable: list[tuple[str, str]] = field(default_factory=list)
    from_folders: bool = False


def read(folder: Path, labels: Path | None, multilabel: bool = False) -> Sources:
    """Returns the sources of a folder; `labels` names its CSV, by default labels.csv if there.

    Where `multilabel`, several rows of one image name all that it shows, as does "cat|dog" in one.

    Raises:
        DataError: the CSV is not there or cannot be used as it is; says which line.
    """
    table = folder / (labels or "labels.csv")
    if labels is not None and not table.is_file():
        raise DataError(f"data.labels: no file '{table}'")
    found: list[str] = []
    unusable: list[tuple[str, str]] = []
    for path, fault in _image_files(folder):
        if fault is None:
            found.append(path)
        else:
            unusable.append((path, fault))
    found.sort(key=lambda path: path.split("/"))
    if table.is_file():
        return Sources(_of_table(table, folder, found, unusable, multilabel), unusable)
    splits = _split_folders(found)
    return Sources([_of_folders(path, splits) for path in found], unusable, from_folders=True)


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Returns the suffixes of image files, lower case: those that Pillow opens, and HEIC.

    Pillow alone does not read HEIC; such a file is listed with that reason, not passed over.
    """
    Image.init()
    openable = {suffix for suffix, kind in Image.EXTENSION.items() if kind in Image.OPEN}
    videos_and_tables = {".pdf", ".mpg", ".mpeg", ".h5", ".hdf"}
    return frozenset((openable - videos_and_tables) | {".heic", ".heif"})


def listing(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Yields (path, size, time of change) of every file, linked folders too; hidden ones are left out."""
    for path, entry in _walk(folder):
        try:
            if isinstance(entry, OSError):
                raise entry
            state = entry.stat()
            yield _printable(path), state.st_size, state.st_mtime_ns
        except OSError:  # a broken link, or a folder that may not be read
            yield _printable(path), -1, 0


def images_under(folder: Path) -> list[str]:
    """Returns the image files of a folder, relative to it and sorted; no hidden ones.

    Linked folders are followed once; what cannot be read is left out.
    """
    return sorted(path for path, fault in _image_files(folder) if fault is None)


def _image_files(folder: Path) -> Iterator[tuple[str, str | None]]:
    """The files with an image's suffix, relative to the folder, and why one cannot be used.

    Hidden ones are left out.
    """
    suffixes = image_suffixes()
    for path, entry in _walk(folder):
        if isinstance(entry, OSError):
            yield _printable(path), f"cannot be read ({entry.strerror or entry})"
            continue
        if posixpath.splitext(path)[1].lower() not in suffixes:
            continue
        if _printable(path) != path:
            yield _printable(path), "its name is not valid UTF-8. Rename it"
        elif _is_file(entry):
            yield path, None
        elif entry.is_symlink():
            yield path, _BROKEN_LINK


def _walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str] | OSError]]:
    """Every entry below a folder that is no folder. A linked folder is followed, each one once.

    Linked folders come after what is really there, so that a folder reached both ways goes by its
    real name.
    """
    seen: set[tuple[int, int]] = set()
    real: list[str] = [""]
    linked: list[str] = []
    while real or linked:
        prefix = real.pop() if real else linked.pop()
        try:
            state = os.stat(folder / prefix)
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            with os.scandir(folder / prefix) as opened:
                entries = list(opened)
        except OSError as error:
            yield prefix or ".", error
            continue
        for entry in entries:
            path = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                real.append(path)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                linked.append(path)
            else:
                yield path, entry
        linked.sort(reverse=True)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link in a circle
        return False


def _printable(path: str) -> str:
    """The path, with bytes that are no UTF-8 written as backslash escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _split_folders(found: list[str]) -> set[str]:
    """The top folders called like a split, but for a class "train" (the one on rails).

    That is one with images right in it, beside top folders of other names.
    """
    parts = [path.split("/") for path in found]
    top = {part[0] for part in parts if len(part) > 1}
    named = {folder for folder in top if folder.lower() in SPLIT_FOLDERS}
    if named == top:
        return named
    return named & {part[0] for part in parts if len(part) > 2}


def _of_folders(path: str, splits: set[str]) -> Source:
    parents = path.split("/")[:-1]
    split = SPLIT_FOLDERS[parents[0].lower()] if parents and parents[0] in splits else None
    at = 1 if split else 0
    return Source(path, names.clean(parents[at]) if len(parents) > at else None, split)


def _of_table(
    table: Path,
    folder: Path,
    found: list[str],
    unusable: list[tuple[str, str]],
    multilabel: bool,
) -> list[Source]:
    """The rows of the table, one a file, then the files it does not name."""
    places = _Places(folder, found)
    rows: dict[str, tuple[int, Source]] = {}
    for line, row in _rows(table):
        path = places.find(row.path)
        if path is None:
            unusable.append((row.path, "lies outside of data.folder; name a folder that holds it"))
            continue
        placed = Source(path, row.label, row.split, row.group)
        if path in rows:
            placed = _one_row(table, rows[path], (line, placed), multilabel)
        rows[path] = (line, placed)
    listed = [source for _, source in rows.values()]
    broken = {path for path, _ in unusable}  # already listed, with the reason
    return [source for source in listed if source.path not in broken] + [
        Source(path) for path in found if path not in rows
    ]


def _one_row(
    table: Path, first: tuple[int, Source], second: tuple[int, Source], multilabel: bool
) -> Source:
    values: dict[str, str | None] = {}
    for name in ("label", "split", "group"):
        one, other = getattr(first[1], name), getattr(second[1], name)
        of_none = NO_CLASS in (one, other)
        if multilabel and name == "label" and one and other and not of_none:
            one = other = f"{one}{LABEL_SEPARATOR}{other}"
        if one and other and one != other:
            raise DataError(
                f"{table}, lines {first[0]} and {second[0]}: two rows of '{first[1].path}' with "
                f"{name} '{one}' and '{other}'. Keep one"
            )
        values[name] = one or other
    return Source(first[1].path, **values)  # type: ignore[arg-type]


class _Places:
    """Finds the file that a row means, whichever way it is written."""

    def __init__(self, folder: Path, found: list[str]):
        self._folder = folder
        self._exact = set(found)
        self._composed = {unicodedata.normalize("NFC", path): path for path in found}

    def find(self, written: str) -> str | None:
        """Returns the path relative to the folder, whether or not it is there; None if outside."""
        for path in (written, written.strip(), written.replace("\\", "/")):
            inside = self._inside(path)
            if inside is None:
                continue
            if inside in self._exact:
                return inside
            composed = self._composed.get(unicodedata.normalize("NFC", inside))
            if composed is not None:  # macOS writes "é" as two letters, a CSV as one
                return composed
            if (self._folder / inside).is_file():  # by another name: a hidden or linked folder
                return inside
        return self._inside(written.strip())

    def _inside(self, path: str) -> str | None:
        if posixpath.isabs(path):
            for folder in (self._folder.absolute(), self._folder.resolve()):
                if Path(path).is_relative_to(folder):
                    path = Path(path).relative_to(folder).as_posix()
                    break
            else:
                return None
        inside = posixpath.normpath(path)  # "./a.png" is "a.png"
        return None if inside == ".." or inside.startswith("../") else inside


def _rows(table: Path) -> Iterator[tuple[int, Source]]:
    """Each row with its line; as spreadsheets write it: BOM, semicolons or tabs, CRLF."""
    try:
        content = table.read_bytes()
        utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        header = [name.strip(' "').lower() for name in next(reader, [])]
        if "path" not in header:
            raise DataError(
                f"{table}: expected a header with path,label[,split][,group], "
                f"found {','.join(header) or 'nothing'}"
            )
        if "label" not in header and (meant := [name for name in header if name in _NOT_LABEL]):
            raise DataError(f"{table}: the column of labels is called label, found '{meant[0]}'")
        for row in reader:
            if any(row):
                yield reader.line_num, _source(table, reader.line_num, header, row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not readable as CSV in UTF-8 ({error})") from error
    except OSError as error:
        raise DataError(f"{table}: cannot be read ({error.strerror})") from error


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0].lower()
    for delimiter in (",", ";", "\t"):
        if "path" in [name.strip(' "\r\ufeff') for name in header.split(delimiter)]:
            return delimiter
    return ","


def _source(table: Path, line: int, header: list[str], row: list[str]) -> Source:
    values = dict(zip(header, (value.strip() for value in row), strict=False))
    split = values.get("split", "").lower() or None
    if split is not None and split not in SPLIT_FOLDERS:
        raise DataError(
            f"{table}, line {line}: unknown split '{split}', expected one of {', '.join(SPLITS)}"
        )
    if not values.get("path"):
        raise DataError(f"{table}, line {line}: no path in it")
    label = names.clean(values.get("label", "")) or None
    return Source(
        row[header.index("path")],  # a file's name may begin or end with a space
        label,
        SPLIT_FOLDERS[split] if split else None,
        values.get("group") or None,
    )

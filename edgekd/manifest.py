"""From a folder to items: which images, which labels, which split. Split by content digest.

Three layouts are read: a CSV of labels beside the images, one folder a class (under split folders
or not), and images without any labels.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pydantic
from PIL import Image

from edgekd.config import Section
from edgekd.errors import DataError, closest
from edgekd.preprocess import open_image
from edgekd.records import SPLITS, Item, Split, TaskSpec
from edgekd.store import atomic_path, file_sha256

SCHEMA = 1
_SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "tune": "tune",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


class SplitFractions(Section):
    """Share of the labelled images kept for each use; the rest trains."""

    tune: float = pydantic.Field(0.05, ge=0, lt=1, description="may fit and calibrate anything")
    val: float = pydantic.Field(0.05, ge=0, lt=1, description="chooses between finished candidates")
    test: float = pydantic.Field(0.2, ge=0, lt=1, description="looked at once")

    @pydantic.model_validator(mode="after")
    def _some_left(self) -> SplitFractions:
        if self.tune + self.val + self.test >= 1:
            raise ValueError("tune + val + test must leave something to train on (sum below 1)")
        return self


class DataConfig(Section):
    """The user's images."""

    folder: Path = pydantic.Field(description="folder of images")
    classes: list[str] | None = pydantic.Field(
        None, description="class names in output order; by default from the labels or folders"
    )
    synonyms: dict[str, list[str]] = pydantic.Field(
        default_factory=dict, description="other words for a class, as captions may say them"
    )
    labels: Path | None = pydantic.Field(
        None, description="CSV with path,label[,split][,group]; by default labels.csv if there"
    )
    use_labels: bool = pydantic.Field(
        True, description="false: labels of training images are left aside (names only)"
    )
    splits: SplitFractions = SplitFractions()
    licence: str = "not stated"
    on_bad_image: Literal["skip", "error"] = "skip"

    @pydantic.field_validator("classes")
    @classmethod
    def _distinct(cls, classes: list[str] | None) -> list[str] | None:
        if classes is None:
            return None
        twice = [name for name, count in Counter(classes).items() if count > 1]
        if twice:
            raise ValueError(f"'{twice[0]}' stands there twice")
        if len(classes) < 2:
            raise ValueError(f"expected at least 2 classes, found {len(classes)}")
        return classes


@dataclass(frozen=True)
class Manifest:
    """The task, its items, and what was left out with the reason."""

    task: TaskSpec
    items: list[Item]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    num_duplicates: int = 0

    def of(self, *splits: Split) -> list[Item]:
        return [item for item in self.items if item.split in splits]

    def counts(self) -> dict[str, dict[str, int]]:
        """Images and labels in each split."""
        return {
            split: {
                "images": len(self.of(split)),
                "labels": sum(item.label is not None for item in self.of(split)),
            }
            for split in SPLITS
        }


@dataclass(frozen=True)
class _Source:
    path: str
    label: str | None
    split: Split | None
    group: str | None


def build(
    config: DataConfig, name: str, seed: int, progress: Callable[[int, int], None] | None = None
) -> Manifest:
    """Returns the manifest of a folder.

    Raises:
        DataError: no usable image, a label that is no class, a bad image under
            `on_bad_image: error`.
    """
    folder = config.folder.expanduser()
    if not folder.is_dir():
        raise DataError(f"data.folder: no folder '{config.folder}'. Expected a folder of images")
    sources = list(_sources(config, folder))
    if not sources:
        raise DataError(f"data.folder: no image files in '{config.folder}'")
    classes = _class_names(config, sources)
    items: dict[str, Item] = {}
    skipped: list[tuple[str, str]] = []
    num_duplicates = 0
    for index, source in enumerate(sources):
        try:
            item = _item(folder, source, classes, config, seed)
        except DataError as error:
            if config.on_bad_image == "error":
                raise
            skipped.append((source.path, str(error).removeprefix(f"{folder / source.path}: ")))
            continue
        finally:
            if progress:
                progress(index + 1, len(sources))
        if item.id in items:
            num_duplicates += 1
            items[item.id] = _merged(items[item.id], item, classes)
        else:
            items[item.id] = item
    if not items:
        raise DataError(
            f"data.folder: none of the {len(sources)} image files in '{config.folder}' can be "
            f"read; the first: {skipped[0][0]}: {skipped[0][1]}"
        )
    task = TaskSpec(
        name=name,
        classes=tuple(classes),
        synonyms={key: tuple(words) for key, words in config.synonyms.items()},
    )
    return Manifest(task, list(items.values()), skipped, num_duplicates)


def save(manifest: Manifest, path: Path) -> None:
    """Writes manifest.parquet: a row an item; task and skipped files in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        name: [getattr(item, name) for item in manifest.items] for name in Item.__dataclass_fields__
    }
    meta = {
        "schema": SCHEMA,
        "name": manifest.task.name,
        "classes": manifest.task.classes,
        "synonyms": manifest.task.synonyms,
        "skipped": manifest.skipped,
        "num_duplicates": manifest.num_duplicates,
    }
    table = pa.table(columns, schema=_parquet_schema()).replace_schema_metadata(
        {"edgekd": json.dumps(meta)}
    )
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def load(path: Path) -> Manifest:
    """Returns the manifest in a parquet file.

    Raises:
        DataError: another schema version.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    meta = json.loads((table.schema.metadata or {}).get(b"edgekd", b"{}"))
    if meta.get("schema") != SCHEMA:
        raise DataError(f"{path}: schema {meta.get('schema')!r}, this edgekd reads schema {SCHEMA}")
    task = TaskSpec(
        name=meta["name"],
        classes=tuple(meta["classes"]),
        synonyms={key: tuple(words) for key, words in meta["synonyms"].items()},
    )
    items = [Item(**row) for row in table.to_pylist()]
    skipped = [(file, reason) for file, reason in meta["skipped"]]
    return Manifest(task, items, skipped, meta["num_duplicates"])


def split_of(key: str, seed: int, fractions: SplitFractions) -> Split:
    """Returns the split of a content digest (or group): the same key always gets the same one."""
    draw = int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big") / 2**64
    for split, share in (
        ("test", fractions.test),
        ("val", fractions.val),
        ("tune", fractions.tune),
    ):
        if draw < share:
            return split  # type: ignore[return-value]
        draw -= share
    return "train"


def image_suffixes() -> frozenset[str]:
    """Returns the suffixes of the formats that Pillow opens, lower case."""
    Image.init()
    openable = {suffix for suffix, kind in Image.EXTENSION.items() if kind in Image.OPEN}
    return frozenset(openable - {".pdf", ".mpg", ".mpeg", ".h5", ".hdf"})


def _sources(config: DataConfig, folder: Path) -> Iterator[_Source]:
    table = folder / (config.labels or "labels.csv")
    if table.is_file():
        yield from _csv_sources(table, folder)
        return
    if config.labels is not None:
        raise DataError(f"data.labels: no file '{table}'")
    for relative in _image_paths(folder):
        parents = list(relative.parts[:-1])
        split = _SPLIT_FOLDERS.get(parents[0].lower()) if parents else None
        label = parents[1 if split else 0] if len(parents) > (1 if split else 0) else None
        if config.classes is not None and label not in config.classes:
            label = None  # a folder that is no class is only a folder
        yield _Source(relative.as_posix(), label, split, None)


def _csv_sources(table: Path, folder: Path) -> Iterator[_Source]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            listed = list(_csv_rows(csv.DictReader(stream), table))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not readable as CSV in UTF-8 ({error})") from error
    yield from listed
    seen = {source.path for source in listed}
    for relative in _image_paths(folder):
        if relative.as_posix() not in seen:
            yield _Source(relative.as_posix(), None, None, None)


def _csv_rows(reader: csv.DictReader[str], table: Path) -> Iterator[_Source]:
    if "path" not in (reader.fieldnames or []):
        raise DataError(
            f"{table}: expected a header with path,label[,split][,group], "
            f"found {','.join(reader.fieldnames or []) or 'nothing'}"
        )
    for row in reader:
        split = (row.get("split") or "").strip().lower() or None
        if split is not None and split not in _SPLIT_FOLDERS:
            raise DataError(
                f"{table}, line {reader.line_num}: unknown split '{split}', "
                f"expected one of {', '.join(SPLITS)}"
            )
        if not row["path"]:
            raise DataError(f"{table}, line {reader.line_num}: no path in it")
        yield _Source(
            PurePosixPath(row["path"]).as_posix(),  # "./a.png" is "a.png"
            (row.get("label") or "").strip() or None,
            _SPLIT_FOLDERS[split] if split else None,
            (row.get("group") or "").strip() or None,
        )


def _image_paths(folder: Path) -> Iterator[Path]:
    """The files with an image's suffix, relative to the folder, sorted; hidden ones are left out."""
    suffixes = image_suffixes()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            yield relative


def _class_names(config: DataConfig, sources: list[_Source]) -> list[str]:
    found = sorted({source.label for source in sources if source.label is not None})
    classes = config.classes if config.classes is not None else found
    if len(classes) < 2:
        raise DataError(
            "data.classes: missing, and the folder gives "
            f"{'no class names' if not found else f'only one ({found[0]})'}. "
            "List at least two class names, or put the images in one folder a class"
        )
    unknown = [label for label in found if label not in classes]
    if unknown:
        raise DataError(
            f"labels: '{unknown[0]}' is none of the {len(classes)} classes."
            f"{closest(unknown[0], classes)}"
        )
    strange = [name for name in config.synonyms if name not in classes]
    if strange:
        raise DataError(f"data.synonyms: '{strange[0]}' is no class.{closest(strange[0], classes)}")
    return list(classes)


def _item(folder: Path, source: _Source, classes: list[str], config: DataConfig, seed: int) -> Item:
    path = folder / source.path
    if not path.is_file():
        raise DataError(f"{path}: named in the labels file but not there")
    width, height = open_image(path).size
    sha256 = file_sha256(path)
    labelled = source.label is not None
    split = source.split or (
        split_of(source.group or sha256, seed, config.splits) if labelled else "train"
    )
    wanted = labelled and (config.use_labels or split != "train")
    return Item(
        id=sha256,
        path=source.path,
        split=split,
        label=classes.index(source.label) if wanted and source.label else None,
        label_origin="given" if wanted else None,
        group=source.group,
        licence=config.licence,
        width=width,
        height=height,
    )


def _merged(first: Item, second: Item, classes: list[str]) -> Item:
    """One item of two files with the same bytes; the label and the later use win."""
    if None not in (first.label, second.label) and first.label != second.label:
        raise DataError(
            f"{first.path} and {second.path} are the same image with two labels: "
            f"'{classes[first.label or 0]}' and '{classes[second.label or 0]}'. Remove one"
        )
    later = max(first, second, key=lambda item: SPLITS.index(item.split))
    labelled = first if first.label is not None else second
    values: dict[str, Any] = {"label": labelled.label, "label_origin": labelled.label_origin}
    return Item(**{**later.__dict__, **values})


def _parquet_schema() -> Any:
    import pyarrow as pa

    integers, texts = pa.int32(), pa.string()
    kinds = {"label": integers, "width": integers, "height": integers}
    return pa.schema([(name, kinds.get(name, texts)) for name in Item.__dataclass_fields__])

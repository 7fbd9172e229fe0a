"""From a folder to items: which images, which labels, which split. Split by content digest."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from PIL import Image

from edgekd import names
from edgekd.config import Section
from edgekd.errors import DataError
from edgekd.items_file import Items
from edgekd.labels import Labels
from edgekd.near_duplicates import Fingerprints
from edgekd.preprocess import open_image
from edgekd.records import SPLITS, Item, Label, Split, TaskSpec
from edgekd.sources import Source
from edgekd.sources import image_suffixes as image_suffixes
from edgekd.sources import read as read_sources
from edgekd.store import atomic_path, file_sha256

SCHEMA = 2
_READABLE = (1, SCHEMA)  # 1 has no near copies and no notes
_ROWS_A_GROUP = 8192


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
    multilabel: bool = pydantic.Field(
        False,
        description="an image shows any number of the classes: labels are written `cat|dog`, `-` is "
        "none of them",
    )
    synonyms: dict[str, list[str]] = pydantic.Field(
        default_factory=dict, description="other words for a class, as captions may say them"
    )
    labels: Path | None = pydantic.Field(
        None, description="CSV with path,label[,split][,group]; by default labels.csv if there"
    )
    use_labels: bool = pydantic.Field(
        True, description="false: no label is used but those of test, which only measure"
    )
    labels_per_class: int | None = pydantic.Field(
        None,
        ge=0,
        description="keep this many labels a class on train, drawn by seed and content (with several "
        "an image, each that is among the first of one of its classes); tune, val and test keep theirs",
    )
    splits: SplitFractions = SplitFractions()
    near_duplicates: Literal["together", "ignore"] = pydantic.Field(
        "together", description="together: near copies of an image share its split"
    )
    licence: str = "not stated"
    on_bad_image: Literal["skip", "error"] = "skip"

    @pydantic.field_validator("classes", mode="before")
    @classmethod
    def _texts(cls, classes: Any) -> Any:
        if isinstance(classes, str):
            raise ValueError(f"expected a list of names, as in [cat, dog], found '{classes[:60]}'")
        fault = names.not_texts(classes) if isinstance(classes, list | tuple) else None
        if fault:
            raise ValueError(fault)
        return classes

    @pydantic.field_validator("classes")
    @classmethod
    def _names(cls, classes: list[str] | None) -> list[str] | None:
        if classes is None:
            return None
        cleaned = [names.clean(name) for name in classes]
        fault = names.fault(cleaned)
        if fault is None and len(cleaned) < 2:
            fault = f"expected at least 2 classes, found {len(cleaned)}. {_ONE_CLASS}"
        if fault:
            raise ValueError(fault)
        return cleaned

    @pydantic.field_validator("synonyms", mode="before")
    @classmethod
    def _words(cls, synonyms: Any) -> Any:
        if not isinstance(synonyms, dict):
            return synonyms
        lists = [words for words in synonyms.values() if isinstance(words, list | tuple)]
        every = [*synonyms, *(word for words in lists for word in words)]
        fault = names.not_texts(every)
        if fault is None and not all(word.strip() for word in every):
            fault = "an empty word. Leave it out"
        if fault:
            raise ValueError(fault)
        return synonyms

    @pydantic.model_validator(mode="after")
    def _labels_are_used(self) -> DataConfig:
        if self.labels_per_class is not None and not self.use_labels:
            raise ValueError(
                f"labels_per_class is {self.labels_per_class}, but use_labels is false. Set one"
            )
        return self


_ONE_CLASS = (
    "A classifier tells things apart: add a class for what else it may see, with images of it"
)


@dataclass(frozen=True)
class Manifest:
    """The task, its items, what was left out with the reason, and what a user should know.

    One that was loaded holds no items: they are read from its file whenever they are asked for.
    """

    task: TaskSpec
    items: Sequence[Item]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    num_duplicates: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def ids(self) -> Collection[str]:
        """The ids in order, to be read any number of times."""
        return _Ids(self)

    def column(self, name: str) -> Iterator[Any]:
        """Yields one field of every item; of a manifest that was loaded no other is read."""
        if isinstance(self.items, Items):
            return self.items.column(name)
        return (getattr(item, name) for item in self.items)

    def of(self, *splits: Split) -> list[Item]:
        return [item for item in self.items if item.split in splits]

    def is_of(self, split: Split) -> np.ndarray:
        """Returns which items [N] are of a split, bool."""
        found = (each == split for each in self.column("split"))
        return np.fromiter(found, bool, len(self.items))

    def rows(self, split: Split, most: int) -> np.ndarray:
        """Returns the rows of a split's items, int64; of more than `most`, that many evenly spaced."""
        rows = np.flatnonzero(self.is_of(split))
        if len(rows) <= most:
            return rows
        return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]

    def labels(self, split: Split) -> dict[int, Any]:
        """Returns {row: label} of the labelled items of a split, each as in `TaskSpec.truth`."""
        rows, labels = self.labelled(split)
        values = labels if self.task.multilabel else labels.tolist()
        return dict(zip(rows.tolist(), values, strict=True))

    def labelled(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Returns (rows int64, labels as `TaskSpec.truth` has them) of a split's labelled items."""
        pairs = zip(self.column("split"), self.column("label"), strict=True)
        found = [
            (row, label)
            for row, (of, label) in enumerate(pairs)
            if of == split and label is not None
        ]
        rows = np.array([row for row, _ in found], dtype=np.int64)
        return rows, self.task.truth([label for _, label in found])

    def counts(self) -> dict[str, dict[str, int]]:
        """Images and labels in each split."""
        counts: dict[str, dict[str, int]] = {s: {"images": 0, "labels": 0} for s in SPLITS}
        for split, label in zip(self.column("split"), self.column("label"), strict=True):
            counts[split]["images"] += 1
            counts[split]["labels"] += label is not None
        return counts

    def near_copies(self) -> dict[str, int]:
        """Images that have near copies, and those whose copies lie in another split too."""
        groups = _near_groups(self.items)
        across = [group for group in groups if len({item.split for item in group}) > 1]
        return {
            "images": sum(len(group) for group in groups),
            "across_splits": sum(len(group) for group in across),
        }


@dataclass(frozen=True)
class _Ids(Collection[str]):
    manifest: Manifest

    def __len__(self) -> int:
        return len(self.manifest.items)

    def __iter__(self) -> Iterator[str]:
        return self.manifest.column("id")

    def __contains__(self, item_id: object) -> bool:
        return any(each == item_id for each in self)


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
    sources = read_sources(folder, config.labels, config.multilabel)
    if not sources.files and not sources.unusable:
        raise DataError(f"data.folder: no image files in '{config.folder}'")
    labels = Labels(config.classes, config.synonyms, config.multilabel, sources)
    pictures = _Pictures(folder, labels, config, sources.unusable)
    for index, source in enumerate(sources.files):
        pictures.add(source)
        if progress:
            progress(index + 1, len(sources.files))
    if not pictures.drafts:
        first = pictures.skipped[0]
        raise DataError(
            f"data.folder: none of the {len(pictures.skipped)} image files in '{config.folder}' "
            f"can be read; the first: {first[0]}: {first[1]}"
        )
    drafts = pictures.drafts
    _assign_splits(drafts, pictures.together(), config.splits, seed)
    _leave_labels_aside(drafts, config, seed)
    items = [draft.item(config.licence) for draft in drafts]
    task = TaskSpec(
        name=name,
        classes=tuple(labels.classes),
        synonyms=labels.synonyms,
        multilabel=config.multilabel,
    )
    notes = [*labels.notes, *_straddling(items), *names.notes(labels.classes)]
    return Manifest(task, items, pictures.skipped, pictures.num_duplicates, notes)


def save(manifest: Manifest, path: Path) -> None:
    """Writes manifest.parquet: a row an item; task and skipped files in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    meta = {
        "schema": SCHEMA,
        "name": manifest.task.name,
        "classes": manifest.task.classes,
        "synonyms": manifest.task.synonyms,
        "multilabel": manifest.task.multilabel,
        "skipped": manifest.skipped,
        "num_duplicates": manifest.num_duplicates,
        "notes": manifest.notes,
    }
    schema = _parquet_schema(manifest.task.multilabel).with_metadata({"edgekd": json.dumps(meta)})
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for start in range(0, len(manifest.items), _ROWS_A_GROUP):
            rows = manifest.items[start : start + _ROWS_A_GROUP]
            columns = {name: [getattr(item, name) for item in rows] for name in schema.names}
            writer.write_table(pa.table(columns, schema=schema))


def load(path: Path) -> Manifest:
    """Returns the manifest in a parquet file.

    Raises:
        DataError: not a manifest, or of another schema version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, pre_buffer=False)  # else all of it is kept, once read
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not readable as parquet ({error})") from error
    meta = json.loads((file.schema_arrow.metadata or {}).get(b"edgekd", b"{}"))
    if meta.get("schema") not in _READABLE:
        raise DataError(
            f"{path}: schema {meta.get('schema')!r}, this edgekd reads schema {SCHEMA}. "
            "Write it anew with: edgekd run CONFIG --until validate"
        )
    task = TaskSpec(
        name=meta["name"],
        classes=tuple(meta["classes"]),
        synonyms={key: tuple(words) for key, words in meta["synonyms"].items()},
        multilabel=meta.get("multilabel", False),
    )
    skipped = [(file, reason) for file, reason in meta["skipped"]]
    return Manifest(task, Items(file), skipped, meta["num_duplicates"], meta.get("notes", []))


def skipped_csv(manifest: Manifest) -> str:
    """Returns the whole list of files that were left out, as CSV: path,reason."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "reason"])
    writer.writerows(manifest.skipped)
    return stream.getvalue()


def skipped_lines(manifest: Manifest, whole: Path | str, most: int = 20) -> list[str]:
    """Returns a line for each of the first files left out, and one that says where the rest is."""
    lines = [f"skipped {file}: {reason}" for file, reason in manifest.skipped[:most]]
    more = len(manifest.skipped) - most
    return [*lines, f"and {more} more: {whole} lists them all"] if more > 0 else lines


def split_of(key: str, seed: int, fractions: SplitFractions) -> Split:
    """Returns the split of a content digest (or group): the same key always gets the same one."""
    return _split_at(_draw(key, seed), fractions)


@dataclass(slots=True)
class _Draft:
    """An image on its way to an item; `given` is the split its user named, `groups` theirs too."""

    id: str
    path: str
    label: Label | None
    given: Split | None
    groups: tuple[str, ...]
    width: int
    height: int
    split: Split = "train"
    near: str | None = None

    @property
    def shows(self) -> tuple[int, ...]:
        """The classes that it is labelled with."""
        if self.label is None:
            return ()
        return self.label if isinstance(self.label, tuple) else (self.label,)

    def item(self, licence: str) -> Item:
        return Item(
            id=self.id,
            path=self.path,
            split=self.split,
            label=self.label,
            label_origin=None if self.label is None else "given",
            group=self.groups[0] if self.groups else None,
            licence=licence,
            width=self.width,
            height=self.height,
            near=self.near,
        )


class _Pictures:
    """Reads image after image, each content once; knows which belong together."""

    def __init__(
        self, folder: Path, labels: Labels, config: DataConfig, unusable: list[tuple[str, str]]
    ):
        self.drafts: list[_Draft] = []
        self.skipped: list[tuple[str, str]] = []
        self.num_duplicates = 0
        self._folder, self._labels = folder, labels
        self._strict = config.on_bad_image == "error"
        self._number: dict[str, int] = {}
        self._prints = Fingerprints() if config.near_duplicates == "together" else None
        for path, reason in unusable:
            self._skip(path, DataError(f"{folder / path}: {reason}"))

    def add(self, source: Source) -> None:
        path = self._folder / source.path
        try:
            sha256 = _sha256(path)
            if sha256 not in self._number:
                self._add_new(source, sha256, open_image(path))
                return
        except DataError as error:
            self._skip(source.path, error)
            return
        self.num_duplicates += 1
        number = self._number[sha256]
        self.drafts[number] = self._merged(self.drafts[number], self._draft(source, sha256))

    def together(self) -> _Together:
        """Returns which drafts must share a split: those of a group, and near copies."""
        together = _Together(len(self.drafts))
        if self._prints is not None:
            for first, second in self._prints.pairs():
                together.join(first, second)
            for members in together.sets():
                smallest = min(self.drafts[number].id for number in members)
                for number in members:
                    self.drafts[number].near = smallest
        first_of: dict[str, int] = {}
        for number, draft in enumerate(self.drafts):
            for group in draft.groups:
                together.join(first_of.setdefault(group, number), number)
        return together

    def _skip(self, path: str, error: DataError) -> None:
        if self._strict:
            raise error
        self.skipped.append((path, str(error).removeprefix(f"{self._folder / path}: ")))

    def _add_new(self, source: Source, sha256: str, image: Image.Image) -> None:
        if self._prints is not None:
            self._prints.add(image)
        self._number[sha256] = len(self.drafts)
        draft = self._draft(source, sha256)
        draft.width, draft.height = image.size
        self.drafts.append(draft)

    def _draft(self, source: Source, sha256: str) -> _Draft:
        label = self._labels.label(source.label)
        groups = (source.group,) if source.group else ()
        return _Draft(sha256, source.path, label, source.split, groups, 0, 0)

    def _merged(self, first: _Draft, second: _Draft) -> _Draft:
        """One draft of two files with the same bytes; the label and the later use win.

        In a multi-label task an image in two folders shows both.
        """
        label = second.label if first.label is None else first.label
        if isinstance(label, tuple):
            label = tuple(sorted({*first.shows, *second.shows}))
        elif None not in (first.label, second.label) and first.label != second.label:
            one, other = (self._labels.classes[draft.shows[0]] for draft in (first, second))
            raise DataError(
                f"{first.path} and {second.path} are the same image with two labels: '{one}' and "
                f"'{other}'. Remove one"
            )
        later = max(first, second, key=lambda draft: _rank(draft.given))
        return dataclasses.replace(
            first,
            path=later.path,
            given=later.given,
            label=label,
            groups=tuple(dict.fromkeys(first.groups + second.groups)),
        )


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: named in the labels file but not there") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


class _Together:
    """Disjoint sets of numbers, joined pair by pair."""

    def __init__(self, count: int):
        self._parent = list(range(count))

    def join(self, first: int, second: int) -> None:
        self._parent[self._root(first)] = self._root(second)

    def sets(self, least: int = 2) -> list[list[int]]:
        """Returns the sets with at least `least` members, each in ascending order."""
        members: dict[int, list[int]] = defaultdict(list)
        for number in range(len(self._parent)):
            members[self._root(number)].append(number)
        return [numbers for numbers in members.values() if len(numbers) >= least]

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number


def _assign_splits(
    drafts: list[_Draft], together: _Together, fractions: SplitFractions, seed: int
) -> None:
    """Gives every draft its split: the user's, else that of what it belongs to, else a drawn one."""
    of_group = _given_to_groups(drafts)
    drawn: list[tuple[float, list[_Draft]]] = []
    for numbers in together.sets(least=1):
        members = [drafts[number] for number in numbers]
        given: list[Split] = [draft.given for draft in members if draft.given is not None]
        if given:
            later = max(given, key=_rank)  # what resembles a test image must not train
            for draft in members:
                mine = [of_group[group] for group in draft.groups if group in of_group]
                belongs = max(mine, key=_rank) if mine else later
                draft.split = belongs if draft.given is None else draft.given
        elif any(draft.label is not None for draft in members):
            draw = _draw(_key(members), seed)
            drawn.append((draw, members))
            _move(members, _split_at(draw, fractions))
    _fill_empty(drawn, drafts, fractions)


def _given_to_groups(drafts: list[_Draft]) -> dict[str, Split]:
    found: dict[str, _Draft] = {}
    for draft in drafts:
        for group in draft.groups if draft.given else ():
            first = found.setdefault(group, draft)
            if first.given != draft.given:
                raise DataError(
                    f"labels: group '{group}' has '{first.path}' in {first.given} and "
                    f"'{draft.path}' in {draft.given}. Put a group into one split"
                )
    return {group: draft.given for group, draft in found.items() if draft.given}


def _fill_empty(
    drawn: list[tuple[float, list[_Draft]]], drafts: list[_Draft], fractions: SplitFractions
) -> None:
    """Moves an image of train into a split that a class should have and the draw left empty.

    A class should have one image in a split where its share rounds to one. Only then can an image
    that is added later move another: the one that stood in for it.
    """
    present = {(label, draft.split) for draft in drafts for label in draft.shows}
    of_class: dict[int, list[tuple[float, list[_Draft]]]] = defaultdict(list)
    for draw, members in drawn:
        for label in {label for draft in members for label in draft.shows}:
            of_class[label].append((draw, members))
    for label, sets in sorted(of_class.items()):
        count = sum(label in draft.shows for _, members in sets for draft in members)
        for split, share in _shares(fractions):
            if count * share < 0.5 or (label, split) in present:
                continue
            in_turn = (members for _, members in sorted(sets, key=lambda pair: pair[0]))
            spare = next((each for each in in_turn if _can_spare(each, of_class)), [])
            _move(spare, split)
            present |= {(shown, split) for draft in spare for shown in draft.shows}


def _can_spare(
    members: list[_Draft], of_class: dict[int, list[tuple[float, list[_Draft]]]]
) -> bool:
    """Whether train keeps another image of each class that these show."""
    return members[0].split == "train" and all(
        sum(other[0].split == "train" for _, other in of_class[shown]) > 1
        for shown in {shown for draft in members for shown in draft.shows}
    )


def _move(members: list[_Draft], split: Split) -> None:
    for draft in members:
        draft.split = split


def _leave_labels_aside(drafts: list[_Draft], config: DataConfig, seed: int) -> None:
    if not config.use_labels:
        for draft in drafts:
            draft.label = draft.label if draft.split == "test" else None
    if config.labels_per_class is None:
        return
    of_class: dict[int, list[_Draft]] = defaultdict(list)
    labelled = [draft for draft in drafts if draft.split == "train" and draft.label is not None]
    for draft in labelled:
        for label in draft.shows or (-1,):  # of no class are as many as of a class
            of_class[label].append(draft)
    kept: set[str] = set()
    for members in of_class.values():
        members.sort(key=lambda draft: _draw(f"label:{draft.id}", seed))
        kept.update(draft.id for draft in members[: config.labels_per_class])
    for draft in labelled:
        if draft.id not in kept:
            draft.label = None


def _shares(fractions: SplitFractions) -> tuple[tuple[Split, float], ...]:
    return ("test", fractions.test), ("val", fractions.val), ("tune", fractions.tune)


def _split_at(draw: float, fractions: SplitFractions) -> Split:
    for split, share in _shares(fractions):
        if draw < share:
            return split
        draw -= share
    return "train"


def _draw(key: str, seed: int) -> float:
    """A number in [0, 1) that depends on the key and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big") / 2**64


def _key(members: list[_Draft]) -> str:
    groups = [group for draft in members for group in draft.groups]
    return min(groups) if groups else min(draft.id for draft in members)


def _rank(split: Split | None) -> int:
    return -1 if split is None else SPLITS.index(split)


def _near_groups(items: Sequence[Item]) -> list[list[Item]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.near is not None:
            groups[item.near].append(item)
    return list(groups.values())


def _straddling(items: list[Item]) -> list[str]:
    across = [g for g in _near_groups(items) if len({item.split for item in g}) > 1]
    if not across:
        return []
    first = across[0][0]
    other = next(item for item in across[0] if item.split != first.split)
    return [
        f"{sum(len(group) for group in across)} images have a near copy in another split, such as "
        f"{first.path} ({first.split}) and {other.path} ({other.split}). The splits are the data's "
        "own, so nothing was moved; results on such images flatter"
    ]


def _parquet_schema(multilabel: bool) -> Any:
    import pyarrow as pa

    integers, texts = pa.int32(), pa.string()
    labels = pa.list_(integers) if multilabel else integers
    kinds = {"label": labels, "width": integers, "height": integers}
    return pa.schema([(name, kinds.get(name, texts)) for name in Item.__dataclass_fields__])

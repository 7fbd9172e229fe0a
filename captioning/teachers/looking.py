"""Teachers at work: each looks at every image once, block by block, and concludes.

What was seen is kept, by the teacher's settings: `observations.npz` has the arrays, `said.parquet`
what it said while looking, both in the order of the items. Blocks are saved as they come, so a
stopped run repeats one at most for everyone who looks: `Hands` says who does, `look_at_block` is
what each of them does.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, starmap
from operator import itemgetter, le
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np

from captioning import captions as captions_io
from captioning.attributes import measure
from captioning.multilabel import log_odds
from captioning.rows import Rows
from captioning.teachers.protocol import Conclusion, Files, Look, Teacher
from edgekd import mapped
from edgekd.errors import DiskError
from edgekd.manifest import Manifest
from edgekd.mapped import Texts, Zeros, by_rows, from_texts, zeros_in
from edgekd.preprocess import open_image
from edgekd.progress import Progress
from edgekd.records import Caption, Item
from edgekd.store import atomic_path, digest_each
from edgekd.wholeness import damage

ATTRIBUTES = "attributes"
_AT_ONCE = 32
_SPOKE = "spoke"
_MOST_PATIENCE_S = 60.0  # a network file system may show a new file so much later


class Part(Sequence[Item]):
    """Some of the items, by their rows; read when asked for."""

    def __init__(self, items: Sequence[Item], rows: Sequence[int] | np.ndarray):
        self._items, self._rows = items, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Part: ...
    def __getitem__(self, index: int | slice) -> Item | Part:
        if isinstance(index, slice):
            return Part(self._items, self._rows[index])
        return self._items[int(self._rows[index])]


@dataclass(frozen=True)
class Block:
    """Items that are looked at together; the arrays go to `path`, what is said of them beside it."""

    items: Sequence[Item]
    path: Path

    @property
    def said(self) -> Path:
        return self.path.with_suffix(".parquet")


class Hands(Protocol):
    """Who looks at the blocks: this process, or the workers of `captioning.teachers.distributed`."""

    def __call__(
        self,
        blocks: Sequence[Block],
        folder: Path,
        with_attributes: bool,
        seen: Callable[[int], None],
    ) -> None:
        """Does `look_at_block` for each, in any order; tells `seen` how many images are done."""


@dataclass(frozen=True)
class Seen:
    """Everything one teacher saw: arrays with a row an item, and how many images are new.

    `settings` are the teacher's: asking for them again may read its weights again.
    """

    arrays: dict[str, np.ndarray]
    num_new: int
    settings: str


@dataclass(frozen=True)
class Work:
    """What one teacher leaves: files, captions in item order, and a summary for the report.

    `blocks` is where the unfinished look lay; `attributes` are the images'.
    """

    files: list[Path]
    captions: list[Iterable[Caption]]
    summary: dict[str, Any]
    attributes: np.ndarray
    blocks: Path


def work(
    teacher: Teacher,
    manifest: Manifest,
    folder: Path,
    files: Files,
    block_size: int,
    progress: Progress,
    hands: Hands | None = None,
    measured_NA: np.ndarray | None = None,
) -> Work:
    """Lets a teacher look at all images and conclude, and keeps what comes of it.

    The first teacher's images are measured beside (`captioning.attributes`), and the others are
    given what came of it, `measured_NA`. Without `hands` it looks in this process; it concludes
    here in any case.
    """
    seen = look_at_all(
        teacher, manifest, folder, files, block_size, files.number == 1, progress, hands
    )
    attributes = seen.arrays[ATTRIBUTES] if measured_NA is None else measured_NA
    conclusion = teacher.conclude(manifest, {**seen.arrays, ATTRIBUTES: attributes})
    if manifest.task.multilabel:
        conclusion = _each_class_by_itself(conclusion, zeros_in(files.folder))
    _keep(manifest.ids, seen, conclusion.logits_NK, files)
    left, captions = [files.arrays], [conclusion.captions]
    if files.said.is_file():
        left.append(files.said)
        captions.insert(0, captions_io.load(files.said))
    if conclusion.head:
        with atomic_path(files.head) as temporary:
            np.savez(temporary, **conclusion.head)
        left.append(files.head)
    else:
        files.head.unlink(missing_ok=True)  # an earlier task's
    summary = {
        "name": teacher.name,
        "num_observed": seen.num_new,
        "observations": files.arrays.name,
        "head_file": files.head.name if conclusion.head else None,
    }
    blocks = files.blocks(seen.settings)
    return Work(left, captions, summary | conclusion.summary, attributes, blocks)


def look_at_all(
    teacher: Teacher,
    manifest: Manifest,
    folder: Path,
    files: Files,
    block_size: int,
    with_attributes: bool,
    progress: Progress,
    hands: Hands | None = None,
) -> Seen:
    """Returns what the teacher sees in all items; only images it has not seen before are opened.

    `with_attributes` measures those of `captioning.attributes` beside. What was said goes to
    `files.said`.

    Raises:
        DiskError: a block that was done elsewhere does not appear here.
    """
    settings, zeros = teacher.settings, zeros_in(files.folder)
    before = observed_before(files, settings)
    was_N = rows_before(manifest.ids, before, zeros)
    new_items = Part(manifest.items, np.flatnonzero(was_N < 0) if before else range(len(was_N)))
    blocks = blocks_of(new_items, files.blocks(settings), block_size)
    waiting = [block for block in blocks if not block.path.is_file()]
    num_seen = len(new_items) - sum(len(block.items) for block in waiting)

    def seen(count: int) -> None:
        nonlocal num_seen
        num_seen += count
        progress(num_seen, len(new_items), "images")

    if num_seen:
        seen(0)
    if waiting:
        (hands or _here(teacher))(waiting, folder, with_attributes, seen)
        _wait_for(waiting)
    new = _joined_blocks(blocks, len(new_items), zeros) if blocks else {}
    _keep_said(manifest.ids, files, blocks, bool(before))
    return Seen(joined(before, was_N, new, zeros), len(new_items), settings)


def look_and_keep(
    looker: Teacher,
    manifest: Manifest,
    folder: Path,
    files: Files,
    block_size: int,
    name: str,
    progress: Progress,
    hands: Hands | None = None,
) -> tuple[np.ndarray, Seen]:
    """Returns one array of what is seen in all items, once it is kept in `files.arrays`.

    For who only looks: nothing is said and nothing concluded.
    """
    seen = look_at_all(looker, manifest, folder, files, block_size, False, progress, hands)
    found = seen.arrays[name]
    with atomic_path(files.arrays) as temporary:
        np.savez(temporary, ids=list(manifest.ids), settings=seen.settings, **{name: found})  # type: ignore[arg-type]
    return found, seen


def blocks_of(items: Part, folder: Path, block_size: int) -> list[Block]:
    """Returns the blocks of items; where one lies depends on what is in it alone."""
    parts = [items[start : start + block_size] for start in range(0, len(items), block_size)]
    return [
        Block(part, folder / f"{digest_each(item.id for item in part)[:16]}.npz") for part in parts
    ]


def look_at_block(
    teacher: Teacher,
    block: Block,
    folder: Path,
    with_attributes: bool,
    seen: Callable[[int], None],
) -> None:
    """Saves what a teacher sees in a block and says of it; `folder` is where the images lie.

    One that is there already is not looked at again.
    """
    if block.path.is_file():
        seen(len(block.items))
    else:
        _save(look(teacher, block.items, folder, with_attributes, seen), block)


def look(
    teacher: Teacher,
    items: Sequence[Item],
    folder: Path,
    with_attributes: bool,
    seen: Callable[[int], None],
) -> Look:
    """Returns what a teacher sees in items and says of them, a few at a time; nothing is saved."""
    looks = []
    for start in range(0, len(items), _AT_ONCE):
        some = items[start : start + _AT_ONCE]
        images = [open_image(folder / item.path) for item in some]
        found = teacher.look(some, images)
        if with_attributes:
            measured = np.stack([measure(image) for image in images])
            found = Look({**found.arrays, ATTRIBUTES: measured}, found.captions)
        looks.append(found)
        seen(len(some))
    return Look(
        {name: np.concatenate([each.arrays[name] for each in looks]) for name in looks[0].arrays},
        tuple(caption for each in looks for caption in each.captions),
    )


def observed_before(files: Files, settings: str) -> dict[str, np.ndarray]:
    """Returns ids and arrays of an observations.npz of these settings, mapped; none without one.

    So other labels, or a few images more, cost no second look at the images that were seen.
    """
    if not _is_of(files, settings):
        return {}
    stored = mapped.arrays(files.arrays)
    return {name: stored[name] for name in stored if name not in ("settings", "logits", _SPOKE)}


def ids_before(files: Files, settings: str) -> set[str]:
    """Returns the ids of the items that were observed with these settings."""
    if not _is_of(files, settings):
        return set()
    with np.load(files.arrays) as stored:
        return set(stored["ids"].astype(str).tolist())


def rows_before(ids: Collection[str], before: dict[str, np.ndarray], zeros: Zeros) -> np.ndarray:
    """Returns in which rows [N] the items were observed before, -1 for those that were not."""
    row_of = Rows(Texts(before["ids"]), zeros) if before else {}
    was_N = zeros(len(ids), np.int32)
    for row, item_id in enumerate(ids):
        was_N[row] = row_of.get(item_id, -1)
    return was_N


def joined(
    before: dict[str, np.ndarray], was_N: np.ndarray, new: dict[str, np.ndarray], zeros: Zeros
) -> dict[str, np.ndarray]:
    """Returns what was observed of all items, in their order."""
    if not before:
        return new
    found = {name: values for name, values in before.items() if name != "ids"}
    for name, values in found.items():
        found[name] = by_rows(values.__getitem__, was_N, zeros=zeros, dtype=values.dtype)
        if new:
            found[name][was_N < 0] = new[name]
    return found


def in_item_order(
    ids: Collection[str], *sources: Iterable[Caption], zeros: Zeros = np.zeros
) -> Iterator[Caption]:
    """Yields the captions of items from all sources, an item's together and numbered anew.

    Each source must be in the order of the items; captions of other items are left out. Of one
    item, those of an earlier source come first.
    """
    row_of = Rows(ids, zeros)
    placed = [_placed(row_of, source) for source in sources]
    last, index = -1, 0
    for row, caption in heapq.merge(*placed, key=itemgetter(0)):
        index = index + 1 if row == last else 0
        last = row
        yield caption if caption.index == index else _numbered(caption, index)


def _placed(row_of: Rows, captions: Iterable[Caption]) -> Iterator[tuple[int, Caption]]:
    """The captions of known items with their rows."""
    for caption in captions:
        row = row_of.get(caption.item_id)
        if row is not None:
            yield row, caption


def _each_class_by_itself(conclusion: Conclusion, zeros: Zeros) -> Conclusion:
    """The scores as log odds of each class; its network would give others, so it is not exported."""
    logits = conclusion.logits_NK
    if logits is not None and not conclusion.independent:
        logits = by_rows(log_odds, logits, zeros=zeros)
    return replace(conclusion, logits_NK=logits, head={})


def _keep(ids: Collection[str], seen: Seen, logits_NK: np.ndarray | None, files: Files) -> None:
    """Writes observations.npz: what was seen, and class scores where there are any."""
    zeros = zeros_in(files.folder)
    scores = {} if logits_NK is None else {"logits": by_rows(np.asarray, logits_NK, zeros=zeros)}
    about = {
        "ids": from_texts(ids, "S", zeros),
        "settings": seen.settings,
        _SPOKE: files.said.is_file(),
    }
    with atomic_path(files.arrays) as temporary:
        np.savez(temporary, **about, **scores, **seen.arrays)  # type: ignore[arg-type]


def _is_of(files: Files, settings: str) -> bool:
    """Whether what lies there is whole and of these settings."""
    if not files.arrays.is_file() or damage(files.arrays) is not None:
        return False
    with np.load(files.arrays) as stored:
        if "settings" not in stored or str(stored["settings"]) != settings:
            return False
        spoke = _SPOKE in stored and bool(stored[_SPOKE])
    return not spoke or (files.said.is_file() and damage(files.said) is None)


def _numbered(caption: Caption, index: int) -> Caption:
    return Caption(**{**vars(caption), "index": index})


def _here(teacher: Teacher) -> Hands:
    def all_of(
        blocks: Sequence[Block],
        folder: Path,
        with_attributes: bool,
        seen: Callable[[int], None],
    ) -> None:
        for block in blocks:
            look_at_block(teacher, block, folder, with_attributes, seen)

    return all_of


def _wait_for(blocks: list[Block]) -> None:
    """Returns when all blocks can be read here; listing a folder makes network ones look anew."""
    end = time.monotonic() + _MOST_PATIENCE_S
    while missing := [block for block in blocks if not block.path.is_file()]:
        if time.monotonic() >= end:
            raise DiskError(
                f"{missing[0].path}: done by a worker, and not to be seen here after "
                f"{_MOST_PATIENCE_S:g} s ({len(missing)} of {len(blocks)} blocks). Expected a folder "
                "that this machine and all workers share; start again, finished blocks are kept"
            )
        time.sleep(min(1.0, _MOST_PATIENCE_S))
        list(missing[0].path.parent.iterdir())


def _save(found: Look, block: Block) -> None:
    """The captions first: a block counts once its arrays are there."""
    if found.captions:
        captions_io.save(found.captions, block.said)
    with atomic_path(block.path) as temporary:
        np.savez(temporary, **found.arrays)  # type: ignore[arg-type]


def _joined_blocks(blocks: list[Block], num_items: int, zeros: Zeros) -> dict[str, np.ndarray]:
    """The arrays of all blocks below each other."""
    arrays: dict[str, np.ndarray] = {}
    start = 0
    for block in blocks:
        with np.load(block.path) as part:
            for name in part.files:
                values = part[name]
                if name not in arrays:
                    arrays[name] = zeros((num_items, *values.shape[1:]), values.dtype)
                arrays[name][start : start + len(values)] = values
        start += len(block.items)
    return arrays


def _keep_said(ids: Collection[str], files: Files, blocks: list[Block], reuse: bool) -> None:
    """Writes said.parquet anew from what was said before and in the new blocks, where anything was."""
    fresh = [block.said for block in blocks if block.said.is_file()]
    old = reuse and files.said.is_file()
    if not (fresh or old):
        files.said.unlink(missing_ok=True)
        return
    zeros = zeros_in(files.folder)
    sources: list[Iterable[Caption]] = [(c for path in fresh for c in captions_io.load(path))]
    if old:
        sources.append(_ordered(Rows(ids, zeros), files.said))
    captions_io.save(in_item_order(ids, *sources, zeros=zeros), files.said)


def _ordered(row_of: Rows, path: Path) -> Iterable[Caption]:
    """The captions of a file in the order of the items; read into memory only where that changed."""
    rows = (row for row, _ in _placed(row_of, captions_io.load(path)))
    if all(starmap(le, pairwise(rows))):
        return captions_io.load(path)
    return (c for _, c in sorted(_placed(row_of, captions_io.load(path)), key=itemgetter(0)))

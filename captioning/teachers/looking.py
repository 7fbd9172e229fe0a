"""Teachers at work: each looks at every image once, block by block, and concludes.

What was seen is kept, by the teacher's settings: `observations.npz` has the arrays, `said.parquet`
what it said while looking, both in the order of the items. Blocks are saved as they come, so a
stopped run repeats one at most.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from captioning import captions as captions_io
from captioning.attributes import measure
from captioning.teachers.protocol import Files, Look, Teacher
from edgekd.manifest import Manifest
from edgekd.preprocess import open_image
from edgekd.progress import Progress
from edgekd.records import Caption, Item
from edgekd.store import atomic_path, digest
from edgekd.wholeness import damage

ATTRIBUTES = "attributes"
_AT_ONCE = 32
_SPOKE = "spoke"


@dataclass(frozen=True)
class Seen:
    """Everything one teacher saw: arrays with a row an item, and how many images are new."""

    arrays: dict[str, np.ndarray]
    num_new: int


@dataclass(frozen=True)
class Work:
    """What one teacher leaves: files, captions in item order, and a summary for the report."""

    files: list[Path]
    captions: list[Iterable[Caption]]
    summary: dict[str, Any]


def work(
    teacher: Teacher,
    manifest: Manifest,
    folder: Path,
    files: Files,
    block_size: int,
    progress: Progress,
) -> Work:
    """Lets a teacher look at all images and conclude, and keeps what comes of it.

    The first teacher's images are measured beside (`captioning.attributes`).
    """
    seen = look_at_all(
        teacher, manifest.items, folder, files, block_size, files.number == 1, progress
    )
    conclusion = teacher.conclude(manifest, seen.arrays)
    _keep(manifest.items, seen, conclusion.logits_NK, teacher.settings, files)
    left, captions = [files.arrays], [conclusion.captions]
    if files.said.is_file():
        left.append(files.said)
        captions.insert(0, captions_io.load(files.said))
    if conclusion.head:
        with atomic_path(files.head) as temporary:
            np.savez(temporary, **conclusion.head)
        left.append(files.head)
    summary = {
        "name": teacher.name,
        "num_observed": seen.num_new,
        "observations": files.arrays.name,
        "head_file": files.head.name if conclusion.head else None,
    }
    return Work(left, captions, summary | conclusion.summary)


def look_at_all(
    teacher: Teacher,
    items: list[Item],
    folder: Path,
    files: Files,
    block_size: int,
    with_attributes: bool,
    progress: Progress,
) -> Seen:
    """Returns what the teacher sees in all items; only images it has not seen before are opened.

    `with_attributes` measures those of `captioning.attributes` beside. What was said goes to
    `files.said`.
    """
    before = observed_before(files, teacher.settings)
    new_items = unseen(items, before)
    new: dict[str, np.ndarray] = {}
    blocks = []
    for start in range(0, len(new_items), block_size):
        block = new_items[start : start + block_size]
        path = files.blocks(teacher.settings) / f"{digest([item.id for item in block])[:16]}.npz"
        if not path.is_file():
            _save(
                _look(teacher, block, folder, with_attributes, start, len(new_items), progress),
                path,
            )
        blocks.append(path)
        progress(start + len(block), len(new_items), "images")
    if blocks:
        new = _joined_blocks(blocks, len(new_items))
    _keep_said(items, files, blocks, bool(before))
    return Seen(joined(items, before, new_items, new), len(new_items))


def observed_before(files: Files, settings: str) -> dict[str, np.ndarray]:
    """Returns ids and arrays of an observations.npz of these settings; empty where there is none.

    So other labels, or a few images more, cost no second look at the images that were seen.
    """
    if not _is_of(files, settings):
        return {}
    with np.load(files.arrays) as stored:
        return {name: stored[name] for name in stored if name not in ("settings", "logits", _SPOKE)}


def ids_before(files: Files, settings: str) -> set[str]:
    """Returns the ids of the items that were observed with these settings."""
    if not _is_of(files, settings):
        return set()
    with np.load(files.arrays) as stored:
        return set(stored["ids"].tolist())


def unseen(items: list[Item], before: dict[str, np.ndarray]) -> list[Item]:
    """Returns the items that were not observed before."""
    seen = set(before["ids"].tolist()) if before else set()
    return [item for item in items if item.id not in seen]


def joined(
    items: list[Item],
    before: dict[str, np.ndarray],
    new_items: list[Item],
    new: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Returns what was observed of all items, in their order."""
    if not before:
        return new
    ids = [*before["ids"].tolist(), *(item.id for item in new_items)]
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    rows = np.array([row_of[item.id] for item in items])
    return {
        name: (np.concatenate([values, new[name]]) if new else values)[rows]
        for name, values in before.items()
        if name != "ids"
    }


def in_item_order(items: list[Item], *sources: Iterable[Caption]) -> Iterator[Caption]:
    """Yields the captions of the items from all sources, an item's together and numbered anew.

    Each source must be in the order of the items; captions of other items are left out. Of one
    item, those of an earlier source come first.
    """
    position = {item.id: row for row, item in enumerate(items)}
    known = [(c for c in source if c.item_id in position) for source in sources]
    last, index = "", 0
    for caption in heapq.merge(*known, key=lambda caption: position[caption.item_id]):
        index = index + 1 if caption.item_id == last else 0
        last = caption.item_id
        yield caption if caption.index == index else _numbered(caption, index)


def _keep(
    items: list[Item], seen: Seen, logits_NK: np.ndarray | None, settings: str, files: Files
) -> None:
    """Writes observations.npz: what was seen, and class scores where there are any."""
    scores = {} if logits_NK is None else {"logits": logits_NK.astype(np.float32)}
    about = {"ids": [item.id for item in items], "settings": settings, _SPOKE: files.said.is_file()}
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


def _look(
    teacher: Teacher,
    block: list[Item],
    folder: Path,
    with_attributes: bool,
    done: int,
    total: int,
    progress: Progress,
) -> Look:
    looks = []
    for start in range(0, len(block), _AT_ONCE):
        some = block[start : start + _AT_ONCE]
        images = [open_image(folder / item.path) for item in some]
        look = teacher.look(some, images)
        if with_attributes:
            measured = np.stack([measure(image) for image in images])
            look = Look({**look.arrays, ATTRIBUTES: measured}, look.captions)
        looks.append(look)
        progress(done + start + len(some), total, "images")
    return Look(
        {name: np.concatenate([look.arrays[name] for look in looks]) for name in looks[0].arrays},
        tuple(caption for look in looks for caption in look.captions),
    )


def _save(look: Look, path: Path) -> None:
    """The captions first: a block counts once its arrays are there."""
    if look.captions:
        captions_io.save(look.captions, path.with_suffix(".parquet"))
    with atomic_path(path) as temporary:
        np.savez(temporary, **look.arrays)  # type: ignore[arg-type]


def _joined_blocks(blocks: list[Path], num_items: int) -> dict[str, np.ndarray]:
    """The arrays of all blocks below each other; only one block is held twice."""
    arrays: dict[str, np.ndarray] = {}
    start = 0
    for path in blocks:
        with np.load(path) as part:
            for name in part.files:
                values = part[name]
                if name not in arrays:
                    arrays[name] = np.empty((num_items, *values.shape[1:]), values.dtype)
                arrays[name][start : start + len(values)] = values
                end = start + len(values)
        start = end
    return arrays


def _keep_said(items: list[Item], files: Files, blocks: list[Path], reuse: bool) -> None:
    """Writes said.parquet anew from what was said before and in the new blocks, where anything was."""
    spoken = [path.with_suffix(".parquet") for path in blocks]
    fresh = [path for path in spoken if path.is_file()]
    old = reuse and files.said.is_file()
    if not (fresh or old):
        files.said.unlink(missing_ok=True)
        return
    sources: list[Iterable[Caption]] = [(c for path in fresh for c in captions_io.load(path))]
    if old:
        sources.append(_ordered(items, files.said))
    captions_io.save(in_item_order(items, *sources), files.said)


def _ordered(items: list[Item], path: Path) -> Iterable[Caption]:
    """The captions of a file in the order of the items; read into memory only where that changed."""
    position = {item.id: row for row, item in enumerate(items)}
    rows = [position[c.item_id] for c in captions_io.load(path) if c.item_id in position]
    if rows == sorted(rows):
        return captions_io.load(path)
    known = [c for c in captions_io.load(path) if c.item_id in position]
    return sorted(known, key=lambda caption: position[caption.item_id])

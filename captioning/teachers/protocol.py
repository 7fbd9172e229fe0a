"""What a teacher is: it looks at images, block by block, and then concludes from all it saw.

What is seen is saved under the teacher's `settings` and never looked at again: other labels,
another head or a few images more cost no second look. Looks are therefore independent of each
other, of the block they fall into and of the labels; whatever needs all images or labels belongs
into the conclusion.

N items of the run, n of a block, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from edgekd.manifest import Manifest
from edgekd.mapped import Zeros, zeros_in
from edgekd.records import Caption, Item, TaskSpec
from edgekd.store import digest


@dataclass(frozen=True)
class Brief:
    """What every teacher is told: the task, how often to speak, and where to keep its own notes.

    `notes` is a folder for what a teacher wants to keep of an unfinished block (answers that were
    paid for); it is removed when the stage has ended. `text_encoder` is the user's own sentence
    encoder, None for the packaged one; `folder` is where the images lie.
    `descriptions` say what a class looks like, of those that are described.
    """

    task: TaskSpec
    captions_per_image: int
    temperatures: tuple[float, ...]
    seed: int
    notes: Path
    text_encoder: Path | None = None
    folder: Path = Path()
    descriptions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def zeros(self) -> Zeros:
        """Makes arrays with a row an item, in files among the notes."""
        return zeros_in(self.notes)

    def temperature(self, index: int) -> float:
        """Returns the temperature of an image's caption number `index`: they take turns."""
        return self.temperatures[index % len(self.temperatures)]


@dataclass(frozen=True)
class Files:
    """Where teacher `number`, from 1, keeps what it saw, said and fitted, in a run's `captions`."""

    folder: Path
    number: int = 1

    @property
    def arrays(self) -> Path:
        return self._named("observations", ".npz")

    @property
    def said(self) -> Path:
        """What it said while it looked; there only where it did."""
        return self._named("said", ".parquet")

    @property
    def head(self) -> Path:
        """What rebuilds it for export; there only where it can be exported."""
        return self._named("teacher_head", ".npz")

    def blocks(self, settings: str) -> Path:
        """Blocks of a look that is not finished."""
        return self._named(f"blocks-{settings[:8]}", "")

    def _named(self, stem: str, suffix: str) -> Path:
        return self.folder / f"{stem}{'' if self.number == 1 else f'_{self.number}'}{suffix}"


@dataclass(frozen=True)
class Look:
    """What was seen in a block. Arrays have a row an item and the same names in every block.

    `captions` come in the order of the items, an item's by index; an item may have none.
    """

    arrays: dict[str, np.ndarray]
    captions: tuple[Caption, ...] = ()


@dataclass(frozen=True)
class Conclusion:
    """What a teacher makes of everything it saw.

    `logits_NK` are class scores whose softmax is a probability, or None for a teacher that only
    speaks; a row that is not finite abstains. `independent` says that they are log odds instead, of
    each class by itself, as multi-label tasks want them. `captions` are those it could not say before it had
    seen all images, in item order. `head` is what rebuilds the teacher for export, beside its
    weights; empty for one that cannot be exported.
    """

    logits_NK: np.ndarray | None = None
    captions: Iterable[Caption] = ()
    head: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    independent: bool = False


class Teacher(Protocol):
    """One kind of teacher. It is built from its config section and a `Brief`."""

    @property
    def name(self) -> str:
        """What its captions and the report call it: the kind, a slash, and which one."""

    @property
    def settings(self) -> str:
        """The digest of all that a look depends on: weights, prompts, sizes, seed, ..."""

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        """Returns what is seen in these items; `images` are theirs, RGB, upright, full size."""

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        """Returns the conclusion; `observed` holds the looks' arrays, a row an item [N, ...], and
        the measured `attributes` [N, A]."""


def caption_seed(seed: int, item_id: str, index: int, teacher: str = "") -> int:
    """Returns the seed of one caption, below 2**48: it depends on these four and nothing else."""
    parts = [seed, item_id, index, *([teacher] if teacher else [])]
    return int(digest(parts)[:12], 16)

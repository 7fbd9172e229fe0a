"""A place to make targets anew from what a run has, without touching the run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekd.store import RunStore


@contextmanager
def borrowed(store: RunStore, *more: str) -> Iterator[RunStore]:
    """A folder with links to what the targets are made of; what is written there goes again.

    `more` names folders of the run that are lent whole: what is written into those stays.
    """
    for folder in more:
        store.path(folder).mkdir(exist_ok=True)
    # On the run's own disk, which has room for what the stage writes.
    inside = store.path("cache") if "cache" in more else None
    with tempfile.TemporaryDirectory(prefix="edgekd-borrowed-", dir=inside) as name:
        copy = RunStore(Path(name))
        copy.path("captions").mkdir()
        sources = [p for p in store.path("captions").iterdir() if p.is_file()]
        for source in [*sources, store.path("captions.parquet")]:
            copy.path(*source.relative_to(store.folder).parts).symlink_to(source.resolve())
        for folder in more:
            copy.path(folder).symlink_to(store.path(folder).resolve())
        yield copy

"""A run at work: what a stage is, what it sees of the run, and who watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edgekd import manifest as manifests
from edgekd.manifest import Manifest
from edgekd.progress import Progress
from edgekd.run_config import RunConfig
from edgekd.store import RunStore, digest, file_sha256


class Listener(Protocol):
    """Who watches a run: the command line's display, or nobody."""

    def stage_started(self, stage: str, number: int, total: int) -> None: ...
    def stage_progress(self, done: int, total: int, what: str) -> None: ...
    def stage_finished(self, stage: str, seconds: float, reused: bool) -> None: ...
    def message(self, text: str) -> None: ...


class Quiet:
    """A listener that says nothing."""

    def stage_started(self, stage: str, number: int, total: int) -> None: ...
    def stage_progress(self, done: int, total: int, what: str) -> None: ...
    def stage_finished(self, stage: str, seconds: float, reused: bool) -> None: ...
    def message(self, text: str) -> None: ...


@dataclass
class Run:
    """A run at work: its config and folder, and the records of the stages finished so far."""

    config: RunConfig
    store: RunStore
    listener: Listener
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    _manifest: Manifest | None = None

    @property
    def data_folder(self) -> Path:
        return self.config.data.folder.expanduser()

    @property
    def manifest(self) -> Manifest:
        if self._manifest is None:
            self._manifest = manifests.load(self.store.path("manifest.parquet"))
        return self._manifest

    def use(self, manifest: Manifest) -> None:
        """Takes a manifest that was just made in place of the one before."""
        self._manifest = manifest

    def result(self, stage: str) -> Any:
        return self.records[stage]["result"]

    def sha256(self, *names: str) -> dict[str, str]:
        """Digests of files as they are now, so that what a person edited counts."""
        return {name: file_sha256(self.store.path(name)) for name in names}

    def result_digests(self, *stages: str) -> dict[str, str | None]:
        """Digests of what stages found; None for one that is no part of this run."""
        return {
            stage: digest(self.records[stage]["result"]) if stage in self.records else None
            for stage in stages
        }

    def cost_digest(self) -> dict[str, str]:
        """The digest of what the stages so far took."""
        return {"cost": digest({name: record["cost"] for name, record in self.records.items()})}


# What a result depends on, by kind: config keys, facets of the images, files, results of stages.
MadeOf = dict[str, dict[str, Any]]
Act = Callable[[Run, Progress], tuple[list[Path], Any]]


@dataclass(frozen=True)
class Stage:
    """`inputs` is everything the result depends on; it is only asked once earlier stages ended.

    `extras` names the install extras whose libraries it imports. `leaves` are the files that later
    stages may depend on.
    """

    name: str
    schema: int
    inputs: Callable[[Run], MadeOf]
    act: Act
    wanted: Callable[[RunConfig], bool] = lambda config: True
    extras: Callable[[RunConfig], tuple[str, ...]] = lambda config: ()
    leaves: tuple[str, ...] = ()


def costs(current: Run) -> list[dict[str, Any]]:
    """Returns seconds, peak memory and reuse of the stages so far."""
    return [
        {"stage": name, "reused": record["reused"]} | record["cost"]
        for name, record in current.records.items()
    ]

"""The run folder: atomic writes, digests, stage records, events, one writer at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgekd.errors import EdgeKDError, RunLockedError
from edgekd.records import to_dict

try:
    import fcntl
except ImportError:  # Windows: never tried; the lock is then only advisory
    fcntl = None  # type: ignore[assignment]


# Of stages/NAME.json: 1 says what its key was made of; before that there was no number.
RECORD_SCHEMA = 1


def file_sha256(path: Path) -> str:
    """Returns the hex digest of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Returns the hex digest of a JSON-able value, independent of key order."""
    text = json.dumps(to_dict(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; on success it takes the name, on failure it goes.

    Raises:
        EdgeKDError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        ours = (temporary, path, *path.parents)
        if error.filename is not None and Path(error.filename) not in ours:
            raise
        raise EdgeKDError(
            f"{path}: cannot be written ({error.strerror or error}). "
            "Free some space or choose another folder, then start again: finished work is kept."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON whole or not at all; records become dicts."""
    write_text(path, json.dumps(to_dict(value), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file.

    Raises:
        EdgeKDError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EdgeKDError(f"{path}: no such file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EdgeKDError(f"{path}: not readable as JSON ({error})") from error


class RunStore:
    """One run folder. Stage records lie in `stages/`, each with its key and its outputs."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder; the system frees it when the process dies, however it dies.

        Raises:
            RunLockedError: another live process holds it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = self.path(".lock").open("a+")
        except OSError as error:
            raise EdgeKDError(
                f"{self.folder}: cannot be written ({error.strerror}). Choose another with --out."
            ) from error
        with handle:
            self._take(handle)
            handle.seek(0)
            handle.truncate()
            handle.write(str(os.getpid()))
            handle.flush()
            yield

    def _take(self, handle: Any) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            raise RunLockedError(
                f"{self.folder}: another run (process {handle.read().strip() or 'unknown'}) is at "
                "work here. Wait for it, stop it, or choose another folder with --out."
            ) from error

    def event(self, kind: str, **values: Any) -> None:
        """Appends one line to events.jsonl."""
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": kind}
        with self.path("events.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line | to_dict(values), ensure_ascii=False) + "\n")

    def last_event(self, stage: str) -> str | None:
        """Returns what was last heard of a stage, or None; a line torn by a kill is skipped."""
        path, last = self.path("events.jsonl"), None
        if not path.is_file():
            return None
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                event = json.loads(line)
                last = event["event"] if event.get("stage") == stage else last
        return last

    def stage_record(self, stage: str) -> dict[str, Any] | None:
        """Returns what a finished stage left, or None; one of an older edgekd counts for nothing.

        Raises:
            EdgeKDError: a newer edgekd wrote it.
        """
        path = self.path("stages", f"{stage}.json")
        if not path.is_file():
            return None
        record = read_json(path)
        found = record.get("schema", 0) if isinstance(record, dict) else None
        if not isinstance(found, int) or found > RECORD_SCHEMA:
            raise EdgeKDError(
                f"{path}: stage record schema {found!r}, this edgekd reads schema {RECORD_SCHEMA}. "
                "Go on with the edgekd that wrote it, or choose another folder with --out"
            )
        return record if found == RECORD_SCHEMA else None

    def finish_stage(
        self,
        stage: str,
        key: str,
        outputs: list[Path],
        result: Any,
        cost: dict[str, float],
        **more: Any,
    ) -> dict[str, Any]:
        """Writes the record that makes a stage count as finished; returns it."""
        record = {
            "schema": RECORD_SCHEMA,
            "stage": stage,
            "key": key,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "outputs": {
                str(path.relative_to(self.folder)): {
                    "size_bytes": path.stat().st_size,
                    "sha256": file_sha256(path),
                }
                for path in outputs
            },
            "result": to_dict(result),
            "cost": cost,
            **to_dict(more),
        }
        write_json(self.path("stages", f"{stage}.json"), record)
        return record

    def reusable(self, stage: str, key: str) -> dict[str, Any] | None:
        """Returns the record of a finished stage with this key whose outputs are all there."""
        record = self.stage_record(stage)
        if record is None or record["key"] != key:
            return None
        there = all(self.path(name).is_file() for name in record["outputs"])
        return record if there else None


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

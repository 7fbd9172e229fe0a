"""The run folder: atomic writes, digests, stage records, events, one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import psutil

from edgekd.errors import DiskError, EdgeKDError, Interrupted, RunLockedError
from edgekd.records import to_dict
from edgekd.wholeness import damage

try:
    import fcntl
except ImportError:  # Windows: never tried; the lock is then only advisory
    fcntl = None  # type: ignore[assignment]


# Of stages/NAME.json: 1 says what its key was made of; before that there was no number.
RECORD_SCHEMA = 1
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_TEMPORARY = re.compile(r"\..*\.(\d+)\.tmp(?:\.[^.]*)?")  # as atomic_path names them


def file_sha256(path: Path) -> str:
    """Returns the hex digest of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Returns the hex digest of a JSON-able value, independent of key order."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def digest_each(values: Iterable[Any]) -> str:
    """Returns `digest` of the list of the values, of which one is held at a time."""
    whole, comma = hashlib.sha256(b"["), b""
    for value in values:
        whole.update(comma + _canonical(value))
        comma = b","
    whole.update(b"]")
    return whole.hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; on success it takes the name, on failure it goes.

    What was written is on the disk before it takes the name. A process that is killed leaves the
    temporary file; the next run in the folder removes it.

    Raises:
        DiskError: the disk is full or the folder cannot be written, whichever library met it.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
    except DiskError:  # of a file inside
        raise
    except Exception as error:
        _raise_disk_error(path, temporary, error)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """Yields an empty folder beside a file that is about to be made; afterwards it is gone."""
    folder = beside.with_name(f".{beside.stem}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except DiskError:
        raise
    except Exception as error:
        _raise_disk_error(beside, folder, error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def room_for_temporary_files() -> Iterator[None]:
    """Within it, files go to the system's temporary folder; a full one becomes one line.

    Raises:
        DiskError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{tempfile.tempdir or 'TMPDIR'}: cannot be written ({error.strerror or error}). Free "
            "some space or set TMPDIR to another folder, then start again: finished work is kept."
        ) from error


def disk_error(path: Path, error: OSError) -> DiskError:
    """Returns the one line about a file, or a folder, that the system let nobody write."""
    known = error.errno in _DISK_ERRORS  # pyarrow puts a sentence of its own before it
    why = os.strerror(error.errno) if known and error.errno else error.strerror or error
    return DiskError(
        f"{path}: cannot be written ({why}). "
        "Free some space or choose another folder, then start again: finished work is kept."
    )


def disk_cause(error: BaseException | None) -> OSError | None:
    """Returns what the system said where an error comes of a full or read-only disk, else None.

    torch, safetensors and the runtimes raise errors of their own and have the system's in the
    text or behind them.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            return error
        for number in _DISK_ERRORS:
            if re.search(rf"os error {number}\b|{os.strerror(number)}", str(error)):
                return OSError(number, os.strerror(number))
        error = error.__cause__ or error.__context__
    return None


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Removes those of the paths that a process which is gone left under a temporary name."""
    for path in list(paths):
        found = _TEMPORARY.fullmatch(path.name)
        if found is None or _at_work(int(found[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def append(path: Path, content: bytes) -> None:
    """Adds to a file; one that is stopped may leave a part of it.

    Raises:
        DiskError: the disk is full, or the file cannot be written.
    """
    try:
        with path.open("ab") as stream:
            stream.write(content)
    except OSError as error:
        raise disk_error(path, error) from error


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
    """One run folder. Stage records lie in `stages/`, each with its key and its outputs.

    A stage that runs again although it has a record is marked beside it, since what is there may
    then be of the old key or of the new one.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._lock: Any = None
        self._scratch: list[Path] = []

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder; the system frees it when the process dies, however it dies.

        Raises:
            RunLockedError: another live process holds it.
            DiskError: it cannot be written, or was removed in the meantime.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = self.path(".lock").open("a+")
        except OSError as error:
            raise DiskError(
                f"{self.folder}: cannot be written ({error.strerror}). Choose another with --out."
            ) from error
        with handle:
            self._take(handle)
            with contextlib.suppress(OSError):  # a full disk: the first file will tell
                handle.seek(0)
                handle.truncate()
                os.write(handle.fileno(), str(os.getpid()).encode())
            self._lock = handle
            try:
                remove_leftovers(self.folder.rglob(".*.tmp*"))
                yield
            except Interrupted:
                raise
            except Exception:
                self._check_there()
                raise
            finally:
                self._lock = None

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

    def _check_there(self) -> None:
        """Without its lock file a folder is not the one we hold, even if one of that name is there."""
        if self._lock is None:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._lock.fileno()), self.path(".lock").stat()):
                return
        raise DiskError(
            f"{self.folder}: the run folder was removed or replaced while the run was at work. "
            "Start again with the same command, or choose another folder with --out."
        )

    def event(self, kind: str, **values: Any) -> None:
        """Appends one line to events.jsonl.

        Raises:
            DiskError: the disk is full, or the run folder is gone.
        """
        self._check_there()
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": kind}
        text = json.dumps(line | to_dict(values), ensure_ascii=False) + "\n"
        path = self.path("events.jsonl")
        try:
            with path.open("a+b") as stream:
                if stream.tell():  # a line that a full disk cut off stays alone
                    stream.seek(-1, os.SEEK_END)
                    text = text if stream.read(1) == b"\n" else "\n" + text
                stream.write(text.encode())
        except OSError as error:
            raise disk_error(path, error) from error

    def events(self) -> list[dict[str, Any]]:
        """Returns the events in order, without lines that were cut off."""
        path = self.path("events.jsonl")
        found = []
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [event for event in found if isinstance(event, dict) and "event" in event]

    def last_event(self, stage: str) -> str | None:
        """Returns what was last heard of a stage, or None."""
        heard = [event["event"] for event in self.events() if event.get("stage") == stage]
        return heard[-1] if heard else None

    def stage_record(self, stage: str) -> dict[str, Any] | None:
        """Returns what a finished stage left, or None; one of an older edgekd counts for nothing.

        Raises:
            EdgeKDError: it is damaged, or a newer edgekd wrote it.
        """
        path = self.path("stages", f"{stage}.json")
        if not path.is_file():
            return None
        advice = f"Delete it, and stage '{stage}' runs again"
        try:
            record = read_json(path)
        except EdgeKDError as error:
            raise EdgeKDError(f"{error}. {advice}") from error
        found = record.get("schema", 0) if isinstance(record, dict) else None
        if not isinstance(found, int) or found > RECORD_SCHEMA:
            raise EdgeKDError(
                f"{path}: stage record schema {found!r}, this edgekd reads schema {RECORD_SCHEMA}. "
                "Go on with the edgekd that wrote it, or choose another folder with --out"
            )
        if found < RECORD_SCHEMA:
            return None
        missing = [key for key in ("key", "outputs", "result", "cost") if key not in record]
        if missing:
            raise EdgeKDError(f"{path}: no record of a stage, '{missing[0]}' is missing. {advice}")
        return record

    def begin_stage(self, stage: str) -> None:
        """Notes that a stage with a record runs again; until it ends, no edit of its files counts."""
        self._scratch = []
        if self.path("stages", f"{stage}.json").is_file():
            write_text(self._redo(stage), "")

    def scratch(self, *paths: Path) -> None:
        """Names what the stage at work needs only until it ends; goes once its record is there."""
        self._scratch += paths

    def finish_stage(
        self,
        stage: str,
        key: str,
        outputs: list[Path],
        result: Any,
        cost: dict[str, float],
        **more: Any,
    ) -> dict[str, Any]:
        """Writes the record that makes a stage count as finished; returns it.

        Raises:
            DiskError: an output is gone, or the disk is full.
        """
        self._check_there()
        gone = next((path for path in outputs if not path.is_file()), None)
        if gone is not None:
            raise DiskError(f"{gone}: removed before stage '{stage}' ended. Start again")
        for folder in {path.parent for path in outputs}:
            _to_disk(folder)
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
            "scratch": [str(path.relative_to(self.folder)) for path in self._scratch],
        }
        write_json(self.path("stages", f"{stage}.json"), record)
        self._settle(record)
        return record

    def reusable(
        self, stage: str, key: str, editable: Collection[str] | None = None
    ) -> dict[str, Any] | None:
        """Returns the record of a finished stage with this key whose outputs can be used.

        Those named in `editable` (None: all) may be what a person made of them, as long as they
        are whole; the others must be what the record says.
        """
        record = self.stage_record(stage)
        if record is None or record["key"] != key:
            return None
        changed = self.changed(stage)
        if self._redo(stage).is_file():
            usable = not changed
        else:
            usable = all(
                found == "edited" and (editable is None or name in editable)
                for name, found in changed.items()
            )
        if usable:
            self._settle(record)
        return record if usable else None

    def changed(self, stage: str) -> dict[str, str]:
        """Returns {output: how it differs from the record}: "edited", "missing" or "damaged: WHY"."""
        found = {}
        for name, output in ((self.stage_record(stage) or {}).get("outputs", {})).items():
            path = self.path(name)
            if not path.is_file():
                found[name] = "missing"
            elif file_sha256(path) != output["sha256"]:
                reason = damage(path)
                found[name] = "edited" if reason is None else f"damaged: {reason}"
        return found

    def is_redone(self, stage: str) -> bool:
        """Says whether a stage with a record began to run again and was stopped."""
        return self._redo(stage).is_file()

    def _redo(self, stage: str) -> Path:
        return self.path("stages", f"{stage}.redo")

    def _settle(self, record: dict[str, Any]) -> None:
        """Removes what a finished stage needs no more; again, if the process was killed at it."""
        for name in record.get("scratch", ()):
            path = self.path(name)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        self._redo(record["stage"]).unlink(missing_ok=True)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start


def _canonical(value: Any) -> bytes:
    text = json.dumps(to_dict(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def _to_disk(path: Path) -> None:
    """Waits until a file or the names in a folder would outlast a power cut."""
    if os.name == "nt":  # needs a handle for writing, and has none of folders; never tried
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _raise_disk_error(path: Path, temporary: Path, error: Exception) -> NoReturn:
    """Raises the one line about `path` where the disk is to blame, else the error as it is."""
    ours = (temporary, path, *path.parents)
    cause = disk_cause(error)
    if cause is None and isinstance(error, OSError):
        if error.filename is not None and Path(error.filename) not in ours:
            raise error
        cause = error
    if cause is None:
        raise error
    raise disk_error(path, cause) from error


def _at_work(pid: int) -> bool:
    """Ours is no other's: where processes get the same numbers again, it is a dead one's."""
    return pid != os.getpid() and psutil.pid_exists(pid)

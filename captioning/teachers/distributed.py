"""Many workers look at once: Ray Data hands out the blocks, and each worker saves its own.

What a worker saves is what one process would save, in the same place, by the same function
(`looking.look_at_block`). So a run that was stopped under Ray goes on without it, and the other way
round. A worker that dies is started again with the block it had; a block that is there is not done
twice. Merging, concluding and filtering stay with the process that asked.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import pickle
import shutil
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from captioning.teachers import looking
from captioning.teachers.looking import Block, Hands
from captioning.teachers.protocol import Teacher
from edgekd import extras
from edgekd.errors import DiskError, EdgeKDError, TeacherError, UsageError
from edgekd.machine import native_output_to
from edgekd.records import Item

# A block that its worker did not survive so often is at fault itself.
MOST_TRIES = 4
# A row that comes back is a number and an empty text; this is near the least that Ray accepts.
_STORE_BYTES = 128 << 20
_LIST = "todo.jsonl"
_PATIENCE_S = 10.0
# Unix sockets below it have names of up to 107 bytes.
_LONGEST_FOLDER = 40


class Workers:
    """`count` worker processes, here or on the cluster at `address`; a context that stops them.

    Ray starts with the first block that is to be done. One that the program started itself is used
    as it is, and left running.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, count: int, address: str | None = None):
        extras.ensure("scale")
        self._count, self._address = count, address
        self._started = contextlib.ExitStack()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def hands(self, build: Callable[[], Teacher]) -> Hands:
        """Returns what looks at blocks with a teacher that each worker builds once.

        Raises:
            UsageError: no cluster answers, or it has too few cores.
            DiskError: a worker does not see the folders.
            EdgeKDError: what a teacher raised in a worker, or workers that die again and again.
        """

        def look(
            blocks: Sequence[Block],
            folder: Path,
            with_attributes: bool,
            seen: Callable[[int], None],
        ) -> None:
            # Ray says there that a worker died, and stdout is for data.
            with contextlib.redirect_stdout(sys.stderr):
                cores, gpus = share(self._nodes(), self._count)
                starts, todo = _written(blocks)
                job = Job(build, todo, folder.absolute(), with_attributes, Path.cwd(), cores)
                for count in _done(job, starts, min(self._count, len(blocks)), gpus):
                    seen(count)

        return look

    def _nodes(self) -> list[dict[str, float]]:
        """What each machine has to give; Ray runs afterwards."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        import ray

        if not ray.is_initialized():
            self._started.enter_context(_ray(self._count, self._address))
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@dataclass(frozen=True)
class Job:
    """What every worker is told. Line by line, `todo` names the blocks and has their items."""

    build: Callable[[], Teacher]
    todo: Path
    folder: Path
    with_attributes: bool
    working_folder: Path
    cores: int


class Worker:
    """Lives in a process of its own, builds its teacher once and does one block after the other."""

    def __init__(self, job: Job):
        self._job = job
        self._teacher: Teacher | None = None
        with contextlib.suppress(OSError):  # relative paths in a config are meant from there
            os.chdir(job.working_folder)
        _limit_threads(job.cores)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Does the block whose line starts at `start`; returns how many `images`, or the `error`."""
        try:
            return {"images": [self._look(int(batch["start"][0]))], "error": [b""]}
        except Exception as error:
            return {"images": [0], "error": [_packed(error)]}

    def _look(self, start: int) -> int:
        block = self._block(start)
        if block.path.is_file():
            return len(block.items)
        tries = block.path.with_suffix(".tries")
        if tries.is_file() and tries.stat().st_size >= MOST_TRIES:
            raise TeacherError(
                f"{MOST_TRIES} workers died one after the other over the same "
                f"{len(block.items)} images, the first of them {block.items[0].path}. The system "
                "may have been out of memory: try fewer caption.workers or a smaller "
                "caption.block_size. Finished blocks are kept"
            )
        with tries.open("ab") as stream:
            stream.write(b".")
        self._teacher = self._teacher or self._job.build()
        job = self._job
        looking.look_at_block(
            self._teacher, block, job.folder, job.with_attributes, lambda count: None
        )
        tries.unlink()
        return len(block.items)

    def _block(self, start: int) -> Block:
        for path in (self._job.todo, self._job.folder):
            if not path.exists():
                raise DiskError(
                    f"{path}: a worker on {socket.gethostname()} does not see it. Expected run "
                    "folder and images on a path that all machines share; see docs/scale.md"
                )
        with self._job.todo.open("rb") as stream:
            stream.seek(start)
            line = json.loads(stream.readline())
        items = [Item(*values) for values in line["items"]]
        return Block(items, self._job.todo.with_name(line["name"]))


def share(nodes: list[dict[str, float]], count: int) -> tuple[int, float]:
    """Returns (cores, GPUs) of each worker: as many whole cores as leave room for all of them.

    Where some machines have GPUs, workers run on these alone, several on one GPU if need be.

    Raises:
        UsageError: there are fewer cores than workers.
    """
    with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
    cores_of = [int(node.get("CPU", 0)) for node in with_gpu or nodes]
    fitting = [
        cores
        for cores in range(1, max(cores_of, default=0) + 1)
        if sum(there // cores for there in cores_of) >= count
    ]
    if not fitting:
        raise UsageError(
            f"caption.workers: {count}, and the cluster has {sum(cores_of)} cores on "
            f"{len(cores_of)} machines. Expected no more workers than cores"
        )
    num_gpus = sum(int(node["GPU"]) for node in with_gpu)
    return fitting[-1], 1 / math.ceil(count / num_gpus) if num_gpus else 0.0


@contextlib.contextmanager
def _ray(count: int, address: str | None) -> Iterator[None]:
    """Ray runs within it, quietly; here, or the one at an address."""
    import ray

    scratch = Path(tempfile.mkdtemp(prefix="edgekd-ray-"))
    on_stop = signal.getsignal(signal.SIGTERM)
    try:
        if address is not None:
            _ask(address)
        with native_output_to(scratch / "start.log"):
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else _local(count, scratch)),
            )
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_stop)  # Ray's own would end the process at once
        yield
    except (ConnectionError, TimeoutError) as error:
        raise UsageError(
            f"caption.ray_address: no Ray cluster answers at '{address}'. Expected 'auto' or "
            "HOST:PORT, on a machine of the cluster; see docs/scale.md"
        ) from error
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def _ask(address: str) -> None:
    """Raises ConnectionError, or TimeoutError, within seconds where nothing listens; Ray takes minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
        except socket.gaierror as error:
            raise ConnectionError(str(error)) from error


def _local(count: int, scratch: Path) -> dict[str, Any]:
    """How Ray starts on this machine: no dashboard, little memory, and nothing left behind."""
    settings: dict[str, Any] = {
        "num_cpus": max(count, _num_cores()),
        "object_store_memory": _STORE_BYTES,
        "include_dashboard": False,
        # As this process: by default 15, which starves them on a machine that is busy.
        "_system_config": {"worker_niceness": 0},
    }
    if len(str(scratch)) <= _LONGEST_FOLDER:
        settings["_temp_dir"] = str(scratch)
    return settings


def _num_cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _written(blocks: Sequence[Block]) -> tuple[list[int], Path]:
    """Where each block's line starts in the list of blocks, which lies among them.

    So what Ray carries is one number a block, and a worker that can read its line sees the folder.
    """
    todo = blocks[0].path.parent.absolute() / _LIST
    todo.parent.mkdir(parents=True, exist_ok=True)
    for tries in todo.parent.glob("*.tries"):  # of a run that was stopped
        tries.unlink(missing_ok=True)
    starts = []
    with todo.open("wb") as stream:
        for block in blocks:
            starts.append(stream.tell())
            line = {"name": block.path.name, "items": [astuple(item) for item in block.items]}
            stream.write(json.dumps(line).encode() + b"\n")
    return starts, todo


def _done(job: Job, starts: list[int], count: int, gpus: float) -> Iterator[int]:
    """Yields how many images each block has that is done; Ray starts a dead worker again."""
    import ray
    import ray.data

    rows = [{"start": start} for start in starts]
    todo = ray.data.from_items(rows, override_num_blocks=len(rows))
    todo.context.enable_progress_bars = False
    todo.context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    done = todo.map_batches(
        Worker,
        fn_constructor_args=(job,),
        batch_size=1,
        num_cpus=job.cores,
        num_gpus=gpus or None,
        # None waits behind a worker that may die.
        compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
    )
    try:
        for row in done.iter_rows():
            if row["error"]:
                raise pickle.loads(row["error"])
            yield int(row["images"])
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        raise EdgeKDError(
            f"caption.workers: Ray stopped ({first}). Start again: finished blocks are kept"
        ) from error


def _limit_threads(cores: int) -> None:
    """Holds this process to its cores, libraries that are loaded later included."""
    from threadpoolctl import threadpool_limits

    asked = os.environ.get("OMP_NUM_THREADS", "")
    threads = min(cores, int(asked)) if asked.isdigit() else cores
    os.environ["OMP_NUM_THREADS"] = str(threads)
    threadpool_limits(threads)


def _packed(error: Exception) -> bytes:
    """The error as it will be raised where the run was started; its traceback goes along as a note."""
    error.add_note("In a worker:\n" + "".join(traceback.format_exception(error)))
    error.__cause__ = error.__context__ = None
    with contextlib.suppress(Exception):
        packed = pickle.dumps(error)
        again = pickle.loads(packed)
        if type(again) is type(error) and str(again) == str(error):
            return packed
    return pickle.dumps(TeacherError(f"{type(error).__name__}: {error}"))

"""Looks shared out over Ray workers: the same as one process makes, whatever dies on the way."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioning import captions as captions_io
from captioning.teachers import looking
from captioning.teachers.distributed import MOST_TRIES, Job, Worker, Workers, _ray, share
from captioning.teachers.protocol import Conclusion, Files, Look
from edgekd.errors import (
    ConfigError,
    DataError,
    DiskError,
    MissingExtraError,
    TeacherError,
    UsageError,
)
from edgekd.manifest import Manifest
from edgekd.progress import silent
from edgekd.records import Caption, Item, TaskSpec

pytest.importorskip("ray.data")

NUM_ITEMS = 50
BLOCK_SIZE = 10
SETTINGS = "s" * 12


class Speaker:
    """Sees how red an image is and says it, and notes every image that it looks at in a file.

    At item `fatal` its process is killed, once; at `always_fatal` every time; `wrong` raises.
    """

    name = "test/speaker"
    settings = SETTINGS

    def __init__(
        self, notes: Path, fatal: str = "", always_fatal: str = "", wrong: Exception | None = None
    ) -> None:
        self._notes, self._fatal, self._always_fatal = notes, fatal, always_fatal
        self._wrong = wrong
        notes.mkdir(exist_ok=True)

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        ids = [item.id for item in items]
        with (self._notes / "seen").open("a") as stream:
            stream.write("".join(f"{item_id} {os.getpid()}\n" for item_id in ids))
        killed = self._notes / "killed"
        if self._fatal in ids and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self._always_fatal in ids:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._wrong is not None and "id25" in ids:
            raise self._wrong
        red = np.array([[image.getpixel((0, 0))[0]] for image in images], np.float16)
        said = [
            Caption(item.id, 0, f"red {int(value)}", "t", 1.0, 0, self.name, 0.5)
            for item, (value,) in zip(items, red, strict=True)
        ]
        return Look({"red": red}, tuple(said))

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        return Conclusion(observed["red"].repeat(2, axis=1), (), {}, {"head": "none"})


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Two workers; Ray starts once for all tests here."""
    from ray import cloudpickle

    # A worker cannot import this module.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    on_stop = signal.getsignal(signal.SIGTERM)
    with Workers(2) as two:
        two._nodes()
        assert signal.getsignal(signal.SIGTERM) is on_stop
        yield two


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    items = [Item(f"id{n:02d}", f"{n}.png", "train", n % 2) for n in range(NUM_ITEMS)]
    for n, item in enumerate(items):
        Image.new("RGB", (6, 6), (n, 0, 0)).save(tmp_path / item.path)
    return Manifest(TaskSpec("test", ("cat", "dog")), items)


def work(
    manifest: Manifest, folder: Path, teacher: partial[Speaker], workers: Workers | None, run: str
) -> looking.Work:
    files = Files(folder / run)
    hands = workers.hands(teacher) if workers else None
    return looking.work(teacher(), manifest, folder, files, BLOCK_SIZE, silent, hands)


def seen(notes: Path) -> Counter[str]:
    """How often each image was looked at."""
    return Counter(line.split()[0] for line in (notes / "seen").read_text().splitlines())


def contents(done: looking.Work) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in done.files}


def blocks(folder: Path, run: str) -> dict[str, bytes]:
    found = Files(folder / run).blocks(SETTINGS).iterdir()
    return {path.name: path.read_bytes() for path in found if path.name != "todo.jsonl"}


def test_workers_leave_what_one_process_leaves(
    workers: Workers, manifest: Manifest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone = work(manifest, tmp_path, partial(Speaker, tmp_path / "alone"), None, "run-alone")
    told: list[tuple[int, int, str]] = []
    teacher = partial(Speaker, tmp_path / "shared")
    shared = looking.work(
        teacher(), manifest, tmp_path, Files(tmp_path / "run-shared"), BLOCK_SIZE,
        lambda done, total, what: told.append((done, total, what)), workers.hands(teacher),
    )  # fmt: skip
    assert contents(shared) == contents(alone)
    assert blocks(tmp_path, "run-shared") == blocks(tmp_path, "run-alone")
    assert len(blocks(tmp_path, "run-alone")) == 2 * NUM_ITEMS / BLOCK_SIZE
    assert seen(tmp_path / "shared") == Counter({item.id: 1 for item in manifest.items})
    assert told == [(10, 50, "images"), (20, 50, "images"), (30, 50, "images"),
                    (40, 50, "images"), (50, 50, "images")]  # fmt: skip
    assert capfd.readouterr() == ("", "")
    processes = {line.split()[1] for line in (tmp_path / "shared" / "seen").open()}
    assert str(os.getpid()) not in processes


def test_after_a_killed_worker_no_caption_is_lost_and_none_is_there_twice(
    workers: Workers, manifest: Manifest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone = work(manifest, tmp_path, partial(Speaker, tmp_path / "alone"), None, "run-alone")
    teacher = partial(Speaker, tmp_path / "shared", fatal="id15")
    shared = work(manifest, tmp_path, teacher, workers, "run-shared")
    assert (tmp_path / "shared" / "killed").exists()
    assert contents(shared) == contents(alone)
    said = [caption.item_id for caption in captions_io.load(Files(tmp_path / "run-shared").said)]
    assert said == [item.id for item in manifest.items]
    # The block that the dead worker had is done again, and no other one.
    again = {f"id{n}" for n in range(10, 20)}
    assert seen(tmp_path / "shared") == Counter(
        {item.id: 2 if item.id in again else 1 for item in manifest.items}
    )
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("first", ["workers", "one process"])
def test_what_a_teacher_raises_is_raised_and_the_run_goes_on_with_or_without_workers(
    first: str, workers: Workers, manifest: Manifest, tmp_path: Path
) -> None:
    alone = work(manifest, tmp_path, partial(Speaker, tmp_path / "alone"), None, "run-alone")
    order = [workers, None] if first == "workers" else [None, workers]
    wrong = DataError("id25: no image that this teacher reads")
    teacher = partial(Speaker, tmp_path / "first", wrong=wrong)
    with pytest.raises(DataError) as caught:
        work(manifest, tmp_path, teacher, order[0], "run")
    assert str(caught.value) == "id25: no image that this teacher reads"
    if first == "workers":
        assert "In a worker:\nTraceback" in caught.value.__notes__[0]
        assert ", in look\n" in caught.value.__notes__[0]
    kept = {name for name in blocks(tmp_path, "run") if name.endswith(".npz")}
    assert 0 < len(kept) < NUM_ITEMS / BLOCK_SIZE
    ended = work(manifest, tmp_path, partial(Speaker, tmp_path / "second"), order[1], "run")
    assert contents(ended) == contents(alone)
    again = seen(tmp_path / "second")
    assert set(again.values()) == {1}
    assert len(again) == NUM_ITEMS - BLOCK_SIZE * len(kept)


def test_nothing_to_do_asks_no_worker(workers: Workers, manifest: Manifest, tmp_path: Path) -> None:
    teacher = partial(Speaker, tmp_path / "alone")
    done = work(manifest, tmp_path, teacher, None, "run")

    def refuse() -> Speaker:
        raise AssertionError

    again = looking.work(
        teacher(), manifest, tmp_path, Files(tmp_path / "run"), BLOCK_SIZE, silent,
        workers.hands(refuse),
    )  # fmt: skip
    assert again.captions
    assert [path.name for path in again.files] == [path.name for path in done.files]


@pytest.mark.parametrize("unseen", ["run/todo.jsonl", "images"])
def test_folders_that_a_worker_does_not_see_are_named(unseen: str, tmp_path: Path) -> None:
    for folder in ("run", "images"):
        (tmp_path / folder).mkdir()
    if unseen == "images":
        (tmp_path / "images").rmdir()
        (tmp_path / "run" / "todo.jsonl").touch()
    teacher = partial(Speaker, tmp_path / "notes")
    job = Job(teacher, tmp_path / "run" / "todo.jsonl", tmp_path / "images", True, Path.cwd(), 1)
    raised = pickle.loads(Worker(job)({"start": [0]})["error"][0])
    assert isinstance(raised, DiskError)
    assert str(raised).startswith(f"{tmp_path}/{unseen}: a worker on ")
    assert "does not see it. Expected run folder and images on a path" in str(raised)


@pytest.mark.slow
def test_a_block_that_kills_its_workers_stops_the_run_and_the_next_one_tries_again(
    workers: Workers, manifest: Manifest, tmp_path: Path
) -> None:
    deadly = partial(Speaker, tmp_path / "shared", always_fatal="id15")
    for _ in range(2):
        with pytest.raises(TeacherError, match=rf"{MOST_TRIES} workers died .* 10\.png\."):
            work(manifest, tmp_path, deadly, workers, "run")
    tries = seen(tmp_path / "shared")
    assert tries["id15"] == 2 * MOST_TRIES
    assert all(number == 1 for item_id, number in tries.items() if not item_id.startswith("id1"))


def test_an_error_that_cannot_travel_comes_as_its_words(manifest: Manifest, tmp_path: Path) -> None:
    teacher = partial(Speaker, tmp_path / "shared", wrong=ConfigError(["x: wrong"]))
    work(manifest, tmp_path, partial(Speaker, tmp_path / "alone"), None, "run")
    folder = Files(tmp_path / "run").blocks(SETTINGS)
    todo = folder / "todo.jsonl"
    block = looking.blocks_of(manifest.items, folder, BLOCK_SIZE)[2]
    block.path.unlink()
    items = ", ".join(f'["{item.id}", "{item.path}", "train"]' for item in block.items)
    todo.write_text(f'{{"name": "{block.path.name}", "items": [{items}]}}\n')
    before = os.environ.get("OMP_NUM_THREADS")
    worker = Worker(Job(teacher, todo, tmp_path, True, Path.cwd(), 1))
    assert os.environ["OMP_NUM_THREADS"] == (before or "1")
    raised = pickle.loads(worker({"start": [0]})["error"][0])
    assert type(raised) is TeacherError
    assert str(raised) == "ConfigError: config: 1 fault\n  x: wrong"


@pytest.mark.parametrize(
    ("nodes", "count", "expected"),
    [
        ([{"CPU": 2.0}], 2, (1, 0.0)),
        ([{"CPU": 16.0}], 3, (5, 0.0)),
        ([{"CPU": 4.0}, {"CPU": 4.0}, {"CPU": 4.0}], 4, (2, 0.0)),
        ([{"CPU": 8.0}, {"CPU": 2.0}], 2, (4, 0.0)),
        ([{"CPU": 8.0, "GPU": 1.0}, {"CPU": 64.0}], 2, (4, 0.5)),
        ([{"CPU": 8.0, "GPU": 2.0}], 3, (2, 0.5)),
        ([{"CPU": 8.0, "GPU": 4.0}], 2, (4, 1.0)),
    ],
)
def test_cores_and_gpus_are_shared_out(
    nodes: list[dict[str, float]], count: int, expected: tuple[int, float]
) -> None:
    assert share(nodes, count) == expected


def test_more_workers_than_cores_are_refused() -> None:
    with pytest.raises(UsageError, match=r"caption\.workers: 5, .* 4 cores on 2 machines"):
        share([{"CPU": 2.0}, {"CPU": 2.0}, {}][:2], 5)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379"])
def test_a_cluster_that_does_not_answer_is_named(address: str) -> None:
    expected = rf"no Ray cluster answers at '{address}'\. Expected"
    with pytest.raises(UsageError, match=expected), _ray(2, address):
        pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find_spec(name: str) -> object:
        return None if name == "ray" else found(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(MissingExtraError, match=r"^ray: .* pip install 'edgekd\[scale\]'$"):
        Workers(2)

"""The run folder: whole files or none, one writer, finished stages reused."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import DiskError, EdgeKDError, RunLockedError
from edgekd.records import Share
from edgekd.store import (
    RunStore,
    atomic_path,
    digest,
    digest_each,
    file_sha256,
    read_json,
    scratch_folder,
    write_json,
    write_text,
)

HOLDER = """
import sys, time
from pathlib import Path
from edgekd.store import RunStore
with RunStore(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_text(path, "old")
    with contextlib.suppress(ValueError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ValueError("broken")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_the_temporary_name_keeps_the_suffix_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "numbers.npz"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".npz"
        assert temporary.parent == path.parent
        np.savez(temporary, x=np.arange(3))
        assert not path.exists()
    assert np.load(path)["x"].tolist() == [0, 1, 2]
    assert os.listdir(path.parent) == ["numbers.npz"]


def test_what_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.txt", tmp_path / "file" / "deeper" / "x.txt"):
        with pytest.raises(EdgeKDError, match=r"cannot be written") as caught:
            write_text(path, "text")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(EdgeKDError, match=r"No space left on device.*Free some space"),
        atomic_path(tmp_path / "x.bin"),
    ):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "error",
    [
        OSError(27, "File too large"),
        OSError(28, "Error writing bytes to file. Detail: [errno 28] No space left on device"),
        OSError(30, "Read-only file system", "/elsewhere/x"),
        RuntimeError("Error while serializing: I/O error: whatever (os error 28)"),
        ValueError("[Errno 28] Error writing bytes. Detail: [errno 28] No space left on device"),
    ],
    ids=["too large", "a sentence of its own", "read-only", "in the text", "in words"],
)
def test_a_full_disk_is_seen_behind_what_a_library_raises(error: Exception, tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with pytest.raises(DiskError, match=r"x\.bin: cannot be written \([\w -]+\)\. Free"):
        write_in(path, error)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_seen_behind_an_error_that_does_not_say_so(tmp_path: Path) -> None:
    error = RuntimeError("unexpected pos 640 vs 598")
    error.__context__ = OSError(28, "No space left on device")
    with pytest.raises(DiskError, match="No space left on device"):
        write_in(tmp_path / "x.state", error)


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes differ"):
        write_in(tmp_path / "x.bin", RuntimeError("shapes differ (28 against 27)"))


def test_the_line_about_a_file_inside_is_kept(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"inner\.txt: cannot be written"):
        write_in(tmp_path / "x.bin", DiskError("inner.txt: cannot be written"))


def write_in(path: Path, error: Exception) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise error


def test_a_scratch_folder_goes_whatever_happens(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "model.onnx") as folder:
        (folder / "x").write_text("x")
        assert folder.parent == tmp_path
    assert os.listdir(tmp_path) == []


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = os.getppid()
    names = {
        f".report.{dead.pid}.tmp.html": False,
        f".x.{os.getpid()}.tmp.npz": False,  # a number that came again: we have just started
        f".student.{living}.tmp.onnx": True,
        ".mine.tmp": True,
        "notes.1.tmp.txt": True,
        ".lock": True,
    }
    (tmp_path / "exports" / f".model.{dead.pid}.tmp").mkdir(parents=True)
    for name in names:
        (tmp_path / "exports" / name).write_text("x")
    with RunStore(tmp_path).lock():
        found = os.listdir(tmp_path / "exports")
    assert sorted(found) == sorted(name for name, stays in names.items() if stays)


def test_an_error_about_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x.txt"):
        (tmp_path / "elsewhere" / "none.txt").read_text()


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": (2, 3), "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest([1, 2]) != digest([2, 1])


@pytest.mark.parametrize("values", [[], ["a"], [("é", None), ("b", 1)], [{"b": 1, "a": [2]}]])
def test_digest_of_values_as_they_come_is_that_of_their_list(values: list[object]) -> None:
    assert digest_each(iter(values)) == digest(values)


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_json_takes_records_and_numpy(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"share": Share(0.5, 0.1, 0.9, 4), "n": np.int64(3), "ü": np.arange(2)})
    assert read_json(path) == {
        "share": {"value": 0.5, "low": 0.1, "high": 0.9, "n": 4},
        "n": 3,
        "ü": [0, 1],
    }


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_a_damaged_json_names_its_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(EdgeKDError, match=r"not readable as JSON") as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_another_live_process_keeps_the_lock_until_it_is_killed(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunLockedError) as caught, store.lock():
            pass
        assert f"another run (process {holder.pid}) is at work here" in str(caught.value)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with store.lock():
            assert store.path(".lock").read_text() == str(os.getpid())
    finally:
        holder.kill()
        holder.wait()


def test_the_lock_is_free_again_after_use_and_after_an_error(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with pytest.raises(ValueError), store.lock():
        raise ValueError
    with store.lock():
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EdgeKDError, match=r"cannot be written .*Choose another with --out"),
        RunStore(tmp_path / "file" / "run").lock(),
    ):
        pass


def test_a_stage_is_reusable_with_the_same_key_and_all_its_files(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert store.reusable("filter", "k1") is None
    output = store.path("captions", "x.txt")
    write_text(output, "four")
    store.finish_stage("filter", "k1", [output], {"kept": 4}, {"seconds": 1.5})
    record = store.reusable("filter", "k1")
    assert record is not None
    assert record["result"] == {"kept": 4}
    assert record["cost"] == {"seconds": 1.5}
    assert record["outputs"]["captions/x.txt"] == {
        "size_bytes": 4,
        "sha256": file_sha256(output),
    }
    assert store.reusable("filter", "k2") is None
    output.unlink()
    assert store.reusable("filter", "k1") is None


def finished(store: RunStore, **contents: str) -> None:
    """A stage `filter` with key k1 whose outputs are x.txt, y.txt and so on."""
    outputs = []
    for name, content in contents.items():
        outputs.append(store.path(f"{name}.txt"))
        write_text(outputs[-1], content)
    store.finish_stage("filter", "k1", outputs, None, {})


def test_only_what_may_be_edited_counts_as_an_edit(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    finished(store, x="x", y="y")
    write_text(store.path("x.txt"), "mine")
    assert store.changed("filter") == {"x.txt": "edited"}
    assert store.reusable("filter", "k1") is not None
    assert store.reusable("filter", "k1", editable=["x.txt"]) is not None
    assert store.reusable("filter", "k1", editable=["y.txt"]) is None
    write_text(store.path("x.txt"), "")
    assert store.changed("filter") == {"x.txt": "damaged: empty"}
    assert store.reusable("filter", "k1") is None
    store.path("x.txt").unlink()
    assert store.changed("filter") == {"x.txt": "missing"}


def test_a_stage_that_runs_again_leaves_no_doubt_whose_its_files_are(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.begin_stage("filter")
    assert not store.is_redone("filter")  # nothing to confuse it with
    finished(store, x="old")
    store.begin_stage("filter")
    assert store.is_redone("filter")
    write_text(store.path("x.txt"), "half new")
    assert store.reusable("filter", "k1") is None
    write_text(store.path("x.txt"), "old")
    assert store.reusable("filter", "k1") is not None
    assert not store.is_redone("filter")


def test_scratch_goes_with_the_record_or_at_the_next_start(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.begin_stage("filter")
    folder, file = store.path("blocks"), store.path("x.state")
    folder.mkdir()
    for path in (folder / "1.npz", file):
        path.write_text("x")
    store.scratch(folder, file)
    assert file.exists()
    finished(store, x="x")
    assert not file.exists()
    assert not folder.exists()
    file.write_text("x")  # as if the process had been killed before it could remove it
    assert RunStore(tmp_path).reusable("filter", "k1") is not None
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "{", '{"schema": 1, "key": "k1"}'])
def test_a_damaged_record_says_what_to_do(content: str, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.path("stages").mkdir()
    store.path("stages", "filter.json").write_text(content)
    with pytest.raises(EdgeKDError, match="Delete it, and stage 'filter' runs again") as caught:
        store.reusable("filter", "k1")
    assert "\n" not in str(caught.value)


def test_a_run_folder_that_is_not_the_locked_one_any_more(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run")

    def recreated() -> None:
        shutil.rmtree(store.folder)
        write_text(store.path("x.txt"), "makes the folder again")
        store.event("stage finished")

    def unlocked() -> None:
        store.path(".lock").unlink()
        raise FileNotFoundError("x")

    for act in (recreated, unlocked):
        with pytest.raises(DiskError, match="was removed or replaced"), store.lock():
            act()


def test_an_output_that_went_before_the_record(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"x\.txt: removed before stage 'filter' ended"):
        RunStore(tmp_path).finish_stage("filter", "k1", [tmp_path / "x.txt"], None, {})


@pytest.mark.parametrize("torn", ['{"event": "stage st', "\xff", "[1]", "3"])
def test_a_torn_line_costs_no_other(torn: str, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.event("a", stage="filter")
    with store.path("events.jsonl").open("a", encoding="latin-1") as stream:
        stream.write(torn)
    assert store.last_event("filter") == "a"
    store.event("b", stage="filter")
    assert [event["event"] for event in store.events()] == ["a", "b"]
    assert store.last_event("filter") == "b"
    assert store.last_event("targets") is None


def test_events_are_lines_of_json_in_order(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.event("stage started", stage="caption")
    store.event("stage finished", seconds=2.0)
    lines = [json.loads(line) for line in store.path("events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["stage started", "stage finished"]
    assert lines[1]["seconds"] == 2.0
    assert all(line["time"].endswith("+00:00") for line in lines)

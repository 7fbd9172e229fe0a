"""The run folder: whole files or none, one writer, finished stages reused."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import EdgeKDError, RunLockedError
from edgekd.records import Share
from edgekd.store import (
    RunStore,
    atomic_path,
    digest,
    file_sha256,
    read_json,
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


def test_an_error_about_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x.txt"):
        (tmp_path / "elsewhere" / "none.txt").read_text()


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": (2, 3), "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest([1, 2]) != digest([2, 1])


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


def test_events_are_lines_of_json_in_order(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.event("stage started", stage="caption")
    store.event("stage finished", seconds=2.0)
    lines = [json.loads(line) for line in store.path("events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["stage started", "stage finished"]
    assert lines[1]["seconds"] == 2.0
    assert all(line["time"].endswith("+00:00") for line in lines)

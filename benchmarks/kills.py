"""Kills a short run again and again: `python -m benchmarks.kills --kills 50 --seed 0`.

The run is that of tests/e2e (120 images, every stage). It is killed with SIGKILL, all its processes
at once, at moments drawn over the stages, each stage at least once; started again by the same
command until the next kill, and at last to its end. What it leaves is then compared with what an
uninterrupted run left, file by file. Times of day and measured times are no artefacts.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import results_file
from edgekd.store import RunStore, file_sha256, read_json

CLAIM = (
    "A run killed with SIGKILL at seeded random moments of every stage and started again leaves "
    "the same artefacts as an uninterrupted one."
)
NOTES = (
    "lost: from the last save (a block of captions, a training's state, the image cache) or, in "
    "stages that start again, from their start, to the kill; loading of libraries and weights is in "
    "it. Left out of the comparison: times of day, seconds, memory, latencies, and what quotes them."
)
START = "start"
"""Before the first stage: imports, the lock, the config."""
_KILLS_A_RUN = 13
# What a stage saves on its way; the others start again.
_SAVES = {
    "caption": ("captions/blocks-*/*.npz",),
    "distill": ("checkpoints/*.state", "cache/*"),
    "baseline": ("checkpoints/*.state",),
    "prune": ("checkpoints/*.state",),
}
# Files that tell when and how fast: compared by their content, or not at all.
_TIMED = {".lock", "events.jsonl", "report.html", "report.md", "report.json"}
_TIMED_MEMBERS = {"MODEL_CARD.md", "manifest.json"}
_TIMED_KEYS = {
    "bench", "command", "cost", "date", "finished", "latency", "latency_ms", "memory_mb",
    "peak_memory_mb", "resumed", "seconds", "stages", "units",
}  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """A stage, and how far into the time it takes."""

    stage: str
    share: float


@dataclass(frozen=True)
class Kill:
    """One kill as it came: where it was aimed, which stage it hit, and how much was lost."""

    aimed: str
    hit: str
    share: float
    lost_seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/kills"), help="folder of the runs")
    arguments = parser.parse_args()
    from tests.e2e import small_runs

    arguments.out.mkdir(parents=True, exist_ok=True)
    out = arguments.out.resolve()
    images, folder, reference = out / "images", out / "run", out / "uninterrupted"
    if not images.is_dir():
        small_runs.unpack(images)
    command = small_runs.command("run", small_runs.write_config(out / "small.yaml", images, folder))
    environment = small_runs.environment()
    # All runs are made in one place: a run's files may say where it lies.
    to_the_end(command, environment)
    folder.rename(reference)
    seconds = stage_seconds(reference)
    kills: list[Kill] = []
    different: list[str] = []
    runs = plan(list(seconds), arguments.kills, random.Random(arguments.seed))
    for number, moments in enumerate(runs):
        for kill in killed(command, folder, moments, seconds, environment):
            print(f"run {number}: {kill}", file=sys.stderr, flush=True)
            kills.append(kill)
        found = differences(reference, folder)
        print(f"run {number}: {found or 'the same artefacts'}", file=sys.stderr, flush=True)
        different += [f"{number}/{name}" for name in found]
        folder.rename(out / f"killed-{number}")
    path = _write(arguments, kills, len(runs), different)
    print(path.read_text())
    return 1 if different else 0


def plan(
    stages: Sequence[str], kills: int, rng: random.Random, kills_a_run: int = _KILLS_A_RUN
) -> list[list[Moment]]:
    """Returns the moments of each run, in the order of the line; every stage about equally often."""
    wanted = [START, *stages]
    drawn = wanted * (kills // len(wanted)) + rng.sample(wanted, kills % len(wanted))
    rng.shuffle(drawn)
    runs = [drawn[start : start + kills_a_run] for start in range(0, kills, kills_a_run)]
    return [
        [Moment(stage, rng.random()) for stage in sorted(run, key=wanted.index)] for run in runs
    ]


def killed(
    command: list[str],
    folder: Path,
    moments: Sequence[Moment],
    seconds: dict[str, float],
    environment: dict[str, str],
) -> Iterator[Kill]:
    """Runs a command once for each moment, killing it there, and then to its end; yields the kills.

    `seconds` is how long each stage takes when nobody disturbs it, in the order of the line.
    """
    for moment in moments:
        kill = _killed_at(command, folder, moment, seconds, environment)
        if kill is not None:
            yield kill
    to_the_end(command, environment)


def to_the_end(command: list[str], environment: dict[str, str]) -> None:
    """Runs a command that must end well.

    Raises:
        SystemExit: it does not; with what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0 or "Traceback" in done.stderr:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")


def stage_seconds(folder: Path) -> dict[str, float]:
    """Returns what each stage of a run took, in order."""
    ended = [event for event in RunStore(folder).events() if event["event"] == "stage finished"]
    return {event["stage"]: event["seconds"] for event in ended}


def differences(reference: Path, candidate: Path) -> list[str]:
    """Returns the artefacts of a run that another has not or has otherwise, and what is too many."""
    first, second = _artefacts(reference), _artefacts(candidate)
    return sorted(name for name in first | second if first.get(name) != second.get(name))


def _killed_at(
    command: list[str],
    folder: Path,
    moment: Moment,
    seconds: dict[str, float],
    environment: dict[str, str],
) -> Kill | None:
    """Returns the kill, or None where the run came to its end before."""
    store = RunStore(folder)
    known = len(store.events())
    running = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        _wait_for(moment, store, known, seconds, running)
        if running.poll() is not None:
            assert running.returncode == 0, running.communicate()[1]
            return None
        now = time.time()
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        assert running.stderr is not None
        running.stderr.close()
    hit = _stage_at_work(store, known) or START
    return Kill(moment.stage, hit, moment.share, _lost(folder, hit, now, seconds))


def _wait_for(
    moment: Moment,
    store: RunStore,
    known: int,
    seconds: dict[str, float],
    running: subprocess.Popen[str],
) -> None:
    """Returns at the moment, or as soon as its stage is over: the machine may be faster today."""
    if moment.stage == START:  # a start takes a few seconds, most of them imports
        time.sleep(3 * moment.share)
        return
    order = list(seconds)
    deadline = None
    while running.poll() is None:
        at_work = _stage_at_work(store, known)
        if at_work is not None and order.index(at_work) > order.index(moment.stage):
            return
        if at_work == moment.stage:
            deadline = deadline or time.monotonic() + moment.share * seconds[at_work]
            if time.monotonic() >= deadline:
                return
        time.sleep(0.001)


def _stage_at_work(store: RunStore, known: int) -> str | None:
    """The stage that began last since an event, whether it has ended or not."""
    began = [e["stage"] for e in store.events()[known:] if e["event"] == "stage started"]
    return began[-1] if began else None


def _lost(folder: Path, stage: str, now: float, seconds: dict[str, float]) -> float:
    """Seconds from the last thing that outlasts the kill."""
    store = RunStore(folder)
    if stage == START:
        return 0.0
    record = store.path("stages", f"{stage}.json")
    # Each stage writes its record last and its mark or its first file at once.
    kept = [record, *(path for pattern in _SAVES.get(stage, ()) for path in folder.glob(pattern))]
    kept += [store.path("stages", f"{name}.json") for name in seconds]
    times = [path.stat().st_mtime for path in kept if path.is_file()]
    return max(0.0, now - max(times, default=now))


def _artefacts(folder: Path) -> dict[str, Any]:
    """Every file of a run by its digest; of those that quote times, what does not."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name.startswith("logs/"):
            continue
        if name == "bundle.zip":
            found |= _members(path)
        elif name == "report.json" or name.startswith("stages/"):
            found[name] = _timeless(read_json(path)) if path.suffix == ".json" else "there"
        else:
            found[name] = "there" if name in _TIMED else file_sha256(path)
    return _without_quotes(found)


def _members(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return {
            f"{path.name}/{info.filename}": "there" if info.filename in _TIMED_MEMBERS else info.CRC
            for info in archive.infolist()
        }


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in _TIMED_KEYS}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _without_quotes(found: dict[str, Any]) -> dict[str, Any]:
    """Records of bench, bundle and report are about latencies and files that hold them."""
    for name in ("bench", "bundle", "report"):
        if f"stages/{name}.json" in found:
            found[f"stages/{name}.json"] = "there"
    return found


def _write(
    arguments: argparse.Namespace, kills: list[Kill], num_runs: int, different: list[str]
) -> Path:
    hit = sorted({kill.hit for kill in kills})

    def count(value: float, unit: str = "count") -> dict[str, Any]:
        return results_file.figure([float(value)], unit)

    def longest(*stages: str) -> dict[str, Any]:
        return count(max((k.lost_seconds for k in kills if k.hit in stages), default=0), "seconds")

    return results_file.write(
        "kills",
        claim=CLAIM,
        command=f"python -m benchmarks.kills --kills {arguments.kills} --seed {arguments.seed}",
        seeds=[arguments.seed],
        data={"name": "120 images of Fashion-MNIST (configs/demo_data)", "counts": {}},
        figures={
            "kills": count(len(kills)),
            "runs": count(num_runs),
            "stages_hit": count(len(hit)),
            "differing_artefacts": count(len(different)),
            "longest_lost_in_caption": longest("caption"),
            "longest_lost_in_training": longest("distill", "baseline", "prune"),
            "longest_lost": longest(*hit),
        },
        notes=NOTES,
        extra={
            "hit": {stage: sum(kill.hit == stage for kill in kills) for stage in hit},
            "different": different,
            "kills": [vars(kill) for kill in kills],
        },
    )


if __name__ == "__main__":
    sys.exit(main())

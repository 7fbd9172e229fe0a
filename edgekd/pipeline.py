"""Runs the line: order, keys, reuse, stops, one writer at a time.

A stage's key is the digest of its config, of the files it reads and of its schema version, so a
finished stage is reused until one of them changes.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from edgekd import assemble, extras
from edgekd.config import dump_yaml
from edgekd.costs import units
from edgekd.errors import DiskError, GateError, Interrupted, UsageError, closest
from edgekd.machine import PeakMemory
from edgekd.records import to_dict
from edgekd.run_config import RunConfig
from edgekd.running import Listener, Quiet, Run, Stage, costs
from edgekd.stages import STAGES
from edgekd.store import (
    RunStore,
    Stopwatch,
    atomic_path,
    digest,
    disk_cause,
    file_sha256,
    write_text,
)

# The commands of single stages: up to which stage, and which ones on the way are not needed.
VERBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "caption": ("targets", ()),
    "distill": ("distill", ()),
    "prune": ("prune", ("baseline",)),
    "export": ("evaluate", ()),
    "quantize": ("quantize", ()),
}
# How a config gets a stage that it leaves out.
_SWITCH = {
    "faces": "Say --set caption.count_faces=true",
    "audit": "Say --set report.audit_images=500",
    "sweep": "Say --set targets.temperatures=student",
    "views": "Say --set targets.views=4",
    "baseline": "Say --set baseline.enabled=true",
    "prune": "Say --set prune.enabled=true",
    "quantize": "Say --set export.precisions=[fp32,int8]",
    "bench": "Say --set bench.enabled=true",
}


def run(
    config: RunConfig,
    until: str | None = None,
    listener: Listener | None = None,
    skip: Iterable[str] = (),
) -> dict[str, Any]:
    """Runs every stage that is not finished yet; returns the report.

    With `until`, what was done so far: {"folder", "stages", "outputs"}. `skip` names stages that
    are not needed for it.

    Raises:
        UsageError: `until` is no stage of this run.
        MissingExtraError: a stage's libraries are not installed.
        RunLockedError: another process works in the folder.
        GateError: over budget or below a floor; the report is written all the same.
        Interrupted: stopped; what was finished is kept.
    """
    stages = planned(config, until, skip)
    extras.ensure(*dict.fromkeys(extra for stage in stages for extra in stage.extras(config)))
    listener = listener or Quiet()
    # transformers brings torchao, which makes torch warn about itself on every start.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    store = RunStore(config.folder)
    with store.lock():
        write_text(store.path("config.yaml"), dump_yaml(config))
        current = Run(config, store, listener)
        store.event("run started", stages=[stage.name for stage in stages])
        for number, stage in enumerate(stages, start=1):
            listener.stage_started(stage.name, number, len(stages))
            try:
                current.records[stage.name] = _finished(current, stage)
            except KeyboardInterrupt as stop:
                with contextlib.suppress(DiskError):
                    store.event("run stopped", stage=stage.name)
                raise Interrupted(
                    f"stopped in stage '{stage.name}'; what was finished is kept. "
                    "Go on with the same command"
                ) from stop
            except Exception as error:
                with contextlib.suppress(DiskError):
                    store.event("run failed", stage=stage.name, error=str(error))
                _raise_in_one_line(error, stage)
        store.event("run finished")
        if "report" not in current.records:
            outputs = list(current.records[stages[-1].name]["outputs"])
            return {"folder": str(store.folder), "stages": costs(current), "outputs": outputs}
        report = assemble.load(store.folder)
    failed = [gate for gate in report["gates"] if not gate["passed"]]
    if failed:
        raise GateError(
            "; ".join(
                f"{g['name']}: {g['size']} {g['unit']}, limit {g['sizeLimit']}" for g in failed
            )
        )
    return report


def planned(config: RunConfig, until: str | None = None, skip: Iterable[str] = ()) -> list[Stage]:
    """Returns the stages a config asks for, in order, up to and with `until`, without `skip`.

    Raises:
        UsageError: `until` is no stage of this run.
    """
    stages = [stage for stage in STAGES if stage.wanted(config)]
    names = [stage.name for stage in stages]
    if until is None:
        return stages
    if until not in names:
        known = [stage.name for stage in STAGES]
        if until in known:
            raise UsageError(f"{until}: the config leaves this stage out. {_SWITCH[until]}")
        raise UsageError(
            f"--until {until}: expected one of {', '.join(names)}.{closest(until, names)}"
        )
    wanted = stages[: names.index(until) + 1]
    return [stage for stage in wanted if stage.name not in set(skip)]


def _finished(current: Run, stage: Stage) -> dict[str, Any]:
    """Returns the record of a stage, from an earlier run or by running it now."""
    store = current.store
    made_of = stage.inputs(current)
    key = digest([stage.name, stage.schema, to_dict(made_of)])
    record = store.reusable(stage.name, key, editable=stage.leaves)
    if record is not None:
        current.listener.stage_finished(stage.name, record["cost"]["seconds"], reused=True)
        store.event("stage reused", stage=stage.name)
        return record | {"reused": True}
    if store.stage_record(stage.name) is None and store.path(f"stages/{stage.name}.json").is_file():
        current.listener.message(
            f"{store.path('stages', stage.name)}.json is of an older edgekd: the stage runs again"
        )
    _set_edited_aside(current, stage)
    resumed = store.last_event(stage.name) in ("stage started", "run stopped", "run failed")
    store.begin_stage(stage.name)
    store.event("stage started", stage=stage.name)
    watch = Stopwatch()
    with PeakMemory() as memory:
        outputs, result = stage.act(current, current.listener.stage_progress)
    cost = {"seconds": watch.seconds, "peak_memory_mb": memory.peak_mb}
    more = {
        "made_of": made_of,
        "stage_schema": stage.schema,
        "units": units(stage.name, current),
        "resumed": resumed,
    }
    record = store.finish_stage(stage.name, key, outputs, result, cost, **more)
    current.listener.stage_finished(stage.name, watch.seconds, reused=False)
    store.event("stage finished", stage=stage.name, **cost)
    return record | {"reused": False}


def _raise_in_one_line(error: Exception, stage: Stage) -> NoReturn:
    """Raises the error; what a disk or a folder is to blame for gets its one line here at last."""
    cause = None if isinstance(error, DiskError) else disk_cause(error)
    if cause is not None:
        where = f"{cause.filename}: " if cause.filename else ""
        raise DiskError(
            f"stage '{stage.name}': {where}cannot be written ({cause.strerror}). Free some space, "
            "then start again: finished work is kept."
        ) from error
    if isinstance(error, FileNotFoundError) and error.filename:
        raise DiskError(
            f"stage '{stage.name}': {error.filename} is gone. Put it back where it was one of your "
            "files, then start again: what can be made anew is."
        ) from error
    raise error


def _set_edited_aside(current: Run, stage: Stage) -> None:
    """Keeps a copy of outputs a person changed, before the stage writes them anew.

    Of a stage that was stopped while it ran again nothing is kept: its files may be half new.
    """
    store = current.store
    if store.is_redone(stage.name):
        return
    for name, found in store.changed(stage.name).items():
        path = store.path(name)
        if found == "edited":
            kept = _free_name(path)
            with atomic_path(kept) as temporary:
                shutil.copy2(path, temporary)
            current.listener.message(
                f"{name} was edited and its stage '{stage.name}' must run again: "
                f"your version is kept as {kept.name}"
            )
        elif found != "missing":
            why = found.partition(": ")[2]
            current.listener.message(
                f"{name} is damaged ({why}): its stage '{stage.name}' runs again"
            )


def _free_name(path: Path) -> Path:
    """Where an edited file is kept: beside it, over no other edit, but over a copy of this one."""
    marks = itertools.chain(["edited"], (f"edited.{number}" for number in itertools.count(2)))
    names = (path.with_name(f"{path.stem}.{mark}{path.suffix}") for mark in marks)
    mine = file_sha256(path)
    return next(kept for kept in names if not kept.is_file() or file_sha256(kept) == mine)

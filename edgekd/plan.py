"""What a run would do: which stages it reuses, which run again and why, and what that costs.

Nothing is written, not even the folder. Where the images were not looked at yet they are read, as
`edgekd validate` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from edgekd import costs, stages
from edgekd.pipeline import planned
from edgekd.run_config import RunConfig
from edgekd.running import MadeOf, Quiet, Run, Stage
from edgekd.store import RunStore

_SAID = {
    "images": "other images",
    "classes": "other class names",
    "num_classes": "another number of classes",
    "synonyms": "other synonyms",
}


def plan(config: RunConfig, until: str | None = None, skip: Iterable[str] = ()) -> dict[str, Any]:
    """Returns {"folder", "stages", "totals"}: what `pipeline.run` would do with the same words.

    A stage's "action" is reuse, run, or depends: it runs where the stages in "depends_on" leave
    something else than before. Seconds are those of the stage's last run in the folder, scaled by
    its units; None where there is none, or where it was other work.

    Raises:
        DataError: the images cannot be used as they are.
        UsageError: `until` is no stage of this run.
    """
    current = _PlannedRun(config, RunStore(config.folder), Quiet())
    found = []
    for stage in planned(config, until, skip):
        found.append(_stage(current, stage))
    return {"folder": str(config.folder), "stages": found, "totals": _totals(found)}


@dataclass
class _PlannedRun(Run):
    """A run of which only what is reused is known; the rest is said to come from its stage."""

    coming: dict[str, str] = field(default_factory=dict)

    def sha256(self, *names: str) -> dict[str, Any]:
        there = [name for name in names if name not in self.coming]
        later = {name: _Later(self.coming[name]) for name in names if name in self.coming}
        return super().sha256(*there) | later

    def result_digests(self, *names: str) -> dict[str, Any]:
        there = [name for name in names if name not in self.coming]
        later = {name: _Later(name) for name in names if name in self.coming}
        return super().result_digests(*there) | later

    def cost_digest(self) -> dict[str, Any]:
        running = [name for name in self.records if name in self.coming]
        return {"cost": _Later(running[0])} if running else super().cost_digest()


@dataclass(frozen=True)
class _Later:
    """In the place of a digest: what this stage leaves is not known yet."""

    stage: str


def _stage(current: _PlannedRun, stage: Stage) -> dict[str, Any]:
    earlier = current.store.stage_record(stage.name)
    made_of = stage.inputs(current)
    pending = _pending(made_of)
    if earlier is None:
        older = current.store.path("stages", f"{stage.name}.json").is_file()
        reasons = ["its record is of an older edgekd" if older else "it has not run yet"]
    else:
        reasons = _reasons(earlier, made_of, stage) or _unusable(current.store, stage)
    action = "run" if reasons else "depends" if pending else "reuse"
    current.records[stage.name] = earlier or {"result": None, "cost": {}, "outputs": {}}
    if action != "reuse":
        current.coming |= dict.fromkeys([stage.name, *stage.leaves], stage.name)
        if stage.name == "validate":
            current.use(stages.read_data(current.config))
    return {
        "stage": stage.name,
        "action": action,
        "reasons": reasons,
        "depends_on": pending if action == "depends" else [],
        **(_costs(current, stage, earlier) if action != "reuse" else {}),
    }


def _unusable(store: RunStore, stage: Stage) -> list[str]:
    """Why what a finished stage left cannot be used, as `RunStore.reusable` decides it."""
    changed = store.changed(stage.name)
    if store.is_redone(stage.name) and changed:
        return ["it was stopped while it ran again"]
    return [
        f"{name} is {found}"
        for name, found in changed.items()
        if found != "edited" or name not in stage.leaves
    ]


def _pending(made_of: MadeOf) -> list[str]:
    """The stages that must end before it is known what the stage reads."""
    values = [value for group in made_of.values() for value in group.values()]
    return list(dict.fromkeys(value.stage for value in values if isinstance(value, _Later)))


def _reasons(earlier: dict[str, Any], made_of: MadeOf, stage: Stage) -> list[str]:
    """Why the stage must run, by what is known now."""
    if earlier["stage_schema"] != stage.schema:
        return ["this edgekd makes it another way than the one that ran it"]
    reasons = []
    for group, values in made_of.items():
        before = earlier["made_of"].get(group, {})
        for name in dict.fromkeys([*values, *before]):
            now, then = values.get(name, _GONE), before.get(name, _GONE)
            if now != then and not isinstance(now, _Later):
                reasons.append(_reason(group, name, then, now))
    return reasons


_GONE = object()


def _reason(group: str, name: str, then: Any, now: Any) -> str:
    if group == "config":
        return f"{name}: {_shown(then)} -> {_shown(now)}"
    if group == "images":
        return _SAID.get(name, f"other images or labels for {name}")
    if group == "results":
        return f"{name} found something else" if now is not None else f"{name} is switched off"
    if then is _GONE or now is _GONE:
        return f"{name} is {'needed now' if then is _GONE else 'no longer needed'}"
    return f"{name} is not what it was"


def _shown(value: Any) -> str:
    text = "nothing" if value is _GONE or value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _costs(current: Run, stage: Stage, earlier: dict[str, Any] | None) -> dict[str, Any]:
    """What it takes where it runs."""
    config, manifest = current.config, current.manifest
    units = costs.units(stage.name, current)
    images = _images_read(current, stage.name)
    share = _share(units, earlier)
    seconds = None
    if earlier and share is not None and _same_work(units, images, earlier):
        seconds = share * earlier["cost"]["seconds"]
    captions = len(manifest.items) * config.caption.captions_per_image
    return {
        "units": units["count"],
        "of": units["of"],
        "images": images,
        "captions": captions if stage.name == "caption" else 0,
        "disk_bytes": _disk_bytes(current, stage.name, share, earlier),
        "cache_bytes": _cache_bytes(current, stage.name),
        "seconds": seconds,
    }


def _images_read(current: Run, stage: str) -> int:
    """Image files that are opened: none where what was made of them is still there."""
    if stage == "caption":
        return costs.num_unseen(current)
    if stage in costs.TRAININGS and (costs.is_cached(current) or stage != "distill"):
        return 0
    return costs.images_read(stage, current.config, current.manifest)


def _disk_bytes(
    current: Run, stage: str, share: float | None, earlier: dict[str, Any] | None
) -> int | None:
    """The outputs: counted, or those of the last run scaled; None where nothing is known."""
    if stage == "targets":
        return costs.targets_bytes(current.config, current.manifest)
    if earlier is None or share is None:
        return None
    if stage in costs.TRAININGS:  # a network weighs the same after more steps
        share = 1.0
    return round(share * sum(output["size_bytes"] for output in earlier["outputs"].values()))


def _cache_bytes(current: Run, stage: str) -> int:
    if stage != "distill" or costs.is_cached(current):
        return 0
    return costs.cache_bytes(current.config, current.manifest)


def _share(units: dict[str, Any], earlier: dict[str, Any] | None) -> float | None:
    """How many times the earlier work this is."""
    if earlier is None or not earlier["units"]["count"]:
        return None
    return float(units["count"] / earlier["units"]["count"])


def _same_work(units: dict[str, Any], images: int, earlier: dict[str, Any]) -> bool:
    """Whether the earlier seconds say something: all of the work, of the same kind."""
    found = earlier["result"]
    observed = found.get("num_observed") if isinstance(found, dict) else None
    same_kind = observed is None or (observed > 0) == (images > 0)
    same_speed = bool(earlier["units"]["same_speed"] == units["same_speed"])
    return same_kind and same_speed and not earlier["resumed"]


def _totals(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over what runs or may run; of what is unknown, the names."""
    working = [stage for stage in found if stage["action"] != "reuse"]
    return {
        key: sum(stage[key] or 0 for stage in working)
        for key in ("images", "captions", "disk_bytes", "cache_bytes", "seconds")
    } | {
        f"unknown_{key}": [stage["stage"] for stage in working if stage[key] is None]
        for key in ("disk_bytes", "seconds")
    }

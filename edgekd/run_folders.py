"""What can be told of a run folder, finished or not, ours or another person's; nothing is written.

Whatever is missing is named and leaves a gap; report.json alone is enough for the figures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from edgekd import report as reports
from edgekd.errors import EdgeKDError, UsageError
from edgekd.report_format import without_nan
from edgekd.store import RunStore, digest, read_json

if TYPE_CHECKING:  # it reads images, and listing runs needs none
    from edgekd.manifest import Manifest

_SIGNS = ("report.json", "config.yaml", "events.jsonl", "stages")


def runs_in(folder: Path) -> list[dict[str, Any]]:
    """Returns a summary of every run right under a folder, the newest first."""
    found = [summary(path) for path in folder.glob("*") if is_run(path)]
    return sorted(found, key=lambda run: (run["date"] or "", run["folder"]), reverse=True)


def is_run(folder: Path) -> bool:
    """Says whether a folder holds anything that a run leaves."""
    return folder.is_dir() and any((folder / name).exists() for name in _SIGNS)


def summary(folder: Path) -> dict[str, Any]:
    """Returns one run: where it stands, and what its report says of the chosen file.

    "state" is "finished", "done up to STAGE", "stopped in STAGE", "failed in STAGE", "at work in
    STAGE" or "unreadable: WHY". Figures are None where nothing was measured.
    """
    run: dict[str, Any] = {
        "folder": str(folder), "name": folder.name, "date": None, "state": "", "chosen": None,
        "size_bytes": None, "accuracy": None, "gates": None, "seconds": None,
    }  # fmt: skip
    try:
        run |= _from_stages(folder)
        if (folder / "report.json").is_file():
            run |= _from_report(reports.load(folder))
    except EdgeKDError as error:
        return run | {"state": f"unreadable: {error}"}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return run | {"state": f"unreadable: report.json lacks {error}"}
    return run | {"state": _state(folder)}


def existing(folder: Path) -> Path:
    """Returns the folder.

    Raises:
        UsageError: it is no run.
    """
    if not is_run(folder):
        found = "no such folder" if not folder.exists() else "no run folder"
        raise UsageError(
            f"{folder}: {found}. Expected one with a report.json or a config.yaml; "
            "see: edgekd list runs"
        )
    return folder


def digest_of_test(images: Iterable[tuple[str, str]]) -> str:
    """Returns the digest of test images by (id, class name), whatever their order."""
    return digest(sorted(images))


def digest_of_manifest(manifest: Manifest) -> str:
    """Returns `digest_of_test` of a manifest: other runs have it with the same images and labels."""
    return digest_of_test(
        (item.id, manifest.task.named(item.label))
        for item in manifest.of("test")
        if item.label is not None
    )


def _from_report(report: dict[str, Any]) -> dict[str, Any]:
    report = without_nan(report)
    head = report["headline"]
    return {
        "name": report["name"],
        "date": report["date"],
        "chosen": Path(head["path"]).name,
        "size_bytes": head["size_bytes"],
        "accuracy": head["accuracy"],
        "gates": [{"name": gate["name"], "passed": gate["passed"]} for gate in report["gates"]],
        "seconds": sum(stage["seconds"] for stage in report["stages"]),
    }


def _from_stages(folder: Path) -> dict[str, Any]:
    """The time and date of the stages that are finished."""
    records = [read_json(path) for path in sorted((folder / "stages").glob("*.json"))]
    finished = [record for record in records if isinstance(record, dict) and "cost" in record]
    if not finished:
        return {}
    return {
        "date": max(str(record.get("finished", "")) for record in finished),
        "seconds": sum(record["cost"].get("seconds", 0.0) for record in finished),
    }


def _state(folder: Path) -> str:
    events = _that_count(RunStore(folder).events())
    if not events:
        return _state_without_events(folder)
    last = events[-1]
    asked: list[str] = next(
        (event.get("stages", []) for event in reversed(events) if event["event"] == "run started"),
        [],
    )
    stage = str(last.get("stage", asked[0] if asked else "its start"))
    if last["event"] == "run finished":
        return "finished" if not asked or asked[-1] == "report" else f"done up to {asked[-1]}"
    if last["event"] == "run failed":
        return f"failed in {stage}: {last.get('error', '')}".removesuffix(": ")
    if last["event"] in ("stage finished", "stage reused") and stage in asked[:-1]:
        stage = asked[asked.index(stage) + 1]
    at_work = last["event"] != "run stopped" and _is_at_work(folder)
    return f"{'at work' if at_work else 'stopped'} in {stage}"


def _that_count(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events without the last runs that reused everything: the one before them says more."""
    kept = events
    while kept and kept[-1]["event"] == "run finished":
        starts = [at for at, event in enumerate(kept) if event["event"] == "run started"]
        last = kept[starts[-1] + 1 : -1] if starts else []
        if not last or any(event["event"] != "stage reused" for event in last):
            break
        kept = kept[: starts[-1]]
    return kept or events


def _state_without_events(folder: Path) -> str:
    if (folder / "report.json").is_file():
        return "finished"
    records = sorted((folder / "stages").glob("*.json"), key=lambda path: path.stat().st_mtime)
    return f"done up to {records[-1].stem}" if records else "not begun"


def _is_at_work(folder: Path) -> bool:
    """Whether the process that took the folder last lives and is edgekd."""
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int((folder / ".lock").read_text()))
        return any("edgekd" in word for word in process.cmdline())
    return False

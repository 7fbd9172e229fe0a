"""What the commands print: text for people, values for --json."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.errors import UsageError, closest
from edgekd.records import BenchmarkResult, to_dict
from edgekd.report_format import (
    DASH,
    duration,
    interval,
    megabytes,
    percent,
    plural,
    readable_date,
)
from edgekd.sizes import format_size

if TYPE_CHECKING:
    from rich.console import Console

    from captioning.live_check import LiveCheck
    from edgekd.predictor import Prediction
    from edgekd.run_config import RunConfig
    from export.budget import CheckResult

# What a run can make again, in its folder.
_REMAKEABLE = ("cache", "logs")


def check_values(result: CheckResult) -> dict[str, Any]:
    """Returns the result of a check as plain values."""
    return to_dict(result) | {"passed": result.passed}


def check_text(result: CheckResult) -> str:
    """Returns a line an item, and the largest tensors where one failed."""
    lines = [f"checked: {result.checked}"]
    for item in result.items:
        verdict = "ok  " if item["passed"] else "FAIL"
        if item["unit"] == "bytes":
            size, limit = format_size(item["size"]), format_size(item["sizeLimit"])
            lines.append(f"{verdict} {item['name']}: {size}, budget {limit}")
        else:
            found = "not measured" if item["size"] is None else f"{item['size']:.3f}"
            lines.append(f"{verdict} {item['name']}: {found}, floor {item['sizeLimit']}")
    if not result.passed:
        lines.append("largest tensors:")
        lines += [
            f"  {tensor.share:6.1%}  {format_size(tensor.size_bytes):>10}  "
            f"{tensor.dtype} {'x'.join(map(str, tensor.shape))}  {_short(tensor.name)}"
            for tensor in result.largest
        ]
    return "\n".join(lines)


def live_check_values(found: LiveCheck) -> dict[str, Any]:
    """Returns what `caption --check` compared; "fault" is null where all agrees."""
    compared = [
        dataclasses.asdict(each)
        | {"largest": each.largest if math.isfinite(each.largest) else None}
        | {"passed": not each.is_beyond}
        for each in found.differences
    ]
    return {
        "images": found.num_images,
        "compared": compared,
        "notes": list(found.notes),
        "fault": found.fault,
    }


def live_check_text(found: LiveCheck) -> str:
    """Returns a line a comparison, and whether what is stored is still so."""
    lines = [f"{plural(found.num_images, 'image')} looked at again"]
    lines += [f"{'FAIL' if each.is_beyond else 'ok  '} {each}" for each in found.differences]
    lines += list(found.notes)
    return "\n".join([*lines, found.fault or "What is stored is what comes out now."])


def bench_text(result: BenchmarkResult) -> str:
    """Returns the latency record in four lines."""
    ms = result.latency_ms
    spread = "  ".join(
        f"{key} {ms[key]:.3f}" for key in ("median", "avg", "p5", "p95", "min", "max")
    )
    memory = "not measured" if result.memory_mb is None else f"{result.memory_mb:.1f} MB"
    return (
        f"{result.model}: {result.runtime} {result.runtime_version}, {result.accelerator}, "
        f"{result.threads} thread{'s' if result.threads > 1 else ''}, {result.kind} on {result.device}\n"
        f"latency ms over {result.num_runs} runs: {spread}\n"
        f"init {ms['init']:.2f} ms, first inference {ms['first_inference']:.2f} ms, "
        f"warm-up average {ms['warm_up_avg']:.2f} ms\n"
        f"memory {memory}, {result.nodes_total} operators"
    )


def prediction_line(prediction: Prediction, as_json: bool) -> str:
    """Returns one line: the path and its classes with probabilities, or the reason it failed."""
    if as_json:
        return json.dumps(dataclasses.asdict(prediction), ensure_ascii=False)
    if prediction.error is not None:
        reason = prediction.error.removeprefix(f"{prediction.path}: ")
        return f"{prediction.path}: {reason}"
    top = ", ".join(f"{label} {p:.1%}" for label, p in prediction.top)
    if prediction.multilabel:
        return f"{prediction.path}: {' and '.join(prediction.labels) or 'none of them'} ({top})"
    return f"{prediction.path}: {f'unsure ({top})' if prediction.rejected else top}"


def image_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yields the files, and the image files under the folders.

    Raises:
        UsageError: a path is not there.
    """
    from edgekd.sources import images_under

    for path in paths:
        if path.is_dir():
            yield from (path / image for image in images_under(path))
        elif path.exists():
            yield path
        else:
            raise UsageError(f"{path}: no such file or folder")


def listing(what: str, folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of `edgekd list WHAT`.

    Raises:
        UsageError: unknown kind of thing.
    """
    makers = {
        "students": _students,
        "teachers": _teachers,
        "devices": _devices,
        "stages": _stages,
        "configs": _configs,
        "runs": lambda: _runs(folder),
    }
    if what not in makers:
        raise UsageError(
            f"list {what}: expected one of {', '.join(makers)}.{closest(what, makers)}"
        )
    return makers[what]()


def plan_text(values: dict[str, Any]) -> str:
    """Returns what a dry run found: a stage a line, why it runs, and what it takes."""
    stages = values["stages"]
    reused = sum(stage["action"] == "reuse" for stage in stages)
    lines = [f"{values['folder']}: {reused} of {len(stages)} stages would be reused"]
    for stage in stages:
        lines.append(f"  {stage['stage']:10} {_action(stage)}")
        if stage["action"] != "reuse" and (takes := _takes(stage)):
            lines.append(f"{'':13}{takes}")
    if reused < len(stages):
        lines += _all_it_takes(values["totals"])
    return "\n".join([*lines, "Nothing was written."])


def done_text(content: dict[str, Any]) -> str:
    """Returns what a stage command reused and did, where the result lies and what comes next."""
    reused = [stage["stage"] for stage in content["stages"] if stage["reused"]]
    done = [
        f"{stage['stage']} ({duration(stage['seconds'])})"
        for stage in content["stages"]
        if not stage["reused"]
    ]
    lines = [f"reused: {', '.join(reused) or 'nothing'}", f"done: {', '.join(done) or 'nothing'}"]
    folder = Path(content["folder"])
    for name in content["outputs"]:
        lines.append(f"result: {folder / name} ({format_size((folder / name).stat().st_size)})")
    return "\n".join([*lines, f"Next: {content['next']}"])


def next_command(verb: str, config: RunConfig) -> str:
    """Returns the command that follows a stage command on the same run."""
    after_distill = "prune" if config.prune.enabled else "export"
    following = {
        "caption": "distill",
        "distill": after_distill,
        "prune": "export",
        "export": "run",
        "quantize": "export",
    }
    return f"edgekd {following[verb]} {shlex.quote(str(config.folder))}"


def print_runs(runs: list[dict[str, Any]]) -> None:
    """Prints a row a run, as `edgekd list runs` shows them."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from edgekd.compare_page import gates

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("run", "date", "state", "chosen file", "MB", "accuracy (95%)", "gates", "took"):
        right = name in ("MB", "took")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for run in runs:
        accuracy, seconds = run["accuracy"], run["seconds"]
        cells = [
            run["folder"],
            readable_date(run["date"]) if run["date"] else DASH,
            run["state"],
            run["chosen"] or DASH,
            megabytes(run["size_bytes"]),
            f"{percent(accuracy['value'])} ({interval(accuracy)})" if accuracy else DASH,
            gates(run["gates"]),
            DASH if seconds is None else duration(seconds),
        ]
        table.add_row(*(Text(cell) for cell in cells))
    console().print(table)


def console() -> Console:
    """Returns where tables go; what is no terminal gets them wide enough to keep rows whole."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=200)


def disk_use(folder: Path, free: bool = False) -> dict[str, Any]:
    """Returns bytes by part of a run folder, and what can be made again; frees it when asked.

    Raises:
        UsageError: not a run folder.
    """
    if not (folder / "config.yaml").is_file():
        raise UsageError(f"{folder}: not a run folder (no config.yaml in it)")
    parts = {path.name: _size(path) for path in sorted(folder.iterdir()) if path.name != ".lock"}
    states = list(folder.glob("checkpoints/*.state"))
    remakeable = [folder / name for name in _REMAKEABLE if (folder / name).exists()] + states
    freed = sum(_size(path) for path in remakeable)
    if free:
        from edgekd.store import RunStore

        with RunStore(folder).lock():
            for path in remakeable:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {"folder": str(folder), "parts": parts, "remakeable_bytes": freed, "freed": free}


def disk_text(values: dict[str, Any], freed: bool) -> str:
    """Returns a line a part, largest first, and what --yes frees."""
    parts = sorted(values["parts"].items(), key=lambda part: -part[1])
    lines = [f"{format_size(size):>10}  {name}" for name, size in parts]
    amount = format_size(values["remakeable_bytes"])
    lines.append(
        f"freed {amount}"
        if freed
        else f"{amount} can be made again: edgekd clean {values['folder']} --yes"
    )
    return "\n".join(lines)


def _action(stage: dict[str, Any]) -> str:
    if stage["action"] == "reuse":
        return "reused"
    if stage["action"] == "depends":
        return f"runs if {' or '.join(stage['depends_on'])} leaves something else than before"
    return f"runs: {'; '.join(stage['reasons'])}"


def _takes(stage: dict[str, Any]) -> str:
    parts = [f"{stage['units']:,} {stage['of']}"] if stage["of"] != "act" else []
    if stage["captions"]:
        parts.append(f"{stage['captions']:,} captions")
    if stage["images"] and stage["of"] != "images":
        parts.append(f"{stage['images']:,} images read")
    if stage["disk_bytes"]:
        parts.append(f"{format_size(stage['disk_bytes'])} written")
    if stage["cache_bytes"]:
        parts.append(f"{format_size(stage['cache_bytes'])} in the cache")
    if stage["seconds"] is not None:
        parts.append(f"about {duration(stage['seconds'])}")
    return ", ".join(parts)


def _all_it_takes(totals: dict[str, Any]) -> list[str]:
    """What is known in one line, and in the next of which stages it is not."""
    known = [f"{totals['captions']:,} captions", f"{totals['images']:,} images read"]
    written = totals["disk_bytes"] + totals["cache_bytes"]
    known += [f"{format_size(written)} written"] if written else []
    known += [f"about {duration(totals['seconds'])}"] if totals["seconds"] else []
    lines = [f"At most {', '.join(known)}."]
    for what, key in (("Time", "unknown_seconds"), ("Size", "unknown_disk_bytes")):
        if totals[key]:
            lines.append(f"{what} unknown until they have run here: {', '.join(totals[key])}.")
    return lines


def _short(name: str) -> str:
    """The layer in a converter's long tensor name: of `a/b.c.Conv2d_head;...;1`, `Conv2d_head`."""
    named = [part for part in name.split(";") if "/" in part]
    layers = [layer.rsplit(".", 1)[-1] for layer in (named or [name])[-1].strip("/").split("/")]
    return "/".join(layers[-2:])


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def thinned_text(found: dict[str, Any], out: Path) -> str:
    """Returns what a thinned teacher lost and gained, for the terminal."""
    agreement, params = found["agreement"], found["num_params"]
    lines = [
        f"taken out: {each['block']} (distance {each['distance']:.3f})" for each in found["dropped"]
    ]
    return "\n".join(
        [
            *lines,
            f"agrees on {percent(agreement['value'])} of {agreement['n']} other images "
            f"({interval(agreement)}), KL divergence {found['kl']:.3f} nats",
            f"{found['speedup']['median']:.2f} times as fast (median of "
            f"{found['speedup']['rounds']} rounds), {params['reference']:,} to "
            f"{params['candidate']:,} parameters",
            f"{out}: written; give it as caption.teacher.model of kind classifier",
        ]
    )


def _students() -> list[dict[str, Any]]:
    from students.catalogue import STUDENTS

    return [{"architecture": f"{s.architecture:28}", "note": s.note} for s in STUDENTS.values()]


def _teachers() -> list[dict[str, Any]]:
    from captioning.teachers.catalogue import KINDS

    return [
        {"kind": f"{kind:12}", "note": (section.__doc__ or "").strip().partition("\n")[0]}
        for kind, section in KINDS.items()
    ]


def _devices() -> list[dict[str, Any]]:
    from devices.targets import list_targets

    return [{"name": target.name, "note": target.description} for target in list_targets()]


def _stages() -> list[dict[str, Any]]:
    from edgekd.stages import STAGES

    return [{"stage": stage.name} for stage in STAGES]


def _configs() -> list[dict[str, Any]]:
    from edgekd.assets import configs_dir

    return [{"config": str(path)} for path in sorted(configs_dir().glob("*.yaml"))]


def _runs(folder: Path) -> list[dict[str, Any]]:
    from edgekd.run_folders import runs_in

    return runs_in(folder)

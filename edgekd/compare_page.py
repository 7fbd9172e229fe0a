"""A comparison as a page and for the terminal: the same sections, made once."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from edgekd.report import environment
from edgekd.report_format import (
    DASH,
    duration,
    interval,
    megabytes,
    milliseconds,
    percent,
    plain,
    points,
    readable_date,
    share,
)
from edgekd.report_sections import Section, Table
from edgekd.sizes import format_size

if TYPE_CHECKING:
    from rich.console import Console


def render_html(comparison: dict[str, Any]) -> str:
    """Returns one HTML page that loads nothing and runs nothing."""
    found = sections(comparison)
    page = environment().get_template("compare.html.j2")
    return page.render(title=_title(comparison), sections=found)


def print_comparison(comparison: dict[str, Any], console: Console) -> None:
    """Prints the same sections as tables; what is said of them comes last."""
    from rich import box
    from rich import table as rich_table
    from rich.text import Text

    for section in sections(comparison):
        for table in section.tables:
            shown = rich_table.Table(
                box=box.SIMPLE_HEAD, pad_edge=False, title=section.title, title_justify="left"
            )
            for index, column in enumerate(table.columns):
                right = "right" if index in table.numeric else "left"
                shown.add_column(Text(column), justify=right, overflow="fold")  # type: ignore[arg-type]
            for row in table.rows:
                shown.add_row(*(Text(cell) for cell in row))
            console.print(shown)
        for bullet in section.bullets:
            console.print(Text(f"- {bullet}"))


def sections(comparison: dict[str, Any]) -> list[Section]:
    """Returns the sections in reading order; those with nothing to say are left out."""
    found = [
        _runs(comparison),
        _differences(comparison),
        _files(comparison),
        _config(comparison),
        _warnings(comparison),
    ]
    return [section for section in found if section is not None]


def _title(comparison: dict[str, Any]) -> str:
    return ", ".join(run["label"] for run in comparison["runs"])


def _labels(comparison: dict[str, Any]) -> list[str]:
    return [run["label"] for run in comparison["runs"]]


def _runs(comparison: dict[str, Any]) -> Section:
    runs = comparison["runs"]
    rows = [
        ("folder", [run["folder"] for run in runs]),
        ("date", [readable_date(run["date"]) if run["date"] else DASH for run in runs]),
        ("state", [run["state"] for run in runs]),
        ("chosen file", [run["chosen"] or DASH for run in runs]),
        ("its size, MB", [megabytes(run["size_bytes"]) for run in runs]),
        ("its accuracy on test", [share(run["accuracy"]) for run in runs]),
        ("the teacher's accuracy", [share(run["teacher_accuracy"]) for run in runs]),
        ("gates", [gates(run["gates"]) for run in runs]),
        ("took", [DASH if run["seconds"] is None else duration(run["seconds"]) for run in runs]),
        ("seed", [plain(run["seed"]) for run in runs]),
        ("edgekd", [plain(run["edgekd_version"]) for run in runs]),
        ("processor", [plain(run["machine"]) for run in runs]),
        *_splits(runs),
    ]
    table = Table("The runs", ["", *_labels(comparison)], [[name, *cells] for name, cells in rows])
    explanation = "What each run ended in. The first is the reference of all differences."
    return Section("runs", "The runs", explanation, tables=[table])


def gates(found: list[dict[str, Any]] | None) -> str:
    """Returns "passed", or which gates failed; a dash where there were none."""
    if not found:
        return DASH
    failed = [PurePath(gate["name"]).name for gate in found if not gate["passed"]]
    return f"FAILED: {', '.join(failed)}" if failed else "passed"


def _splits(runs: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    known: dict[str, Any] = next((run["labels"] for run in runs if run["labels"]), {})
    return [
        (
            f"{split}: images, labels",
            [
                f"{run['labels'][split]['images']:,}, {run['labels'][split]['labels']:,}"
                if run["labels"]
                else DASH
                for run in runs
            ],
        )
        for split in known
    ]


def _differences(comparison: dict[str, Any]) -> Section | None:
    rows = [
        [
            _pair(difference),
            _signed_size(difference["size_bytes"]),
            _accuracy(difference["accuracy"]),
            DASH if difference["latency_ms"] is None else f"{difference['latency_ms']:+.2f}",
        ]
        for difference in comparison["differences"]
    ]
    if not rows:
        return None
    columns = ["files", "size", "accuracy", "ms"]
    table = Table("Differences", columns, rows, frozenset({1, 2, 3}))
    explanation = (
        "What the later run has more. An interval that holds 0 is no difference: it is a paired "
        "bootstrap over the test images, which says nothing of other seeds."
    )
    return Section("differences", "Differences", explanation, tables=[table])


def _pair(difference: dict[str, Any]) -> str:
    runs = f"{difference['candidate']} less {difference['reference']}"
    files = difference["file"]
    if difference["reference_file"] != files:
        files = f"{files} less {difference['reference_file']}"
    chosen = "the chosen files: " if difference["are_chosen"] else ""
    return f"{chosen}{files}\n{runs}"


def _signed_size(size_bytes: int) -> str:
    return ("+" if size_bytes > 0 else "-" if size_bytes < 0 else "") + format_size(abs(size_bytes))


def _accuracy(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return f"{DASH}\n{found['why']}"
    if found["low"] is None:
        return f"{points(found['value'])}\n{found['why']}"
    low, high = found["low"] * 100, found["high"] * 100
    return f"{points(found['value'])}\n{low:+.1f} to {high:+.1f}"


def _files(comparison: dict[str, Any]) -> Section | None:
    rows = [
        [row["file"], *(_cell(cell) for cell in row["cells"])]  #
        for row in comparison["files"]
    ]
    if not rows:
        return None
    table = Table("Files", ["file", *_labels(comparison)], rows)
    explanation = (
        "Size, accuracy on test with its 95% interval, and the median latency with where it was "
        "measured. A star marks the file that went into the bundle."
    )
    return Section("files", "Files", explanation, tables=[table])


def _cell(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return DASH
    accuracy, latency = cell["accuracy"], cell["latency"]
    lines = [("* " if cell["chosen"] else "") + f"{megabytes(cell['size_bytes'])} MB"]
    if accuracy is not None:
        lines.append(f"{percent(accuracy['value'])} ({interval(accuracy)})")
    if latency is not None:
        lines.append(
            f"{milliseconds(latency['median_ms'])} ms, {latency['runtime']} "
            f"{latency['runtime_version']}, {latency['device']}"
        )
    return "\n".join(lines)


def _config(comparison: dict[str, Any]) -> Section | None:
    rows = [
        [row["key"], *(plain(value) for value in row["values"])] for row in comparison["config"]
    ]
    if not rows:
        return None
    table = Table("Config", ["key", *_labels(comparison)], rows)
    explanation = "The keys that differ. A dash: the run has no such key, or no config.yaml."
    return Section("config", "Config", explanation, tables=[table])


def _warnings(comparison: dict[str, Any]) -> Section | None:
    if not comparison["warnings"]:
        return None
    explanation = "What is missing, and what cannot be compared."
    return Section("warnings", "To keep in mind", explanation, bullets=comparison["warnings"])

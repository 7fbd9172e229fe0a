"""The report of a run: report.json, report.md and a report.html that needs nothing beside it."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from edgekd import confidence_words, report_private, store
from edgekd.errors import EdgeKDError, SchemaError, UsageError
from edgekd.records import to_dict
from edgekd.report_format import (
    DASH,
    compared,
    interval,
    megabytes,
    milliseconds,
    percent,
    plural,
    readable_date,
    short_count,
    without_nan,
)
from edgekd.report_sections import cards, gate_text, sections
from edgekd.sizes import format_size

if TYPE_CHECKING:
    from jinja2 import Environment
    from rich.console import Console
    from rich.table import Table

SCHEMA = 1
_KEYS = (
    "name", "date", "seed", "machine", "versions", "task", "labels", "headline", "rows", "teacher",
    "targets", "confusion", "captions", "distillation", "stages", "cost", "gates", "skipped", "notes",
)  # fmt: skip


def write(report: dict[str, Any], folder: Path) -> None:
    """Writes report.json, report.md and report.html into a run folder, each whole or not at all."""
    report = _clean(report)
    store.write_json(folder / "report.json", report)
    store.write_text(folder / "report.md", render_markdown(report))
    store.write_text(folder / "report.html", render_html(report))


def load(folder: Path) -> dict[str, Any]:
    """Returns the report of a run folder.

    Raises:
        UsageError: the folder has none.
        SchemaError: it has another schema version.
        EdgeKDError: a part of it is missing.
    """
    path = folder / "report.json"
    if not path.is_file():
        raise UsageError(
            f"{folder}: no report.json. Expected the folder of a finished run; "
            "finish it with: edgekd run CONFIG"
        )
    report = store.read_json(path)
    found = report.get("schema") if isinstance(report, dict) else None
    if found != SCHEMA:
        raise SchemaError(path, found, SCHEMA, "Write it anew with: edgekd run CONFIG")
    missing = [key for key in _KEYS if key not in report]
    if missing:
        raise EdgeKDError(
            f"{path}: no whole report, '{missing[0]}' is missing. "
            "Write it anew with: edgekd run CONFIG"
        )
    return report


def headline(report: dict[str, Any]) -> str:
    """Returns one sentence: the chosen file, its size and accuracy, and what it is compared to."""
    head = _clean(report["headline"])
    num_labels = report["labels"]["train"]["labels"]
    multilabel = report.get("multilabel") is not None
    clauses = [_accuracy_clause(head, report["labels"]["test"]["labels"], multilabel)]
    if head["accuracy"] is not None and head["labels_alone_accuracy"] is not None:
        alone = percent(head["labels_alone_accuracy"]["value"])
        verb = "gives" if num_labels == 1 else "give"
        clauses.append(f"the {plural(num_labels, 'label')} alone {verb} {alone}")
    comparisons = _comparisons(head)
    if comparisons:
        clauses.append(f"it is {_listed(comparisons)}")
    return "; ".join(clauses) + "."


def render_markdown(report: dict[str, Any]) -> str:
    """Returns the report as GitHub-flavoured Markdown; its first line is the headline."""
    report = _clean(report)
    return (
        environment()
        .get_template("report.md.j2")
        .render(
            report=report, headline=headline(report), cards=cards(report), sections=sections(report)
        )
    )


def render_html(report: dict[str, Any]) -> str:
    """Returns one HTML page with its plots and pictures inside; it loads nothing and runs nothing."""
    from edgekd import plots

    report = _clean(report)
    confusion = report["confusion"]
    found: dict[str, list[plots.Plot | None]] = {
        "files": [plots.size_accuracy_latency(report["rows"])],
        "confusion": [plots.confusion(confusion["counts"], report["task"]["classes"])]
        if confusion
        else [],
        "unsure": [plots.coverage(report["confidence"])] if report.get("confidence") else [],
        "training": [*plots.training(report["distillation"]["history"])],
        "stages": [plots.stage_seconds(report["stages"])],
    }
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            headline=headline(report),
            cards=cards(report),
            sections=sections(report),
            plots={anchor: [plot for plot in made if plot] for anchor, made in found.items()},
        )
    )


def print_summary(report: dict[str, Any], console: Console) -> None:
    """Prints the headline, a row for every file and the gates; fits 80 columns."""
    from rich.text import Text

    report = _clean(report)
    console.print(Text(headline(report)))
    console.print(_rich_table(report["rows"]))
    for gate in report["gates"]:
        mark, style = ("passed", "green") if gate["passed"] else ("FAILED", "bold red")
        console.print(Text.assemble((mark, style), f"  {gate['name']}: {gate_text(gate)}"))
    if report.get("confidence"):
        console.print(Text(confidence_words.summary(report["confidence"])))
    if (report.get("private") or {}).get("faces"):
        console.print(Text(report_private.faces_line(report["private"]["faces"]["by_split"])))


def _clean(report: dict[str, Any]) -> dict[str, Any]:
    """Returns plain values only, a nan as None: a failed measurement is missing, never a number."""
    return without_nan(to_dict(report))


def _accuracy_clause(head: dict[str, Any], num_test_labels: int, multilabel: bool) -> str:
    name = PurePath(head["path"]).name
    found = f"{name} ({format_size(head['size_bytes'])})"
    accuracy = head["accuracy"]
    if accuracy is None:
        reason = ": no labelled test images" if num_test_labels == 0 else ""
        return f"{found}, accuracy not measured{reason}"
    images = f"{percent(accuracy['value'])} of {plural(accuracy['n'], 'test image')}"
    said = f"names all classes of {images}" if multilabel else f"answers {images}"
    return f"{found} {said} right ({interval(accuracy)})"


def _comparisons(head: dict[str, Any]) -> list[str]:
    size, params = head["size_bytes"], head["num_params"]
    found = []
    for reference, name, reference_params in (
        (head["teacher_bytes"], "the teacher's files", head["teacher_params"]),
        (head["baseline_bytes"], "the same student unpruned in fp32", head["baseline_params"]),
        (head["teacher_int8_bytes"], "the teacher quantized to int8", None),
    ):
        if reference is None:
            continue
        detail = format_size(reference)
        if reference_params is not None:
            detail += (
                f" to {format_size(size)}, "
                f"{short_count(reference_params)} to {short_count(params)} parameters"
            )
        found.append(f"{compared(reference, size)} {name} ({detail})")
    return found


def _listed(parts: list[str]) -> str:
    if len(parts) < 3:
        return " and ".join(parts)
    return f"{', '.join(parts[:-1])}, and {parts[-1]}"


def _rich_table(rows: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("File", overflow="fold", ratio=1)
    for name in ("MB", "Accuracy (95%)", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        accuracy, latency = row["accuracy"], row["latency"]
        cells = [
            ("* " if row["chosen"] else "  ") + PurePath(row["path"]).name,
            megabytes(row["size_bytes"]),
            f"{percent(accuracy['value'])} ({interval(accuracy)})" if accuracy else DASH,
            milliseconds(latency["latency_ms"].get("median") if latency else None),
        ]
        table.add_row(*(Text(cell) for cell in cells), style="bold" if row["chosen"] else None)
    return table


def environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("edgekd"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": percent,
        "date": readable_date,
        "md": _markdown_text,
        "md_cell": _markdown_cell,
    }
    return environment


def _markdown_text(text: str) -> str:
    """Returns text that Markdown shows as it is, on one line."""
    text = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    for mark in ("\\", "|", "*", "`", "[", "]"):
        text = text.replace(mark, "\\" + mark)
    return text.replace("__", "\\_\\_")


def _markdown_cell(text: str) -> str:
    """Returns the lines of a cell on one line."""
    return "<br>".join(_markdown_text(line) for line in str(text).split("\n"))

"""The report: its sentence, its three forms, and what it does when figures are missing."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edgekd import plots, report, report_format, report_sections
from edgekd.errors import EdgeKDError, UsageError

EXAMPLE = Path(__file__).parents[2] / "data" / "report_example.json"


@pytest.fixture
def example() -> dict[str, Any]:
    """A full report with made-up figures that fit together."""
    return json.loads(EXAMPLE.read_text(encoding="utf-8"))


@pytest.fixture
def bare(example: dict[str, Any]) -> dict[str, Any]:
    """The same run with no labels at all: every figure that may be missing is missing."""
    for key in example["headline"]:
        if key in (
            "accuracy",
            "labels_alone_accuracy",
            "gain_over_labels_alone",
            "teacher_accuracy",
            "teacher_bytes",
            "teacher_params",
            "teacher_int8_bytes",
        ):
            example["headline"][key] = None
    for row in example["rows"]:
        missing = ("accuracy", "calibration_error", "agreement_with_fp32", "latency")
        row.update(dict.fromkeys(missing))
    for counts in example["labels"].values():
        counts["labels"] = 0
    example["teacher"].update(accuracy=None, weights=[], note="")
    example["targets"].update(captions_only=None, scores_only=None, both=None, note="")
    example["confusion"] = None
    example["confidence"].update(test=None, outliers=None)
    example["confidence"]["fitted_on"].update(split="train", images=60, labels=0, learned=True)
    for row in example["confidence"]["scores"]:
        row.update(mistakes_auroc=None, auroc=None, fpr_at_95_tpr=None)
    example["captions"].update(num_made=0, num_kept=0, dropped={}, samples=[], answers=None)
    metrics = example["captions"]["metrics"]
    for part in (metrics["overall"], *metrics["by_temperature"]):
        part.update(right=None)
        part["sample"].update(dispersion=None, self_bleu=None)
    example["distillation"]["labels_alone"] = None
    example["distillation"]["history"] = {
        "student": [{"step": 1, "loss": 2.0, "tune_accuracy": None}],
        "labels_alone": [],
    }
    for stage in example["stages"]:
        stage["peak_memory_mb"] = None
    example.update(gates=[], skipped=[], notes=[])
    return example


class Page(HTMLParser):
    """What the tests ask about a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str, str]] = []
        self._open = "none"
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append((self._open, data.strip()))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


# 19,300,000 / 1,042,176 = 18.52; 6,146,812 / 1,042,176 = 5.898; 6,204,416 / 1,042,176 = 5.953
FULL_SENTENCE = (
    "student_pruned.int8.tflite (1.04 MB) answers 81.2% of 2,000 test images right "
    "(79.4 to 82.8%); the 200 labels alone give 72.4%; it is 18.5 times smaller than the "
    "teacher's files (19.30 MB to 1.04 MB, 4.81 M to 961 k parameters), 5.9 times smaller than "
    "the same student unpruned in fp32 (6.15 MB to 1.04 MB, 1.53 M to 961 k parameters), and "
    "6.0 times smaller than the teacher quantized to int8 (6.20 MB)."
)


def test_headline_says_everything_that_is_known(example: dict[str, Any]) -> None:
    assert report.headline(example) == FULL_SENTENCE


def test_headline_without_labels_says_so_and_drops_the_clauses(bare: dict[str, Any]) -> None:
    assert report.headline(bare) == (
        "student_pruned.int8.tflite (1.04 MB), accuracy not measured: no labelled test images; "
        "it is 5.9 times smaller than the same student unpruned in fp32 "
        "(6.15 MB to 1.04 MB, 1.53 M to 961 k parameters)."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accuracy": None}, "tflite (1.04 MB), accuracy not measured; it is 18.5"),
        ({"labels_alone_accuracy": None}, "(79.4 to 82.8%); it is 18.5"),
        ({"teacher_bytes": 521_088}, "it is 2.0 times larger than the teacher's files"),
        ({"teacher_int8_bytes": 1_050_000}, "and as large as the teacher quantized to int8"),
        (
            {"teacher_int8_bytes": None},
            "parameters) and 5.9 times smaller than the same student unpruned",
        ),
        ({"teacher_params": None}, "than the teacher's files (19.30 MB), 5.9"),
        (
            {"accuracy": {"value": 1.0, "low": 0.2065, "high": 1.0, "n": 1}},
            "100.0% of 1 test image",
        ),
    ],
)
def test_headline_with_other_figures(
    example: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    example["headline"].update(changes)
    assert words in report.headline(example)


def test_one_label_gives(example: dict[str, Any]) -> None:
    example["labels"]["train"]["labels"] = 1
    assert "the 1 label alone gives 72.4%" in report.headline(example)


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (report_format.short_count, 999, "999"),
        (report_format.short_count, 1_000, "1.00 k"),
        (report_format.short_count, 961_402, "961 k"),
        (report_format.short_count, 999_600, "1.00 M"),
        (report_format.short_count, 302_000_000, "302 M"),
        (report_format.short_count, 4_200_000_000, "4.20 G"),
        (report_format.short_count, None, "–"),
        (report_format.megabytes, 1_042_176, "1.04"),
        (report_format.megabytes, 4_321, "0.00432"),
        (report_format.percent, None, "–"),
        (report_format.milliseconds, 0.578, "0.58"),
        (report_format.milliseconds, 18.17, "18.2"),
        (report_format.duration, 59.94, "59.9 s"),
        (report_format.duration, 59.96, "1 min 0 s"),
        (report_format.duration, 3_725, "1 h 2 min"),
        (report_format.points, 0.088, "+8.8 points"),
        (report_format.points, -0.005, "-0.5 points"),
        (report_format.readable_date, "2025-03-03T10:41:22+00:00", "2025-03-03 10:41 UTC"),
        (report_format.readable_date, "yesterday", "yesterday"),
        (report_format.plain, {"flip": True, "crop": [0.8, 1.0]}, "flip yes, crop 0.8, 1"),
    ],
)
def test_numbers_as_text(function: Any, value: Any, text: str) -> None:
    assert function(value) == text


def test_write_and_load_give_the_same_report(example: dict[str, Any], tmp_path: Path) -> None:
    report.write(example, tmp_path)
    assert report.load(tmp_path) == example
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    assert (tmp_path / "report.md").read_text(encoding="utf-8").split("\n")[0] == FULL_SENTENCE


def test_the_same_report_gives_the_same_bytes(example: dict[str, Any]) -> None:
    assert report.render_html(example) == report.render_html(copy.deepcopy(example))


def test_nan_is_missing_everywhere(example: dict[str, Any], tmp_path: Path) -> None:
    example["rows"][0]["calibration_error"] = float("nan")
    report.write(example, tmp_path)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=refuse)
    assert found["rows"][0]["calibration_error"] is None
    assert "nan" not in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_another_schema_is_refused_by_name(tmp_path: Path, schema: Any) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"schema": schema}), encoding="utf-8")
    expected = re.escape(f"schema {schema!r}, this edgekd reads schema 1")
    with pytest.raises(EdgeKDError, match=expected):
        report.load(tmp_path)


def test_a_report_with_a_part_missing_is_refused(example: dict[str, Any], tmp_path: Path) -> None:
    del example["task"]
    (tmp_path / "report.json").write_text(json.dumps(example), encoding="utf-8")
    with pytest.raises(EdgeKDError, match=r"report\.json: no whole report, 'task' is missing"):
        report.load(tmp_path)


def test_a_folder_without_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no report\.json.*edgekd run CONFIG"):
        report.load(tmp_path)


def test_page_loads_nothing_and_runs_nothing(example: dict[str, Any]) -> None:
    text = report.render_html(example)
    page = Page(text)
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            value = attrs.get(name) or "#"
            assert value.startswith(("#", "data:image/")), (tag, name, value)
        assert not [name for name in attrs if name.startswith("on")]
    assert not re.findall(r"url\((?!#)", text)
    assert "@import" not in text
    policies = [a["content"] for a in page.named("meta") if "http-equiv" in a]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_page_is_marked_up_for_everyone(example: dict[str, Any]) -> None:
    page = Page(report.render_html(example))
    assert len(page.named("h1")) == 1
    assert len(page.named("h2")) == len(page.named("section")) == 14
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.named("th"))
    assert len(page.named("caption")) == len(page.named("table"))
    assert all(attrs.get("alt") for attrs in page.named("img"))
    drawn = [attrs for attrs in page.named("div") if attrs.get("class") == "plot"]
    assert len(drawn) == len(page.named("svg")) == 6
    assert all(attrs["role"] == "img" and len(attrs["aria-label"] or "") > 30 for attrs in drawn)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {(attrs["href"] or "")[1:] for attrs in page.named("a")}
    assert targets <= set(ids)
    used = {value[1:] for _, attrs in page.tags if (value := attrs.get("xlink:href"))}
    assert used <= set(ids)


def test_first_paragraph_is_the_headline(example: dict[str, Any]) -> None:
    page = Page(report.render_html(example))
    assert next(words for tag, words in page.words if tag == "p") == FULL_SENTENCE


def test_plots_take_their_colours_from_the_page(example: dict[str, Any]) -> None:
    text = report.render_html(example)
    drawn = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert all("currentColor" in svg for svg in drawn)
    assert not [svg for svg in drawn if re.search(r"#0[1-8]0[1-8]0[1-8]", svg)]


HOSTILE = [
    "<script>alert(1)</script>",
    "$x^{$",
    "a|b",
    "{{ 7 * 7 }}",
    "**bold**",
    "[red]x[/red]",
    'id="x"',
    "&amp;",
    "two\nlines",
    "x" * 200,
]


def test_names_are_shown_and_never_obeyed(example: dict[str, Any]) -> None:
    example["task"]["classes"] = HOSTILE
    example["name"] = HOSTILE[0]
    example["captions"]["samples"][0]["captions"][0]["text"] = HOSTILE[0]
    example["captions"]["samples"][0]["image"] = "https://example.org/x.png"
    example["gates"][0]["name"] = HOSTILE[5]
    text = report.render_html(example)
    page = Page(text)
    assert not page.named("script")
    assert "example.org" not in text
    assert "{{ 7 * 7 }}" in text
    assert "49" not in [words for _, words in page.words]

    lines = report.render_markdown(example).split("\n")
    assert "<script" not in "".join(lines)
    row = next(line for line in lines if line.startswith("| a\\|b |"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 4

    output = StringIO()
    report.print_summary(example, Console(file=output, width=80))
    assert "[red]x[/red]" in output.getvalue()


def test_every_markdown_row_has_as_many_cells_as_its_head(example: dict[str, Any]) -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", report.render_markdown(example), re.MULTILINE)
    assert len(tables) == 16
    for table in tables:
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().split("\n")}
        assert len(bars) == 1, table


def test_missing_figures_are_dashes_and_never_zeros(bare: dict[str, Any], tmp_path: Path) -> None:
    report.write(bare, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    row = next(line for line in text.split("\n") if line.startswith("| **student_pruned.int8"))
    assert [cell.strip() for cell in row.split("|")[6:11]] == ["–"] * 5
    assert "| Accuracy | **–** | not measured |" in text
    assert "| Both | – |  | – |" in text
    assert "0.0%" not in text
    assert "No network was trained from the labels alone" in text
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(page.named("svg")) == 2  # the loss and the stages; nothing else has figures
    assert "Skipped files" not in [words for tag, words in page.words if tag == "h2"]


def test_chosen_row_is_the_marked_one(example: dict[str, Any]) -> None:
    files = next(s for s in report_sections.sections(example) if s.anchor == "files")
    assert files.tables[0].strong == 0
    assert files.tables[0].rows[0] == [
        "student_pruned.int8.tflite\nstudent, TFLite int8; chosen",
        "1.04",
        "0.81",
        "961 k",
        "2.41 M",
        "81.2%\n79.4 to 82.8%",
        "0.031",
        "97.2%",
        "0.58 / 0.71",
        "LiteRT 2.3.0\nmeasured, CPU, 1 thread, 200 runs",
    ]


def test_two_devices_are_named_in_their_rows(example: dict[str, Any]) -> None:
    example["rows"][1]["latency"].update(device="Pixel 8", kind="emulated")
    files = next(s for s in report_sections.sections(example) if s.anchor == "files")
    assert files.paragraphs == []
    assert files.tables[0].rows[1][-1].endswith("emulated, CPU, 1 thread, 200 runs, Pixel 8")


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        ((1_042_176, 2_000_000, "bytes"), "1.04 MB, at most 2.00 MB"),
        ((0.812, 0.82, "accuracy"), "81.2%, at least 82.0%"),
        ((1_042_176, None, "bytes"), "1.04 MB, no limit"),
    ],
)
def test_gate_text(gate: tuple[Any, Any, str], text: str) -> None:
    assert (
        report_sections.gate_text(dict(zip(("size", "sizeLimit", "unit"), gate, strict=True)))
        == text
    )


def test_most_frequent_confusions_come_first(example: dict[str, Any]) -> None:
    example["task"]["classes"] = ["a", "b", "c"]
    example["confusion"]["counts"] = [[8, 2, 0], [5, 5, 0], [0, 1, 9]]
    section = next(s for s in report_sections.sections(example) if s.anchor == "confusion")
    assert section.tables[0].rows == [
        ["b", "a", "5 of 10"],
        ["a", "b", "2 of 10"],
        ["c", "b", "1 of 10"],
    ]


def test_most_confused_classes_are_picked_by_errors_given_and_taken() -> None:
    # errors given + taken: class 0: 1 + 0, class 1: 0 + 4, class 2: 3 + 0, class 3: none
    counts_KK = np.array([[9, 1, 0, 0], [0, 9, 0, 0], [0, 3, 7, 0], [0, 0, 0, 99]])
    assert plots.most_confused(counts_KK, 2) == [1, 2]
    assert plots.most_confused(counts_KK, 3) == [0, 1, 2]


def test_a_thousand_classes_show_the_most_confused(example: dict[str, Any]) -> None:
    counts_KK = np.diag(np.full(1000, 5))
    counts_KK[700, 3] = 4
    names = [f"class {index}" for index in range(1000)]
    example["task"]["classes"] = names
    example["confusion"]["counts"] = counts_KK.tolist()
    start = time.perf_counter()
    page = report.render_html(example)
    assert time.perf_counter() - start < 60  # undisturbed: 2 s
    assert "The 20 most confused of 1,000 classes." in page
    drawn = plots.confusion(counts_KK.tolist(), names)
    assert drawn is not None
    assert ">class 700<" in drawn.svg
    assert ">class 999<" not in drawn.svg
    assert "and 980 more" in page


def test_when_it_is_unsure(example: dict[str, Any]) -> None:
    section = next(s for s in report_sections.sections(example) if s.anchor == "unsure")
    at_threshold, compared = section.tables
    assert at_threshold.rows == [
        ["Test images answered (coverage)", "95.1%", "94.1 to 96.0%", "2,000"],
        ["Of these right", "83.5%", "81.8 to 85.1%", "1,902"],
        ["Of all right", "81.2%", "79.4 to 82.8%", "2,000"],
        ["Of those rejected right", "35.7%", "26.9 to 45.6%", "98"],
        ["Outliers rejected", "60.0%", "54.4 to 65.4%", "300"],
    ]
    assert compared.strong == 0
    assert compared.rows[1] == ["largest logit", "0.811", "0.921", "38.0%"]
    assert "0.058 without the temperature, 0.021 with it" in section.paragraphs[1]
    example["confidence"]["reject_by"] = "energy"
    again = next(s for s in report_sections.sections(example) if s.anchor == "unsure")
    assert again.tables[1].strong == 2


def test_an_unmeasured_threshold_has_no_table_and_no_plot(bare: dict[str, Any]) -> None:
    section = next(s for s in report_sections.sections(bare) if s.anchor == "unsure")
    assert section.tables == []
    assert "The student has learned from them" in section.paragraphs[0]
    assert plots.coverage(bare["confidence"]) is None


def test_a_report_from_before_confidence_is_read(example: dict[str, Any]) -> None:
    del example["confidence"]
    anchors = [section.anchor for section in report_sections.sections(example)]
    assert "unsure" not in anchors
    assert len(Page(report.render_html(example)).named("svg")) == 5
    report.print_summary(example, Console(file=StringIO(), width=80))


def test_the_curve_leaves_out_what_chance_decides(example: dict[str, Any]) -> None:
    """The first of its points is one image of 2,000: ten are needed."""
    drawn = plots.coverage(example["confidence"])
    assert drawn is not None
    assert "At the threshold 95.1% are answered, 83.5% of them right" in drawn.alt
    line = re.search(r'<g id="coverage-plot-line2d_\d+">\s*<path d="([^"]*)"[^>]*stroke: var\(--stu', drawn.svg)  # fmt: skip
    assert line is not None
    assert len(re.findall("[ML]", line.group(1))) == 6


def test_many_skipped_files_are_counted_and_not_all_listed(example: dict[str, Any]) -> None:
    example["skipped"] = [{"path": f"{index}.png", "reason": "empty"} for index in range(25)]
    section = next(s for s in report_sections.sections(example) if s.anchor == "skipped")
    assert len(section.tables[0].rows) == 20
    assert section.paragraphs == ["The first 20; 5 more are in report.json."]


def test_summary_fits_80_columns(example: dict[str, Any]) -> None:
    output = StringIO()
    report.print_summary(example, Console(file=output, width=80))
    lines = output.getvalue().split("\n")
    assert max(len(line) for line in lines) <= 80
    assert " ".join(lines[0:6]).replace("  ", " ").startswith(FULL_SENTENCE[:70])
    marked = next(line for line in lines if line.strip().startswith("* "))
    assert marked.split() == [
        "*",
        "student_pruned.int8.tflite",
        "1.04",
        "81.2%",
        "(79.4",
        "to",
        "82.8%)",
        "0.58",
    ]
    assert "FAILED  accuracy floor: 81.2%, at least 82.0%" in lines
    assert (
        "unsure below 0.412: answers 95.1% of the test images, 83.5% of those right, turns "
        "away 60.0% of 300 outliers"
    ) in " ".join(lines).replace("  ", " ")


def test_import_is_light() -> None:
    code = (
        "import sys; import edgekd.report; "
        "print([m for m in ('matplotlib', 'jinja2', 'rich', 'torch') if m in sys.modules])"
    )
    root = Path(report.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"

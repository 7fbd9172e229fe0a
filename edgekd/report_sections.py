"""What the report says, section by section, before it is laid out as HTML or Markdown.

A cell may hold a line break: the second line is the smaller print.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from edgekd import confidence_words, report_captions, report_private
from edgekd.report_format import (
    DASH,
    compared,
    duration,
    interval,
    megabytes,
    milliseconds,
    percent,
    plain,
    plural,
    points,
    share,
    short_count,
)
from edgekd.sizes import format_size

MAX_LISTED = 20
ROLE_NAMES = {"student": "student", "labels_alone": "labels alone", "teacher": "teacher"}
_FORMAT_NAMES = {"tflite": "TFLite", "onnx": "ONNX"}
_SPLIT_USES = {
    "train": "teach: fit the teacher's head, and the student where the label is given",
    "tune": "may fit and calibrate anything: temperatures, weights, hyper-parameters",
    "val": "choose between finished candidates",
    "test": "looked at once, for the figures in this report",
}
_FILE_TERMS = [
    ("MB", "one million bytes of the file on disk; zipped is what a download of it weighs."),
    ("Parameters, MACs", "numbers the network holds; multiply-adds it needs for one image."),
    (
        "Accuracy",
        "share of test images the file itself gets right, all classes of each where it may show "
        "several, with its 95% interval.",
    ),
    (
        "Calibration error",
        "mean gap between how sure the model says it is, without a temperature, and how often it "
        "is right; 0 is perfect.",
    ),
    ("Agreement", "share of test images on which it answers as its own fp32 file does."),
    (
        "Latency",
        "ms for one image, median and 95th percentile; measured on the device named, emulated "
        "by a stand-in for it, or estimated by a model of it.",
    ),
]

_CLASS_TERMS = [
    ("Precision", "share of the images where the class was named that show it."),
    ("Recall", "share of the images that show the class where it was named."),
    ("F1", "harmonic mean of precision and recall, named from a probability of 0.5 on."),
    (
        "Average precision",
        "mean precision over all thresholds, weighted by what each adds to recall; 50% of a class "
        "that half of the images show is a guess.",
    ),
]

_UNSURE_TERMS = [
    ("Coverage", "share of the images that get an answer; the others are called unsure."),
    (
        "AUROC",
        "chance that an image of the first kind scores above one of the second; 0.5 is a guess.",
    ),
    (
        "At 95% coverage",
        "share of the outliers that get an answer where 95% of the other images do; less is better.",
    ),
]


@dataclass(frozen=True)
class Card:
    """One key figure."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells as text; `numeric` columns stand right, `strong` is the row that matters."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    numeric: frozenset[int] = frozenset()
    strong: int | None = None


@dataclass(frozen=True)
class Section:
    """One heading with a sentence for newcomers, then text, tables and terms."""

    anchor: str
    title: str
    explanation: str
    paragraphs: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    terms: list[tuple[str, str]] = field(default_factory=list)
    bullets: list[str] = field(default_factory=list)


def sections(report: dict[str, Any]) -> list[Section]:
    """Returns all sections in reading order; those with nothing to say are left out."""
    found = [
        _gates(report["gates"]),
        _files(report["rows"]),
        _confusion(report["confusion"], report["task"]["classes"]),
        _several_labels(report.get("multilabel"), report["task"]["classes"]),
        _unsure(report.get("confidence")),
        _teacher(report["teacher"]),
        _targets(report["targets"], bool(report["task"].get("multilabel"))),
        _labels(report["labels"]),
        _captions(report["captions"]),
        _private(report.get("private")),
        _training(report["distillation"]),
        _stages(report["stages"]),
        _cost(report["cost"]),
        _skipped(report["skipped"]),
        _notes(report["notes"]),
        _made(report),
    ]
    return [section for section in found if section is not None]


def cards(report: dict[str, Any]) -> list[Card]:
    """Returns the key figures of the chosen file; those that are not known are left out."""
    head = report["headline"]
    return [*_own_cards(head, report["rows"]), *_comparison_cards(head)]


def chosen_row(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns the row of the chosen file, or None."""
    return next((row for row in rows if row["chosen"]), None)


def gate_text(gate: dict[str, Any]) -> str:
    """Returns "1.49 MB, at most 2.00 MB" or "81.2%, at least 78.0%"."""
    is_size = gate["unit"] == "bytes"
    size, limit = gate["size"], gate["sizeLimit"]
    found = format_size(size) if is_size else percent(size)
    if limit is None:
        return f"{found}, no limit"
    return f"{found}, " + (
        f"at most {format_size(limit)}" if is_size else f"at least {percent(limit)}"
    )


def _own_cards(head: dict[str, Any], rows: list[dict[str, Any]]) -> Iterator[Card]:
    row = chosen_row(rows)
    zipped = f"{format_size(row['zipped_bytes'])} zipped, " if row else ""
    yield Card(
        "Size",
        format_size(head["size_bytes"]),
        f"{zipped}{short_count(head['num_params'])} parameters",
    )
    accuracy = head["accuracy"]
    if accuracy is None:
        yield Card("Accuracy", DASH, "not measured")
    else:
        detail = f"{interval(accuracy)} (95%), {plural(accuracy['n'], 'test image')}"
        yield Card("Accuracy", percent(accuracy["value"]), detail)
    if row and row["latency"]:
        latency = row["latency"]
        yield Card(
            "Latency",
            f"{milliseconds(latency['latency_ms'].get('median'))} ms",
            f"median, {latency['kind']} with {latency['runtime']}, "
            f"{plural(latency['threads'], 'thread')}",
        )


def _comparison_cards(head: dict[str, Any]) -> Iterator[Card]:
    gain, alone = head["gain_over_labels_alone"], head["labels_alone_accuracy"]
    if gain is not None and alone is not None:
        span = f"{gain['low'] * 100:+.1f} to {gain['high'] * 100:+.1f}"
        yield Card(
            "Over the labels alone",
            points(gain["value"]),
            f"{span} (95%, paired); labels alone give {percent(alone['value'])}",
        )
    if head["teacher_accuracy"] is not None:
        accuracy = head["teacher_accuracy"]
        yield Card("The teacher itself", percent(accuracy["value"]), f"{interval(accuracy)} (95%)")
    for label, size, params in (
        ("Against the teacher's files", head["teacher_bytes"], head["teacher_params"]),
        ("Against the teacher in int8", head["teacher_int8_bytes"], None),
        (
            "Against the same student unpruned, fp32",
            head["baseline_bytes"],
            head["baseline_params"],
        ),
    ):
        if size is not None:
            counted = f", {short_count(params)} parameters" if params is not None else ""
            ratio = compared(size, head["size_bytes"]).removesuffix(" than").removesuffix(" as")
            yield Card(label, ratio.replace(" times", "×"), format_size(size) + counted)


def _gates(gates: list[dict[str, Any]]) -> Section:
    rows = [
        [gate["name"], gate_text(gate), "passed" if gate["passed"] else "FAILED"] for gate in gates
    ]
    failed = sum(not gate["passed"] for gate in gates)
    verdict = "No limits are set in the config."
    if gates:
        passed = "Passed." if len(gates) == 1 else f"All {len(gates)} passed."
        verdict = f"{failed} of {len(gates)} failed." if failed else passed
    return Section(
        "gates",
        "Checks",
        "Limits from the config that the chosen file must keep: a size budget, an accuracy floor.",
        [verdict],
        [Table("Every check", ["Check", "Found and wanted", "Result"], rows)] if gates else [],
    )


def _files(rows: list[dict[str, Any]]) -> Section:
    columns = [
        "File",
        "Size, MB",
        "Zipped, MB",
        "Parameters",
        "MACs",
        "Accuracy (95%)",
        "Calibration error",
        "Agreement with fp32",
        "Latency, ms\nmedian / p95",
        "Where",
    ]
    strong = next((index for index, row in enumerate(rows) if row["chosen"]), None)
    devices = sorted({row["latency"]["device"] for row in rows if row["latency"]})
    cells = [_file_cells(row, name_device=len(devices) > 1) for row in rows]
    table = Table(
        "Every model, format and precision", columns, cells, frozenset(range(1, 9)), strong
    )
    return Section(
        "files",
        "Every file, compared",
        "One row a file; accuracy and latency are those of the exported file itself, run as an "
        "app would run it. The chosen one is marked.",
        [f"All latencies are those of {devices[0]}."] if len(devices) == 1 else [],
        [table] if rows else [],
        _FILE_TERMS,
    )


def _file_cells(row: dict[str, Any], name_device: bool) -> list[str]:
    about = f"{ROLE_NAMES[row['role']]}, {_FORMAT_NAMES[row['format']]} {row['precision']}"
    marks = [text for text in ("chosen" if row["chosen"] else "", row["note"]) if text]
    calibration = row["calibration_error"]
    latency, where = _latency_cells(row["latency"], name_device)
    return [
        "\n".join([PurePath(row["path"]).name, "; ".join([about, *marks])]),
        megabytes(row["size_bytes"]),
        megabytes(row["zipped_bytes"]),
        short_count(row["num_params"]),
        short_count(row["num_macs"]),
        share(row["accuracy"]),
        DASH if calibration is None else f"{calibration:.3f}",
        percent(row["agreement_with_fp32"]),
        latency,
        where,
    ]


def _latency_cells(latency: dict[str, Any] | None, name_device: bool) -> tuple[str, str]:
    if latency is None:
        return DASH, DASH
    times = latency["latency_ms"]
    where = (
        f"{latency['runtime']} {latency['runtime_version']}\n"
        f"{latency['kind']}, {latency['accelerator']}, {plural(latency['threads'], 'thread')}, "
        f"{plural(latency['num_runs'], 'run')}"
    ) + (f", {latency['device']}" if name_device else "")
    return f"{milliseconds(times.get('median'))} / {milliseconds(times.get('p95'))}", where


def _confusion(confusion: dict[str, Any] | None, classes: list[str]) -> Section | None:
    if confusion is None:
        return None
    counts_KK = np.asarray(confusion["counts"], dtype=np.int64)
    errors_KK = counts_KK - np.diag(np.diag(counts_KK))
    order = np.argsort(-errors_KK, axis=None, kind="stable")[:8]
    pairs = [divmod(int(place), len(classes)) for place in order]
    rows = [
        [
            classes[label],
            classes[answer],
            f"{errors_KK[label, answer]} of {counts_KK[label].sum():,}",
        ]
        for label, answer in pairs
        if errors_KK[label, answer] > 0
    ]
    columns = ["The label", "The file answered", "Images"]
    table = Table("Most frequent confusions", columns, rows, frozenset({2}))
    return Section(
        "confusion",
        "Where it errs",
        f"Which classes {confusion['model']} takes for which, counted on the test images.",
        [] if rows else ["It made no error on the test images."],
        [table] if rows else [],
    )


def _several_labels(found: dict[str, Any] | None, classes: list[str]) -> Section | None:
    if found is None:
        return None
    measured = zip(classes, found["classes"], strict=True)
    worst_first = sorted(measured, key=lambda pair: (pair[1]["f1"] is None, pair[1]["f1"] or 0.0))
    keys = ("precision", "recall", "f1", "average_precision")
    rows = [
        [name, f"{row['shown']:,}", *(percent(row[key]) for key in keys)]
        for name, row in worst_first
    ]
    columns = ["Class", "Images that show it", "Precision", "Recall", "F1", "Average precision"]
    table = Table("Every class, the worst first", columns, rows, frozenset(range(1, 6)))
    return Section(
        "classes",
        "Class by class",
        f"Whether {found['model']} names each class on the test images that show it, and on no other. "
        "Accuracy elsewhere in this report counts an image only where all its classes are right.",
        [
            f"Mean average precision {percent(found['mean_average_precision'])}, F1 over all answers "
            f"{percent(found['micro_f1'])}, mean F1 of the classes {percent(found['macro_f1'])}."
        ],
        [table],
        _CLASS_TERMS,
    )


def _unsure(found: dict[str, Any] | None) -> Section | None:
    if found is None:
        return None
    tables = [_scores_compared(found)] if _compared(found) else []
    if found["test"] is not None or found["outliers"] is not None:
        tables.insert(0, _at_the_threshold(found["test"], found["outliers"]))
    return Section(
        "unsure",
        "Knowing when not to answer",
        'Below a threshold the chosen file\'s answer counts as "unsure". It is set on images that '
        "are not the test images; the outliers, if any, are images of none of the classes.",
        [" ".join(confidence_words.sentences(found)[:2]), *_calibration(found["test"])],
        tables,
        _UNSURE_TERMS,
    )


def _calibration(test: dict[str, Any] | None) -> list[str]:
    if test is None:
        return []
    error = test["calibration_error"]
    return [
        f"Calibration error on the test images: {error['before']:.3f} without the temperature, "
        f"{error['after']:.3f} with it."
    ]


def _at_the_threshold(test: dict[str, Any] | None, outliers: dict[str, Any] | None) -> Table:
    named = [
        ("Test images answered (coverage)", test and test["coverage"]),
        ("Of these right", test and test["accuracy_answered"]),
        ("Of all right", test and test["accuracy"]),
        ("Of those rejected right", test and test["accuracy_rejected"]),
        ("Outliers rejected", outliers and outliers["rejected"]),
    ]
    rows = [
        [name, percent(value["value"]), interval(value), f"{value['n']:,}"]
        for name, value in named
        if value
    ]
    return Table(
        "At the threshold", ["", "Share", "95% interval", "Images"], rows, frozenset({1, 2, 3})
    )


def _compared(found: dict[str, Any]) -> bool:
    return any(value is not None for row in found["scores"] for value in list(row.values())[1:])


def _scores_compared(found: dict[str, Any]) -> Table:
    inliers = (found["outliers"] or {}).get("compared_with", "test")
    columns = [
        "Score",
        "Right above wrong\nAUROC, test",
        f"Above outliers\nAUROC, {inliers}",
        "Outliers answered\nat 95% coverage",
    ]
    rows = [
        [
            confidence_words.SCORES_IN_WORDS[row["score"]],
            *(
                DASH if row[key] is None else f"{row[key]:.3f}"
                for key in ("mistakes_auroc", "auroc")
            ),
            percent(row["fpr_at_95_tpr"]),
        ]
        for row in found["scores"]
    ]
    used = [row["score"] for row in found["scores"]].index(found["reject_by"])
    return Table("Scores to tell by", columns, rows, frozenset({1, 2, 3}), used)


def _teacher(teacher: dict[str, Any]) -> Section:
    accuracy = teacher["accuracy"]
    measured = "Its accuracy was not measured: no labelled test images."
    if accuracy is not None:
        measured = (
            f"It answers {percent(accuracy['value'])} of {plural(accuracy['n'], 'test image')} "
            f"right ({interval(accuracy)}), measured in torch in fp32."
        )
    weights = [
        [entry["name"], entry["source"], (entry["sha256"] or DASH)[:12]]
        for entry in teacher["weights"]
    ]
    files = Table("Weights it used", ["Weights", "Source", "sha256 begins"], weights)
    beside = [
        [
            other["name"],
            percent(other["accuracy"]["value"]) if other["accuracy"] else DASH,
            other["note"],
        ]
        for other in teacher.get("others", [])
    ]
    others = Table("Teachers beside it", ["Teacher", "Right on test", "Fitted"], beside)
    return Section(
        "teacher",
        "The teacher",
        "The large model that looked at the images and described them; the student learns from it.",
        [f"{teacher['name']} (kind: {teacher['kind']}). {measured}", teacher["note"]],
        [table for table in (others, files) if table.rows],
    )


def _targets(targets: dict[str, Any], multilabel: bool) -> Section:
    ways = (
        ("Captions only", "captions_only"),
        ("Scores only", "scores_only"),
        ("Both", "both"),
    )
    rows = [
        [
            name,
            *((share(targets[key]) + "\n").split("\n")[:2]),
            f"{targets[key]['n']:,}" if targets[key] else DASH,
        ]
        for name, key in ways
    ]
    return Section(
        "targets",
        "Soft targets, three ways",
        "The student is taught with a probability for every class. These come from what the "
        "captions say, from the teacher's class scores, or from both; this is how often "
        + (
            "exactly the classes above 50% are those that the image shows"
            if multilabel
            else "the most probable class is the right one"
        )
        + f", on the {targets['split']} images.",
        [targets["note"], *(targets.get("balance") or {}).get("warnings", [])],
        [
            Table(
                "Accuracy of the targets",
                ["Made from", "Right", "95% interval", "Images"],
                rows,
                frozenset({1, 2, 3}),
            )
        ],
    )


def _labels(labels: dict[str, dict[str, int]]) -> Section:
    rows = [
        [split, f"{counts['images']:,}", f"{counts['labels']:,}", _SPLIT_USES.get(split, "")]
        for split, counts in labels.items()
    ]
    total = [sum(counts[key] for counts in labels.values()) for key in ("images", "labels")]
    rows.append(["all", f"{total[0]:,}", f"{total[1]:,}", ""])
    return Section(
        "labels",
        "Where the labels went",
        "Labels serve four uses that are never mixed; everything fitted on labels counts as "
        "labels the user paid for.",
        tables=[
            Table(
                "Images and labels by use",
                ["Use", "Images", "Labels", "What for"],
                rows,
                frozenset({1, 2}),
            )
        ],
    )


def _captions(captions: dict[str, Any]) -> Section:
    made, kept = captions["num_made"], captions["num_kept"]
    part = f" ({kept / made:.0%})" if made else ""
    rows = [
        [reason, f"{number:,}", percent(number / made if made else None)]
        for reason, number in sorted(captions["dropped"].items(), key=lambda entry: -entry[1])
    ]
    return Section(
        "captions",
        "Captions",
        "The teacher's sentences about the images; those that repeat, contradict what is measured "
        "in the image, or are unsure are dropped before they teach anything.",
        [f"{plural(made, 'caption')} made, {kept:,} kept{part}.", *_said_of_captions(captions)],
        [
            *_variety(captions.get("metrics")),
            *_swept(captions.get("sweep")),
            *_audit(captions.get("audit")),
            *_answers(captions.get("answers")),
            Table(
                "Why captions were dropped",
                ["Reason", "Captions", "Share of all"],
                rows,
                frozenset({1, 2}),
            ),
        ][: None if rows else -1],
        report_captions.TERMS if captions.get("metrics") else [],
    )


def _private(found: dict[str, Any] | None) -> Section | None:
    if found is None:
        return None
    return Section(
        "private",
        "Private data",
        "What may point to a person: names, phones and the like in captions, faces in images.",
        report_private.sentences(found),
        terms=report_private.TERMS if found["faces"] else [],
    )


def _said_of_captions(captions: dict[str, Any]) -> list[str]:
    metrics, answers = captions.get("metrics"), captions.get("answers")
    told = report_captions.coverage(metrics) if metrics else []
    told += report_captions.audit_lines(captions["audit"]) if captions.get("audit") else []
    return [*told, report_captions.answers_note(answers)] if answers else told


def _variety(metrics: dict[str, Any] | None) -> list[Table]:
    if metrics is None:
        return []
    columns = report_captions.VARIETY_COLUMNS
    rows = report_captions.variety(metrics)
    numeric = frozenset(range(1, len(columns)))
    return [Table("Diversity against accuracy, by temperature", columns, rows, numeric)]


def _audit(audit: dict[str, Any] | None) -> list[Table]:
    rows = report_captions.audited(audit) if audit else []
    if not rows:
        return []
    columns = report_captions.AUDIT_COLUMNS
    return [Table("Whether an independent checker agrees", columns, rows, frozenset({1, 2, 3}))]


def _swept(sweep: dict[str, Any] | None) -> list[Table]:
    if sweep is None or not sweep["candidates"]:
        return []
    rows = report_captions.swept(sweep)
    caption = f"What serves the student: {plural(sweep['steps'], 'step')} on captions of each"
    chosen = [entry["temperatures"] for entry in sweep["candidates"]].index(sweep["chosen"])
    return [Table(caption, report_captions.SWEEP_COLUMNS, rows, frozenset({1, 2}), chosen)]


def _answers(answers: dict[str, Any] | None) -> list[Table]:
    if answers is None:
        return []
    rows = report_captions.answers(answers)
    columns = report_captions.ANSWER_COLUMNS
    return [Table("What people say of them", columns, rows, frozenset({1, 2, 3, 4}))]


def _training(distillation: dict[str, Any]) -> Section:
    networks = [(role, distillation[role]) for role in ("student", "labels_alone")]
    networks = [(role, network) for role, network in networks if network is not None]
    settings = {
        role: {
            "architecture": network["architecture"],
            "optimizer steps": f"{network['steps']:,}",
            "batch size": network["batch_size"],
            "image size": f"{network['image_size']} px",
            **network["chosen"],
        }
        for role, network in networks
    }
    names = list(dict.fromkeys(name for values in settings.values() for name in values))
    rows = [
        [name.replace("_", " "), *(plain(values.get(name)) for values in settings.values())]
        for name in names
    ]
    alone = distillation["labels_alone"]
    return Section(
        "training",
        "Training",
        "The student learns from the soft targets and the given labels. "
        + (
            "The same network from the given labels alone, with as many optimizer steps and tuned "
            "on the same images, shows what the teacher adds."
            if alone
            else "No network was trained from the labels alone to compare with."
        ),
        tables=[Table("Settings", ["Setting", *(ROLE_NAMES[role] for role in settings)], rows)],
    )


def _stages(stages: list[dict[str, Any]]) -> Section:
    rows = [
        [
            stage["stage"],
            duration(stage["seconds"]),
            DASH if stage["peak_memory_mb"] is None else f"{stage['peak_memory_mb']:,.0f}",
            "reused" if stage["reused"] else "ran",
        ]
        for stage in stages
    ]
    peaks = [stage["peak_memory_mb"] for stage in stages if stage["peak_memory_mb"] is not None]
    total = duration(sum(stage["seconds"] for stage in stages))
    rows.append(["all", total, f"{max(peaks):,.0f}" if peaks else DASH, ""])
    return Section(
        "stages",
        "Time and memory",
        "Time by the clock and the most memory held at once (MB, one million bytes) in every stage; a "
        "reused stage was finished by an earlier run and shows what it took then.",
        tables=[
            Table("Every stage", ["Stage", "Time", "Peak memory, MB", ""], rows, frozenset({1, 2}))
        ],
    )


def _cost(cost: dict[str, Any]) -> Section:
    money = cost["currency"]
    return Section(
        "cost",
        "What labelling would have cost",
        f"At {cost['label_price']:,.2f} {money} a label, the price in the config.",
        [
            f"{plural(cost['labels_given'], 'label')} given and "
            f"{plural(cost['questions_asked'], 'question')} asked: {cost['spent']:,.2f} {money}. "
            f"Labelling all {plural(cost['images'], 'image')} by hand: "
            f"{cost['by_hand']:,.2f} {money}."
        ],
    )


def _skipped(skipped: list[dict[str, Any]]) -> Section | None:
    if not skipped:
        return None
    rest = len(skipped) - MAX_LISTED
    return Section(
        "skipped",
        "Skipped files",
        f"{plural(len(skipped), 'file')} in the data folder could not be used.",
        [f"The first {MAX_LISTED}; {rest:,} more are in report.json."] if rest > 0 else [],
        [
            Table(
                "Skipped files",
                ["File", "Why"],
                [[entry["path"], entry["reason"]] for entry in skipped[:MAX_LISTED]],
            )
        ],
    )


def _notes(notes: list[str]) -> Section | None:
    if not notes:
        return None
    return Section("notes", "Notes", "What else the run wants to be known.", bullets=notes)


def _made(report: dict[str, Any]) -> Section:
    machine, task = report["machine"], report["task"]
    classes = task["classes"]
    rest = len(classes) - MAX_LISTED
    more = f" and {rest:,} more" if rest > 0 else ""
    rows = [
        ["Command", report["command"]],
        ["Date", report["date"]],
        ["edgekd", report["edgekd_version"]],
        ["Seed", str(report["seed"])],
        ["Data", f"{task['data']} (licence: {task['licence']})"],
        ["Classes", f"{len(classes):,}: {', '.join(classes[:MAX_LISTED])}{more}"],
        ["Processor", f"{machine['cpu']}, {plural(machine['cores'], 'core')}"],
        ["Memory", f"{machine['memory_gb']:.1f} GB"],
        ["System", machine["system"]],
        *([name, version] for name, version in sorted(report["versions"].items())),
    ]
    return Section(
        "made",
        "How this was made",
        "Enough to run it again: the same command, data, seed and versions.",
        tables=[Table("Command, machine and versions", ["What", "Value"], rows)],
    )

"""From what the stages left to the one dict of the report. Figures come from the run alone."""

from __future__ import annotations

import base64
import io
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgekd import __version__, confidence_words, machine, metrics, store, targets_file
from edgekd.manifest import Manifest
from edgekd.preprocess import open_image
from edgekd.records import BenchmarkResult, ExportedModel, Item, ReportRow, Share, to_dict
from edgekd.run_folders import digest_of_manifest

_THUMBNAIL = 96


@dataclass(frozen=True)
class Facts:
    """What a report is made of: the config, the manifest, and each stage's result."""

    config: dict[str, Any]
    folder: Path
    data_folder: Path
    manifest: Manifest
    results: dict[str, Any]
    exported: list[ExportedModel]


def report(facts: Facts, chosen: ExportedModel, costs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the report (schema 1) of a run; `costs` are the stages with seconds and memory."""
    rows = [_row(facts, record, chosen) for record in facts.exported]
    teacher = _teacher(facts)
    return to_dict(
        {
            "schema": 1,
            "name": facts.config["name"],
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "edgekd_version": __version__,
            "command": " ".join(["edgekd", *sys.argv[1:]]),
            "seed": facts.config["seed"],
            "machine": machine.describe(),
            "versions": machine.versions(),
            "task": {
                "classes": facts.manifest.task.classes,
                "multilabel": facts.manifest.task.multilabel,
                "data": facts.data_folder.name,
                "licence": facts.config["data"]["licence"],
            },
            "labels": facts.manifest.counts(),
            "test_digest": digest_of_manifest(facts.manifest),
            "headline": _headline(facts, chosen, teacher),
            "rows": rows,
            "teacher": teacher,
            "targets": _targets(facts),
            "confusion": _confusion(chosen),
            "multilabel": _multilabel(chosen),
            "confidence": chosen.metrics.get("confidence"),
            "captions": facts.results["filter"]
            | {
                "metrics": facts.results["targets"].get("captions"),
                "audit": facts.results.get("audit"),
                "answers": _answers(facts),
                "sweep": facts.results.get("sweep"),
                "samples": _samples(facts),
            },
            "private": _private(facts),
            "distillation": _distillation(facts),
            "stages": costs,
            "cost": _cost(facts),
            "gates": facts.results["check"]["gates"],
            "skipped": [
                {"path": path, "reason": reason} for path, reason in facts.manifest.skipped
            ],
            "notes": _notes(facts),
        }
    )


def load(folder: Path) -> dict[str, Any]:
    """Returns the report of a run folder."""
    from edgekd import report as reports

    return reports.load(folder)


def test_image(manifest: Manifest) -> Item:
    """Returns the image that travels in the bundle: the first by digest of test, else of all."""
    items = manifest.of("test") or manifest.items
    return min(items, key=lambda item: item.id)


def model_card(facts: Facts, chosen: ExportedModel) -> dict[str, Any]:
    """Returns what MODEL_CARD.md says, in the terms of `export.model_card.ModelCard`."""
    config = facts.config
    test = chosen.metrics.get("test")
    figures = []
    if test:
        figures = [
            {"name": "accuracy on test", **test["accuracy"]},
            {"name": "calibration error on test", "value": _calibration_error(chosen)},
        ]
    if test and "multilabel" in test:
        figures[0]["name"] = "exactly the classes that a test image shows"
        figures += [
            {"name": key.replace("_", " ") + " on test", "value": test["multilabel"][key]}
            for key in ("mean_average_precision", "micro_f1", "macro_f1")
        ]
    if "parity" in chosen.metrics:
        agreement = chosen.metrics["parity"]["agreement"]
        figures.append({"name": "agreement with the fp32 file", "value": agreement})
    head, found = _first_teacher(facts)["head"], chosen.metrics.get("confidence")
    return {
        "name": config["name"],
        "intended_use": (
            "Naming which of these an image shows: "
            if facts.manifest.task.multilabel
            else "Telling apart images of: "
        )
        + ", ".join(facts.manifest.task.classes)
        + ".",
        "architecture": f"{config['distill']['arch']}, {chosen.model}, {chosen.precision}",
        "num_params": chosen.num_params,
        "num_macs": chosen.num_macs,
        "metrics": figures,
        "latency": [
            to_dict(b) for b in facts.results.get("bench", []) if b["model"] == _file(chosen)
        ],
        "data": {"name": facts.data_folder.name, "licence": config["data"]["licence"]},
        "labels": facts.manifest.counts(),
        "teacher": {
            "name": ", ".join(teacher["name"] for teacher in facts.results["caption"]["teachers"]),
            "licence": ", ".join(sorted({w["licence"] for w in _weights(facts) if w["used"]})),
            "note": f"probe: {head['probe']}" if "probe" in head else _said(head),
        },
        "confidence": confidence_words.sentences(found) if found else [],
        "limits": [
            "Accuracy was measured on images like the training images; others may do worse.",
            "model.onnx takes float32 input of the same layout and normalization.",
        ],
    }


def _calibration_error(chosen: ExportedModel) -> float:
    """That of the probabilities the bundle gives: after the temperature, where one was fitted."""
    fitted = chosen.metrics.get("confidence")
    if fitted is None:
        return chosen.metrics["test"]["calibration_error"]
    return fitted["test"]["calibration_error"]["after"]


def licences(facts: Facts) -> dict[str, str]:
    """Returns the licence of the data and of every weights file."""
    found = {w["name"]: w["licence"] for w in _weights(facts) if w["used"]}
    student = facts.results["distill"]["chosen"]["weights"]
    if student is not None:
        found[student["name"]] = student["licence"]
    return {"data": facts.config["data"]["licence"], **found}


def _row(facts: Facts, record: ExportedModel, chosen: ExportedModel) -> ReportRow:
    test = record.metrics.get("test")
    role = record.model if record.model in ("teacher", "labels_alone") else "student"
    return ReportRow(
        model=record.model,
        role=role,  # type: ignore[arg-type]
        format=record.format,
        precision=record.precision,
        path=record.path,
        size_bytes=record.size_bytes,
        zipped_bytes=record.zipped_bytes,
        num_params=record.num_params,
        num_macs=record.num_macs,
        accuracy=Share(**test["accuracy"]) if test else None,
        calibration_error=test["calibration_error"] if test else None,
        agreement_with_fp32=record.metrics.get("parity", {}).get("agreement"),
        latency=_latency(facts, record),
        chosen=record.path == chosen.path,
        note="with its head" if role == "teacher" else "",
    )


def _latency(facts: Facts, record: ExportedModel) -> BenchmarkResult | None:
    for result in facts.results.get("bench") or []:
        if result["model"] == _file(record):
            return BenchmarkResult(**result)
    return None


def _headline(facts: Facts, chosen: ExportedModel, teacher: dict[str, Any]) -> dict[str, Any]:
    alike = {
        record.model: record
        for record in facts.exported
        if (record.format, record.precision) == (chosen.format, chosen.precision)
    }
    alone = alike.get("labels_alone")
    unpruned = next(
        (r for r in facts.exported if r.model == "student" and r.precision == "fp32"
         and r.format == chosen.format), None,
    )  # fmt: skip
    return {
        "model": chosen.model,
        "path": chosen.path,
        "format": chosen.format,
        "precision": chosen.precision,
        "size_bytes": chosen.size_bytes,
        "num_params": chosen.num_params,
        "accuracy": _accuracy(chosen),
        "labels_alone_accuracy": _accuracy(alone) if alone else None,
        "gain_over_labels_alone": _gain(facts, chosen, alone),
        "teacher_accuracy": teacher["accuracy"],
        "teacher_bytes": _teacher_bytes(facts),
        "teacher_params": _first_teacher(facts)["num_params"],
        "teacher_int8_bytes": alike["teacher"].size_bytes if "teacher" in alike else None,
        "baseline_bytes": unpruned.size_bytes if unpruned else None,
        "baseline_params": unpruned.num_params if unpruned else None,
    }


def _accuracy(record: ExportedModel) -> dict[str, Any] | None:
    return record.metrics["test"]["accuracy"] if "test" in record.metrics else None


def _gain(
    facts: Facts, chosen: ExportedModel, alone: ExportedModel | None
) -> dict[str, float] | None:
    if alone is None or "test" not in chosen.metrics:
        return None
    logits = np.load(facts.folder / "exports" / "logits.npz")
    labels = logits["test/labels"]
    right, reference = (
        metrics.right(logits[f"{_file(record)}/test"], labels) for record in (chosen, alone)
    )
    value, low, high = metrics.paired_difference_interval(right, reference)
    return {"value": value, "low": low, "high": high}


def _teacher(facts: Facts) -> dict[str, Any]:
    """The first teacher, and how often the others are right."""
    first, *others = facts.results["caption"]["teachers"]
    return {
        "kind": first["kind"],
        "name": first["name"],
        "accuracy": _teacher_accuracy(facts, first),
        "weights": [w for w in first["weights"] if w["used"]],
        "note": _said(first["head"]),
        "others": [
            {
                "kind": other["kind"],
                "name": other["name"],
                "accuracy": _teacher_accuracy(facts, other),
                "note": _said(other["head"]),
            }
            for other in others
        ],
    }


def _teacher_accuracy(facts: Facts, teacher: dict[str, Any]) -> dict[str, Any] | None:
    """Of its class scores on test; None where it gives none, or nothing is labelled."""
    with np.load(facts.folder / "captions" / teacher["observations"]) as observations:
        if "logits" not in observations:
            return None
        rows, labels = _test_rows(facts, observations["ids"].astype(str).tolist())
        return metrics.share(metrics.right(observations["logits"][rows], labels))


def _first_teacher(facts: Facts) -> dict[str, Any]:
    return facts.results["caption"]["teachers"][0]


def _teacher_bytes(facts: Facts) -> int | None:
    """Of the first teacher, what it needs to answer; None where that is not here."""
    teacher = _first_teacher(facts)
    if teacher["head_file"] is None:
        return None
    weights = sum(w["size_bytes"] for w in teacher["weights"] if w["used"])
    return weights + (facts.folder / "captions" / teacher["head_file"]).stat().st_size


def _weights(facts: Facts) -> list[dict[str, Any]]:
    """Of all teachers."""
    return [w for teacher in facts.results["caption"]["teachers"] for w in teacher["weights"]]


def _test_rows(facts: Facts, ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    labelled = [item for item in facts.manifest.of("test") if item.label is not None]
    rows = np.array([row_of[item.id] for item in labelled], dtype=np.int64)
    return rows, facts.manifest.task.truth([item.label for item in labelled])


def _targets(facts: Facts) -> dict[str, Any]:
    targets = targets_file.Targets(facts.folder / "targets" / "targets.npz")
    rows, labels = _test_rows(facts, targets.ids)
    named = {"captions_only": "captions_only", "scores_only": "scores_only", "both": "probs"}
    shares = {
        name: metrics.share(metrics.right(targets.probs(key).rows(rows), labels, 0.5))
        if key in targets
        else None
        for name, key in named.items()
    }
    provenance = dict(facts.results["targets"]["provenance"])
    balance = provenance.pop("balance", None)  # tables: too much for a sentence
    return shares | {"split": "test", "note": _said(provenance), "balance": balance}


def _said(values: dict[str, Any]) -> str:
    """Returns "key: value; key: value", numbers to three digits; what is empty is left out."""

    def plain(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.3g}"
        if isinstance(value, dict):
            return ", ".join(f"{key}: {plain(inner)}" for key, inner in value.items())
        return str(value)

    return "; ".join(
        f"{key.replace('_', ' ')}: {plain(value)}"
        for key, value in values.items()
        if value not in (None, {}, [])
    )


def _confusion(chosen: ExportedModel) -> dict[str, Any] | None:
    if "confusion" not in chosen.metrics.get("test", {}):
        return None
    return {"model": _file(chosen), "counts": chosen.metrics["test"]["confusion"]}


def _multilabel(chosen: ExportedModel) -> dict[str, Any] | None:
    found = chosen.metrics.get("test", {}).get("multilabel")
    return None if found is None else {"model": _file(chosen)} | found


def _distillation(facts: Facts) -> dict[str, Any]:
    shared = {
        key: facts.config["distill"][name]
        for key, name in (("architecture", "arch"), ("batch_size", "batch_size"),
                          ("image_size", "image_size"))
    }  # fmt: skip
    trained = {
        name: facts.results[stage]
        for name, stage in (("student", "distill"), ("labels_alone", "baseline"))
        if facts.results.get(stage)
    }
    entries: dict[str, Any] = {
        name: shared | {"steps": result["steps"], "chosen": result["chosen"]}
        for name, result in trained.items()
    }
    histories = {name: result["history"] for name, result in trained.items()}
    if facts.results.get("prune"):
        histories["student_pruned"] = facts.results["prune"]["history"]
    # Without labels to tune on, a training has no accuracy: said, not left out.
    told = {
        name: [{"tune_accuracy": None, "tune_nll": None} | point for point in points]
        for name, points in histories.items()
    }
    return {"labels_alone": None} | entries | {"history": told}


def _cost(facts: Facts) -> dict[str, Any]:
    counts = facts.manifest.counts()
    price = facts.config["report"]["label_price"]
    given = sum(counts[split]["labels"] for split in ("train", "tune", "val"))
    images = counts["train"]["images"]
    unlabelled = images - counts["train"]["labels"]
    return {
        "questions_asked": 0,
        "labels_given": given,
        "label_price": price,
        "currency": facts.config["report"]["currency"],
        "spent": given * price,
        "by_hand": (given + unlabelled) * price,
        "images": images,
    }


def _private(facts: Facts) -> dict[str, Any] | None:
    """What captions were freed of, and how many faces images show; None where neither was asked."""
    freed, faces = facts.results["caption"]["private"], facts.results.get("faces")
    if freed is None and faces is None:
        return None
    left = _first_teacher(facts).get("not_looked_for", [])
    return {"captions": freed and freed | {"not_looked_for": left}, "faces": faces}


def _answers(facts: Facts) -> dict[str, Any] | None:
    """What people said of the captions (`edgekd caption --answers`); None where nobody did."""
    path = facts.folder / "captions" / "answers.json"
    if not path.is_file():
        return None
    found: dict[str, Any] = store.read_json(path)
    now = store.file_sha256(facts.folder / "captions.parquet")
    return found | {"of_earlier_captions": found["captions_sha256"] != now}


def _samples(facts: Facts) -> list[dict[str, Any]]:
    """Some training images with all their captions, half of them with a dropped one."""
    import pyarrow.parquet as pq

    wanted = facts.config["report"]["samples"]
    if wanted == 0:
        return []
    columns = ["item_id", "text", "temperature", "confidence", "dropped"]
    captions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in pq.read_table(facts.folder / "captions.parquet", columns=columns).to_pylist():
        captions[row.pop("item_id")].append(row)
    items = sorted(facts.manifest.of("train"), key=lambda item: item.id)
    dropped = [i for i in items if any(c["dropped"] for c in captions[i.id])][: wanted // 2]
    kept = [i for i in items if not any(c["dropped"] for c in captions[i.id])]
    return [
        {
            "image": _thumbnail(facts.data_folder / item.path),
            "path": item.path,
            "captions": captions[item.id],
        }
        for item in (dropped + kept)[:wanted]
    ]


def _thumbnail(path: Path) -> str:
    image = open_image(path)
    scale = _THUMBNAIL / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _notes(facts: Facts) -> list[str]:
    notes = []
    if not any(item.label is not None for item in facts.manifest.of("test")):
        notes.append("There are no labelled test images: no accuracy is measured.")
    if facts.manifest.num_duplicates:
        notes.append(f"{facts.manifest.num_duplicates} files repeat another byte for byte.")
    if "baseline" in facts.results and facts.results["baseline"] is None:
        notes.append("No training image carries a label, so there is no labels-alone baseline.")
    return notes


def _file(record: ExportedModel) -> str:
    return Path(record.path).name

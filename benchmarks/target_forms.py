"""Which targets teach best: `python -m benchmarks.target_forms DATA` (make proof).

Soft targets against hard pseudo-labels from the same captions; 1, 3 and 9 captions an image;
captions only, scores only, both. Each form is a run of a config in runs/proof-forms-<data>-..., up to
the exported int8 file of the unpruned student. DATA is fashion (configs/demo.yaml, 20 labels a
class) or caltech (configs/photos.yaml, no label, all 100 classes). Everything but the targets is the
same, so a difference is paired on the same test images. --screen: one seed, a quarter of the steps,
and for caltech 20 images a class; its figures are printed and not kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks import arguments, caltech, results_file, runs
from edgekd import initial

CLAIM = {
    "fashion": "Fashion-MNIST, 20 labels a class: which form of targets teaches the student best.",
    "caltech": "Caltech-101 without labels: which form of targets teaches the student best.",
}
# What of the targets and of the captions is changed against the config.
FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "soft_both": ({}, {}),
    "hard_both": ({"hard": True}, {}),
    "soft_captions_1": ({"evidence": "captions"}, {"captions_per_image": 1}),
    "soft_captions_3": ({"evidence": "captions"}, {}),
    "soft_captions_9": ({"evidence": "captions"}, {"captions_per_image": 9}),
    "hard_captions_3": ({"evidence": "captions", "hard": True}, {}),
    "soft_scores": ({"evidence": "scores"}, {}),
}
# Shorter than the configs, the same for all forms, so that the whole stays within two hours.
SHORT: dict[str, dict[str, Any]] = {
    "fashion": {"steps": 800, "augment": [{"shift": 0.05, "scale": 0.06, "rotate": 0.0,
                "brightness": 0.1, "cutout": 0.0}]},
    "caltech": {"steps": 400, "image_size": 64},
}  # fmt: skip
QUICK: runs.Changes = {
    "prune": {"enabled": False},
    "baseline": {"enabled": False},
    "bench": {"enabled": False},
    "export": {"formats": ["tflite"], "teacher": False},
    "check": {"budget": "100MB"},
}


def main() -> int:
    parser = arguments.parser(
        __doc__,
        photos="Caltech-101, a folder a class; or downloaded",
        out="folder of the runs",
        screen="one seed, fewer images and steps",
    )
    parser.add_argument("data", choices=CLAIM)
    words = parser.parse_args()
    name = words.data + ("-screen" if words.screen else "")
    seeds = arguments.seeds(words)
    config, folder = _data(words, name)
    short = SHORT[words.data]
    distill = short | {"steps": short["steps"] // 4} if words.screen else short
    reports = {
        form: [_run(config, folder, words.out, name, form, seed, distill) for seed in seeds]
        for form in FORMS
    }
    figures = _figures(reports)
    if words.screen:
        arguments.show(figures)
        return 0
    path = results_file.write(
        f"target_forms_{words.data}",
        claim=CLAIM[words.data],
        command=f"python -m benchmarks.target_forms {words.data} --seeds {' '.join(map(str, seeds))}",
        seeds=seeds,
        data={
            "name": folder.name,
            "digest": caltech.digest_of(folder),
            "counts": reports["soft_both"][0]["labels"],
        },
        figures=figures,
        notes=f"The unpruned student's int8 TFLite file; {distill['steps']} steps for every form.",
    )
    print(path.read_text())
    return 0


def _data(words: argparse.Namespace, name: str) -> tuple[str, Path]:
    """Returns the config's name and the folder of images."""
    if words.data == "fashion":
        return "demo", initial.unpack_demo(words.out / "proof-demo-data")
    photos = words.photos or caltech.download(words.out / "caltech101")
    target = words.out / f"proof-forms-{name}-data"
    return "photos", caltech.prepare(photos, target, "all", 20 if words.screen else None)


def _run(
    config: str,
    folder: Path,
    out: Path,
    name: str,
    form: str,
    seed: int,
    distill: dict[str, Any],
) -> dict[str, Any]:
    """A run folder each; only the first looks at the images with the teacher's eyes."""
    first = out / f"proof-forms-{name}-soft_both-0"
    target = out / f"proof-forms-{name}-{form}-{seed}"
    targets, caption = FORMS[form]
    changes = QUICK | {"targets": targets, "caption": caption, "distill": distill}
    seen_in = None if target == first else first
    report = runs.run(config, folder, target, seed, changes, seen_in=seen_in)
    return report | {"folder": target}


def _figures(reports: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    def students(form: str) -> list[float]:
        return [runs.accuracy(report, "student", "int8") for report in reports[form]]

    n = reports["soft_both"][0]["headline"]["accuracy"]["n"]
    figures = {f"{form}_student_int8_accuracy": runs.shares(students(form), n) for form in FORMS}
    figures |= {
        f"{form}_targets_accuracy": runs.shares(
            [report["targets"]["both"]["value"] for report in reports[form]], n
        )
        for form in FORMS
        if not form.startswith("hard")
    }
    if "val" in runs.file_metrics(reports["soft_both"][0]["folder"], "student"):
        figures |= {
            f"{form}_val_accuracy": runs.shares(
                [
                    runs.file_metrics(r["folder"], "student")["val"]["accuracy"]["value"]
                    for r in reports[form]
                ]
            )
            for form in FORMS
        }
    for form in ("soft_both", "soft_captions_3"):
        hard = form.replace("soft", "hard")
        pairs = zip(students(form), students(hard), strict=True)
        figures[f"{form}_minus_{hard}"] = runs.shares([soft - other for soft, other in pairs], n)
    every = [report for of_form in reports.values() for report in of_form]
    return figures | {"seconds": runs.seconds(every), "cost_seconds": runs.cost(every)}


if __name__ == "__main__":
    sys.exit(main())

"""Images that show several classes, three seeds: `python -m benchmarks.several_labels`.

Sheets of two by two cells hold up to three product photographs of Fashion-MNIST, each by chance of one
cell; what a sheet shows is the set of their classes, or none. No photograph is on sheets of two
splits. Each seed draws its own sheets and is a whole run in runs/proof-several-<seed>; finished stages
are reused. --screen: one seed, a quarter of the steps; its figures are printed and not kept.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import arguments, results_file, runs
from edgekd import assets, initial, metrics, targets_file
from edgekd import manifest as manifests
from edgekd.records import LABEL_SEPARATOR, NO_CLASS
from edgekd.store import file_sha256

CLAIM = (
    "On sheets of up to three product photographs, of which 300 are labelled, the int8 student "
    "distilled from captions and scores names the classes against the same student from the labels."
)
NOTES = (
    "`exact`: sheets of which all ten classes are answered right at a probability of 0.5. The sheets "
    "are put together, from real photographs of one object each. Neighbours are off: sheets that look "
    "alike show other things, and averages left hardly a probability above 0.5. Targets are compared on test, which "
    "no target was fitted on."
)
SIDE, CELL, OBJECT = 64, 32, 28
SHEETS = {"train": 1500, "tune": 200, "val": 200, "test": 800}
LABELLED = 300
CHANGES: runs.Changes = {
    "data": {"multilabel": True, "near_duplicates": "ignore"},
    "distill": {
        "steps": 800,
        "augment": [{"flip": 0.5, "shift": 0.05, "scale": 0.06, "rotate": 0}],
    },
    "prune": {"recovery_steps": 400},
    "targets": {"neighbours": 0},
    "bench": {"enabled": False},
}
SCREEN: runs.Changes = CHANGES | {
    "distill": CHANGES["distill"] | {"steps": 200},
    "prune": {"recovery_steps": 100},
}
SOURCES = {"captions_only": "captions_only", "scores_only": "scores_only", "both": "probs"}


def main() -> int:
    parser = arguments.parser(
        __doc__, out="folder of the runs", screen="one seed, a quarter of the steps"
    )
    words = parser.parse_args()
    photographs = initial.unpack_demo(words.out / "proof-demo-data")
    name = "several-screen" if words.screen else "several"
    found = []
    for seed in arguments.seeds(words):
        sheets = draw(photographs, words.out / f"proof-several-data-{seed}", seed)
        out = words.out / f"proof-{name}-{seed}"
        report = runs.run("demo", sheets, out, seed, SCREEN if words.screen else CHANGES)
        found.append(measured(out, report))
    figures = {
        key: results_file.figure([each[key] for each in found], "share", SHEETS["test"])
        for key in found[0]
    }
    if words.screen:
        arguments.show(figures)
        return 0
    path = results_file.write(
        "several_labels",
        claim=CLAIM,
        command=f"python -m benchmarks.several_labels --seeds {' '.join(map(str, words.seeds))}",
        seeds=words.seeds,
        data={
            "name": "sheets of Fashion-MNIST photographs (configs/demo_data)",
            "digest": file_sha256(assets.demo_archive()),
            "counts": {"sheets": SHEETS, "labelled for training": LABELLED},
        },
        figures=figures,
        notes=NOTES,
    )
    print(path.read_text())
    return 0


def draw(photographs: Path, target: Path, seed: int) -> Path:
    """Returns the folder of a seed's sheets with their labels.csv; drawn unless it is there."""
    if (target / "labels.csv").is_file():
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with (photographs / "labels.csv").open() as stream:
        known = list(csv.DictReader(stream))
    table = [["path", "label", "split"]]
    for index, (split, count) in enumerate(SHEETS.items()):
        rng = np.random.default_rng([seed, index])
        of_split = [row for row in known if row["split"] == split]
        labelled = [row for row in of_split if row["label"]]
        others = [row for row in of_split if not row["label"]]
        for number in range(count):
            is_labelled = split != "train" or number < LABELLED
            name = f"{split}-{number:04}.png"
            shown = _sheet(target / name, photographs, labelled if is_labelled else others, rng)
            label = LABEL_SEPARATOR.join(sorted(shown)) or NO_CLASS
            table.append([name, label if is_labelled else "", split])
    with (target / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(table)
    return target


def _sheet(
    path: Path, photographs: Path, pool: list[dict[str, str]], rng: np.random.Generator
) -> set[str]:
    """Draws one sheet on a dark, grainy ground; returns the labels of what is on it."""
    sheet = Image.fromarray(rng.integers(0, 24, size=(SIDE, SIDE), dtype=np.uint8))
    shown = set()
    for cell in rng.permutation(4)[: rng.integers(0, 4)]:
        row = pool[rng.integers(len(pool))]
        offset = (CELL - OBJECT) // 2
        place = int(cell % 2) * CELL + offset, int(cell // 2) * CELL + offset
        sheet.paste(Image.open(photographs / row["path"]).convert("L"), place)
        shown.add(row["label"])
    sheet.save(path)
    return shown


def measured(out: Path, report: dict[str, Any]) -> dict[str, float]:
    """Returns the figures of one run, all on test."""
    manifest = manifests.load(out / "manifest.parquet")
    rows, labels = manifest.labelled("test")
    ids = [manifest.items[row].id for row in rows.tolist()]
    targets = targets_file.Targets(out / "targets" / "targets.npz")
    at = [targets.row_of[item_id] for item_id in ids]
    found: dict[str, float] = {}
    for name, key in SOURCES.items():
        found |= _quality(f"targets_{name}", targets.probs(key).rows(at), labels)
    chosen = Path(report["headline"]["path"]).name
    with np.load(out / "exports" / "logits.npz") as logits:
        truth = logits["test/labels"]
        for name, file in (("student", chosen), ("labels_alone", "labels_alone.int8.tflite")):
            probs = metrics.sigmoid(logits[f"{file}/test"])
            found |= _quality(f"{name}_int8", probs, truth)
    for key in ("exact", "mean_average_precision", "micro_f1"):
        found[f"gain_{key}"] = found[f"student_int8_{key}"] - found[f"labels_alone_int8_{key}"]
    return found


def _quality(name: str, probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    quality = metrics.multilabel_quality(probs, labels)
    return {
        f"{name}_exact": metrics.accuracy(probs, labels),
        f"{name}_mean_average_precision": quality["mean_average_precision"],
        f"{name}_micro_f1": quality["micro_f1"],
    }


if __name__ == "__main__":
    sys.exit(main())

"""Whether images tell swapped captions from real ones: `python -m benchmarks.swaps`.

configs/demo.yaml up to its targets, for each seed (seeds differ in the sampled captions). In every
kept caption the class and each attribute word are swapped, and both sentences are held against
the image: log p of the class under the teacher's scores plus log of the measured words. Then what
was swapped in counts against the targets, with a weight fitted on tune. `hard`: the class likest
by the targets; `random`: a drawn one; `all`: every other class. `scores`: the control, the same
weight on the teacher's scores without any caption or swap.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import arguments, caltech, results_file, runs
from captioning import captions, swaps
from captioning.matching import Lexicon
from edgekd import initial, metrics, targets_file
from edgekd import manifest as manifests
from edgekd.records import TaskSpec

CLAIM = (
    "Fashion-MNIST, 20 labels a class: how often a caption with one word swapped matches its image "
    "less, and whether what was swapped in helps the targets."
)
CHOICES = ("hard", "random", "all")
NOTES = (
    "The captions are sampled from the same scores they are matched with, so a rate below 1 says how "
    "often a sampled sentence says what the teacher holds less likely than the swap. Detection is "
    "that of all images; right and wrong are class swaps of captions on test whose class was or was "
    "not the label. What was swapped in gained no more than the control, the scores taken once more: "
    "targets leave it out by default."
)


def main() -> int:
    parser = arguments.parser(__doc__, out="folder of the runs")
    words = parser.parse_args()
    folder = initial.unpack_demo(words.out / "proof-demo-data")
    measured = [_measured(_run(folder, words.out, seed), seed) for seed in words.seeds]
    path = results_file.write(
        "swaps",
        claim=CLAIM,
        command=f"python -m benchmarks.swaps --seeds {' '.join(map(str, words.seeds))}",
        seeds=words.seeds,
        data={"name": folder.name, "digest": caltech.digest_of(folder), "counts": {}},
        figures={
            name: results_file.figure([of_seed[name] for of_seed in measured], _unit(name))
            for name in measured[0]
        },
        notes=NOTES,
    )
    print(path.read_text())
    return 0


def _run(folder: Path, out: Path, seed: int) -> Path:
    """A run folder each; the first looks at the images, unless a proof of the demo already has."""
    target, first, demo = out / f"proof-swaps-{seed}", out / "proof-swaps-0", out / "proof-demo-0"
    seen_in = demo if demo.exists() else None if target == first else first
    runs.run("demo", folder, target, seed, until="targets", seen_in=seen_in)
    return target


def _measured(run: Path, seed: int) -> dict[str, float]:
    """Returns the figures of one run."""
    manifest = manifests.load(run / "manifest.parquet")
    targets = targets_file.Targets(run / "targets" / "targets.npz")
    observations = np.load(run / "captions" / "observations.npz")
    row_of = targets.row_of
    assert observations["ids"].astype(str).tolist() == list(row_of)
    labels = {
        split: {
            row_of[i.id]: i.label
            for i in manifest.items
            if i.split == split and i.label is not None
        }
        for split in ("tune", "test")
    }
    probs = targets.probs().rows().astype(np.float64)
    log_scores = np.log(metrics.softmax(observations["logits"]))
    matched = swaps.matcher(log_scores, observations["attributes"])
    lexicon = Lexicon(manifest.task)
    figures = _target_figures("before", probs, labels["test"])
    figures |= _with_weight("scores", probs, -log_scores, labels)
    for choice in CHOICES:
        judged = list(
            swaps.judge(
                captions.load(run / "captions.parquet"),
                row_of,
                _swapper(choice, manifest.task, lexicon, probs, seed),
                lexicon,
                matched,
            )
        )
        figures |= _detection_figures(choice, swaps.detection(judged, labels["test"]))
        negative = swaps.negative_evidence(judged, len(probs), manifest.task.num_classes)
        figures |= _with_weight(choice, probs, negative, labels)
    return figures


def _swapper(
    choice: str, task: TaskSpec, lexicon: Lexicon, probs_NK: np.ndarray, seed: int
) -> swaps.Swapper:
    likeness = swaps.likeness_by_targets(probs_NK) if choice == "hard" else None
    most = task.num_classes if choice == "all" else 1
    return swaps.Swapper(task, lexicon, seed=seed, most=most, likeness_KK=likeness)


def _with_weight(
    name: str, probs_NK: np.ndarray, negative_NK: np.ndarray, labels: dict[str, dict[int, int]]
) -> dict[str, float]:
    weight = swaps.fit_weight(probs_NK, negative_NK, labels["tune"])
    after = swaps.against(probs_NK, negative_NK, weight)
    return {f"{name}_weight": weight} | _target_figures(name, after, labels["test"])


def _target_figures(name: str, probs_NK: np.ndarray, test: dict[int, int]) -> dict[str, float]:
    rows, labels = np.array(list(test)), np.array(list(test.values()))
    return {
        f"{name}_targets_accuracy": metrics.accuracy(probs_NK[rows], labels),
        f"{name}_targets_nll": metrics.negative_log_likelihood(probs_NK[rows], labels),
    }


def _detection_figures(choice: str, found: dict[str, Any]) -> dict[str, float]:
    """The words are swapped alike whichever class is, so they are told once."""
    figures = {f"{choice}_class_detected": found["by_kind"][swaps.CLASS]["value"]}
    for where in ("right", "wrong"):
        figures[f"{choice}_{where}_class_detected"] = found["class_by_original"][where]["value"]
    if choice == "random":
        figures |= {
            f"{kind}_detected": rate["value"]
            for kind, rate in found["by_kind"].items()
            if kind != swaps.CLASS
        }
    return figures


def _unit(name: str) -> str:
    return {"nll": "nats", "weight": "weight"}.get(name.rsplit("_", 1)[-1], "share")


if __name__ == "__main__":
    sys.exit(main())

"""What each part from captions to targets is worth: `python -m benchmarks.target_parts DATA`.

Each row is configs/demo.yaml (fashion: 20 labels a class) or configs/photos.yaml (caltech: no labels,
all 100 classes) up to its targets with one part changed; the figure is the share of test images whose
most likely class is right, and the difference to the config as it is, paired on the same test
images. The three parts that move it most are then tried on the student: its unpruned int8 .tflite
file, everything else the same. --screen: one seed, no student.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import arguments, caltech, results_file, runs
from benchmarks.target_forms import QUICK, SHORT
from edgekd import initial

CLAIM = {
    "fashion": "Fashion-MNIST, 20 labels a class: what each part from captions to targets is worth.",
    "caltech": "Caltech-101 without labels: what each part from captions to targets is worth.",
}
AS_IS = "as_configured"
NUM_ON_STUDENT = 3


@dataclass(frozen=True)
class Part:
    """What of a config is changed; `fashion_only` where tune labels are needed."""

    changes: runs.Changes = field(default_factory=dict)
    fashion_only: bool = False


def _targets(**keys: Any) -> Part:
    return Part({"targets": keys})


LITE0 = {
    "kind": "composed", "backbone": "efficientnet_lite0", "image_size": 96, "inverted": True,
    "names": False,
}  # fmt: skip
PARTS: dict[str, Part] = {
    AS_IS: Part(),
    "scores_alone": _targets(evidence="scores"),
    "captions_alone": _targets(evidence="captions"),
    "without_neighbours": _targets(neighbours=0),
    "thirty_neighbours": _targets(neighbours=30),
    "uniform_prior": _targets(prior="uniform"),
    "uniform_prior_by_weights": _targets(prior="uniform", prior_by="weights"),
    "prior_of_tune": Part({"targets": {"prior": "tune"}}, fashion_only=True),
    "swaps": Part({"targets": {"swaps": "hard"}}, fashion_only=True),
    "calibrated": Part({"targets": {"calibrate": True}}, fashion_only=True),
    "best_temperatures": Part({"targets": {"temperatures": "best"}}, fashion_only=True),
    "second_teacher": Part({"caption": {"more": [LITE0]}}, fashion_only=True),
    "one_caption": Part({"caption": {"captions_per_image": 1}}),
    "nine_captions": Part({"caption": {"captions_per_image": 9}}),
    "cool_captions": Part({"caption": {"temperatures": [0.5]}}),
    "hot_captions": Part({"caption": {"temperatures": [1.5]}}),
    "in_the_words_of_a_field": Part({"caption": {"domain": "findings"}}),
    "without_filter": Part(
        {
            "filter": {
                "near_duplicate_jaccard": 1.0,
                "min_attribute": 0.0,
                "min_confidence": 0.0,
                "repeated": False,
            }
        }
    ),
    "without_contradictions_with_pixels": Part({"filter": {"min_attribute": 0.0}}),
    "without_unsure_captions_kept_out": Part({"filter": {"min_confidence": 0.0}}),
    "one_class_an_image": Part({"filter": {"one_class": True}}),
    "off_topic": Part({"filter": {"off_topic": True}}),
}


def main() -> int:
    parser = arguments.parser(
        __doc__,
        photos="Caltech-101, a folder a class; or downloaded",
        out="folder of the runs",
        screen="one seed, no student",
    )
    parser.add_argument("data", choices=CLAIM)
    words = parser.parse_args()
    bench = Bench(words.data, words.photos, words.out)
    seeds = arguments.seeds(words)
    figures = bench.of_targets(seeds)
    if words.screen:
        arguments.show(figures)
        return 0
    figures |= bench.of_students(_largest(figures), seeds)
    path = results_file.write(
        f"target_parts_{words.data}",
        claim=CLAIM[words.data],
        command=f"python -m benchmarks.target_parts {words.data} --seeds {' '.join(map(str, seeds))}",
        seeds=seeds,
        data={
            "name": bench.folder.name,
            "digest": caltech.digest_of(bench.folder),
            "counts": bench.made[-1]["labels"],
        },
        figures=figures | {"cost_seconds": runs.cost(bench.made)},
        notes=f"Students: {SHORT[words.data]['steps']} steps. A part that does not stand out from "
        "the spread of the seeds is no part that helps.",
    )
    print(path.read_text())
    return 0


class Bench:
    """The runs of one data set; only the first looks at the images."""

    def __init__(self, data: str, photos: Path | None, out: Path):
        self.data, self._out = data, out
        self.made: list[dict[str, Any]] = []
        self.parts = {
            name: part for name, part in PARTS.items() if data == "fashion" or not part.fashion_only
        }
        if data == "fashion":
            self._config, self.folder = "demo", initial.unpack_demo(out / "proof-demo-data")
        else:
            photos = photos or caltech.download(out / "caltech101")
            self._config = "photos"
            self.folder = caltech.prepare(photos, out / "proof-target-parts-caltech-data", "all")

    def of_targets(self, seeds: list[int]) -> dict[str, Any]:
        """Returns each part's accuracy, and its difference to the config as it is."""
        found = {name: [self._targets(name, seed) for seed in seeds] for name in self.parts}
        return {f"{name}_targets_accuracy": runs.shares(found[name]) for name in found} | {
            f"{name}_targets_difference": runs.shares(
                [value - own for value, own in zip(found[name], found[AS_IS], strict=True)]
            )
            for name in found
            if name != AS_IS
        }

    def of_students(self, names: list[str], seeds: list[int]) -> dict[str, Any]:
        """Returns the students' accuracies and differences for these parts."""
        found = {name: [self._student(name, seed) for seed in seeds] for name in (AS_IS, *names)}
        return {f"{name}_student_int8_accuracy": runs.shares(found[name]) for name in found} | {
            f"{name}_student_int8_difference": runs.shares(
                [value - own for value, own in zip(found[name], found[AS_IS], strict=True)]
            )
            for name in names
        }

    def _targets(self, name: str, seed: int) -> float:
        folder = self._run(name, seed, "targets")
        return runs.targets_accuracy(folder)

    def _student(self, name: str, seed: int) -> float:
        folder = self._run(name, seed, None)
        return runs.accuracy(runs.report_of(folder), "student", "int8")

    def _run(self, name: str, seed: int, until: str | None) -> Path:
        folder = self._out / f"proof-target-parts-{self.data}-{name}-{seed}"
        first = self._out / f"proof-target-parts-{self.data}-{AS_IS}-0"
        changes = QUICK | {"distill": SHORT[self.data]} | self.parts[name].changes
        seen_in = None if folder == first else first
        self.made.append(runs.run(self._config, self.folder, folder, seed, changes, until, seen_in))
        return folder


def _largest(figures: dict[str, Any]) -> list[str]:
    """The parts whose targets differ most from those of the config as it is."""
    ending = "_targets_difference"
    moved = {
        key.removesuffix(ending): abs(float(np.mean(entry["per_seed"])))
        for key, entry in figures.items()
        if key.endswith(ending)
    }
    return sorted(moved, key=lambda name: -moved[name])[:NUM_ON_STUDENT]


if __name__ == "__main__":
    sys.exit(main())

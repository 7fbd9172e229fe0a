"""A teacher with fewer blocks, speed-up against agreement: `python -m benchmarks.thin_teacher`.

The packaged EfficientNet-Lite2 on Fashion-MNIST as configs/demo.yaml shows it (--photos FOLDER:
on Caltech-101). Calibration images, other ones for each seed, rank its residual blocks; on test
images: how often the most likely ImageNet class is still the whole network's, the KL divergence,
and how far a logistic probe on the features, fitted on the labelled training images, is right.
Then a ViT of base size with random weights: speed only, since its answers mean nothing.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import arguments, caltech, results_file
from captioning.teachers import thinning
from captioning.teachers.backbone import Backbone
from edgekd import initial
from edgekd.preprocess import load_input
from edgekd.records import Preprocess

CLAIM = {
    "fashion": "Fashion-MNIST: EfficientNet-Lite2 with the residual blocks taken out that change least.",
    "photos": "Caltech-101: EfficientNet-Lite2 with the residual blocks taken out that change least.",
}
NOTES = (
    "No weight was trained after blocks were taken out. One block at a time, measured anew each time. "
    "speedup: CPU seconds of the whole network over those of the thinned one, of the fastest of each over "
    "rounds in which they take turns, a batch of 8 (ViT: 4) on one thread; agreement is that of ImageNet's "
    "1,000 classes."
)
MOST = 3
MEASURES: tuple[thinning.Measure, ...] = ("cka", "angular")
NUM_CALIBRATION, NUM_TEST, BATCH = 64, 200, 8
Images = list[tuple[str, str, str]]  # path, label or nothing, split


def main() -> int:
    parser = arguments.parser(
        __doc__, photos="Caltech-101, a folder a class", out="folder of the data"
    )
    words = parser.parse_args()
    torch.set_num_threads(1)
    data = "photos" if words.photos else "fashion"
    if words.photos:
        folder = caltech.prepare(words.photos, words.out / "proof-thin-data", "all", 12)
    else:
        folder = initial.unpack_demo(words.out / "proof-demo-data")
    bench = _Bench(folder, inverted=data == "fashion")
    of_seeds = [bench.figures(seed) for seed in words.seeds]
    figures = {
        name: results_file.figure([of_seed[name] for of_seed in of_seeds], _unit(name))
        for name in of_seeds[0]
    }
    figures |= {
        name: results_file.figure([value], _unit(name)) for name, value in _vit_base().items()
    }
    path = results_file.write(
        f"thin_teacher_{data}",
        claim=CLAIM[data],
        command=f"python -m benchmarks.thin_teacher{' --photos FOLDER' if words.photos else ''}",
        seeds=words.seeds,
        data={
            "name": folder.name,
            "digest": caltech.digest_of(folder),
            "counts": {"calibration": NUM_CALIBRATION, "test": len(bench.test[1])},
        },
        figures=figures,
        notes=NOTES,
        extra={"dropped": bench.dropped},
    )
    print(path.read_text())
    return 0


class _Bench:
    """The whole network, its images, and what was measured so far by the blocks taken out."""

    def __init__(self, folder: Path, inverted: bool):
        mean, std = 127 / 255, 128 / 255
        if inverted:
            mean, std = 1 - mean, -std
        self._preprocess = Preprocess(160, 160, (mean,) * 3, (std,) * 3, "stretch", "bicubic")
        self._folder = folder
        self._whole = Backbone("efficientnet_lite2").network
        self._images = _listed(folder)
        self._train = self._loaded("train")
        self.test = self._loaded("test")
        self._made: dict[frozenset[str], dict[str, float]] = {}
        self.dropped: dict[str, list[str]] = {}

    def figures(self, seed: int) -> dict[str, float]:
        """Returns the figures with the calibration images of a seed."""
        figures = {"whole_probe_accuracy": self._probe_accuracy(self._whole)}
        for measure in MEASURES:
            thinned = thinning.thin(self._whole, self._calibration(seed), MOST, measure=measure)
            names = [name for name, _ in thinned.dropped]
            self.dropped[f"{measure}_seed_{seed}"] = names
            for count in range(1, MOST + 1):
                for name, value in self._without(names[:count]).items():
                    figures[f"{measure}_{count}_{name}"] = value
        return figures

    def _without(self, names: list[str]) -> dict[str, float]:
        key = frozenset(names)
        if key not in self._made:
            candidate = thinning.without(self._whole, names)
            batches = self.test[0].split(BATCH)
            found = thinning.compare(
                self._whole, candidate, batches, rounds=11, clock=time.process_time
            )
            params = found["num_params"]
            self._made[key] = {
                "agreement": found["agreement"]["value"],
                "kl": found["kl"],
                "speedup": found["speedup"]["of_fastest"],
                "params": params["candidate"] / params["reference"],
                "probe_accuracy": self._probe_accuracy(candidate),
            }
            print(sorted(names), self._made[key], file=sys.stderr)
        return self._made[key]

    def _probe_accuracy(self, network: Any) -> float:
        from sklearn.linear_model import LogisticRegression

        (train, labels), (test, wanted) = (
            (_features(network, images), labels) for images, labels in (self._train, self.test)
        )
        mean, std = train.mean(axis=0), train.std(axis=0) + 1e-6
        probe = LogisticRegression(C=0.01, max_iter=500).fit((train - mean) / std, labels)
        found = probe.classes_[probe.decision_function((test - mean) / std).argmax(axis=1)]
        return float((found == wanted).mean())

    def _calibration(self, seed: int) -> tuple[torch.Tensor, ...]:
        """Training images, their labels unseen."""
        paths = sorted(path for path, _, split in self._images if split == "train")
        drawn = np.random.default_rng(seed).choice(len(paths), NUM_CALIBRATION, replace=False)
        return self._pixels([paths[at] for at in drawn]).split(BATCH)

    def _loaded(self, split: str) -> tuple[torch.Tensor, np.ndarray]:
        """The labelled images of a split, of test so many at most, spread over the classes."""
        labelled = sorted(
            (path, label) for path, label, of in self._images if label and of == split
        )
        if split == "test" and len(labelled) > NUM_TEST:
            labelled = labelled[:: len(labelled) // NUM_TEST][:NUM_TEST]
        labels = np.array([label for _, label in labelled])
        return self._pixels([path for path, _ in labelled]), labels

    def _pixels(self, paths: list[str]) -> torch.Tensor:
        images = [load_input(self._folder / path, self._preprocess) for path in paths]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _listed(folder: Path) -> Images:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return [(row["path"], row["label"], row["split"] or "train") for row in rows]


@torch.inference_mode()
def _features(network: Any, images: torch.Tensor) -> np.ndarray:
    parts = [
        network.forward_head(network.forward_features(batch), pre_logits=True)
        for batch in images.split(BATCH)
    ]
    return torch.cat(parts).numpy().astype(np.float64)


def _vit_base() -> dict[str, float]:
    """Speed of ViT-base without 1 and 3 of its 12 layers, neighbours as the angles say."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    whole = ViTForImageClassification(ViTConfig(num_labels=1000)).eval()
    images = torch.rand(4, 3, 224, 224)
    figures = {}
    for count in (1, 3):
        thinned = thinning.thin(whole, [images], count, way="contiguous", measure="angular")
        found = thinning.compare(whole, thinned.model, [images], rounds=5, clock=time.process_time)
        params = found["num_params"]
        figures[f"vit_base_random_{count}_speedup"] = found["speedup"]["of_fastest"]
        figures[f"vit_base_random_{count}_params"] = params["candidate"] / params["reference"]
    return figures


def _unit(name: str) -> str:
    return {"kl": "nats", "speedup": "ratio"}.get(name.rsplit("_", 1)[-1], "share")


if __name__ == "__main__":
    sys.exit(main())

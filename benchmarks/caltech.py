"""Caltech-101 as folders a run can use: links to the photographs, split by content digest.

The photographs are those of Caltech 101 (CC BY 4.0): a folder a class, the first 120 files of a
larger class, without `Faces_easy`. `python -m benchmarks.caltech --download` makes that folder with
torchvision. `BACKGROUND_Google` is left out of every class list; it measures what is turned away.

Test: the smaller of 30 images and 40% of a class. Two images a class each tune and validate.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from pathlib import Path

from edgekd.store import digest, file_sha256

OUTLIERS = "BACKGROUND_Google"
_LEFT_OUT = {OUTLIERS, "Faces_easy"}
MOST_OF_A_CLASS = 120
_NUM_TUNE = _NUM_VAL = 2


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--download", type=Path, required=True, help="folder to fill")
    print(download(parser.parse_args().download))
    return 0


def download(folder: Path) -> Path:
    """Returns the folder of photographs, made from torchvision's download."""
    from torchvision.datasets import Caltech101

    Caltech101(str(folder), download=True)
    return folder / "caltech101" / "101_ObjectCategories"


def class_names(photos: Path, which: str) -> list[str]:
    """Returns `all` classes, or the half that settings were `chosen` on, or the `held` half.

    The halves are drawn by the digest of the names.
    """
    names = sorted(p.name for p in photos.iterdir() if p.is_dir() and p.name not in _LEFT_OUT)
    if which == "all":
        return names
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    half = len(order) // 2
    return sorted(order[:half] if which == "chosen" else order[half:])


def prepare(photos: Path, target: Path, which: str, most: int | None = None) -> Path:
    """Returns a folder of links to the photographs of some classes, with labels.csv and splits.

    `most` images of a class at most, for screening.
    """
    rows = []
    for name in class_names(photos, which):
        files = sorted(photos.joinpath(name).glob("*.jpg"))[:MOST_OF_A_CLASS]
        by_digest = sorted(files, key=file_sha256)[:most]
        num_test = min(30, round(0.4 * len(by_digest)))
        cuts = (num_test, num_test + _NUM_TUNE, num_test + _NUM_TUNE + _NUM_VAL)
        for index, file in enumerate(by_digest):
            split = next(
                (s for s, end in zip(("test", "tune", "val"), cuts, strict=True) if index < end),
                "train",
            )
            rows.append((file, name, split))
    for file, name, _ in rows:
        link = target / name / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(file.resolve())
    with (target / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        writer.writerows((f"{name}/{file.name}", name, split) for file, name, split in rows)
    return target


def digest_of(folder: Path) -> str:
    """Returns one digest for the photographs and splits of a prepared folder."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return digest([(file_sha256(folder / row["path"]), row["label"], row["split"]) for row in rows])


if __name__ == "__main__":
    sys.exit(main())

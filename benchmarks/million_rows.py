"""Memory of merging, filtering and targets on made-up manifests: `python -m benchmarks.million_rows`.

Items, captions and observations are made anew, two captions an item by two teachers; then each step
works on them in a process of its own, once a size. No image is opened.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results_file
from edgekd.records import Caption, Item, Split, TaskSpec
from edgekd.store import RunStore

CLAIM = (
    "Merging, filtering and targets hold no captions. Their peak memory is not flat: it grows by the "
    "manifest and by what is known of each image as numbers."
)
NOTES = (
    "Peak resident memory is of the whole process, imports and manifest included; nothing is "
    "subtracted. Bytes a row and exponents are between the two largest sizes. 'manifest' only reads "
    "the manifest, and is the floor of the others. Of the steps, merge reads and writes captions as "
    "they come; filter holds ids and attributes of all items; targets holds the distributions "
    "[N, K], attributes [N, A] and ids that it writes. With --points, steps were measured one at a "
    "time, by the commits of that day, while other work ran on the machine."
)
CLASSES = (
    "dog", "cat", "horse", "sheep", "cow", "bear", "zebra", "giraffe", "elephant", "camel",
)  # fmt: skip
COLOURS = ("black", "white", "brown", "grey", "red", "blue", "green", "yellow")
SCENES = ("on a meadow", "in front of a house", "beside a road", "by the water", "in the snow")
FEATURES = 64
STEPS = ("manifest", "merge", "filter", "targets")
_BLOCK = 8192


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--points", type=Path, help="file of lines that --work printed: not measured again"
    )
    parser.add_argument("--work", nargs=3, metavar=("STEP", "SIZE", "FOLDER"), help="for itself")
    arguments = parser.parse_args()
    if arguments.work:
        step, size, folder = arguments.work
        print(json.dumps(work(step, int(size), Path(folder))))
        return 0
    sizes = sorted(arguments.sizes)
    lines = arguments.points.read_text().splitlines() if arguments.points else ()
    known = [json.loads(line) for line in lines if line]
    curve = [point for size in sizes for point in _measured(size, known)]
    found = figures(curve)
    path = results_file.write(
        "million_rows",
        claim=CLAIM,
        command="python -m benchmarks.million_rows --sizes "
        + " ".join(map(str, sizes))
        + (" --points POINTS" if known else ""),
        seeds=[0],
        data={
            "name": f"made-up manifests: {len(CLASSES)} classes, 2 captions an item, "
            f"{FEATURES} features as float16",
            "digest": None,
            "counts": {"items": sizes},
        },
        figures=found,
        notes=NOTES,
        extra={
            "curve": curve,
            "bytes_per_row": {  # as docs/scale.md quotes them
                step: int(found[f"{step}_bytes_per_row"]["value"]) for step in STEPS
            },
        },
    )
    print(path.read_text())
    return 0


def work(step: str, size: int, folder: Path) -> dict[str, Any]:
    """Returns the peak memory of one step; `make` makes what they need."""
    import resource

    getattr(sys.modules[__name__], f"_{step}")(RunStore(folder), size)
    return {
        "step": step,
        "items": size,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def figures(curve: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns bytes a row and the exponent of each step, and the peaks."""
    named = {}
    for step in STEPS:
        points = [point for point in curve if point["step"] == step]
        for point in points:
            named[f"{step}_peak_bytes_{point['items']}"] = results_file.figure(
                [float(point["peak_bytes"])], "bytes", point["items"]
            )
        small, large = points[-2:]
        slope = (large["peak_bytes"] - small["peak_bytes"]) / (large["items"] - small["items"])
        named[f"{step}_bytes_per_row"] = results_file.figure([float(round(slope))], "bytes")
        more = np.log(large["peak_bytes"] / small["peak_bytes"])
        exponent = float(more / np.log(large["items"] / small["items"]))
        named[f"{step}_memory_exponent"] = results_file.figure([exponent], "exponent")
    return named


def _measured(size: int, known: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What each step took for one size, or did before."""
    before = {point["step"]: point for point in known if point["items"] == size}
    if set(STEPS) <= set(before):
        for step in STEPS:
            yield {name: before[step][name] for name in ("step", "items", "peak_bytes")}
        return
    scratch = Path(tempfile.mkdtemp(prefix="million-rows-"))
    try:
        for step in ("make", *STEPS):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.million_rows", "--work", step, str(size), str(scratch)],
                check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            point = json.loads(done.stdout.splitlines()[-1])
            print(json.dumps(point), file=sys.stderr)
            if step != "make":
                yield point
    finally:
        shutil.rmtree(scratch)


# What is made.


def _make(store: RunStore, size: int) -> None:
    from captioning import captions as captions_io
    from captioning import stage
    from captioning.attributes import WORDS
    from edgekd import manifest as manifests

    rng = np.random.default_rng(0)
    items = [_item(number) for number in range(size)]
    task = TaskSpec("million rows", CLASSES)
    manifests.save(manifests.Manifest(task, items), store.path("manifest.parquet"))
    for teacher in ("one", "two"):
        captions_io.save(_captions(items, teacher), store.path(f"{teacher}.parquet"))
    path = stage.teacher_files(store).arrays
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        ids=[item.id for item in items],
        settings="made up",
        spoke=False,
        attributes=rng.random((size, len(WORDS)), dtype=np.float32),
        features=rng.random((size, FEATURES), dtype=np.float32).astype(np.float16),
        logits=rng.random((size, len(CLASSES)), dtype=np.float32),
    )


def _item(number: int) -> Item:
    label = number % len(CLASSES)
    split: Split = "tune" if number % 100 == 1 else "train"
    given = label if number % 100 < 2 else None
    path = f"{CLASSES[label]}/{number:07}.jpg"
    item_id = hashlib.sha256(str(number).encode()).hexdigest()
    return Item(item_id, path, split, given, "given" if given is not None else None, None, None, 640, 480)  # fmt: skip


def _captions(items: list[Item], teacher: str) -> Iterator[Caption]:
    """What two teachers say of an image differs in most cases; one in 20 names another class."""
    for number, item in enumerate(items):
        mixed = int.from_bytes(hashlib.sha256(f"{teacher} {number}".encode()).digest()[:8], "big")
        wrong = mixed % 20 == 0
        name = CLASSES[(number + wrong) % len(CLASSES)]
        colour, scene = COLOURS[mixed // 20 % 8], SCENES[mixed // 160 % 5]
        text = f"a {colour} {name} {scene}"
        yield Caption(item.id, 0, text, "made up", 1.0, mixed % 2**31, teacher, 0.9)


# What is measured.


def _loaded(store: RunStore) -> Any:
    from edgekd import manifest as manifests

    return manifests.load(store.path("manifest.parquet"))


def _manifest(store: RunStore, size: int) -> None:
    assert len(_loaded(store).items) == size


def _merge(store: RunStore, size: int) -> None:
    from captioning import captions as captions_io
    from captioning.teachers import looking

    sources = [captions_io.load(store.path(f"{teacher}.parquet")) for teacher in ("one", "two")]
    together = looking.in_item_order(_loaded(store).ids, *sources)
    assert captions_io.save(together, store.path("captions", "raw.parquet")) == 2 * size


def _filter(store: RunStore, size: int) -> None:
    from captioning import stage

    _, result = stage.filter_captions(_loaded(store), stage.FilterConfig(), store)
    assert result["num_made"] == 2 * size


def _targets(store: RunStore, size: int) -> None:
    from captioning import stage

    _, record = stage.soft_targets(_loaded(store), stage.TargetsConfig(), store, ["one"])
    assert record.num_items == size


if __name__ == "__main__":
    raise SystemExit(main())

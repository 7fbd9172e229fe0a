"""Memory of the captioning steps on made-up manifests: `python -m benchmarks.million_rows`.

Items, captions and blocks of observations are made anew, two captions an item by two teachers; then
each step works on them in a process of its own, once a size. No image is opened.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results_file
from edgekd.mapped import zeros_in
from edgekd.records import Caption, Item, Split, TaskSpec
from edgekd.store import RunStore

LIMIT_BYTES = 400_000_000  # of private memory, for every step at every size
CLAIM = (
    "Captioning streams: from 100,000 to 1,000,000 images the private memory of reading the manifest, "
    "joining observations, merging captions and filtering grows by less than 20 bytes an image, that "
    f"of targets by less than 100, and none of them gets more than {LIMIT_BYTES // 10**6} MB of it "
    "(RLIMIT_DATA) at any size."
)
NOTES = (
    "Anonymous memory is what no file stands behind (RssAnon of /proc/self/status, looked at every 5 "
    "ms, the largest taken): imports and the libraries' own count, nothing is subtracted. The system "
    "cannot drop it without swap. RLIMIT_DATA bounds what a process may map for itself alone, used or "
    "not; a step that needs more fails. Resident memory (ru_maxrss) counts pages of mapped files too "
    "(ids, features, distributions), as far as they are in memory: here, where memory is free, all "
    "that a step touches. The system drops them when memory is short, and reads or writes them again. "
    "Bytes a row are between the two largest sizes. 'manifest' reads all items and columns once. "
    "One core, pyarrow with the system's allocator, which reserves nothing. One image in 50 has a "
    "label: labels, captions of labelled tune images and what is reviewed are held, and vectors of a "
    "number an image: found by tracemalloc to be half each of what grows in targets' Python and numpy "
    "memory, 31 bytes an image; the rest was not traced. With --points, sizes were measured before, at "
    "commit a03c70a6cf5c of the same steps, while other work ran on the machine."
)
CLASSES = (
    "dog", "cat", "horse", "sheep", "cow", "bear", "zebra", "giraffe", "elephant", "camel",
)  # fmt: skip
COLOURS = ("black", "white", "brown", "grey", "red", "blue", "green", "yellow")
SCENES = ("on a meadow", "in front of a house", "beside a road", "by the water", "in the snow")
FEATURES = 64
STEPS = ("manifest", "observations", "merge", "filter", "targets")
# Else libraries reserve room for threads and arenas that they never use.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
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
    """Returns the peak memory of one step; `make` makes what they need, without a limit."""
    if step != "make":
        resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    with Anonymous() as anonymous:
        act(step, RunStore(folder), size)
    return {
        "step": step,
        "items": size,
        "anonymous_bytes": anonymous.peak_bytes,
        "resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def act(step: str, store: RunStore, size: int) -> None:
    """Does one step, or makes what the others need."""
    getattr(sys.modules[__name__], f"_{step}")(store, size)


class Anonymous:
    """The most anonymous memory that this process had within it, looked at every few ms."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Anonymous:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            (kilobytes,) = re.findall(r"RssAnon:\s*(\d+) kB", status)
            self.peak_bytes = max(self.peak_bytes, int(kilobytes) * 1024)
            if self._done.wait(0.005):
                return


def figures(curve: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the peaks of each step, and bytes a row and the exponent of anonymous memory."""
    named = {}
    for step in STEPS:
        points = [point for point in curve if point["step"] == step]
        for point, kind in itertools.product(points, ("anonymous", "resident")):
            named[f"{step}_{kind}_bytes_{point['items']}"] = results_file.figure(
                [float(point[f"{kind}_bytes"])], "bytes", point["items"]
            )
        small, large = ((each["items"], each["anonymous_bytes"]) for each in points[-2:])
        slope = (large[1] - small[1]) / (large[0] - small[0])
        named[f"{step}_bytes_per_row"] = results_file.figure([float(round(slope))], "bytes")
        exponent = float(np.log(large[1] / small[1]) / np.log(large[0] / small[0]))
        named[f"{step}_memory_exponent"] = results_file.figure([exponent], "exponent")
    return named


def _measured(size: int, known: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What each step took for one size, or did before."""
    before = {point["step"]: point for point in known if point["items"] == size}
    if set(STEPS) <= set(before):
        for step in STEPS:
            yield before[step]
        return
    scratch = Path(tempfile.mkdtemp(prefix="million-rows-"))
    try:
        for step in ("make", *STEPS):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.million_rows", "--work", step, str(size), str(scratch)],
                check=True, stdout=subprocess.PIPE, text=True, env=os.environ | _ENVIRONMENT,
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
    from captioning.attributes import WORDS
    from captioning.teachers import looking
    from edgekd import manifest as manifests

    rng = np.random.default_rng(0)
    items = [_item(number) for number in range(size)]
    task = TaskSpec("million rows", CLASSES)
    manifests.save(manifests.Manifest(task, items), store.path("manifest.parquet"))
    for teacher in ("one", "two"):
        captions_io.save(_captions(items, teacher), store.path(f"{teacher}.parquet"))
    folder = _files(store).blocks(_Teacher.settings)
    folder.mkdir(parents=True)
    for block in looking.blocks_of(looking.Part(items, range(size)), folder, _BLOCK):
        shape = len(block.items)
        np.savez(
            block.path,
            attributes=rng.random((shape, len(WORDS)), dtype=np.float32),
            features=rng.random((shape, FEATURES), dtype=np.float32).astype(np.float16),
            scores=rng.random((shape, len(CLASSES)), dtype=np.float32),
        )


def _files(store: RunStore) -> Any:
    from captioning import stage

    return stage.teacher_files(store)


class _Teacher:
    """One that has looked at everything, and whose scores are what it saw."""

    name, settings = "one", "made up"

    def look(self, items: Any, images: Any) -> Any:
        raise AssertionError("no image is opened")

    def conclude(self, manifest: Any, observed: dict[str, np.ndarray]) -> Any:
        from captioning.teachers.protocol import Conclusion

        return Conclusion(observed["scores"])


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
    manifest = _loaded(store)
    assert sum(item.width > 0 for item in manifest.items) == size
    assert sum(split["images"] for split in manifest.counts().values()) == size
    assert len(set(manifest.labels("tune"))) == size // 100


def _observations(store: RunStore, size: int) -> None:
    from captioning.teachers import looking
    from edgekd.progress import silent

    manifest = _loaded(store)
    done = looking.work(_Teacher(), manifest, store.folder, _files(store), _BLOCK, silent)
    assert len(done.attributes) == size


def _merge(store: RunStore, size: int) -> None:
    from captioning import captions as captions_io
    from captioning.teachers import looking

    sources = [captions_io.load(store.path(f"{teacher}.parquet")) for teacher in ("one", "two")]
    zeros = zeros_in(store.path("captions"))
    together = looking.in_item_order(_loaded(store).ids, *sources, zeros=zeros)
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

"""Memory and time of `validate` on many tiny images: `python -m benchmarks.many_images`.

Images are made anew (32 px, PNG, a hundred classes by folder, one in twenty a brightened copy of
another), then `edgekd run --until validate` works on them in a process of its own, once a size.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import results_file

CLAIM = (
    "Validating a folder of tiny images takes time in proportion to their number and, beside a "
    "fixed part, a few hundred bytes of memory for each."
)
NOTES = (
    "Seconds and peak resident memory are of the whole process, imports included; slopes and the "
    "exponent are between the two largest sizes. What grows with the images: an Item each "
    "(digest, path, split, label), 13 bytes of hash and shape each, and the sorted list of paths. "
    "Thumbnails for near copies lie in a temporary file (768 bytes each) whose pages the system "
    "may count as the process's."
)
SIDE = 32
CLASSES = 100
_WORK = """
import json, resource, sys, time
start = time.perf_counter()
from edgekd import config, pipeline
from edgekd.run_config import RunConfig
values = json.loads(sys.argv[1])
pipeline.run(config.parse(RunConfig, values), "validate")
result = json.load(open(values["out"] + "/stages/validate.json"))["result"]
result |= {
    "seconds": time.perf_counter() - start,
    "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}
print(json.dumps(result))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--near-duplicates", choices=["together", "ignore"], default="together")
    arguments = parser.parse_args()
    sizes = sorted(arguments.sizes)
    curve = []
    for size in sizes:
        curve.append(_measured(size, arguments.near_duplicates))
        print(json.dumps(curve[-1]), file=sys.stderr)
    path = results_file.write(
        "many_images",
        claim=CLAIM,
        command="python -m benchmarks.many_images --sizes " + " ".join(map(str, sizes)),
        seeds=[0],
        data={
            "name": f"random images, {SIDE} px, {CLASSES} classes",
            "digest": None,
            "counts": {"images": sizes},
        },
        figures=_figures(curve),
        notes=NOTES,
        extra={"curve": curve},
    )
    print(path.read_text())
    return 0


def make_images(folder: Path, count: int) -> None:
    """Writes `count` images; the same ones each time."""
    rng = np.random.default_rng(0)
    picture = Image.new("RGB", (SIDE, SIDE))
    for number in range(count):
        target = folder / f"class {number % CLASSES:03}"
        target.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(20, 200, (5, 5, 3), dtype=np.uint8)
        if number % 20 == 19:
            picture = Image.eval(picture, lambda value: min(255, value * 21 // 20))
        else:
            picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(target / f"{number:06}.png", compress_level=1)


def _measured(size: int, near_duplicates: str) -> dict[str, Any]:
    """What one process took for one size."""
    scratch = Path(tempfile.mkdtemp(prefix="many-images-"))
    try:
        make_images(scratch / "data", size)
        values = {
            "out": str(scratch / "run"),
            "data": {"folder": str(scratch / "data"), "near_duplicates": near_duplicates},
        }
        done = subprocess.run(
            [sys.executable, "-c", _WORK, json.dumps(values)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        result = json.loads(done.stdout.splitlines()[-1])
        found = sum(split["images"] for split in result["counts"].values())
        if found != size:
            raise SystemExit(f"{size} images were made, {found} found")
        return {
            "images": size,
            "seconds": round(result["seconds"], 3),
            "peak_bytes": result["peak_bytes"],
            "near_copies": result["near_copies"]["images"],
            "manifest_bytes": (scratch / "run" / "manifest.parquet").stat().st_size,
        }
    finally:
        shutil.rmtree(scratch)


def _figures(curve: list[dict[str, Any]]) -> dict[str, Any]:
    small, large = curve[-2:]
    more = large["images"] - small["images"]
    figures = {
        "peak_bytes_per_image": (large["peak_bytes"] - small["peak_bytes"]) / more,
        "time_exponent": float(
            np.log(large["seconds"] / small["seconds"]) / np.log(large["images"] / small["images"])
        ),
        "seconds_per_1000_images": 1000 * (large["seconds"] - small["seconds"]) / more,
    }
    units = {"peak_bytes_per_image": "bytes", "time_exponent": "exponent"}
    named = {
        name: results_file.figure([value], units.get(name, "seconds"))
        for name, value in figures.items()
    }
    for point in curve:
        for name, unit in (("seconds", "seconds"), ("peak_bytes", "bytes")):
            figure = results_file.figure([float(point[name])], unit, point["images"])
            named[f"{name}_{point['images']}"] = figure
    return named


if __name__ == "__main__":
    raise SystemExit(main())

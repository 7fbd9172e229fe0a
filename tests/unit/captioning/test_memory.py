"""Four times the images take no more memory: what grows with them lies in files.

Arrow's own memory is not seen here, nor mapped files; `benchmarks.million_rows` measures the process.
"""

from __future__ import annotations

import gc
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import million_rows
from captioning import captions, refine, stage
from edgekd import manifest, mapped
from edgekd.store import RunStore

FEW, MANY = 200, 800
# Measured: 1 to 60. They are vectors of a number an image, and what is held of the one in 50 that
# has a label. A list of items takes 460 bytes an image, the ids 113, a distribution 40.
MOST_BYTES_A_ROW = 80


@pytest.fixture(scope="module")
def small_parts() -> Any:
    """So that few images already are more than what is held at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "_ROWS_A_GROUP", 64)
        patch.setattr(captions, "_ROWS_A_GROUP", 64)
        patch.setattr(million_rows, "_BLOCK", 128)
        patch.setattr(million_rows, "COLOURS", ("black",) * 8)
        patch.setattr(million_rows, "SCENES", ("outside",) * 5)
        patch.setattr(mapped, "_BLOCK", 64)
        for module in (stage, refine):
            patch.setattr(module, "MOST_NEIGHBOURS", 64)
        patch.setattr(np, "savez", savez)
        yield


@pytest.fixture(scope="module")
def stores(small_parts: None, tmp_path_factory: pytest.TempPathFactory) -> dict[int, RunStore]:
    found = {}
    for size in (FEW, MANY):
        found[size] = RunStore(tmp_path_factory.mktemp("rows"))
        million_rows.act("make", found[size], size)
    return found


@pytest.mark.parametrize("step", million_rows.STEPS)  # in order: each needs those before
def test_four_times_the_images_take_no_more(
    step: str, stores: dict[int, RunStore], small_parts: None
) -> None:
    million_rows.act(step, stores[FEW], FEW)  # imports, caches
    few, many = (peak(step, stores[size], size) for size in (FEW, MANY))
    assert (many - few) / (MANY - FEW) < MOST_BYTES_A_ROW


def peak(step: str, store: RunStore, size: int) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        million_rows.act(step, store, size)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def savez(path: Path, **arrays: Any) -> None:
    """As numpy's, which writes 16 MiB at a time: more than all there is here."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in arrays.items():
            array = np.asarray(values)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = np.lib.format.header_data_from_array_1_0(array)
                np.lib.format.write_array_header_1_0(member, header)
                for some in mapped.blocks(len(array)) if array.ndim else [()]:
                    member.write(array[some].tobytes())

"""targets.npz, dense and with its largest classes alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from captioning.attributes import WORDS
from edgekd import costs, targets_file
from edgekd.config import parse
from edgekd.errors import SchemaError
from edgekd.manifest import Manifest
from edgekd.records import Item, TaskSpec
from edgekd.run_config import RunConfig
from edgekd.targets_file import Targets

PROBS = np.array(
    [[0.5, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]], np.float32
)
# Of each the two largest, of equal ones the first; half of what is left for each of the others.
OF_TWO = [[0.5, 0.25, 0.125, 0.125], [0.15, 0.15, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]]
IDS = ["a" * 64, "b" * 64, "c" * 64]


def saved(folder: Path, top_k: int | None = None, probs: np.ndarray = PROBS) -> Path:
    path = folder / "targets.npz"
    ids = [f"{row:064x}" for row in range(len(probs))]
    arrays = {
        "probs": probs,
        "captions_only": probs[:, ::-1],
        "weight": np.arange(len(probs)),
        "attributes": np.ones((len(probs), 5)),
    }
    targets_file.save(path, ids, arrays, top_k)
    return path


def test_two_of_four_classes_by_hand(tmp_path: Path) -> None:
    targets = Targets(saved(tmp_path, 2))
    probs = targets.probs()
    assert probs.classes is not None
    assert probs.classes.tolist() == [[0, 1], [3, 2], [0, 1]]
    assert probs.classes.dtype == np.uint8
    assert probs.values.dtype == np.float32
    assert probs.rows() == pytest.approx(np.array(OF_TWO), abs=1e-7)
    assert probs.rows([2, 1]) == pytest.approx(np.array(OF_TWO)[[2, 1]], abs=1e-7)
    assert probs.argmax().tolist() == PROBS.argmax(axis=1).tolist() == [0, 3, 0]
    assert probs.only(np.array([1])).rows() == pytest.approx(np.array(OF_TWO[1:2]), abs=1e-7)
    assert len(probs) == 3
    assert targets.probs("captions_only").rows()[1] == pytest.approx([0.4, 0.3, 0.15, 0.15])
    assert targets.ids == [f"{row:064x}" for row in range(3)]
    assert targets.row_of[f"{2:064x}"] == 2
    assert targets.array("weight").tolist() == [0, 1, 2]
    assert targets.array("attributes").shape == (3, 5)
    assert "scores_only" not in targets


@pytest.mark.parametrize("top_k", [None, 4, 9])
def test_all_classes_are_the_first_version_as_it_was(tmp_path: Path, top_k: int | None) -> None:
    """Byte for byte what was written before there was a second one."""
    path = saved(tmp_path, top_k)
    with np.load(path) as stored:
        assert int(stored["schema"]) == 1
        assert stored["probs"].tolist() == PROBS.tolist()
        assert stored["ids"].tolist() == [f"{row:064x}" for row in range(3)]
        names = stored.files
    assert names == ["ids", "schema", "probs", "captions_only", "weight", "attributes"]
    probs = Targets(path).probs()
    assert probs.rows().tolist() == PROBS.tolist()
    assert probs.only(np.array([2, 0])).argmax().tolist() == [0, 0]
    assert probs.argmax().tolist() == [0, 3, 0]


@pytest.mark.parametrize(("num_classes", "dtype"), [(256, np.uint8), (257, np.uint16)])
def test_rows_of_many_classes_sum_to_one(tmp_path: Path, num_classes: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    dense = rng.dirichlet(np.full(num_classes, 0.05), 40).astype(np.float32)
    probs = Targets(saved(tmp_path, 5, dense)).probs()
    assert probs.classes is not None
    assert probs.classes.dtype == dtype
    assert probs.rows().sum(axis=1) == pytest.approx(np.ones(40), abs=2e-6)
    assert (probs.rows() >= 0).all()
    assert probs.argmax().tolist() == dense.argmax(axis=1).tolist()
    kept = np.take_along_axis(dense, probs.classes.astype(int), axis=1)
    assert (np.take_along_axis(probs.rows(), probs.classes.astype(int), axis=1) == kept).all()


def test_rounding_above_one_leaves_nothing_negative() -> None:
    probs = targets_file.largest(np.array([[0.6, 0.4000001, 0.0]], np.float32), 2)
    assert probs.rows().min() == 0


def test_another_version_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "targets.npz", ids=IDS, probs=PROBS, schema=3)
    with pytest.raises(SchemaError, match=r"targets.npz: schema 3, this edgekd reads schema 2\. "):
        Targets(tmp_path / "targets.npz")


@pytest.mark.parametrize("top_k", [None, 3, 40])
def test_the_size_is_what_is_written_but_for_headers(tmp_path: Path, top_k: int | None) -> None:
    probs = np.full((500, 40), 1 / 40)
    path = saved(tmp_path, top_k, probs)
    expected = targets_file.size_bytes(500, 40, 5, 2, top_k)
    assert expected < path.stat().st_size < expected + 4_000


def test_the_note_names_what_it_takes_and_what_would_be_smaller() -> None:
    manifest = Manifest(
        TaskSpec("t", tuple(f"c{n}" for n in range(1000))),
        [Item(str(n), f"{n}.png", "train") for n in range(3000)],
    )
    # A row: 3 x 1,000 float32 or 3 x 10 float32 with classes of 2 bytes; weight and attribute
    # words as float32; an id of 64 signs at 4 bytes, or 1.
    dense, few = 3000 * 4 + 256, 3 * 10 * 6 + 64
    others = 4 * (1 + len(WORDS))
    assert costs.targets_bytes(config(), manifest) == 3000 * (dense + others)
    assert costs.targets_bytes(config("top_k", 10), manifest) == 3000 * (few + others)
    assert costs.targets_bytes(config("evidence", "captions"), manifest) == 3000 * (
        2 * 4000 + 256 + others
    )
    assert costs.targets_note(config(), manifest) == (
        "targets.npz will take 37.12 MB for 3,000 images and 1,000 classes; "
        "targets.top_k: 10 makes it 1.08 MB"
    )
    assert costs.targets_note(config("top_k", 10), manifest) is None
    assert costs.targets_note(config("top_k", 500), manifest) == (
        "targets.npz will take 27.54 MB for 3,000 images and 1,000 classes"
    )


def config(name: str = "hard", value: object = False) -> RunConfig:
    return parse(RunConfig, {"data": {"folder": "photos"}, "targets": {name: value}})

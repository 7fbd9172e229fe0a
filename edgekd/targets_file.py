"""targets.npz, as everything that learns or measures by soft targets writes and reads it.

The first version of the file holds all classes of each distribution. The second holds the k most
likely ones and is written only where that is asked for, so files without it stay what they were.

N items, M some of them, K classes, k of these kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.errors import SchemaError
from edgekd.mapped import Zeros, blocks, from_texts
from edgekd.store import atomic_path

SCHEMA = 2
DISTRIBUTIONS = ("probs", "captions_only", "scores_only")
_DENSE = 1


@dataclass(frozen=True)
class Probs:
    """N distributions over K classes, all of each or its k largest; rows are made whole when asked.

    `values` [N, K] where `classes` is None, else [N, k], the largest first, of the classes [N, k].
    What these leave of 1 is spread evenly over the other classes.
    """

    values: np.ndarray
    classes: np.ndarray | None
    num_classes: int

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, wanted: np.ndarray | list[int] | slice = slice(None)) -> np.ndarray:
        """Returns some of the distributions [M, K] float32; by default all."""
        values = self.values[wanted]
        if self.classes is None:
            return values
        others = self.num_classes - values.shape[1]
        rest = (1 - values.sum(axis=1, dtype=np.float64)).clip(min=0) / max(others, 1)
        whole = np.repeat(rest.astype(np.float32)[:, None], self.num_classes, axis=1)
        np.put_along_axis(whole, self.classes[wanted].astype(np.intp), values, axis=1)
        return whole

    def argmax(self) -> np.ndarray:
        """Returns the most likely class of each [N]; of equal ones the first."""
        if self.classes is None:
            return self.values.argmax(axis=1)
        return self.classes[:, 0].astype(np.int64)

    def only(self, kept: np.ndarray) -> Probs:
        """Returns some of the distributions as they are stored."""
        classes = None if self.classes is None else self.classes[kept]
        return Probs(self.values[kept], classes, self.num_classes)


class Targets:
    """A targets.npz; `edgekd.records.SoftTargets` says what is in it. Arrays are read when asked.

    Raises:
        SchemaError: it is written in a version that this edgekd does not read.
    """

    def __init__(self, path: Path):
        self._path = path
        with np.load(path) as stored:
            found = int(stored["schema"]) if "schema" in stored else _DENSE
            if found not in (_DENSE, SCHEMA):
                raise SchemaError(path, found, SCHEMA, "Make it anew with: edgekd caption CONFIG")
            self._names = frozenset(stored.files)
            self.ids: list[str] = stored["ids"].astype(str).tolist()
            self.row_of = {item_id: row for row, item_id in enumerate(self.ids)}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def array(self, name: str) -> np.ndarray:
        """Returns an array as it is stored, such as `weight` [N]."""
        with np.load(self._path) as stored:
            return stored[name]

    def probs(self, name: str = "probs") -> Probs:
        """Returns one of `DISTRIBUTIONS`."""
        values = self.array(name)
        if _of_classes(name) not in self:
            return Probs(values, None, values.shape[1])
        return Probs(values, self.array(_of_classes(name)), int(self.array("num_classes")))


def save(
    path: Path,
    ids: Collection[str],
    arrays: Mapping[str, np.ndarray],
    top_k: int | None = None,
    zeros: Zeros = np.zeros,
) -> None:
    """Writes a targets.npz; of the distributions [N, K] among the arrays the `top_k` largest.

    All is float32. Where k is not below K everything is kept, as without `top_k`. What is made on
    the way is made by `zeros`.
    """
    num_classes = arrays["probs"].shape[1]
    stored = {name: values.astype(np.float32, copy=False) for name, values in arrays.items()}
    if top_k is None or top_k >= num_classes:
        about: dict[str, object] = {"ids": from_texts(ids, "U", zeros), "schema": _DENSE}
    else:
        about = {"ids": from_texts(ids, "S", zeros), "schema": SCHEMA, "num_classes": num_classes}
        for name in set(DISTRIBUTIONS) & set(stored):
            stored[name], stored[_of_classes(name)] = _largest(stored[name], top_k, zeros)
    with atomic_path(path) as temporary:
        np.savez(temporary, **about, **stored)  # type: ignore[arg-type]


def largest(probs_NK: np.ndarray, top_k: int) -> Probs:
    """Returns the same distributions by their `top_k` largest; of equal ones the first classes."""
    num_classes = probs_NK.shape[1]
    classes = np.argsort(-probs_NK, axis=1, kind="stable")[:, :top_k]
    values = np.take_along_axis(probs_NK, classes, axis=1).astype(np.float32)
    return Probs(values, classes.astype(np.min_scalar_type(num_classes - 1)), num_classes)


def _largest(probs_NK: np.ndarray, top_k: int, zeros: Zeros) -> tuple[np.ndarray, np.ndarray]:
    """Values and classes [N, k], some rows at a time."""
    num_items, num_classes = probs_NK.shape
    values = zeros((num_items, top_k), np.float32)
    classes = zeros((num_items, top_k), np.min_scalar_type(num_classes - 1))
    for some in blocks(num_items):
        kept = largest(probs_NK[some], top_k)
        values[some], classes[some] = kept.values, kept.classes
    return values, classes


def size_bytes(
    num_items: int,
    num_classes: int,
    num_words: int,
    distributions: int = len(DISTRIBUTIONS),
    top_k: int | None = None,
) -> int:
    """Returns how much `save` writes, but headers; `num_words` are those of its attributes."""
    if top_k is None or top_k >= num_classes:
        of_classes, of_id = num_classes * 4, 64 * 4
    else:
        of_classes, of_id = top_k * (4 + np.min_scalar_type(num_classes - 1).itemsize), 64
    return num_items * (distributions * of_classes + (1 + num_words) * 4 + of_id)


def _of_classes(name: str) -> str:
    return f"{name}_classes"

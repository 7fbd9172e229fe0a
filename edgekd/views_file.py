"""targets/views.parquet and views.npz: augmented views of training images, and what teachers say of them.

A view is one random change of one image, drawn once and stored as what it takes to make the same
pixels again. Each candidate of `distill.augment` has views of its own. A view's row is
`(candidate * N + image) * V + view`.

N images, V views of each, C candidates, R rows of views, K classes, B of a batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import SchemaError
from edgekd.store import atomic_path
from edgekd.targets_file import Probs, Targets, largest

SCHEMA = 1
REPLAYS, SCORES = "views.parquet", "views.npz"
# What a view changes: (name of the albumentations transform, its parameters), in order.
Replay = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Layout:
    """Which rows there are: `ids` of the images, how many views, how many candidates."""

    ids: Sequence[str]
    num_views: int
    num_candidates: int

    def __len__(self) -> int:
        return self.num_candidates * len(self.ids) * self.num_views

    def rows(self, candidate: int, images: Any, views: Any) -> Any:
        """Returns the rows of views; images and views may be arrays [B]."""
        return (candidate * len(self.ids) + images) * self.num_views + views

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yields (candidate, image, view) of each row."""
        for row in range(len(self)):
            rest, view = divmod(row, self.num_views)
            candidate, image = divmod(rest, len(self.ids))
            yield candidate, image, view


def save_replays(path: Path, layout: Layout, replays: Sequence[Replay]) -> None:
    """Writes the table: image, candidate, view, and the change as JSON."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    places = np.array(list(layout), dtype=np.int32)
    table = pa.table(
        {
            "item_id": pa.array([layout.ids[n] for n in places[:, 1]]).dictionary_encode(),
            "candidate": places[:, 0],
            "view": places[:, 2],
            "replay": [json.dumps(replay) for replay in replays],
        },
        metadata={"edgekd_schema": str(SCHEMA)},
    )
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def load_replays(path: Path) -> Callable[[int], Replay]:
    """Returns a function from a row to its change; the table is held as it is stored.

    Raises:
        SchemaError: another version.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    found = (table.schema.metadata or {}).get(b"edgekd_schema", b"").decode()
    if found != str(SCHEMA):
        raise SchemaError(path, found, SCHEMA, "Make it anew with: edgekd distill CONFIG")
    column = table["replay"]
    return lambda row: json.loads(column[row].as_py())


def save_scores(
    path: Path, layout: Layout, probs: Mapping[int, np.ndarray], top_k: int | None
) -> None:
    """Writes what each teacher, by its number, says of the views [R, K]; NaN where it abstains."""
    num_classes = next(iter(probs.values())).shape[1]
    stored: dict[str, Any] = {}
    for number, probs_RK in probs.items():
        if top_k is None or top_k >= num_classes:
            stored[f"teacher_{number}"] = probs_RK.astype(np.float32)
        else:
            kept = largest(probs_RK, top_k)
            stored |= {f"teacher_{number}": kept.values, f"teacher_{number}_classes": kept.classes}
    about = {
        "schema": SCHEMA,
        "ids": np.array(layout.ids, dtype=np.bytes_),
        "num_views": layout.num_views,
        "num_candidates": layout.num_candidates,
        "num_classes": num_classes,
        "teachers": list(probs),
    }
    with atomic_path(path) as temporary:
        np.savez(temporary, **about, **stored)


class ViewTargets:
    """The soft targets of views: those of their images, with the scores of the view in the mixture.

    Where nothing was done to the mixture it is `share * captions + (1 - share) * scores of the
    view`. What was done to it (neighbours, priors) is kept: the image's target, moved by
    `(1 - share) * (scores of the view - scores of the image)`; what falls below 0 is 0.

    Raises:
        SchemaError: another version.
    """

    def __init__(self, folder: Path):
        path = folder / SCORES
        with np.load(path) as stored:
            if int(stored["schema"]) != SCHEMA:
                found = int(stored["schema"])
                raise SchemaError(path, found, SCHEMA, "Make it anew with: edgekd distill CONFIG")
            ids = stored["ids"].astype(str).tolist()
            self.layout = Layout(ids, int(stored["num_views"]), int(stored["num_candidates"]))
            num_classes = int(stored["num_classes"])
            self._scores = [
                Probs(stored[name], stored.get(f"{name}_classes"), num_classes)
                for name in (f"teacher_{number}" for number in stored["teachers"].tolist())
            ]
        targets = Targets(folder / "targets.npz")
        rows = np.array([targets.row_of[item_id] for item_id in ids], dtype=np.intp)
        self._plain = targets.probs().only(rows)
        self._plain_scores = targets.probs("scores_only").only(rows)
        self._share = float(targets.array("caption_share"))
        self._weights = targets.array("teacher_weights").astype(np.float64)
        self._lent = bool(targets.array("weights_lent"))

    def of(self, candidate: int, images: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Returns the targets of some views [B, K] float32; `images` are rows of the layout."""
        rows = self.layout.rows(candidate, images, views)
        scores = self._pooled([each.rows(rows).astype(np.float64) for each in self._scores])
        moved = scores - self._plain_scores.rows(images)
        found = (self._plain.rows(images) + (1 - self._share) * moved).clip(min=0)
        return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float32)

    def _pooled(self, probs: list[np.ndarray]) -> np.ndarray:
        """As `captioning.soft_targets.pooled_scores`, whose weights these are."""
        spoke_TB = np.stack([np.isfinite(each).all(axis=1) for each in probs])
        weights_TB = np.where(spoke_TB, self._weights[:, None], 0)
        if self._lent:  # who abstains leaves the weight to the others
            weights_TB = weights_TB / weights_TB.sum(axis=0).clip(min=1e-9)
        logits = sum(
            w_B[:, None] * np.log(np.nan_to_num(each, nan=1.0).clip(min=1e-12))
            for w_B, each in zip(weights_TB, probs, strict=True)
        )
        pooled = np.exp(logits - np.max(logits, axis=1, keepdims=True))
        return np.asarray(pooled / pooled.sum(axis=1, keepdims=True))

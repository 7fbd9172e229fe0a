"""What a few captioned images say of captioning all: pace, tokens, money, scores and room on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from captioning.contact_sheet import NUM_IMAGES, choose
from captioning.rows import Rows
from captioning.teachers.protocol import Files
from edgekd.manifest import Manifest
from edgekd.metrics import sigmoid, softmax
from edgekd.names import spoken
from edgekd.records import Caption, Item, TaskSpec

# Images looked at together, so that the first ones, which wait for weights, tell apart from the rest.
BLOCK = 3
_TO_FIT = 256
_TO_TUNE = 100
_TO_FIT_A_CLASS = 3
_TOP = 3
_BYTES_A_CAPTION = 40  # beside its text, which stands in two files; ids repeat and pack well


def images_of_trial(
    manifest: Manifest, seed: int, also_to_fit: bool
) -> tuple[Manifest, list[Item]]:
    """Returns (the manifest of the trial, the images that are shown: nine of the training images).

    `also_to_fit` adds images that a teacher which learns from labels is fitted on, one class after
    the other: enough for a fair trial, and cheap for a teacher of that kind.
    """
    shown = choose(manifest.items, seed, NUM_IMAGES)
    wanted = {item.id for item in shown}
    if also_to_fit:
        more = max(_TO_FIT, _TO_FIT_A_CLASS * manifest.task.num_classes)
        wanted |= {item.id for item in choose(manifest.items, seed, NUM_IMAGES + more)}
        tune = [item.id for item in manifest.of("tune") if item.label is not None]
        wanted |= set(sorted(tune)[:_TO_TUNE])
    items = [item for item in manifest.items if item.id in wanted]
    return Manifest(manifest.task, items), shown


@dataclass
class Pace:
    """A progress that keeps when how many images were done, to tell loading from looking.

    Each teacher counts from its own first image.
    """

    clock: Callable[[], float] = time.perf_counter
    _marks: list[list[tuple[float, int]]] = field(default_factory=list)
    _start: float | None = None

    def __call__(self, done: int, total: int, what: str) -> None:
        if self._start is None:
            self._start = self.clock()
        if done == 0 or what != "images":
            return
        if not self._marks or done < self._marks[-1][-1][1]:
            self._marks.append([])
        if not self._marks[-1] or done > self._marks[-1][-1][1]:
            self._marks[-1].append((self.clock(), done))

    def start(self) -> None:
        """Begins to count; else the first call does."""
        self._start = self.clock()

    @property
    def seconds_per_image(self) -> float | None:
        """Of all teachers together, without what they load; None where nothing was looked at."""
        if not self._marks:
            return None
        return sum(map(self._seconds, self._before(), self._marks))

    def _before(self) -> list[float]:
        starts = [self._start if self._start is not None else self._marks[0][0][0]]
        return starts + [marks[-1][0] for marks in self._marks[:-1]]

    def _seconds(self, start: float, marks: list[tuple[float, int]]) -> float:
        (first_at, first), (last_at, last) = marks[0], marks[-1]
        if last > first:
            return (last_at - first_at) / (last - first)
        return (last_at - start) / last  # one block: with what it loads


@dataclass(frozen=True)
class Spent:
    """What the servers among the teachers took for the trial; None where nothing is known."""

    tokens: int | None = None
    cost: float | None = None

    def times(self, factor: float) -> Spent:
        """Returns as much for `factor` times the images."""
        tokens = None if self.tokens is None else round(self.tokens * factor)
        return Spent(tokens, None if self.cost is None else self.cost * factor)


def spent(teachers: Sequence[dict[str, Any]]) -> Spent:
    """Returns the sums over the summaries of teachers that count tokens.

    What a request may have cost that was never answered counts too. The cost of one server without
    prices makes the sum unknown.
    """
    used = [teacher["usage"] for teacher in teachers if "usage" in teacher]
    if not used:
        return Spent()
    tokens = sum(
        usage["tokens_in"] + usage["tokens_out"] + usage["unsure"]["tokens"] for usage in used
    )
    costs = [usage["cost"] for usage in used]
    if None in costs:
        return Spent(tokens)
    return Spent(tokens, sum(costs) + sum(usage["unsure"]["cost"] or 0.0 for usage in used))


def top_scores(files: Files, name: str, items: Sequence[Item], task: TaskSpec) -> dict[str, str]:
    """Returns "teacher: cat 81.2%, dog 10.0%" by item id; nothing of a teacher without scores."""
    with np.load(files.arrays) as observations:
        if "logits" not in observations:
            return {}
        row_of = Rows(observations["ids"].astype(str).tolist())
        logits = observations["logits"]
    told = {}
    for item in items:
        scores = logits[row_of[item.id]][None, :]
        (probs,) = sigmoid(scores) if task.multilabel else softmax(scores)
        if np.isfinite(probs).all():
            best = np.argsort(-probs, kind="stable")[:_TOP]
            said = ", ".join(f"{spoken(task.classes[index])} {probs[index]:.1%}" for index in best)
            told[item.id] = f"{name}: {said}"
    return told


def disk_bytes(files: Sequence[Files], captions: Sequence[Caption], num_tried: int) -> float:
    """Returns about how many bytes an image takes: what teachers saw in it, and its captions twice."""
    seen = 0.0
    for each in files:
        with np.load(each.arrays) as observations:
            rows = [observations[name] for name in observations if observations[name].ndim]
            seen += sum(values.nbytes / len(values) for values in rows if len(values))
    said = sum(len(caption.text.encode()) + _BYTES_A_CAPTION for caption in captions)
    return seen + 2 * said / max(num_tried, 1)

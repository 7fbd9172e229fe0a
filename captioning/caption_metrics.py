"""What a run's captions are like: how varied, how long, what they name, how often they contradict.

Captions are counted as they come, in bounded memory. Diversity and coverage are those of kept
captions, consistency is that of all; each overall and by temperature.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from captioning.attributes import ATTRIBUTES, WORDS
from captioning.bleu import self_bleu
from captioning.matching import Lexicon
from edgekd.metrics import unit, wilson_interval
from edgekd.records import Caption, TaskSpec

Embed = Callable[[list[str]], np.ndarray]
"""Texts to vectors [N, E], as `SentenceEncoder.encode`."""

ORDERS = (1, 2, 3)
# Drop reasons as they begin. A repeated caption is dropped before its logic is looked at.
LOGICAL = ("contradict", "impossible")
NOT_JUDGED = ("exact duplicate", "near duplicate")
_MOST_DISTINCT = 1 << 16
_WORD_BITS = 21
# Thai to Burmese, Khmer, kana and Han: scripts without spaces, in which each letter is a word here.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’-][^\W{_UNSPACED}]+)*")


class CaptionMetrics:
    """Counts captions; captions of one image must come together.

    `sample` captions of each temperature, and of all, are kept for what is compared pair by pair;
    which ones depends on the seed and not on their order. A class or word is rare where it is said
    less often than `rare_share` of the mean over classes, or over the words of its attribute.
    """

    def __init__(
        self,
        task: TaskSpec,
        lexicon: Lexicon | None = None,
        *,
        sample: int = 1000,
        rare_share: float = 0.1,
        seed: int = 0,
    ):
        self._lexicon = lexicon or Lexicon(task)
        self._coverage = _Coverage(task, rare_share)
        self._ids: dict[str, int] = {}
        self._new = lambda: _Group(sample, seed)
        self._overall = self._new()
        self._by_temperature: dict[float, _Group] = {}

    def add(self, caption: Caption) -> None:
        """Counts one caption, kept or dropped."""
        group = self._by_temperature.get(caption.temperature)
        if group is None:
            group = self._by_temperature[caption.temperature] = self._new()
        ids = []
        if caption.dropped is None:
            ids = [self._ids.setdefault(word, len(self._ids)) for word in words(caption.text)]
            mentions = self._lexicon.parse(caption.readable)
            self._coverage.add(caption.item_id, mentions.classes, mentions.words)
        grams = [_packed(ids, order) for order in ORDERS]
        for counted in (self._overall, group):
            counted.add(caption, len(ids), grams)

    def summary(self, embed: Embed | None = None) -> dict[str, Any]:
        """Returns the figures for the report; without `embed` there is no dispersion."""
        return {
            "overall": self._overall.summary(embed),
            "by_temperature": [
                {"temperature": temperature} | group.summary(embed)
                for temperature, group in sorted(self._by_temperature.items())
            ],
            "coverage": self._coverage.summary(),
        }


def words(text: str) -> list[str]:
    """Returns the words of a text in lower case; where a script has no spaces, its letters."""
    return _WORD.findall(text.casefold())


def distinct(texts: Iterable[str], order: int) -> float:
    """Returns distinct-n: the share of n-grams that are not repeats (arXiv:1510.03055).

    It falls as texts are added, so compare equal numbers of them; nan where there is no n-gram.
    """
    found: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        said = words(text)
        found.update(zip(*(said[start:] for start in range(order)), strict=False))
    return len(found) / found.total() if found else math.nan


def dispersion(vectors_NE: np.ndarray) -> float:
    """Returns the mean cosine distance of all pairs of vectors, 0 to 2; nan for fewer than two."""
    count = len(vectors_NE)
    if count < 2:
        return math.nan
    vectors = np.asarray(vectors_NE, dtype=np.float64)
    units = unit(vectors)
    # All pairs at once: |sum of units|**2 is N plus the cosines of all ordered pairs.
    cosines = (np.square(units.sum(axis=0)).sum() - np.square(units).sum()) / (count * (count - 1))
    return float(1 - cosines)


def consistency(
    reasons: Mapping[str, int],
    num_kept: int,
    logical: Sequence[str] = LOGICAL,
    not_judged: Sequence[str] = NOT_JUDGED,
) -> dict[str, Any]:
    """Returns the share of judged captions without a logical fault, its 95% interval and the faults.

    `reasons` counts dropped captions by reason. Those dropped for a reason that begins as one of
    `not_judged` are left out: their logic was never looked at.
    """
    faults = {reason: n for reason, n in reasons.items() if reason.startswith(tuple(logical))}
    unseen = sum(n for reason, n in reasons.items() if reason.startswith(tuple(not_judged)))
    judged = num_kept + sum(reasons.values()) - unseen
    right = judged - sum(faults.values())
    low, high = wilson_interval(right, judged)
    value = right / judged if judged else math.nan
    return {"value": value, "low": low, "high": high, "n": judged, "faults": faults}


class Sample:
    """A sample of at most `size` captions, the same for the same seed in whatever order they come."""

    def __init__(self, size: int, seed: int):
        self._size, self._seed = size, seed
        self._heap: list[tuple[int, str, int, int, Caption]] = []
        self._num_added = 0  # tells rows apart that a person numbered alike

    def add(self, caption: Caption) -> None:
        key = f"{self._seed}/{caption.item_id}/{caption.index}".encode()
        rank = -int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
        self._num_added += 1
        entry = (rank, caption.item_id, caption.index, -self._num_added, caption)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        elif rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, entry)

    def captions(self) -> list[Caption]:
        """Returns them in the order of their draw: a shorter sample is the beginning of a longer."""
        return [entry[-1] for entry in sorted(self._heap, key=lambda entry: -entry[0])]


class _Group:
    """The captions of one temperature, or all."""

    def __init__(self, sample: int, seed: int):
        self._sample = Sample(sample, seed)
        self._lengths: Counter[int] = Counter()
        self._reasons: Counter[str] = Counter()
        self._distinct = [_Distinct() for _ in ORDERS]
        self._num_grams = [0] * len(ORDERS)
        self._num_kept = 0

    def add(self, caption: Caption, length: int, grams: list[list[int]]) -> None:
        if caption.dropped is not None:
            self._reasons[caption.dropped.split(":")[0]] += 1
            return
        self._num_kept += 1
        self._lengths[length] += 1
        self._sample.add(caption)
        for at, found in enumerate(grams):
            self._num_grams[at] += len(found)
            self._distinct[at].update(found)

    def summary(self, embed: Embed | None) -> dict[str, Any]:
        texts = [caption.text for caption in self._sample.captions()]
        num_made = self._num_kept + self._reasons.total()
        return {
            "num_made": num_made,
            "num_kept": self._num_kept,
            "consistency": consistency(self._reasons, self._num_kept),
            "words": _lengths(self._lengths),
            "vocabulary": self._distinct[0].count,
            "distinct": {
                str(order): found.count / total if total else math.nan
                for order, found, total in zip(ORDERS, self._distinct, self._num_grams, strict=True)
            },
            "sample": {
                "num_captions": len(texts),
                "distinct": {str(order): distinct(texts, order) for order in ORDERS},
                "self_bleu": self_bleu([words(text) for text in texts]),
                "dispersion": dispersion(embed(texts)) if embed and len(texts) > 1 else math.nan,
            },
        }


class _Distinct:
    """How many different numbers came: exact up to 65,536, then within about 0.5%.

    Above that only numbers whose mixed bits begin with `depth` zeros are kept, and counted
    2**depth times (Flajolet, On adaptive sampling, Computing 34, 1990).
    """

    def __init__(self) -> None:
        self._kept: set[int] = set()
        self._depth = 0

    def update(self, numbers: Iterable[int]) -> None:
        self._kept.update(self._sampled(numbers) if self._depth else numbers)
        while len(self._kept) > _MOST_DISTINCT:
            self._depth += 1
            self._kept = set(self._sampled(self._kept))

    @property
    def count(self) -> int:
        return len(self._kept) << self._depth

    def _sampled(self, numbers: Iterable[int]) -> Iterator[int]:
        return (number for number in numbers if _mixed(number) >> (64 - self._depth) == 0)


class _Coverage:
    """Which classes and attribute words kept captions say, and which they hardly say."""

    def __init__(self, task: TaskSpec, rare_share: float):
        self._names = task.classes
        self._rare_share = rare_share
        self._captions = [0] * task.num_classes
        self._images = [0] * task.num_classes
        self._words = [0] * len(WORDS)
        self._item: str | None = None
        self._of_item: set[int] = set()

    def add(self, item_id: str, classes: tuple[int, ...], said: tuple[int, ...]) -> None:
        if item_id != self._item:
            self._item, self._of_item = item_id, set()
        for index in said:
            self._words[index] += 1
        if classes:  # the first is what it calls the object
            self._captions[classes[0]] += 1
            self._images[classes[0]] += classes[0] not in self._of_item
            self._of_item.add(classes[0])

    def summary(self) -> dict[str, Any]:
        by_attribute = {
            attribute: {
                word: self._words[index]
                for index, (of, word) in enumerate(WORDS)
                if of == attribute
            }
            for attribute in ATTRIBUTES
        }
        classes = dict(zip(self._names, self._captions, strict=True))
        return {
            "classes": {
                name: {"captions": captions, "images": images}
                for name, captions, images in zip(
                    self._names, self._captions, self._images, strict=True
                )
            },
            "missing_classes": [name for name, count in classes.items() if count == 0],
            "rare_classes": self._rare(classes),
            "attributes": by_attribute,
            "missing_words": {
                attribute: missing
                for attribute, counts in by_attribute.items()
                if (missing := [word for word, count in counts.items() if count == 0])
            },
            "rare_words": {
                attribute: rare
                for attribute, counts in by_attribute.items()
                if (rare := self._rare(counts))
            },
        }

    def _rare(self, counts: Mapping[str, int]) -> list[str]:
        """Those said at all but less than a share of the mean, the rarest first."""
        few = self._rare_share * sum(counts.values()) / len(counts)
        return sorted((n for n, count in counts.items() if 0 < count < few), key=counts.__getitem__)


def _lengths(counts: Counter[int]) -> dict[str, float]:
    """Mean, standard deviation and quantiles of numbers of words, from how often each came."""
    if not counts:
        return dict.fromkeys(("mean", "stddev", "min", "median", "p95", "max"), math.nan)
    values = np.array(sorted(counts), dtype=np.float64)
    weights = np.array([counts[int(value)] for value in values])
    mean = float(np.average(values, weights=weights))
    below = np.cumsum(weights)
    total = int(below[-1])
    middle = [_ranked(values, below, rank) for rank in ((total - 1) // 2, total // 2)]
    return {
        "mean": mean,
        "stddev": float(np.sqrt(np.average((values - mean) ** 2, weights=weights))),
        "min": float(values[0]),
        "median": sum(middle) / 2,
        "p95": _ranked(values, below, math.ceil(0.95 * total) - 1),
        "max": float(values[-1]),
    }


def _ranked(values: np.ndarray, below: np.ndarray, rank: int) -> float:
    return float(values[np.searchsorted(below, rank, side="right")])


def _packed(ids: Sequence[int], order: int) -> list[int]:
    """The n-grams of a caption, each as one number."""
    packed = list(ids[: max(0, len(ids) - order + 1)])
    for start in range(1, order):
        packed = [
            before << _WORD_BITS | after for before, after in zip(packed, ids[start:], strict=False)
        ]
    return packed


def _mixed(number: int) -> int:
    """64 bits in which each bit of the number moves every bit (splitmix64's finalizer)."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    number = (number ^ number >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return number ^ number >> 31

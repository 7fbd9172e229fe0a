"""A classifier's own classes carried to the task's, by name.

N items, C outputs of the classifier, K classes of the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from captioning.inflections import plurals, singulars
from edgekd import names
from edgekd.errors import DataError
from edgekd.metrics import softmax
from edgekd.records import TaskSpec

_SHOWN = 5


@dataclass(frozen=True)
class ClassMapping:
    """`to_class_C` holds the task's class of each output, -1 where the task has none such."""

    to_class_C: np.ndarray
    num_classes: int

    @property
    def dropped(self) -> np.ndarray:
        """Outputs that are no class of the task, int64."""
        return np.flatnonzero(self.to_class_C < 0)

    @property
    def missing(self) -> np.ndarray:
        """Classes of the task that no output means, int64."""
        return np.setdiff1d(np.arange(self.num_classes), self.to_class_C)

    @property
    def is_one_to_one(self) -> bool:
        """Whether no two outputs mean the same class."""
        kept = self.to_class_C[self.to_class_C >= 0]
        return len(np.unique(kept)) == len(kept)

    def logits(self, outputs_NC: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Returns class logits [N, K] float64 of the classifier's logits.

        Outputs of one class add up their probabilities. Of a class it does not know the classifier
        says nothing: that is as likely as the classes it does know are on average, so it keeps
        1 / K, and the others share the rest as the classifier has it.
        """
        outputs = np.asarray(outputs_NC, dtype=np.float64)
        logits = np.full((len(outputs), self.num_classes), -np.inf)
        for column, index in enumerate(self.to_class_C):
            if index >= 0:
                logits[:, index] = np.logaddexp(logits[:, index], outputs[:, column])
        logits /= temperature
        missing = self.missing
        if len(missing):
            known = np.delete(logits, missing, axis=1)
            logits[:, missing] = _log_mean_exp(known)[:, None]
        return logits

    def dropped_mass(self, outputs_NC: np.ndarray) -> np.ndarray:
        """Returns how much of its probability the classifier gives to no class of the task [N]."""
        if not len(self.dropped):
            return np.zeros(len(outputs_NC))
        return softmax(outputs_NC)[:, self.dropped].sum(axis=1)


def map_classes(labels: Sequence[str], task: TaskSpec, partial: bool, teacher: str) -> ClassMapping:
    """Returns the mapping of a classifier's labels, in the order of its outputs.

    A label means a class when it is its name or a synonym, in any spelling and number; of
    "tench, Tinca tinca" each part counts. With `partial` some classes may be missing, not all.

    Raises:
        DataError: a class that no label means; names both sides.
    """
    known = _known(task)
    found = [_meant(label, known) for label in labels]
    mapping = ClassMapping(np.array(found, dtype=np.int64), task.num_classes)
    missing = [task.classes[index] for index in mapping.missing]
    if len(missing) == task.num_classes or (missing and not partial):
        unused = [labels[index] for index in mapping.dropped]
        advice = "" if len(missing) == task.num_classes else ", or set partial: true"
        raise DataError(
            f"{teacher}: no output for {listed(missing, 'class')}; without a class are "
            f"{listed(unused, 'output')}. If one is the other, say so in data.synonyms or name the "
            f"outputs in caption.teacher.classes{advice}"
        )
    return mapping


def listed(found: Sequence[str], what: str) -> str:
    """Returns the first few names and how many there are: "2 outputs: 'fox', 'owl'"."""
    if not found:
        return f"no {what}"
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    ending = "" if len(found) == 1 else "es" if what.endswith("s") else "s"
    return f"{len(found)} {what}{ending}: {', '.join(map(repr, found[:_SHOWN]))}{more}"


def _log_mean_exp(logits_NK: np.ndarray) -> np.ndarray:
    most = logits_NK.max(axis=1)
    return most + np.log(np.exp(logits_NK - most[:, None]).mean(axis=1))


def _known(task: TaskSpec) -> dict[str, int]:
    """The key of everything that means a class; names before synonyms, these before other numbers."""
    known = {names.key(name): index for index, name in enumerate(task.classes)}
    words = [
        (word, index)
        for index, name in enumerate(task.classes)
        for word in (names.spoken(name), *task.synonyms.get(name, ()))
    ]
    for word, index in words:
        known.setdefault(names.key(word), index)
    claims: dict[str, set[int]] = {}
    for word, index in [*words, *zip(task.classes, range(task.num_classes), strict=True)]:
        for form in _numbers(word):
            claims.setdefault(names.key(form), set()).add(index)
    for form, classes in claims.items():
        if len(classes) == 1:
            known.setdefault(form, next(iter(classes)))
    return known


def _numbers(word: str) -> Iterable[str]:
    said = names.spoken(word).lower()
    return [*plurals(said), *singulars(said)]


def _meant(label: str, known: dict[str, int]) -> int:
    for text in (label, *label.split(",")):
        for form in (text, names.spoken(text)):
            index = known.get(names.key(form))
            if index is not None:
                return index
    return -1

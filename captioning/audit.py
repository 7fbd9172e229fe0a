"""A small independent checker of what captions claim about the class, on a sample of the images.

It knows the given labels of training images and sees with another ImageNet backbone than the composed
teacher: an image's class is the one whose mean feature is nearest. On Caltech-101 with 2 to 10 labels a
class that is as often right as logistic regression on the same features, and leaving an image out
of its own class's mean is exact, so that no image vouches for itself. How often it is right is
measured on tune; labels of test are not looked at.

N images, D features, K classes.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from captioning.matching import Lexicon
from captioning.soft_targets import Source
from captioning.teachers import looking
from captioning.teachers.catalogue import TeacherConfig
from captioning.teachers.composed_teacher import ComposedTeacher
from captioning.teachers.configs import BackboneName, ComposedTeacherConfig
from captioning.teachers.protocol import Brief, Files
from edgekd.errors import WeightsError
from edgekd.manifest import Manifest
from edgekd.metrics import share, unit
from edgekd.progress import Progress
from edgekd.records import Caption, Item
from edgekd.store import RunStore

AUDIT_SCHEMA = 1
FOLDER = "audit"
_IMAGE_SIZE = 160
_MOST_FIRST = 5
_BLOCK_SIZE = 256


@dataclass(frozen=True)
class Sample:
    """Whom the checker looks at: training images to learn from and to judge, tune's to be judged on."""

    learned: list[Item]
    judged: list[Item]
    tune: list[Item]

    @property
    def items(self) -> list[Item]:
        """All of them, each once, by digest."""
        both = {item.id: item for item in (*self.learned, *self.judged, *self.tune)}
        return [both[item_id] for item_id in sorted(both)]


@dataclass(frozen=True)
class Answers:
    """The classes of each image by id, the likeliest first; a class without a label is not there."""

    ranks: dict[str, list[int]]
    known: frozenset[int]
    first: int

    def agrees(self, item_id: str, label: int, first: int = 1) -> bool:
        """Whether the class is among the first so many."""
        return label in self.ranks[item_id][:first]


def eye(teachers: Sequence[TeacherConfig]) -> ComposedTeacherConfig | None:
    """Returns how the checker sees: with the first backbone no composed teacher has; None where all
    are taken. Light objects on black stay what they are for the teacher."""
    composed = [each for each in teachers if isinstance(each, ComposedTeacherConfig)]
    taken = {name for each in composed for name in each.backbone}
    free = [name for name in get_args(BackboneName) if name not in taken]
    if not free:
        return None
    inverted = any(each.inverted for each in composed)
    return ComposedTeacherConfig(backbone=free[:1], image_size=_IMAGE_SIZE, inverted=inverted)


def audit(
    manifest: Manifest,
    folder: Path,
    captions: Iterable[Caption],
    teachers: Sequence[TeacherConfig],
    num_images: int,
    store: RunStore,
    progress: Progress,
) -> tuple[list[Path], dict[str, Any]]:
    """Writes audit/observations.npz, the features; returns it and what the report says.

    At most `num_images` training images are judged, as many of tune judge the checker, and twice as
    many (or two a class) teach it; which ones is by digest. Without a checker "note" says why.
    """
    config, sample = eye(teachers), draw(manifest, num_images)
    if manifest.task.multilabel:
        return [], {"note": "it says one class, and here an image may show several"}
    if config is None:
        return [], {"note": "every packaged backbone is a teacher's"}
    if len({item.label for item in sample.learned}) < 2:
        return [], {"note": "fewer than two classes have given labels on train"}
    try:
        path, features_ND, num_new = _seen(manifest, sample.items, folder, config, store, progress)
    except WeightsError as error:  # a figure is no reason to stop
        return [], {"note": str(error)}
    answers = answered(sample, features_ND, manifest.task.num_classes)
    found = {
        "note": None,
        "backbone": config.backbone[0],
        "num_learned": len(sample.learned),
        "num_observed": num_new,
    }
    return [path], found | judged(sample, answers, captions, Lexicon(manifest.task))


def draw(manifest: Manifest, num_images: int) -> Sample:
    """Returns the images with the smallest digests; those to learn from class by class."""
    train = manifest.of("train")
    by_class: dict[int, list[Item]] = defaultdict(list)
    for item in train:
        if isinstance(item.label, int):  # where an image may show several, nobody learns
            by_class[item.label].append(item)
    each = max(2, 2 * num_images // manifest.task.num_classes)
    learned = [item for of_class in by_class.values() for item in _smallest(of_class, each)]
    tune = [item for item in manifest.of("tune") if item.label is not None]
    return Sample(learned, _smallest(train, num_images), _smallest(tune, num_images))


def answered(sample: Sample, features_ND: np.ndarray, num_classes: int) -> Answers:
    """Returns the checker's answers; features are those of `sample.items`.

    A class that has no other label than the image's own cannot be told of that image.
    """
    items = sample.items
    row_of = {item.id: row for row, item in enumerate(items)}
    unit_ND = unit(features_ND.astype(np.float32))
    sums_KD = np.zeros((num_classes, unit_ND.shape[1]), np.float32)
    counts_K = np.zeros(num_classes, int)
    own: dict[int, int] = {}
    for item in sample.learned:
        assert isinstance(item.label, int)
        sums_KD[item.label] += unit_ND[row_of[item.id]]
        counts_K[item.label] += 1
        own[row_of[item.id]] = item.label
    scores_NK = unit_ND @ unit(sums_KD).T
    for row, label in own.items():
        scores_NK[row, label] = unit_ND[row] @ unit(sums_KD[label] - unit_ND[row])
        if counts_K[label] == 1:
            scores_NK[row] = np.nan
    known = np.flatnonzero(counts_K)
    ranks = {
        item.id: known[np.argsort(-scores_NK[row, known], kind="stable")].tolist()
        for row, item in enumerate(items)
        if not np.isnan(scores_NK[row, 0])
    }
    return Answers(ranks, frozenset(known.tolist()), min(_MOST_FIRST, len(known) // 3))


def judged(
    sample: Sample, answers: Answers, captions: Iterable[Caption], lexicon: Lexicon
) -> dict[str, Any]:
    """Returns how often the checker agrees with the class that kept captions name first, and how
    often it and they are right on tune."""
    judged = {item.id for item in sample.judged if item.id in answers.ranks}
    labels = {item.id: item.label for item in sample.tune if isinstance(item.label, int)}
    claims: dict[Source, list[tuple[str, int]]] = defaultdict(list)
    on_tune: dict[bool, list[bool]] = {True: [], False: []}
    nameless = unknown = 0
    for caption in captions:
        of_tune = caption.item_id in labels
        if caption.dropped is not None or not (of_tune or caption.item_id in judged):
            continue
        classes = lexicon.parse(caption.readable).classes
        if not classes or classes[0] not in answers.known:
            nameless += not of_tune and not classes
            unknown += not of_tune and bool(classes)
        elif of_tune:
            agreed = answers.agrees(caption.item_id, classes[0])
            on_tune[agreed].append(classes[0] == labels[caption.item_id])
        else:
            source = caption.teacher, caption.temperature
            claims[source].append((caption.item_id, classes[0]))
    everything = [claim for of_source in claims.values() for claim in of_source]
    return {
        "num_images": len({item_id for item_id, _ in everything}),
        "first": answers.first,
        "right_on_tune": _shares(answers, list(labels.items())),
        "overall": _shares(answers, everything),
        "by_source": [
            {"teacher": teacher, "temperature": temperature}
            | _shares(answers, claims[teacher, temperature])
            for teacher, temperature in sorted(claims)
        ],
        "captions_right_on_tune": {
            "agreed": share(np.array(on_tune[True])),
            "not_agreed": share(np.array(on_tune[False])),
        },
        "num_without_class": nameless,
        "num_of_unknown_class": unknown,
    }


def _shares(answers: Answers, claims: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """How often the claimed class is the checker's first, and among its first few."""
    top = [answers.agrees(*claim) for claim in claims]
    few = [answers.agrees(*claim, answers.first) for claim in claims] if answers.first > 1 else []
    return {"top_1": share(np.array(top)), "among_first": share(np.array(few))}


def _smallest(items: Sequence[Item], count: int) -> list[Item]:
    return heapq.nsmallest(count, items, key=lambda item: item.id)


def _seen(
    manifest: Manifest,
    items: list[Item],
    folder: Path,
    config: ComposedTeacherConfig,
    store: RunStore,
    progress: Progress,
) -> tuple[Path, np.ndarray, int]:
    """Where the features of the images lie, the features, and how many images had not been seen."""
    teacher = ComposedTeacher(config, Brief(manifest.task, 1, (1.0,), 0, Path()))
    files = Files(store.path(FOLDER))
    sample = Manifest(manifest.task, items)
    features_ND, seen = looking.look_and_keep(
        teacher, sample, folder, files, _BLOCK_SIZE, "features", progress
    )
    store.scratch(files.blocks(seen.settings))
    return files.arrays, features_ND, seen.num_new

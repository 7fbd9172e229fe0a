"""A teacher whose captions are freed of private data before anything of them is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from captioning.privacy import PrivacyFilter
from captioning.teachers.protocol import Conclusion, Look, Teacher
from edgekd.manifest import Manifest
from edgekd.records import Item
from edgekd.store import digest


class DiscreetTeacher:
    """Another teacher, whose captions go through a filter.

    `private` makes the filter once it is needed; `how` names all that it depends on.
    """

    def __init__(self, teacher: Teacher, private: Callable[[], PrivacyFilter], how: str):
        self._teacher, self._private, self._how = teacher, private, how

    @property
    def name(self) -> str:
        return self._teacher.name

    @property
    def settings(self) -> str:
        return digest([self._teacher.settings, self._how])

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        look = self._teacher.look(items, images)
        return dataclasses.replace(look, captions=tuple(self._private()(look.captions)))

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        conclusion = self._teacher.conclude(manifest, observed)
        private = self._private()
        return dataclasses.replace(
            conclusion,
            captions=private(conclusion.captions),
            summary={**conclusion.summary, "not_looked_for": list(private.not_looked_for)},
        )

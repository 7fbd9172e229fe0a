"""Which class stands behind a kind of teacher, and which teachers can be exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from captioning.teachers.configs import ComposedTeacherConfig, TeacherConfig, VisionServerConfig
from edgekd.records import Preprocess

if TYPE_CHECKING:
    from captioning.teachers.protocol import Brief, Teacher


def build(config: TeacherConfig, brief: Brief) -> Teacher:
    """Returns the teacher of a config section; it loads nothing yet."""
    if isinstance(config, VisionServerConfig):
        from captioning.teachers.server_teacher import ServerTeacher

        return ServerTeacher(config, brief)
    from captioning.teachers.composed_teacher import ComposedTeacher

    return ComposedTeacher(config, brief)


def exportable(config: TeacherConfig) -> TypeGuard[ComposedTeacherConfig]:
    """Whether the teacher can become a file beside its students."""
    return isinstance(config, ComposedTeacherConfig)


def load_module(config: ComposedTeacherConfig, head: Path) -> tuple[Any, Preprocess]:
    """Returns (torch module [B, 3, H, W] -> class logits [B, K], its Preprocess) for export."""
    from captioning.teachers import composed_teacher

    return composed_teacher.load(config, dict(np.load(head))), preprocess(config)


def preprocess(config: ComposedTeacherConfig) -> Preprocess:
    """Returns how an exportable teacher's images are prepared."""
    from captioning.teachers import composed_teacher

    return composed_teacher.preprocess(config)

"""Which kinds of teachers there are, which class stands behind each, and which can be exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pydantic

from captioning.teachers.classifier import ClassifierConfig
from captioning.teachers.clip import ClipConfig
from captioning.teachers.configs import ComposedTeacherConfig, VisionServerConfig
from edgekd.config import Section
from edgekd.records import Preprocess

if TYPE_CHECKING:
    from captioning.teachers.protocol import Brief, Teacher


def _kind(value: Any) -> Any:
    """The kind of a section that may leave it out, as YAML has it or as a model."""
    if isinstance(value, dict):
        return value.get("kind", "composed")
    return getattr(value, "kind", None)


TeacherConfig = Annotated[
    Annotated[ComposedTeacherConfig, pydantic.Tag("composed")]
    | Annotated[ClassifierConfig, pydantic.Tag("classifier")]
    | Annotated[ClipConfig, pydantic.Tag("open_clip")]
    | Annotated[VisionServerConfig, pydantic.Tag("openai")],
    pydantic.Discriminator(_kind),
]


KINDS: dict[str, type[Section]] = {
    "composed": ComposedTeacherConfig,
    "classifier": ClassifierConfig,
    "open_clip": ClipConfig,
    "openai": VisionServerConfig,
}


def build(config: TeacherConfig, brief: Brief) -> Teacher:
    """Returns the teacher of a config section; it loads nothing yet, and imports no torch."""
    if isinstance(config, ClassifierConfig):
        from captioning.teachers.classifier import ClassifierTeacher

        return ClassifierTeacher(config, brief)
    if isinstance(config, ClipConfig):
        from captioning.teachers.clip import ClipTeacher

        return ClipTeacher(config, brief)
    if isinstance(config, VisionServerConfig):
        from captioning.teachers.server_teacher import ServerTeacher

        return ServerTeacher(config, brief)
    from captioning.teachers.composed_teacher import ComposedTeacher

    return ComposedTeacher(config, brief)


def exportable(config: TeacherConfig) -> bool:
    """Whether the teacher can become a file beside its students."""
    if isinstance(config, ClassifierConfig):
        return config.model.suffix not in (".onnx", ".tflite")
    return isinstance(config, ComposedTeacherConfig)


def load_module(config: TeacherConfig, head: Path) -> tuple[Any, Preprocess] | None:
    """Returns (torch module [B, 3, H, W] -> class logits [B, K], its Preprocess) for export.

    None where the teacher left no head: it cannot be exported.
    """
    if not head.is_file():
        return None
    arrays = dict(np.load(head))
    if isinstance(config, ClassifierConfig):
        from captioning.teachers import classifier

        return classifier.load_module(config, arrays)
    assert isinstance(config, ComposedTeacherConfig)
    from captioning.teachers import composed_teacher

    return composed_teacher.load(config, arrays), composed_teacher.preprocess(config)


def preprocess(config: TeacherConfig, head: Path) -> Preprocess | None:
    """Returns how the images of a teacher that can be exported are prepared."""
    if isinstance(config, ComposedTeacherConfig):  # known without its weights
        from captioning.teachers import composed_teacher

        return composed_teacher.preprocess(config)
    loaded = load_module(config, head)
    return loaded[1] if loaded is not None else None

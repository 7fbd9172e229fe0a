"""Which kinds of teachers there are, which class stands behind each, and which can be exported.

None of these modules imports torch before a teacher looks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic

from captioning.teachers import classifier, composed_teacher
from captioning.teachers.captioner import CaptionerTeacher
from captioning.teachers.captioner_config import CaptionerConfig
from captioning.teachers.captions_file import CaptionsFileConfig, CaptionsFileTeacher
from captioning.teachers.classifier import ClassifierConfig, ClassifierTeacher
from captioning.teachers.clip import ClipConfig, ClipTeacher
from captioning.teachers.composed_teacher import ComposedTeacher
from captioning.teachers.configs import ComposedTeacherConfig, VisionServerConfig
from captioning.teachers.protocol import Brief, Teacher
from captioning.teachers.server_teacher import ServerTeacher
from edgekd.config import Section
from edgekd.records import Preprocess

_DEFAULT = "composed"
_CLASSES: dict[type[Section], Callable[[Any, Brief], Teacher]] = {
    ComposedTeacherConfig: ComposedTeacher,
    ClassifierConfig: ClassifierTeacher,
    ClipConfig: ClipTeacher,
    CaptionerConfig: CaptionerTeacher,
    CaptionsFileConfig: CaptionsFileTeacher,
    VisionServerConfig: ServerTeacher,
}
KINDS: dict[str, type[Section]] = {
    section.model_fields["kind"].default: section for section in _CLASSES
}


def _kind(value: Any) -> Any:
    """The kind of a section that may leave it out, as YAML has it or as a model."""
    if isinstance(value, dict):
        return value.get("kind", _DEFAULT)
    return getattr(value, "kind", None)


TeacherConfig = Annotated[
    Annotated[ComposedTeacherConfig, pydantic.Tag("composed")]
    | Annotated[ClassifierConfig, pydantic.Tag("classifier")]
    | Annotated[ClipConfig, pydantic.Tag("open_clip")]
    | Annotated[CaptionerConfig, pydantic.Tag("transformers")]
    | Annotated[CaptionsFileConfig, pydantic.Tag("file")]
    | Annotated[VisionServerConfig, pydantic.Tag("openai")],
    pydantic.Discriminator(_kind),
]


def build(config: TeacherConfig, brief: Brief) -> Teacher:
    """Returns the teacher of a config section; it has loaded nothing yet."""
    return _CLASSES[type(config)](config, brief)


def shared_out(config: TeacherConfig) -> bool:
    """Whether several processes may look for it at once.

    A server is asked many things at a time anyway, and has one account and one journal; a file is
    read from its beginning.
    """
    return not isinstance(config, VisionServerConfig | CaptionsFileConfig)


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
        return classifier.load_module(config, arrays)
    assert isinstance(config, ComposedTeacherConfig)
    return composed_teacher.load(config, arrays), composed_teacher.preprocess(config)


def preprocess(config: TeacherConfig, head: Path) -> Preprocess | None:
    """Returns how the images of a teacher that can be exported are prepared."""
    if isinstance(config, ComposedTeacherConfig):  # known without its weights
        return composed_teacher.preprocess(config)
    loaded = load_module(config, head)
    return loaded[1] if loaded is not None else None

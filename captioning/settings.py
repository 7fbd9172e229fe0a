"""Config sections of captioning: what captions, the filter and the targets go by."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic

from captioning.refine import RefineConfig
from captioning.teachers.catalogue import TeacherConfig
from captioning.teachers.configs import ComposedTeacherConfig
from captioning.text_models import TextModelConfig
from edgekd.config import Section

MOST_TEACHERS = 8


class CaptionConfig(Section):
    """Which teachers speak, how often and at which temperatures."""

    teacher: TeacherConfig = ComposedTeacherConfig()
    more: list[TeacherConfig] = pydantic.Field(
        [],
        max_length=MOST_TEACHERS - 1,
        description="teachers beside the first, each like `caption.teacher`",
    )
    text_encoder: Path | None = pydantic.Field(
        None, description="local MiniLM folder or .zip instead of the package's"
    )
    descriptions: Path | None = pydantic.Field(
        None, description="YAML file of what the classes look like; `edgekd describe` writes one"
    )
    text_model: TextModelConfig | None = pydantic.Field(
        None, description="language model that `edgekd describe` and `caption.reword` ask"
    )
    domain: str | None = pydantic.Field(
        None,
        description="also say each caption in the words of a field: `findings`, or a YAML file like "
        "it",
    )
    reword: int = pydantic.Field(
        0, ge=0, le=20, description="and in so many more ways that the language model finds"
    )
    captions_per_image: int = pydantic.Field(3, ge=1, le=64)
    temperatures: list[float] = pydantic.Field(
        [0.5, 1.0, 1.5], min_length=1, description="used in turn for an image's captions"
    )
    block_size: int = pydantic.Field(
        512, ge=1, description="images between two saves; a stopped run repeats one block at most"
    )
    workers: int = pydantic.Field(
        1, ge=1, description="processes that look at images; more than one needs the extra scale"
    )
    ray_address: str | None = pydantic.Field(
        None,
        min_length=1,
        description="Ray cluster of the workers, `auto` or HOST:PORT; by default one on this machine",
    )
    private: Literal["keep", "redact", "refuse"] = pydantic.Field(
        "keep",
        description="what happens to names, phones, e-mails, plates and the like in captions before "
        "any is kept; needs the extra privacy",
    )
    spacy_model: str | None = pydantic.Field(
        None, description="installed spaCy model that finds names in running text"
    )

    count_faces: bool = pydantic.Field(
        False,
        description="count the faces that the images show, before a teacher looks at any; needs the "
        "extra privacy",
    )

    @property
    def extras(self) -> tuple[str, ...]:
        """The install extras whose libraries captioning imports with these settings."""
        return ("captioning",) if self.private == "keep" else ("captioning", "privacy")

    @pydantic.field_validator("temperatures")
    @classmethod
    def _positive(cls, temperatures: list[float]) -> list[float]:
        if min(temperatures) <= 0:
            raise ValueError(f"expected temperatures above 0, found {min(temperatures)}")
        return temperatures

    @property
    def teachers(self) -> list[TeacherConfig]:
        """All teachers, the first one first."""
        return [self.teacher, *self.more]

    @pydantic.model_validator(mode="after")
    def _told_apart(self) -> CaptionConfig:
        names = [teacher.name for teacher in self.teachers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"more: {', '.join(twice)} stands there twice, which says nothing new")
        return self

    @pydantic.model_validator(mode="after")
    def _reworded_by_somebody(self) -> CaptionConfig:
        if self.reword and (self.domain is None or self.text_model is None):
            raise ValueError(
                "reword: needs domain, which has the prompt, and text_model to answer it"
            )
        return self


class FilterConfig(Section):
    """When a caption is dropped."""

    near_duplicate_jaccard: float = pydantic.Field(
        0.75, gt=0, le=1, description="of word pairs, captions of one image that name the same"
    )
    min_attribute: float = pydantic.Field(
        0.03, ge=0, le=1, description="an attribute word measured below this contradicts the image"
    )
    min_confidence: float = pydantic.Field(
        0.05, ge=0, le=1, description="the teacher's probability of the object it names"
    )
    rules: Path | None = pydantic.Field(
        None, description="folder with rule files of your own; what it lacks is edgekd's"
    )
    languages: list[str] = pydantic.Field(
        [], description="ISO 639-1 codes allowed beside those of the rules"
    )
    one_class: bool = pydantic.Field(
        False, description="captions of one image that name different classes contradict each other"
    )
    repeated: bool = pydantic.Field(
        True,
        description="drop what nearly all images are said to be, naming no class; reads the "
        "captions twice",
    )
    off_topic: bool = pydantic.Field(
        False, description="drop what is far from every class by embedding"
    )
    vote: bool = pydantic.Field(
        False,
        description="drop what names a class that an image's neighbours find unlikely, by the first "
        "teacher's scores and features",
    )


class TargetsConfig(RefineConfig):
    """How captions and scores become one probability."""

    evidence: Literal["both", "captions", "scores"] = "both"
    temperatures: Literal["all", "best", "student"] = pydantic.Field(
        "all",
        description="best: only captions of those teachers and temperatures that help the targets on "
        "tune; student: of those temperatures that serve a short training of the student best there",
    )
    sweep_steps: int = pydantic.Field(
        200, ge=1, description="of each short training that temperatures: student makes"
    )
    caption_share: float = pydantic.Field(
        0.3, ge=0, le=1, description="captions' share where no tune labels can fit it"
    )
    calibrate: bool = pydantic.Field(
        False, description="fit a temperature on tune to the scores of a single teacher, too"
    )
    top_k: int | None = pydantic.Field(
        None,
        ge=1,
        description="store this many of the most likely classes of each image, not all: the rest is "
        "spread evenly over the others when read",
    )
    views: int = pydantic.Field(
        0,
        ge=0,
        le=1000,
        description="augmented views of each training image and candidate of `distill.augment` that "
        "teachers score too; students then train on these views, each with its own target",
    )

    @pydantic.model_validator(mode="after")
    def _captions_are_heard(self) -> TargetsConfig:
        if self.temperatures != "all" and self.evidence == "scores":
            raise ValueError(
                f"temperatures: {self.temperatures} chooses among captions, and evidence scores hears "
                "none. Expected temperatures: all"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _views_have_scores(self) -> TargetsConfig:
        if self.views and self.evidence == "captions":
            raise ValueError("views: evidence captions withholds scores. Expected both or scores")
        if self.views and self.hard:
            raise ValueError("views: hard targets are the same for all. Expected hard: false")
        return self

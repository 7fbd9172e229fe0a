"""The config of a whole run: the sections of every stage, and those of the roof itself."""

from __future__ import annotations

from pathlib import Path

import pydantic

from captioning import stage as captioning
from captioning import views
from captioning.teachers import catalogue
from captioning.teachers.catalogue import TeacherConfig
from devices import stage as devices
from edgekd.config import Section
from edgekd.errors import ConfigError, UsageError
from edgekd.manifest import DataConfig
from edgekd.sizes import parse_size
from export import stage as exporting
from students import stage as students


class CheckConfig(Section):
    """The gates of the run; one that fails ends it with exit code 3, after the report."""

    budget: str = pydantic.Field("100MB", description="of the chosen file")
    min_accuracy: float | None = pydantic.Field(None, ge=0, le=1, description="floor on test")

    @pydantic.field_validator("budget", mode="before")
    @classmethod
    def _a_size(cls, budget: str | int) -> str:
        try:
            parse_size(budget)
        except UsageError as error:  # pydantic collects ValueErrors only
            raise ValueError(str(error)) from error
        return str(budget)


class ReportConfig(Section):
    """What the report needs to know beside the run."""

    label_price: float = pydantic.Field(0.05, ge=0, description="of one answered image")
    currency: str = "USD"
    audit_images: int = pydantic.Field(
        500,
        ge=0,
        description="training images whose captions a small independent checker looks at; it needs "
        "given labels. 0: none",
    )
    samples: int = pydantic.Field(8, ge=0, le=100, description="images shown with their captions")


class RunConfig(Section):
    """A whole run, as in a YAML file."""

    name: str = pydantic.Field("run", pattern=r"^[\w.-]+$")
    out: Path | None = pydantic.Field(None, description="run folder, by default runs/<name>")
    seed: int = pydantic.Field(0, ge=0)
    data: DataConfig
    caption: captioning.CaptionConfig = captioning.CaptionConfig()
    filter: captioning.FilterConfig = captioning.FilterConfig()
    targets: captioning.TargetsConfig = captioning.TargetsConfig()
    distill: students.DistillConfig = students.DistillConfig()
    baseline: students.BaselineConfig = students.BaselineConfig()
    prune: students.PruneConfig = students.PruneConfig()
    export: exporting.ExportConfig = exporting.ExportConfig()
    choose: exporting.ChooseConfig = exporting.ChooseConfig()
    reject: exporting.RejectConfig = exporting.RejectConfig()
    check: CheckConfig = CheckConfig()
    bench: devices.BenchConfig = devices.BenchConfig()
    report: ReportConfig = ReportConfig()

    @pydantic.model_validator(mode="after")
    def _chosen_is_made(self) -> RunConfig:
        for key, wanted, made in (
            ("format", self.choose.format, self.export.formats),
            ("precision", self.choose.precision, self.export.precisions),
        ):
            if wanted not in made:
                raise ValueError(f"choose.{key}: '{wanted}' is none of export.{key}s: {made}")
        return self

    @pydantic.model_validator(mode="after")
    def _views_can_be_scored(self) -> RunConfig:
        if self.targets.views:
            try:
                views.scoring(self.caption.teachers)
            except ConfigError as error:  # pydantic collects ValueErrors only
                raise ValueError(error.faults[0]) from error
        return self

    @pydantic.model_validator(mode="after")
    def _fits_several_labels(self) -> RunConfig:
        if not self.data.multilabel:
            return self
        targets = self.targets
        wanted = (
            ("targets.prior", targets.prior, None),
            ("targets.swaps", targets.swaps, "off"),
            ("targets.top_k", targets.top_k, None),
            ("targets.views", targets.views, 0),
            ("filter.one_class", self.filter.one_class, False),
            ("reject.min_accuracy", self.reject.min_accuracy, None),
            ("reject.outliers", self.reject.outliers, None),
        )
        faults = [
            f"{key} is {found}, expected {'null' if expected is None else str(expected).lower()}"
            for key, found, expected in wanted
            if found != expected
        ]
        if faults:
            raise ValueError(
                f"one class an image is assumed ({'; '.join(faults)}), but data.multilabel is true"
            )
        return self

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / self.name

    @property
    def exported_teacher(self) -> TeacherConfig | None:
        """The first teacher where it becomes a file: that is asked for, and its kind and task can."""
        teacher = self.caption.teacher
        can = catalogue.exportable(teacher) and not self.data.multilabel
        return teacher if self.export.teacher and can else None

"""The real stages and keys with acts of two lines, on eight images: what runs again, and what not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgekd import pipeline, stages
from edgekd.config import apply_overrides, parse
from edgekd.run_config import RunConfig
from edgekd.running import Quiet, Run, Stage
from edgekd.store import digest, write_text

# `faces`, `sweep` and `views` run only where the config asks for them.
_ASKED = ("faces", "sweep", "views")
EVERY = [stage.name for stage in stages.STAGES if stage.name not in _ASKED]
_SPLITS = {"train": 3, "tune": 1, "val": 1, "test": 1}


def make_images(folder: Path) -> Path:
    """Writes 12 images of two classes: 6 to train, 2 each to tune, validate and test."""
    for number, name in enumerate(("cat", "dog")):
        for split, count in _SPLITS.items():
            for index in range(count):
                path = folder / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shade = 40 * index + 10 * list(_SPLITS).index(split)
                Image.new("RGB", (8, 8), (shade, 255 * number, 0)).save(path)
    return folder


class FakeLine:
    """Runs the line in a folder; every act leaves the digest of what it was made of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, base: Path):
        self.images = make_images(base / "images")
        self.folder = base / "run"
        self.act: dict[str, Callable[[], None]] = {}
        faked = [stages.STAGES[0], *(self._fake(stage) for stage in stages.STAGES[1:])]
        monkeypatch.setattr(pipeline, "STAGES", tuple(faked))
        monkeypatch.setattr(pipeline.assemble, "load", lambda folder: {"gates": []})

    def config(self, *overrides: str) -> RunConfig:
        values = {"data": {"folder": str(self.images)}, "out": str(self.folder)}
        return parse(RunConfig, apply_overrides(values, list(overrides)))

    def run(self, *overrides: str, until: str | None = None) -> list[str]:
        """Runs it; returns the stages that were not reused."""
        heard = _Heard()
        pipeline.run(self.config(*overrides), until, heard)
        return heard.ran

    def _fake(self, stage: Stage) -> Stage:
        def act(current: Run, progress: Any) -> tuple[list[Path], Any]:
            self.act.get(stage.name, lambda: None)()
            made_of = digest([stage.name, stage.inputs(current)])
            paths = [current.store.path(name) for name in stage.leaves]
            for path in paths:
                write_text(path, made_of)
            return paths, {"made_of": made_of}

        return dataclasses.replace(stage, act=act)


class _Heard(Quiet):
    def __init__(self) -> None:
        self.ran: list[str] = []

    def stage_finished(self, stage: str, seconds: float, reused: bool) -> None:
        if not reused:
            self.ran.append(stage)

"""Teachers look at views: which can, what is saved, and that a stop costs one block."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from captioning import views
from captioning.teachers import catalogue
from captioning.teachers.captions_file import CaptionsFileConfig
from captioning.teachers.classifier import ClassifierConfig
from captioning.teachers.clip import ClipConfig
from captioning.teachers.configs import ComposedTeacherConfig
from captioning.teachers.protocol import Files
from edgekd.config import parse
from edgekd.errors import ConfigError
from edgekd.metrics import softmax
from edgekd.progress import silent
from edgekd.records import Item, Preprocess
from edgekd.run_config import RunConfig
from edgekd.store import RunStore
from edgekd.views_file import Layout

torch = pytest.importorskip("torch")
SIDE = 4


class Redness(torch.nn.Module):  # type: ignore[misc,name-defined]
    """Class logits (r, -r) of the first pixel's red, 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(1))
        self.seen = 0

    def forward(self, images: Any) -> Any:
        assert images.shape[1:] == (3, SIDE, SIDE)
        self.seen += len(images)
        red = images[:, 0, 0, 0] * self.factor
        return torch.stack([red, -red], dim=1)


class Teacher:
    """A run after its captions: images of rising red, a network, and a head that only has a digest."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, count: int, views: int = 2):
        self.store, self.images, self.network = RunStore(path / "run"), path, Redness()
        self.files = Files(self.store.path("captions"))
        self.store.path("captions").mkdir(parents=True)
        self.items = [Item(f"id{n}", f"{n}.png", "train") for n in range(count)]
        for n, item in enumerate(self.items):
            Image.new("RGB", (SIDE, SIDE), (n, 0, 0)).save(path / item.path)
        ids = [item.id for item in self.items]
        np.savez(self.files.arrays, ids=ids, logits=np.zeros((count, 2)))
        np.savez(self.files.head, any=1)
        self.layout = Layout(ids, views, 2)
        as_it_is = Preprocess(SIDE, SIDE, (0.0,) * 3, (1.0,) * 3)
        monkeypatch.setattr(catalogue, "load_module", lambda config, head: self._loaded(as_it_is))
        self.has_head = True

    def _loaded(self, preprocess: Preprocess) -> Any:
        return (self.network, preprocess) if self.has_head else None

    def look(self, make_view: Callable[..., np.ndarray]) -> np.ndarray:
        return views.look(
            self.layout, self.items, self.images, ComposedTeacherConfig(), self.files, make_view,
            "drawn", self.store, silent,
        )  # fmt: skip


def brighter(pixels: np.ndarray, candidate: int, row: int) -> np.ndarray:
    """Another red for each row."""
    return np.full_like(pixels, row % 250)


def test_each_row_gets_what_its_view_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Teacher(tmp_path, monkeypatch, 3)
    found = teacher.look(brighter)
    red = np.arange(12) / 255
    assert found == pytest.approx(softmax(np.stack([red, -red], axis=1)), abs=1e-6)
    assert found.dtype == np.float32


def test_the_image_is_what_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Teacher(tmp_path, monkeypatch, 3)
    found = teacher.look(lambda pixels, candidate, row: pixels + 10 * candidate)
    rows = list(teacher.layout)
    red = np.array([image + 10 * candidate for candidate, image, _ in rows]) / 255
    assert found == pytest.approx(softmax(np.stack([red, -red], axis=1)), abs=1e-6)


def test_a_stop_costs_a_block_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_BLOCK", 2)
    teacher = Teacher(tmp_path, monkeypatch, 5)
    calls: list[int] = []

    def stopping(pixels: np.ndarray, candidate: int, row: int) -> np.ndarray:
        calls.append(row)
        if len(calls) == 11:  # two images have four views each, so in the second block
            raise KeyboardInterrupt
        return brighter(pixels, candidate, row)

    with pytest.raises(KeyboardInterrupt):
        teacher.look(stopping)
    assert len(list(teacher.store.path("cache").iterdir())) == 1
    assert teacher.network.seen == 8
    stopped = teacher.look(brighter)
    assert teacher.network.seen == 20
    assert (stopped == teacher.look(brighter)).all()
    assert teacher.network.seen == 20
    teacher.store.finish_stage("views", "key", [], None, {})
    assert list(teacher.store.path("cache").iterdir()) == []


def test_where_the_teacher_abstains_it_does_so_of_every_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Teacher(tmp_path, monkeypatch, 3)
    logits = np.zeros((3, 2))
    logits[1] = np.nan
    np.savez(teacher.files.arrays, ids=["id0", "id1", "id2"], logits=logits)
    found = teacher.look(brighter)
    abstained = np.flatnonzero(np.isnan(found).any(axis=1)).tolist()
    assert abstained == [2, 3, 8, 9]


def test_one_without_a_head_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Teacher(tmp_path, monkeypatch, 1)
    teacher.has_head = False
    with pytest.raises(ConfigError, match=r"targets\.views: .* is no network that can be exported"):
        teacher.look(brighter)


def test_who_can_score_views() -> None:
    speaks = CaptionsFileConfig(path=Path("captions.csv"))
    own = ClassifierConfig(model=Path("mine.safetensors"))
    assert views.scoring([ComposedTeacherConfig()]) == [1]
    assert views.scoring([speaks, ComposedTeacherConfig(), own]) == [2, 3]
    with pytest.raises(ConfigError, match=r"no teacher here scores images\. Expected composed or"):
        views.scoring([speaks])
    with pytest.raises(ConfigError, match=r"\(kind: open_clip\) scores images but is no network"):
        views.scoring([ComposedTeacherConfig(), ClipConfig(model="ViT-B-32")])


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (
            {"targets": {"views": 2, "evidence": "captions"}},
            "targets: views: evidence captions withholds scores. Expected both or scores",
        ),
        (
            {"targets": {"views": 2, "hard": True}},
            "targets: views: hard targets are the same for all. Expected hard: false",
        ),
        (
            {"targets": {"views": 2}, "caption": {"teacher": {"kind": "file", "path": "a.csv"}}},
            "targets.views: no teacher here scores images. Expected composed or classifier, or 0",
        ),
    ],
)
def test_faults_of_the_config(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(RunConfig, {"data": {"folder": "photos"}} | values)
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].removeprefix("config: ") in (fault, fault.replace(": ", ".", 1))

"""Stored targets against live ones: all agrees, and each kind of damage is found and named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from captioning import captions as captions_io
from captioning import live_check, stage
from captioning.teachers import catalogue
from captioning.teachers.configs import ComposedTeacherConfig
from captioning.teachers.protocol import Brief, Conclusion, Look
from edgekd import manifest
from edgekd.cli import app
from edgekd.config import parse
from edgekd.errors import DataError, UsageError
from edgekd.manifest import Manifest
from edgekd.records import Caption, Item, TaskSpec
from edgekd.store import RunStore, file_sha256

CAPTION = stage.CaptionConfig(captions_per_image=1, temperatures=[1.0])
NUM_IMAGES = 30


class Redness:
    """A teacher that sees how red an image is and calls red ones cats."""

    name = "composed/redness"
    settings = "redness"

    def __init__(self, config: Any, brief: Brief):
        pass

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        red = np.array([[image.getpixel((0, 0))[0], 1.0] for image in images])  # type: ignore[index]
        return Look({"features": red.astype(np.float16)})

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        red = observed["features"][:, 0].astype(np.float32) / 128 - 1
        said = [
            Caption(item.id, 0, f"A photo of a {'cat' if value > 0 else 'dog'}.", "t", 1.0, 1,
                    self.name, 0.9)
            for item, value in zip(manifest.items, red, strict=True)
        ]  # fmt: skip
        return Conclusion(np.stack([red, -red], axis=1), said)


class FinishedRun:
    """30 images of two classes, captioned and with targets."""

    def __init__(self, base: Path, **targets: Any):
        self.images, self.store = base / "images", RunStore(base / "run")
        self.targets = parse(stage.TargetsConfig, targets)
        self.images.mkdir()
        items = []
        for number in range(NUM_IMAGES):
            Image.new("RGB", (8, 8), (8 * number, 20, 20)).save(self.images / f"{number}.png")
            split = "tune" if number % 5 == 0 else "train"
            label = int(number < NUM_IMAGES // 2)
            items.append(Item(f"{number:064x}", f"{number}.png", split, label))  # type: ignore[arg-type]
        self.manifest = Manifest(TaskSpec("t", ("cat", "dog")), items)
        stage.caption(self.manifest, self.images, CAPTION, self.store, 0)
        filters = stage.FilterConfig(repeated=False, min_attribute=0)
        stage.filter_captions(self.manifest, filters, self.store)
        outputs, _ = stage.soft_targets(
            self.manifest, self.targets, self.store, ["composed/redness"]
        )
        read = {"captions.parquet": file_sha256(self.store.path("captions.parquet"))}
        made_of = {"files": read}
        self.store.finish_stage("targets", "key", outputs, None, {}, made_of=made_of)

    def check(self, number: int = 12) -> live_check.LiveCheck:
        return live_check.check(
            self.manifest, self.images, CAPTION, self.targets, self.store, 0, number
        )

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.read_bytes())
            for path in self.store.folder.rglob("*")
            if path.is_file()
        }

    def change(self, name: str, array: str, add: float) -> None:
        """Adds to one value of all rows."""
        path = self.store.path(*name.split("/"))
        with np.load(path) as stored:
            arrays = dict(stored)
        arrays[array] = arrays[array].copy()
        arrays[array][:, 0] += np.asarray(add, arrays[array].dtype)
        np.savez(path, **arrays)


@pytest.fixture(autouse=True)
def redness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue._CLASSES, ComposedTeacherConfig, Redness)


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    return FinishedRun(tmp_path)


def test_a_run_that_nobody_touched_agrees_and_stays_as_it_was(run: FinishedRun) -> None:
    before = run.snapshot()
    found = run.check()
    assert found.fault is None
    assert found.num_images == 12
    compared = {(each.of, each.name) for each in found.differences}
    assert compared == {
        ("composed/redness", "features"),
        ("composed/redness", "attributes"),
        *(("targets", name) for name in ("probs", "captions_only", "scores_only")),
        ("targets", "weight"),
        ("targets", "attributes"),
    }
    assert max(each.largest for each in found.differences) == 0
    assert run.snapshot() == before


def test_targets_of_the_largest_classes_agree_too(tmp_path: Path) -> None:
    assert FinishedRun(tmp_path, top_k=1).check().fault is None


def test_a_damaged_target_is_found_and_named(run: FinishedRun) -> None:
    run.change("targets/targets.npz", "probs", 0.25)
    found = run.check()
    assert found.fault is not None
    assert found.fault.startswith(
        "stored and live differ: targets probs: largest difference 0.25, tolerance 1e-05 at "
    )
    assert found.fault.endswith(
        ". Remove targets/targets.npz from the run, then run: edgekd caption CONFIG"
    )
    assert [each.name for each in found.differences if each.is_beyond] == ["probs"]


def test_a_changed_observation_is_found_beyond_float16(run: FinishedRun) -> None:
    run.change("captions/observations.npz", "features", 0.001)  # below a step at most values
    assert run.check().fault is None
    run.change("captions/observations.npz", "features", 4.0)
    fault = run.check().fault
    assert fault is not None
    assert "composed/redness features: largest difference" in fault


def test_an_edited_caption_is_said_wherever_it_is(run: FinishedRun) -> None:
    path = run.store.path("captions.parquet")
    captions = list(captions_io.load(path))
    looked_at = run.check(1).differences[0].path
    number = next(n for n, item in enumerate(run.manifest.items) if item.path == looked_at)
    other = (number + 1) % NUM_IMAGES
    captions[other] = Caption(**vars(captions[other]) | {"text": "A photo of a dog or a cat."})
    captions_io.save(captions, path)
    fault = run.check(1).fault
    assert fault is not None
    assert "captions.parquet is not what the targets were made of" in fault
    found = run.check(NUM_IMAGES)
    probs = next(each for each in found.differences if each.name == "captions_only")
    assert probs.is_beyond
    assert probs.path == f"{other}.png"


def test_another_teacher_is_said_and_not_compared(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Redness, "settings", "another")
    found = run.check()
    assert {each.of for each in found.differences} == {"targets"}
    assert found.fault == (
        "stored and live differ: composed/redness is not what looked: other settings or weights. "
        "Run: edgekd caption CONFIG"
    )


def test_a_picture_that_was_swapped_is_found(run: FinishedRun) -> None:
    for path in run.images.iterdir():
        Image.new("RGB", (8, 8), (255, 20, 20)).save(path)
    fault = run.check().fault
    assert fault is not None
    assert "composed/redness features" in fault


def test_a_picture_that_is_gone_is_one_line(run: FinishedRun) -> None:
    for path in run.images.iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"\.png: gone\. Expected the images that the run was of"):
        run.check()


def test_rows_that_abstain_on_both_sides_do_not_differ() -> None:
    items = [Item("a", "a.png", "train"), Item("b", "b.png", "train")]
    stored = np.array([[np.nan, np.nan], [200.0, 0.5]])
    live = np.array([[np.nan, np.nan], [201.0, 0.5]])
    found = live_check._difference(("t", "logits", "f"), stored, live, 0.01, items)
    assert (found.largest, found.path, found.is_beyond) == (0.005, "b.png", False)
    live[0] = 0
    assert live_check._difference(("t", "logits", "f"), stored, live, 0.01, items).is_beyond


def test_the_network_for_export_is_held_against_the_stored_scores(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from edgekd.records import Preprocess

    class Module(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, images: Any) -> Any:
            red = images[:, 0, 0, 0] * 255 / 128 - 1
            return torch.stack([red, -red], dim=1) * self.times

    monkeypatch.setattr(catalogue, "exportable", lambda config: True)
    as_it_is = Preprocess(8, 8, (0.0,) * 3, (1.0,) * 3)
    for times, agrees in ((1.0, True), (0.5, False)):
        module = Module()
        module.times = times
        monkeypatch.setattr(catalogue, "load_module", lambda c, h, m=module: (m, as_it_is))
        found = run.check()
        scores = next(each for each in found.differences if each.name == "probabilities")
        assert (scores.largest <= scores.tolerance) is agrees
        assert (found.fault is None) is agrees


def test_the_command_says_what_it_compared_and_fails_where_that_differs(
    run: FinishedRun,
) -> None:
    manifest.save(run.manifest, run.store.path("manifest.parquet"))
    values = {
        "data": {"folder": str(run.images)},
        "out": str(run.store.folder),
        "caption": {"captions_per_image": 1, "temperatures": [1.0]},
    }
    config = run.images.parent / "c.yaml"
    config.write_text(json.dumps(values))  # which is YAML too

    def said(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(
            app, ["caption", str(config), "--check", "5", *more], standalone_mode=False
        )
        assert done.exception is None
        return int(done.return_value), done.stdout

    code, text = said()
    assert code == 0
    assert text.splitlines()[0] == "5 images looked at again"
    assert "ok   targets probs: largest difference 0, tolerance 1e-05" in text
    assert text.splitlines()[-1] == "What is stored is what comes out now."
    run.change("targets/targets.npz", "probs", 0.25)
    code, text = said()
    assert code == 1
    assert "FAIL targets probs: largest difference 0.25, tolerance 1e-05" in text
    assert text.splitlines()[-1].startswith("stored and live differ: targets probs: ")
    code, text = said("--json")
    assert code == 1
    assert json.loads(text)["fault"].startswith("stored and live differ: ")
    done = CliRunner().invoke(app, ["caption", str(config), "--check", "5", "--dry-run"])
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == "--dry-run and --check: expected one of them at a time"

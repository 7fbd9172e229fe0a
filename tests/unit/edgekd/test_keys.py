"""One key of the config, or one image, and the stages that run again for it; nothing else does."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from edgekd.plan import plan
from tests.unit.edgekd.fake_line import EVERY, FakeLine

AFTER_EXPORT = ["quantize", "evaluate", "check", "bench", "bundle", "report"]
AFTER_TARGETS = ["distill", "prune", "export", *AFTER_EXPORT]


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeLine:
    line = FakeLine(monkeypatch, tmp_path)
    assert line.run() == EVERY
    assert line.run() == []
    return line


@pytest.mark.parametrize(
    ("override", "redone"),
    [
        ("data.licence=MIT", ["validate", "bundle", "report"]),
        ("name=other", ["validate", "bundle", "report"]),
        ("data.on_bad_image=error", ["validate", "report"]),
        (
            "data.synonyms={cat: [kitten]}",
            ["validate", "caption", "filter", "audit", "targets", *AFTER_TARGETS],
        ),
        ("caption.block_size=7", ["report"]),
        ("caption.workers=2", ["report"]),
        ("caption.ray_address=auto", ["report"]),
        ("caption.temperatures=[0.7]", ["caption", "filter", "audit", "targets", *AFTER_TARGETS]),
        ("filter.min_confidence=0.2", ["filter", "audit", "targets", *AFTER_TARGETS]),
        ("targets.caption_share=0.5", ["targets", *AFTER_TARGETS]),
        ("distill.lr=[0.01]", ["distill", "baseline", "prune", "export", *AFTER_EXPORT]),
        ("distill.kd_weight=0.5", AFTER_TARGETS),
        ("prune.macs_ratio=0.5", ["prune", "export", *AFTER_EXPORT]),
        ("prune.recovery_steps=9", ["baseline", "prune", "export", *AFTER_EXPORT]),
        ("prune.enabled=false", ["baseline", "export", *AFTER_EXPORT]),
        ("baseline.enabled=false", ["export", *AFTER_EXPORT]),
        ("export.calibration_images=9", AFTER_EXPORT),
        ("export.formats=[tflite]", ["export", *AFTER_EXPORT]),
        ("choose.max_drop=0.1", ["check", "bundle", "report"]),
        ("check.budget=1MB", ["check", "bundle", "report"]),
        ("bench.threads=2", ["bench", "bundle", "report"]),
        ("report.samples=2", ["report"]),
        ("targets.sweep_steps=9", ["report"]),
        ("report.audit_images=9", ["audit", "report"]),
        ("report.audit_images=0", ["report"]),
        ("seed=1", EVERY),
    ],
)
def test_a_changed_key_redoes_what_depends_on_it(
    line: FakeLine, override: str, redone: list[str]
) -> None:
    planned = plan(line.config(override))["stages"]
    assert line.run(override) == redone
    # A dry run knows as much beforehand: what it calls reused is, what it says runs does.
    assert {s["stage"] for s in planned if s["action"] == "run"} <= set(redone)
    assert [s["stage"] for s in planned if s["action"] != "reuse"] == redone


def test_a_new_training_image_does_not_touch_what_does_not_see_it(line: FakeLine) -> None:
    Image.new("RGB", (8, 8), (1, 2, 3)).save(line.images / "train" / "cat" / "new.png")
    assert line.run() == EVERY
    (line.images / "notes.txt").write_text("no image")
    assert line.run() == ["validate", "report"]


def test_the_label_of_a_test_image_is_no_reason_to_train(line: FakeLine) -> None:
    moved = line.images / "test" / "cat" / "0.png"
    moved.rename(line.images / "test" / "dog" / "moved.png")
    redone = line.run()
    assert "caption" in redone  # its images stand in another order now
    assert "baseline" not in redone
    assert {"evaluate", "check", "bundle", "report"} <= set(redone)


def test_a_moved_data_folder_makes_nothing_anew(line: FakeLine, tmp_path: Path) -> None:
    line.images = line.images.rename(tmp_path / "elsewhere")
    assert line.run() == ["bundle", "report"]  # which name it


def test_an_edited_caption_redoes_the_targets_but_no_caption(line: FakeLine) -> None:
    pq.write_table(pa.table({"text": ["edited"]}), line.folder / "captions.parquet")
    assert line.run() == ["audit", "targets", *AFTER_TARGETS]


def test_a_named_file_counts_by_its_content(line: FakeLine, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"weights")
    (tmp_path / "b.bin").write_bytes(b"weights")
    line.run(f"distill.weights={tmp_path / 'a.bin'}")
    assert line.run(f"distill.weights={tmp_path / 'b.bin'}") == []
    (tmp_path / "b.bin").write_bytes(b"others")
    assert line.run(f"distill.weights={tmp_path / 'b.bin'}")[:2] == ["distill", "baseline"]

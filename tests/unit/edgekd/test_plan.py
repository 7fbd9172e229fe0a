"""A dry run: what it says of stages, reasons and costs, and that it leaves everything as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from captioning.attributes import WORDS
from edgekd import printing
from edgekd.errors import EdgeKDError, UsageError
from edgekd.plan import plan
from edgekd.store import read_json, write_json
from tests.unit.edgekd.fake_line import EVERY, FakeLine


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeLine:
    return FakeLine(monkeypatch, tmp_path)


def stages_of(line: FakeLine, *overrides: str, **words: Any) -> dict[str, dict[str, Any]]:
    return {s["stage"]: s for s in plan(line.config(*overrides), **words)["stages"]}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_before_a_first_run_everything_runs_and_no_time_is_invented(line: FakeLine) -> None:
    values = plan(line.config())
    assert [stage["action"] for stage in values["stages"]] == ["run"] * len(EVERY)
    assert {tuple(stage["reasons"]) for stage in values["stages"]} == {("it has not run yet",)}
    assert all(stage["seconds"] is None for stage in values["stages"])
    assert values["totals"]["unknown_seconds"] == EVERY
    assert not line.folder.exists()
    text = printing.plan_text(values)
    assert "Time unknown until they have run here: validate, caption, " in text
    assert text.endswith("Nothing was written.")
    json.dumps(values)


def test_counts_of_a_first_run_by_hand(line: FakeLine) -> None:
    found = stages_of(
        line, "caption.captions_per_image=5", "distill.image_size=32", "distill.steps=100",
        "distill.lr=[0.1,0.2,0.3]", "distill.screen=0.25", "prune.recovery_steps=10",
        "export.calibration_images=4",
    )  # fmt: skip
    # 12 images: 6 to train and 2 each to tune, validate and test, all labelled.
    assert (found["caption"]["images"], found["caption"]["captions"]) == (12, 60)
    # float32, 12 images, 2 classes: mixed, from captions, from scores; one weight, a column an
    # attribute word; and ids of 64 signs, 4 bytes each.
    assert found["targets"]["disk_bytes"] == 12 * ((2 * 3 + 1 + len(WORDS)) * 4 + 256)
    # 6 to train and 2 to tune as 32 x 32 x 3 bytes.
    assert found["distill"]["images"] == 8
    assert found["distill"]["cache_bytes"] == 8 * 32 * 32 * 3
    # Three candidates for a quarter of the steps, then the best one in full.
    assert found["distill"]["units"] == 3 * 25 + 100
    assert found["baseline"]["units"] == 3 * 28 + 110  # round(110 / 4) is 28 (27.5 to even)
    assert found["prune"]["units"] == 10
    # Two students in two formats, the baseline in one; the teacher in int8 alone.
    assert found["export"]["units"] == 6
    assert found["quantize"]["images"] == 4 * 4
    # Those five in two precisions, and the teacher: looked at on val and test. Of the two students
    # the int8 .tflite is also run on images to fit its threshold on. Tune has fewer than 50 labels
    # and no image is unlabelled: these are the 6 training images.
    files = 2 * (2 * 2 + 1) + 1
    assert found["bench"]["units"] == files
    assert found["evaluate"]["images"] == files * 4 + 2 * 6


def test_seconds_are_those_of_the_last_run_a_unit_at_a_time(line: FakeLine) -> None:
    line.run("distill.steps=100")
    path = line.folder / "stages" / "distill.json"
    write_json(path, read_json(path) | {"cost": {"seconds": 10.0, "peak_memory_mb": 1}})
    assert stages_of(line, "distill.steps=250")["distill"]["seconds"] == pytest.approx(25.0)
    # Another size is another work: nothing is known of it.
    bigger = stages_of(line, "distill.steps=250", "distill.image_size=128")
    assert bigger["distill"]["seconds"] is None
    # A stage that went on where it was stopped did not take what it says.
    write_json(path, read_json(path) | {"resumed": True})
    assert stages_of(line, "distill.steps=250")["distill"]["seconds"] is None


def test_more_steps_leave_a_network_of_the_same_size(line: FakeLine) -> None:
    line.run("distill.steps=100")
    once, more = (
        stages_of(line, f"distill.steps={steps}", "seed=3")["distill"]["disk_bytes"]
        for steps in (100, 5000)
    )
    assert once == more > 0


def test_reasons_name_the_keys_with_both_values(line: FakeLine) -> None:
    line.run()
    found = stages_of(line, "distill.lr=[0.01]", "distill.steps=7")
    assert found["distill"]["reasons"] == [
        "distill.steps: 1500 -> 7",
        "distill.lr: [0.003] -> [0.01]",
    ]
    assert found["caption"]["action"] == "reuse"
    assert (found["quantize"]["action"], found["quantize"]["depends_on"]) == ("depends", ["export"])
    text = printing.plan_text(plan(line.config("distill.lr=[0.01]")))
    assert "distill    runs: distill.lr: [0.003] -> [0.01]" in text
    assert "quantize   runs if export leaves something else than before" in text


def test_what_is_gone_edited_or_older_is_a_reason(line: FakeLine) -> None:
    line.run()
    (line.folder / "captions" / "raw.parquet").unlink()
    found = stages_of(line)
    assert found["caption"]["reasons"] == ["captions/raw.parquet is missing"]
    assert found["filter"]["depends_on"] == ["caption"]
    line.run()
    path = line.folder / "stages" / "targets.json"
    write_json(path, {key: value for key, value in read_json(path).items() if key != "schema"})
    assert stages_of(line)["targets"]["reasons"] == ["its record is of an older edgekd"]
    write_json(path, read_json(path) | {"schema": 99})
    with pytest.raises(
        EdgeKDError, match=r"targets.json: stage record schema 99, this edgekd reads"
    ):
        stages_of(line)


def test_a_changed_folder_of_images_says_so(line: FakeLine) -> None:
    line.run()
    (line.images / "train" / "cat" / "0.png").unlink()
    found = stages_of(line)
    assert found["validate"]["reasons"] == ["data.folder is not what it was"]
    assert found["caption"]["reasons"] == ["other images", "other images or labels for train"]


def test_nothing_is_written(line: FakeLine) -> None:
    line.run()
    before = snapshot(line.folder)
    plan(line.config("seed=3"))
    (line.folder / "stages" / "distill.redo").write_text("")
    before["stages/distill.redo"] = snapshot(line.folder)["stages/distill.redo"]
    plan(line.config())
    assert snapshot(line.folder) == before


def test_a_part_of_the_line_and_what_it_does_not_need(line: FakeLine) -> None:
    found = stages_of(line, until="prune", skip=("baseline",))
    assert list(found) == ["validate", "caption", "filter", "audit", "targets", "distill", "prune"]
    with pytest.raises(UsageError, match=r"Say --set prune\.enabled=true"):
        stages_of(line, "prune.enabled=false", until="prune")

"""Images that show several classes, from labels.csv to the bundle and the report."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd import metrics, open_bundle
from edgekd.manifest import load
from edgekd.targets_file import Targets
from export.bundle import verify_bundle
from tests.e2e.small_runs import CLASSES, SETTINGS, Finished, edgekd, environment, write_config


def pairs(images: Path, target: Path) -> Path:
    """Pictures side by side, of which no two splits share one; every seventh sheet is empty."""
    target.mkdir()
    with (images / "labels.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["label"]]
    table = [["path", "label", "split"]]
    rng = np.random.default_rng(0)
    for split in ("train", "tune", "val", "test"):
        of_split = [row for row in rows if row["split"] == split]
        for number in range(len(of_split)):
            sheet = Image.fromarray(rng.integers(0, 30, size=(28, 56), dtype=np.uint8))
            shown = [of_split[number], of_split[(number * 3 + 5) % len(of_split)]]
            for place, row in enumerate(shown if number % 7 else []):
                sheet.paste(Image.open(images / row["path"]).convert("L"), (28 * place, 0))
            labels = sorted({row["label"] for row in shown}) if number % 7 else ["-"]
            name = f"{split}{number}.png"
            sheet.save(target / name)
            table.append([name, "|".join(labels), split])
    with (target / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(table)
    return target


@pytest.fixture(scope="module")
def several(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    base = tmp_path_factory.mktemp("several")
    folder = pairs(images, base / "pairs")
    config = write_config(
        base / "c.yaml", folder, base / "run", bench={"enabled": False},
        data={"folder": str(folder), "classes": list(CLASSES), "multilabel": True},
        distill=SETTINGS["distill"] | {"steps": 60},
    )  # fmt: skip
    done = edgekd("run", config)
    return Finished(folder, config, base / "run", done.returncode, done.stdout, done.stderr)


def test_targets_have_a_probability_for_each_class(several: Finished) -> None:
    assert several.code == 0, several.stderr
    manifest = load(several.folder / "manifest.parquet")
    targets = Targets(several.folder / "targets/targets.npz")
    rows, labels = manifest.labelled("train")
    probs = targets.probs().rows(rows)
    assert abs(probs.sum(axis=1) - 1).max() > 0.5
    assert metrics.multilabel_quality(probs, labels)["mean_average_precision"] > 0.6


def test_the_report_has_each_class_and_no_confusions(several: Finished) -> None:
    report = json.loads((several.folder / "report.json").read_text())
    assert report["task"]["multilabel"] is True
    assert report["confusion"] is None
    assert report["confidence"] is None
    assert len(report["multilabel"]["classes"]) == len(CLASSES)
    assert {row["model"] for row in report["rows"]} == {"student", "student_pruned", "labels_alone"}
    logits = np.load(several.folder / "exports/logits.npz")
    file = report["headline"]["path"].removeprefix("exports/")
    right = metrics.right(logits[f"{file}/test"], logits["test/labels"])
    assert report["headline"]["accuracy"]["value"] == right.mean()
    assert "names all classes of" in several.stdout
    for kind in ("md", "html"):
        text = (several.folder / f"report.{kind}").read_text()
        assert "Class by class" in text
        assert "Mean average precision" in text


def test_int8_logits_reach_as_far_as_those_of_the_float_file(several: Finished) -> None:
    """A range that is the average of the images' would stop them short of the threshold."""
    logits = np.load(several.folder / "exports/logits.npz")
    for model in ("student", "student_pruned", "labels_alone"):
        exact, rounded = (logits[f"{model}.{kind}.tflite/test"] for kind in ("fp32", "int8"))
        assert rounded.max() > exact.max() - 0.25 * np.ptp(exact)


def test_the_bundle_answers_with_all_that_it_sees(several: Finished, tmp_path: Path) -> None:
    bundle = several.folder / "bundle.zip"
    assert verify_bundle(bundle) == []
    predictor = open_bundle(bundle)
    assert predictor.multilabel
    for path in sorted(several.images.glob("test*.png")):
        (answer,) = predictor.predict(path, top=len(CLASSES))
        assert list(answer.labels) == [label for label, p in answer.top if p > 0.5]
        assert answer.label == (answer.labels[0] if answer.labels else None)
    line = edgekd("predict", bundle, several.images / "test1.png").stdout
    shown = next(iter(predictor.predict(several.images / "test1.png")))
    assert f": {' and '.join(shown.labels) or 'none of them'} (" in line


def test_the_program_of_the_model_card_says_the_same(several: Finished, tmp_path: Path) -> None:
    with zipfile.ZipFile(several.folder / "bundle.zip") as archive:
        archive.extractall(tmp_path)
    card = (tmp_path / "MODEL_CARD.md").read_text()
    program = card.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = json.loads((tmp_path / "expected.json").read_text())
    said = " and ".join(expected["labels"]) or "no class"
    assert done.stdout.splitlines()[-1] == said
    assert f"It prints {said}." in card
    assert "always names one" not in card
    assert json.loads((tmp_path / "preprocess.json").read_text())["outputs"][0]["threshold"] == 0.5


def test_stored_targets_are_what_comes_out_again(several: Finished) -> None:
    done = edgekd("caption", several.folder, "--check", "5")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("targets.prior=uniform", "targets.prior"),
        ("targets.swaps=hard", "targets.swaps"),
        ("targets.top_k=3", "targets.top_k"),
        ("targets.views=2", "targets.views"),
        ("filter.one_class=true", "filter.one_class"),
        ("reject.min_accuracy=0.9", "reject.min_accuracy"),
    ],
)
def test_what_takes_one_class_for_granted_is_refused(
    several: Finished, change: str, key: str
) -> None:
    done = edgekd("validate", several.config, "--set", change)
    assert done.returncode == 2
    assert f"{key} is " in done.stderr
    assert "data.multilabel is true" in done.stderr


def test_init_writes_the_switch(several: Finished, tmp_path: Path) -> None:
    out = tmp_path / "c.yaml"
    assert edgekd("init", several.images, "--multilabel", "--out", out).returncode == 0
    done = edgekd("validate", out, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert sorted(found["classes"]) == sorted(CLASSES)

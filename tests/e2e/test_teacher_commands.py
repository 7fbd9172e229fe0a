"""Commands around the teacher: a thinner one, private labels; captions in the words of a field."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.small_runs import CLASSES, SETTINGS, edgekd, write_config


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT of four layers with random weights, as transformers saves it."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    folder = tmp_path_factory.mktemp("teacher") / "vit"
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=8, num_labels=3,
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_a_thinner_teacher_is_one_that_its_class_loads(
    classifier: Path, images: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForImageClassification

    out = tmp_path / "thin"
    words = ("thin", classifier, images, "--out", out, "--drop", "2", "--measure", "angular")
    done = edgekd(*words, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["dropped"]) == 2
    assert found["num_params"]["candidate"] < found["num_params"]["reference"]
    assert AutoModelForImageClassification.from_pretrained(out).config.num_hidden_layers == 2
    again = edgekd(*words)
    assert again.returncode == 2
    assert again.stderr.splitlines() == [
        f"edgekd: {out}: is there already. Name a folder that is not, with --out"
    ]
    wrong = edgekd("thin", tmp_path, images, "--out", tmp_path / "other")
    assert wrong.returncode == 1
    assert "no image classifier that transformers saved" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1


def test_private_labels_write_answers_and_what_they_cover(images: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", images, tmp_path / "run")
    out = tmp_path / "private.csv"
    words = ("private-labels", config, "--out", out, "--parts", "8", "--max-answers", "15")
    done = edgekd(*words, "--epsilon", "50", "--delta", "0.001", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["epsilon"] <= 50
    assert said["num_answered"] == 15
    assert json.loads(out.with_suffix(".json").read_text()) == said
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 15
    assert {row["label"] for row in rows} <= set(CLASSES)
    given = {row["path"] for row in csv.DictReader((images / "labels.csv").open()) if row["label"]}
    assert not given & {row["path"] for row in rows}
    assert not (tmp_path / "run").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "c.yaml",
        "private.csv",
        "private.json",
    ]


def test_captions_are_also_said_in_the_words_of_a_field(images: Path, tmp_path: Path) -> None:
    caption = SETTINGS["caption"] | {"domain": "findings"}
    config = write_config(tmp_path / "c.yaml", images, tmp_path / "run", caption=caption)
    done = edgekd("run", config, "--until", "targets")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "run/captions/raw.parquet").to_pylist()
    said = [row["text"] for row in rows if row["template"].startswith("findings.")]
    assert any(text.startswith("Findings: ") for text in said)
    assert len(rows) > 3 * 120
    indices = [row["index"] for row in rows if row["item_id"] == rows[0]["item_id"]]
    assert indices == list(range(len(indices)))
    bad = write_config(
        tmp_path / "b.yaml", images, tmp_path / "b", caption=SETTINGS["caption"] | {"reword": 2}
    )
    wrong = edgekd("run", bad)
    assert wrong.returncode == 2
    assert "reword: needs domain" in wrong.stderr

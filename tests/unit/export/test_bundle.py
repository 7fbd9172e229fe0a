"""bundle.zip and its verification."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd import runtimes
from edgekd.confidence import Confidence
from edgekd.errors import EdgeKDError, UsageError
from edgekd.preprocess import to_json
from edgekd.records import Preprocess
from export.bundle import expected_output, verify_bundle, write_bundle
from tests.unit.tiny_models import tiny_onnx, tiny_tflite

LABELS = ["red", "green", "blue | dark"]


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    """The arguments of write_bundle for a model that sums each colour over 2 x 2 pixels."""
    return _inputs(tmp_path, Preprocess(2, 2, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), 1 / 255)


def test_the_bundle_holds_all_that_is_listed(inputs: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "out" / "bundle.zip"
    bundle = write_bundle(path, **inputs)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read("manifest.json"))
        contents = {name: archive.read(name) for name in names}
    assert names == [
        "MODEL_CARD.md", "expected.json", "labels.txt", "manifest.json", "model.onnx",
        "model.tflite", "preprocess.json", "test_image.png",
    ]  # fmt: skip
    assert contents["labels.txt"] == b"red\ngreen\nblue | dark\n"
    assert contents["test_image.png"] == inputs["test_image"].read_bytes()
    assert contents["model.tflite"] == inputs["files"]["model.tflite"].read_bytes()
    assert json.loads(contents["preprocess.json"]) == inputs["preprocess"]
    assert json.loads(contents["expected.json"])["path"] == "test_image.png"
    assert set(manifest["files"]) == set(names) - {"manifest.json"}
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == hashlib.sha256(contents[name]).hexdigest()
        assert entry["size_bytes"] == len(contents[name])
    assert manifest["licences"] == {"data": "MIT", "teacher": "Apache-2.0"}
    assert manifest["versions"] == {"edgekd": "0.1.0"}
    assert manifest["parents"] == {"student": "ab12"}
    assert bundle.components == manifest["files"]
    assert bundle.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert bundle.size_bytes == path.stat().st_size


def test_the_same_inputs_give_the_same_bytes(inputs: dict[str, Any], tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "a.zip", **inputs)
    os.utime(inputs["test_image"], (0, 0))
    turned = dict(reversed(list(inputs.items()))) | {
        "licences": dict(reversed(list(inputs["licences"].items()))),
        "files": dict(reversed(list(inputs["files"].items()))),
    }
    second = write_bundle(tmp_path / "b.zip", **turned)
    assert first.sha256 == second.sha256
    changed = write_bundle(tmp_path / "c.zip", **{**inputs, "parents": {"student": "cd34"}})
    assert changed.sha256 != first.sha256


def test_a_failed_write_leaves_the_old_bundle(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle.zip"
    before = write_bundle(path, **inputs)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full_disk)
    with pytest.raises(EdgeKDError, match=r"cannot be written \(No space left on device\)"):
        write_bundle(path, **inputs)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before.sha256
    assert not list(tmp_path.glob(".*.tmp*"))


def test_expected_output_is_worked_out_by_hand(inputs: dict[str, Any]) -> None:
    """A picture of one colour, (255, 51, 0) / 255 = 1, 0.2, 0: four pixels sum to 4, 0.8, 0."""
    expected = inputs["expected"]
    assert expected["class"] == "red"
    assert expected["logits"] == pytest.approx([4.0, 0.8, 0.0], abs=1e-5)
    assert expected["tolerance"] == pytest.approx(0.02 * 4)
    assert expected["model"] == "model.tflite"


def test_a_good_bundle_verifies_zipped_and_unpacked(inputs: dict[str, Any], tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle.zip", **inputs)
    assert verify_bundle(tmp_path / "bundle.zip") == []
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert verify_bundle(tmp_path / "unpacked") == []
    (tmp_path / "unpacked" / "labels.txt").unlink()
    assert verify_bundle(tmp_path / "unpacked") == [
        "labels.txt: listed in manifest.json, not there"
    ]


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("model.tflite", lambda content: content[:-1] + b"!", "model.tflite: sha256 is"),
        ("labels.txt", lambda content: content + b"more\n", "labels.txt: size_bytes is 27, "),
        (
            "expected.json",
            lambda content: None,
            "expected.json: listed in manifest.json, not there",
        ),
        ("extra.bin", lambda content: b"x", "extra.bin: not listed in manifest.json"),
        ("../evil", lambda content: b"x", "../evil: leads out of the bundle"),
        ("manifest.json", lambda content: b"{}", "manifest.json: schema None, this edgekd reads"),
        ("manifest.json", lambda content: b'{"schema": 1}', "manifest.json: 'files' is missing"),
        ("manifest.json", lambda content: None, "manifest.json is missing"),
    ],
)
def test_what_was_tampered_with_is_named(
    inputs: dict[str, Any],
    tmp_path: Path,
    name: str,
    change: Callable[[bytes], bytes | None],
    problem: str,
) -> None:
    write_bundle(tmp_path / "good.zip", **inputs)
    _rewrite(tmp_path / "good.zip", tmp_path / "bad.zip", {name: change})
    assert any(problem in found for found in verify_bundle(tmp_path / "bad.zip"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"class": "green"}, "says 'red' about test_image.png, expected.json says 'green'"),
        ({"logits": [4.0, 0.9, 0.0]}, "differs from expected.json by 0.1, allowed 0.08"),
        # Within 2% of the spread; e^4 / (e^4 + e^0.87 + 1) = 54.59815 / 57.98506.
        ({"logits": [4.0, 0.87, 0.0], "confidence": 0.94159}, None),
        ({"model": "model.pt"}, "model.pt is missing"),
        ({"model": "../m.tflite"}, "../m.tflite is missing"),
    ],
)
def test_another_answer_than_expected_is_named(
    inputs: dict[str, Any], tmp_path: Path, change: dict[str, Any], problem: str | None
) -> None:
    expected = {**inputs["expected"], **change}
    write_bundle(tmp_path / "bundle.zip", **{**inputs, "expected": expected})
    problems = verify_bundle(tmp_path / "bundle.zip")
    assert len(problems) == (problem is not None)
    assert problem is None or problem in problems[0]


def test_a_model_that_does_not_load_is_named(inputs: dict[str, Any], tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.onnx"
    nonsense.write_bytes(b"nonsense")
    inputs["files"]["model.onnx"] = nonsense
    write_bundle(tmp_path / "bundle.zip", **inputs)
    (problem,) = verify_bundle(tmp_path / "bundle.zip")
    assert "model.onnx: onnxruntime refuses it" in problem


def test_verify_of_what_is_no_zip_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_text("no zip")
    assert "not a whole zip file" in verify_bundle(tmp_path / "bundle.zip")[0]
    with pytest.raises(UsageError, match="no such file or folder"):
        verify_bundle(tmp_path / "gone.zip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a", "b\nc", "d"]}, r"labels: 'b\nc' cannot be a line of labels.txt"),
        ({"labels": ["a", "", "d"]}, "labels: '' cannot be a line"),
        ({"labels": ["a", "b", "a"]}, "expected distinct names, found 'a' twice"),
        ({"labels": []}, "expected distinct names, found none"),
        ({"labels": ["red", "green"]}, "with 3 logits does not fit 2 labels"),
        ({"files": {}}, "files: expected model.tflite or model.onnx, found none"),
        ({"expected": {"class": "red"}}, "expected: 'logits' is missing"),
        ({"model_card": {}}, "model card: 'name' is missing"),
        (
            {"model_card": {"name": "m", "limit": []}},
            "model card: unknown key 'limit'. Closest: 'limits'.",
        ),
        ({"test_image": Path("gone.png")}, "gone.png: no such file"),
    ],
)
def test_bad_arguments(
    inputs: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        write_bundle(tmp_path / "bundle.zip", **{**inputs, **change})
    assert message in str(caught.value)
    assert not (tmp_path / "bundle.zip").exists()


def test_the_card_says_what_was_given_and_what_was_not(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    full = _card(tmp_path / "full.zip", inputs)
    assert "| accuracy | 81.2% | 79.4% to 82.9% | 2,000 |" in full
    assert "| calibration error | 0.031 | - | 2,000 |" in full
    assert "| test | 2,000 | 2,000 |" in full
    assert "| `a.tflite` | 1.25 ms | 1.50 ms | 3.1 MB | measured on Cortex-A76, 4 cores;" in full
    assert "3 classes: red, green, blue \\| dark." in full
    assert "Probe &lt;b>, licence: Apache-2.0. Trained here." in full
    assert "- Grey pictures only." in full
    size_bytes = inputs["files"]["model.tflite"].stat().st_size
    assert f"| `model.tflite` | {size_bytes} B ({size_bytes} bytes) |" in full
    bare = _card(tmp_path / "bare.zip", {**inputs, "model_card": {"name": "bare"}, "licences": {}})
    assert "## How well it answers\n\nNot measured.\n" in bare
    assert "Latency: not measured." in bare
    assert "## Teacher\n\nNot stated.\n" in bare
    assert "None" not in bare.replace("x[None]", "")


@pytest.mark.parametrize("mode", ["stretch", "shorter_side_crop", "letterbox"])
@pytest.mark.parametrize("input_scale", [None, 1 / 255])
def test_the_program_in_the_card_runs_as_it_stands(
    tmp_path: Path, mode: Any, input_scale: float | None
) -> None:
    """In the unpacked folder, with numpy, Pillow and the runtime: it prints the class."""
    preprocess = Preprocess(2, 2, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), mode, "bicubic")
    printed, expected = _run_card(tmp_path, _inputs(tmp_path, preprocess, input_scale))
    label, probability, values = printed.strip().split(" ", 2)
    assert label == expected["class"] == "red"
    assert float(probability) == pytest.approx(expected["confidence"], abs=1e-5)
    assert json.loads(values) == pytest.approx(expected["logits"], abs=1e-5)


# Logits 4, 0.8, 0 at temperature 2: e^2 / (e^2 + e^0.4 + 1) = 7.38906 / 9.88088 = 0.74781, and
# the energy without it: ln(e^4 + e^0.8 + 1) = ln(57.82369) = 4.05740.
@pytest.mark.parametrize(
    ("sure", "score", "said"),
    [
        (Confidence(2.0, "probability", 0.74), 0.74781, "sure"),
        (Confidence(2.0, "probability", 0.75), 0.74781, "unsure"),
        (Confidence(2.0, "energy", 4.05), 4.05740, "sure"),
        (Confidence(2.0, "energy", 4.06), 4.05740, "unsure"),
        (Confidence(2.0, "max_logit", 4.1), 4.0, "unsure"),
    ],
)
def test_temperature_and_threshold_are_in_card_and_expectation(
    tmp_path: Path, sure: Confidence, score: float, said: str
) -> None:
    preprocess = Preprocess(2, 2, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    inputs = _inputs(tmp_path, preprocess, None, sure)
    inputs["model_card"]["confidence"] = ["95.1% of the test images are answered."]
    printed, expected = _run_card(tmp_path, inputs)
    assert expected["confidence"] == pytest.approx(score, abs=1e-4)
    assert expected["rejected"] is (said == "unsure")
    label, probability, found, _ = printed.strip().split(" ", 3)
    assert (label, found) == ("red", said)
    assert float(probability) == pytest.approx(0.74781, abs=1e-5)
    assert verify_bundle(tmp_path / "bundle.zip") == []
    card = _card(tmp_path / "again.zip", inputs)
    assert f"is below {sure.reject_below:.4g} (`reject_below` in `preprocess.json`)." in card
    assert "softmax(logits / 2)" in card
    assert "- 95.1% of the test images are answered." in card


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"confidence": 0.5}, "confidence 0.5, rejected False; by preprocess.json its logits have"),
        ({"rejected": True}, "and are answered"),
        ({"confidence": None}, "confidence None, rejected False;"),
        # e^4 / (e^4 + e^0.8 + 1) = 54.59815 / 57.82369
        ({"confidence": 0.94422}, None),
    ],
)
def test_a_confidence_that_preprocess_json_does_not_give_is_named(
    inputs: dict[str, Any], tmp_path: Path, change: dict[str, Any], problem: str | None
) -> None:
    write_bundle(
        tmp_path / "bundle.zip", **{**inputs, "expected": {**inputs["expected"], **change}}
    )
    problems = verify_bundle(tmp_path / "bundle.zip")
    assert len(problems) == (problem is not None)
    assert problem is None or problem in problems[0]


def test_a_threshold_that_is_none_is_named(inputs: dict[str, Any], tmp_path: Path) -> None:
    inputs["preprocess"]["reject_by"] = "feeling"
    with pytest.raises(EdgeKDError, match="reject_by is 'feeling', expected one of probability"):
        write_bundle(tmp_path / "bundle.zip", **inputs)


def test_a_bundle_from_before_verifies(inputs: dict[str, Any], tmp_path: Path) -> None:
    """Neither temperature nor threshold, and nothing about them in expected.json."""
    del inputs["preprocess"]["reject_by"], inputs["preprocess"]["outputs"][0]["temperature"]
    del inputs["expected"]["confidence"], inputs["expected"]["rejected"]
    write_bundle(tmp_path / "bundle.zip", **inputs)
    assert verify_bundle(tmp_path / "bundle.zip") == []


def _run_card(folder: Path, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns what the card's program prints in the unpacked bundle, and its expected.json."""
    bundle = write_bundle(folder / "bundle.zip", **inputs)
    with zipfile.ZipFile(bundle.path) as archive:
        archive.extractall(folder / "unpacked")
    card = (folder / "unpacked" / "MODEL_CARD.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(program.splitlines()) <= 14
    # The whole output too, so that a wrong resize is noticed.
    done = subprocess.run(
        [sys.executable, "-I", "-c", program.rstrip() + ";print(y.tolist())"],
        capture_output=True, text=True, cwd=folder / "unpacked", check=True,
    )  # fmt: skip
    expected = json.loads((folder / "unpacked" / "expected.json").read_text())
    return done.stdout.replace("\n", " "), expected


def _inputs(
    folder: Path,
    preprocess: Preprocess,
    input_scale: float | None,
    confidence: Confidence | None = None,
) -> dict[str, Any]:
    weights = np.tile(np.eye(3), 4)  # each colour summed over the four pixels
    model = tiny_tflite(
        folder / "m.tflite", weights, np.zeros(3), (1, 2, 2, 3), input_scale=input_scale
    )
    runner = runtimes.load(model)
    settings = to_json(preprocess, runner.inputs[0], runner.outputs[0], confidence)
    image = folder / "some picture.PNG"
    Image.new("RGB", (9, 5), (255, 51, 0)).save(image, format="PNG")
    run = {
        "model": "a.tflite", "kind": "measured", "device": "Cortex-A76, 4 cores", "threads": 1,
        "runtime": "litert", "runtime_version": "2.3.0", "accelerator": "cpu", "memory_mb": 3.14,
        "latency_ms": {"median": 1.25, "p95": 1.5},
    }  # fmt: skip
    return {
        "files": {"model.tflite": model, "model.onnx": tiny_onnx(folder / "m.onnx", weights.T)},
        "labels": LABELS,
        "preprocess": settings,
        "model_card": {
            "name": "colours",
            "metrics": [
                {"name": "accuracy", "value": 0.812, "low": 0.794, "high": 0.829, "n": 2000},
                {"name": "calibration error", "value": 0.0312, "n": 2000},
            ],
            "labels": {"test": {"images": 2000, "labels": 2000}},
            "teacher": {"name": "Probe <b>", "licence": "Apache-2.0", "note": "Trained here."},
            "latency": [run],
            "limits": ["Grey pictures only."],
        },
        "test_image": image,
        "expected": expected_output(model, LABELS, settings, image),
        "licences": {"teacher": "Apache-2.0", "data": "MIT"},
        "versions": {"edgekd": "0.1.0"},
        "parents": {"student": "ab12"},
    }


def _card(path: Path, inputs: dict[str, Any]) -> str:
    write_bundle(path, **inputs)
    with zipfile.ZipFile(path) as archive:
        return archive.read("MODEL_CARD.md").decode()


def _rewrite(
    source: Path, target: Path, changes: dict[str, Callable[[bytes], bytes | None]]
) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        contents = {name: old.read(name) for name in old.namelist()}
        for name, change in changes.items():
            content = change(contents.get(name, b""))
            if content is None:
                contents.pop(name)
            else:
                contents[name] = content
        for name, content in contents.items():
            new.writestr(name, content)

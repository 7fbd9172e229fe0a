"""Images through a bundle, zipped or unpacked."""

from __future__ import annotations

import gc
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.bundle_files import BundleFiles
from edgekd.confidence import Confidence
from edgekd.errors import EdgeKDError, UsageError
from edgekd.predictor import Predictor, open_bundle
from edgekd.preprocess import to_json
from edgekd.records import Preprocess, TensorSpec
from tests.unit.tiny_models import tiny_tflite

LABELS = ["red", "green", "blue"]
# One pixel in, its three colours out, times 2: pure red gives the logits 2, 0, 0.
WEIGHTS = 2 * np.eye(3)
# softmax(2, 0, 0) = e^2 / (e^2 + 2) and 1 / (e^2 + 2)
FIRST, OTHER = 0.78699, 0.10651


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return _bundle(tmp_path, None)


def test_a_pure_colour_is_named_with_its_probability(bundle: Path) -> None:
    (prediction,) = open_bundle(bundle).predict(Image.new("RGB", (5, 4), (255, 0, 0)))
    assert prediction.label == "red"
    assert prediction.probability == pytest.approx(FIRST, abs=1e-5)
    assert [label for label, _ in prediction.top] == ["red", "green", "blue"]
    assert [p for _, p in prediction.top] == pytest.approx([FIRST, OTHER, OTHER], abs=1e-5)
    assert not prediction.rejected
    assert prediction.error is None


def test_paths_and_pictures_give_the_same_answer_in_order(bundle: Path, tmp_path: Path) -> None:
    """Also where the file is turned, transparent or 16 bits deep."""
    turned = Image.new("RGB", (3, 2), (0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGBA", (2, 2), (0, 255, 0, 60)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((2, 2), 40_000, np.uint16)).save(tmp_path / "deep.png")
    paths = [tmp_path / name for name in ("turned.jpg", "clear.png", "deep.png")]
    predictor = open_bundle(bundle)
    from_paths = list(predictor.predict(paths))
    from_pictures = list(predictor.predict([Image.open(path) for path in paths]))
    assert from_paths == from_pictures
    assert [p.path for p in from_paths] == [str(path) for path in paths]
    assert from_paths[0].label == "blue"


def test_a_bad_image_gives_an_error_entry_and_the_rest_goes_on(
    bundle: Path, tmp_path: Path
) -> None:
    good = tmp_path / "good.png"
    Image.new("RGB", (1, 1), (0, 255, 0)).save(good)
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:30])
    predictions = list(open_bundle(bundle).predict([bad, tmp_path / "gone.png", str(good)]))
    assert [p.label for p in predictions] == [None, None, "green"]
    assert "bad.png" in (predictions[0].error or "")
    assert "No such file" in (predictions[1].error or "")
    assert predictions[0].probability is None


@pytest.mark.parametrize(("reject_below", "rejected"), [(0.78, False), (0.79, True)])
def test_reject_below(tmp_path: Path, reject_below: float, rejected: bool) -> None:
    predictor = open_bundle(_bundle(tmp_path, Confidence(reject_below=reject_below)))
    (prediction,) = predictor.predict([Image.new("RGB", (1, 1), (255, 0, 0))])
    assert prediction.rejected is rejected
    assert prediction.label == "red"
    assert predictor.confidence.reject_below == reject_below
    assert prediction.confidence == prediction.probability


def test_the_temperature_divides_the_logits(tmp_path: Path) -> None:
    """At 2 the logits 2, 0, 0 become 1, 0, 0: e / (e + 2) = 0.57612."""
    model = tiny_tflite(tmp_path / "m.tflite", WEIGHTS, np.zeros(3), (1, 1, 1, 3))
    red = Image.new("RGB", (1, 1), (255, 0, 0))
    for below, rejected in ((0.57, False), (0.58, True)):
        settings = _settings(Confidence(temperature=2.0, reject_below=below))
        (prediction,) = Predictor(model, LABELS, settings).predict(red)
        assert prediction.probability == pytest.approx(0.57612, abs=1e-5)
        assert prediction.top[0] == ("red", prediction.probability)
        assert prediction.rejected is rejected


def test_another_score_may_reject(tmp_path: Path) -> None:
    """The logits 2, 0, 0 have an energy of ln(e^2 + 2) = 2.23954."""
    model = tiny_tflite(tmp_path / "m.tflite", WEIGHTS, np.zeros(3), (1, 1, 1, 3))
    settings = _settings(Confidence(2.0, "energy", 2.3))
    (prediction,) = Predictor(model, LABELS, settings).predict(
        Image.new("RGB", (1, 1), (255, 0, 0))
    )
    assert prediction.confidence == pytest.approx(2.23954, abs=1e-5)
    assert prediction.probability == pytest.approx(0.57612, abs=1e-5)
    assert prediction.rejected


def test_a_bundle_from_before_answers_everything(tmp_path: Path) -> None:
    """Its preprocess.json has neither a temperature nor a threshold."""
    old = _settings(Confidence(temperature=2.0, reject_below=0.9))
    del old["outputs"][0]["temperature"], old["reject_by"], old["reject_below"]
    model = tiny_tflite(tmp_path / "m.tflite", WEIGHTS, np.zeros(3), (1, 1, 1, 3))
    (prediction,) = Predictor(model, LABELS, old).predict(Image.new("RGB", (1, 1), (255, 0, 0)))
    assert prediction.probability == prediction.confidence == pytest.approx(FIRST, abs=1e-5)
    assert not prediction.rejected


def test_a_threshold_that_is_none_is_named(tmp_path: Path) -> None:
    broken = _settings(None) | {"reject_below": "half"}
    model = tiny_tflite(tmp_path / "m.tflite", WEIGHTS, np.zeros(3), (1, 1, 1, 3))
    with pytest.raises(EdgeKDError, match="reject_below is 'half', expected a number"):
        Predictor(model, LABELS, broken)


def test_softmax_outputs_are_taken_as_they_are(tmp_path: Path) -> None:
    settings = _settings(None)
    settings["outputs"][0]["activation"] = "softmax"
    model = tiny_tflite(tmp_path / "m.tflite", WEIGHTS / 2, np.zeros(3), (1, 1, 1, 3))
    predictor = Predictor(model, LABELS, settings)
    (prediction,) = predictor.predict(Image.new("RGB", (1, 1), (255, 0, 0)), top=1)
    assert prediction.probability == 1.0
    assert prediction.top == (("red", 1.0),)


def test_a_folder_answers_like_the_zip(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    image = Image.new("RGB", (2, 2), (10, 200, 30))
    zipped, unpacked = open_bundle(bundle), open_bundle(tmp_path / "unpacked")
    assert list(zipped.predict(image)) == list(unpacked.predict(image))
    assert zipped.labels == unpacked.labels == LABELS
    assert zipped.preprocess == Preprocess(1, 1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_an_onnx_model_is_used_where_there_is_no_tflite(tmp_path: Path) -> None:
    """The tiny ONNX takes [1, 3], the size of one pixel; the layout comes from the file."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6])],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=9), str(tmp_path / "model.onnx")
    )
    settings = _settings(None)
    settings["inputs"][0]["resize"]["width"] = 2
    (tmp_path / "preprocess.json").write_text(json.dumps(settings))
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\nf\n")
    image = Image.fromarray(np.array([[[255, 0, 51], [0, 102, 0]]], np.uint8))
    outputs = open_bundle(tmp_path).outputs(image)
    assert outputs == pytest.approx([1, 0, 0, 0.4, 0.2, 0], abs=1e-6)  # channel by channel


def test_the_unpacked_model_goes_with_the_predictor(bundle: Path) -> None:
    files = BundleFiles(bundle)
    local = files.local_path("model.tflite")
    assert local.is_file()
    del files
    gc.collect()
    assert not local.exists()


def test_labels_may_hold_odd_signs(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("a\u2028b\n c\x0b\n".encode())
    assert BundleFiles(tmp_path).labels() == ["a\u2028b", " c\x0b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels.txt": b"red\ngreen\n"}, "has 3 outputs, labels.txt has 2 lines"),
        ({"labels.txt": b"\xff\n"}, "labels.txt is not UTF-8"),
        ({"labels.txt": None}, "labels.txt is missing"),
        ({"preprocess.json": None}, "preprocess.json is missing"),
        ({"preprocess.json": b"{"}, "preprocess.json is not readable as JSON"),
        ({"preprocess.json": b"[]"}, "preprocess.json holds no JSON object"),
        ({"preprocess.json": b'{"schema": 9}'}, "schema 9, this edgekd reads schema 1"),
        ({"model.tflite": None}, "expected model.tflite or model.onnx inside, found neither"),
        ({"model.tflite": b"nonsense"}, "refuses it"),
    ],
)
def test_a_bundle_that_is_not_whole_is_one_clear_error(
    bundle: Path, tmp_path: Path, change: dict[str, bytes | None], message: str
) -> None:
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            content = change.get(name, source.read(name))
            if content is not None:
                target.writestr(name, content)
    with pytest.raises(EdgeKDError) as caught:
        open_bundle(broken)
    assert message in str(caught.value)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no such file or folder\. Make a bundle with: edgekd run CONFIG"
    ):
        open_bundle(tmp_path / "gone.zip")
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(EdgeKDError, match="not a whole zip file"):
        open_bundle(tmp_path / "text.zip")


def _settings(confidence: Confidence | None) -> dict[str, Any]:
    return to_json(
        Preprocess(1, 1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        TensorSpec("image", (1, 1, 1, 3), "float32"),
        TensorSpec("logits", (1, 3), "float32", "NC"),
        confidence,
    )


def _bundle(folder: Path, confidence: Confidence | None) -> Path:
    model = tiny_tflite(folder / "m.tflite", WEIGHTS, np.zeros(3), (1, 1, 1, 3))
    path = folder / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(model, "model.tflite")
        archive.writestr("labels.txt", "\n".join(LABELS) + "\n")
        archive.writestr("preprocess.json", json.dumps(_settings(confidence)))
    return path

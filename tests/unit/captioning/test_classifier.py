"""The user's own classifier: every kind of file, class names, temperature, and its faults."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

from captioning.teachers import classifier_files
from captioning.teachers.classifier import ClassifierConfig, ClassifierTeacher, load_module
from captioning.teachers.protocol import Brief
from edgekd import mapped
from edgekd.errors import DataError, WeightsError
from edgekd.manifest import Manifest
from edgekd.metrics import softmax
from edgekd.preprocess import normalized, resized
from edgekd.records import Item, Preprocess, TaskSpec
from tests.unit.tiny_models import tiny_onnx, tiny_tflite

CLASSES = ("dog", "cat", "emu")  # the models call them cat, dog, emu
SIZES = ((64, 64), (90, 60), (50, 120))


def image(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, size=(5, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


IMAGES = [image(seed, size) for seed, size in enumerate(SIZES)]


def items(labels: list[int | None]) -> list[Item]:
    return [Item(f"{row:064x}", f"{row}.png", "tune", label) for row, label in enumerate(labels)]


def manifest(labels: list[int | None], classes: tuple[str, ...] = CLASSES) -> Manifest:
    return Manifest(TaskSpec("t", classes), items(labels))


def teacher(tmp_path: Path, model: Path, **settings: Any) -> ClassifierTeacher:
    config = ClassifierConfig(model=model, device="cpu", **settings)
    return ClassifierTeacher(config, Brief(TaskSpec("t", CLASSES), 1, (1.0,), 0, tmp_path))


@pytest.fixture(scope="module")
def timm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("timm") / "mine"
    torch.manual_seed(0)
    network = timm.create_model("test_resnet.r160_in1k", pretrained=False, num_classes=3)
    timm.models.save_for_hf(
        network, folder, {"label_names": ["cat", "dog", "emu"]}, safe_serialization=True
    )
    return folder


@pytest.fixture(scope="module")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit") / "mine"
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        initializer_range=0.5,
        id2label={0: "cat", 1: "dog", 2: "emu"},
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_a_timm_folder_scores_as_timm_does(tmp_path: Path, timm_folder: Path) -> None:
    mine = teacher(tmp_path, timm_folder)
    assert mine.name == "classifier/mine"
    square = [image(5, (160, 160)), image(6, (300, 300))]
    look = mine.look(items([None] * 2), square)
    network = timm.create_model(f"local-dir:{timm_folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    with torch.inference_mode():
        batch = torch.stack([transform(each) for each in square])
        expected = network(batch)
        features = network.forward_head(network.forward_features(batch), pre_logits=True)
    np.testing.assert_allclose(look.arrays["outputs"], expected.numpy(), atol=1e-5)
    assert look.arrays["features"].dtype == np.float16
    np.testing.assert_allclose(look.arrays["features"], features.numpy(), atol=2e-3)
    assert look.captions == ()
    concluded = mine.conclude(manifest([None] * 2), look.arrays)
    assert concluded.logits_NK is not None
    np.testing.assert_allclose(concluded.logits_NK, expected.numpy()[:, [1, 0, 2]], atol=1e-5)
    assert list(concluded.captions) == []
    [weights] = concluded.summary["weights"]
    assert weights["size_bytes"] == (timm_folder / "model.safetensors").stat().st_size
    assert concluded.summary["num_params"] == sum(p.numel() for p in network.parameters())
    assert concluded.summary["head"]["captions"] == "none: it only scores"


def test_other_shapes_differ_from_timms_by_less_than_a_pixel(timm_folder: Path) -> None:
    loaded = classifier_files.load(timm_folder, None, None, "cpu")
    network = timm.create_model(f"local-dir:{timm_folder}")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    for each in IMAGES:
        window = loaded.pixels.window
        assert window is not None
        rows, columns = slice(window.top, window.top + 160), slice(window.left, window.left + 160)
        mine = loaded.pixels.prepare(each)[rows, columns]
        theirs = transform(each).permute(1, 2, 0).numpy()
        assert np.abs(mine - theirs).mean() < 0.01  # of values between -1 and 1


def test_a_vit_folder_scores_as_transformers_does(tmp_path: Path, vit_folder: Path) -> None:
    mine = teacher(tmp_path, vit_folder)
    look = mine.look(items([None] * 3), IMAGES)
    network = transformers.AutoModelForImageClassification.from_pretrained(vit_folder)
    processor = transformers.AutoImageProcessor.from_pretrained(vit_folder, backend="pil")
    with torch.inference_mode():
        pixels = processor(images=IMAGES, return_tensors="pt")
        expected = network(**pixels).logits
        features = network.vit(**pixels).last_hidden_state[:, 0]
    np.testing.assert_allclose(look.arrays["outputs"], expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(look.arrays["features"], features.numpy(), atol=2e-3)
    alone = [mine.look(items([None]), [each]).arrays["outputs"][0] for each in IMAGES]
    np.testing.assert_allclose(np.stack(alone), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["timm", "vit"])
@pytest.mark.parametrize("classes", [CLASSES, ("emu", "owl", "cat"), ("dog", "emu", "cat", "elk")])
def test_the_module_for_export_gives_the_same_logits(
    kind: str, classes: tuple[str, ...], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    mine = teacher(tmp_path, request.getfixturevalue(f"{kind}_folder"), partial=True)
    look = mine.look(items([None] * 3), IMAGES)
    concluded = mine.conclude(manifest([None] * 3, classes), look.arrays)
    stored = {
        name: np.asarray(value) for name, value in concluded.head.items()
    }  # as an .npz has it
    exported = load_module(mine._config, stored)
    assert exported is not None
    module, preprocess = exported
    batch = np.stack([normalized(resized(each, preprocess), preprocess) for each in IMAGES])
    with torch.inference_mode():
        logits = module(torch.from_numpy(batch).permute(0, 3, 1, 2))
    np.testing.assert_allclose(logits.numpy(), concluded.logits_NK, atol=1e-4)


def test_a_module_where_several_outputs_mean_one_class(tmp_path: Path, vit_folder: Path) -> None:
    mine = teacher(tmp_path, vit_folder, classes=["cat", "cats", "dog"], partial=True)
    look = mine.look(items([None] * 3), IMAGES)
    concluded = mine.conclude(manifest([None] * 3), look.arrays)
    exported = load_module(mine._config, concluded.head)
    assert exported is not None
    batch = np.stack([normalized(resized(each, exported[1]), exported[1]) for each in IMAGES])
    with torch.inference_mode():
        logits = exported[0](torch.from_numpy(batch).permute(0, 3, 1, 2))
    np.testing.assert_allclose(logits.numpy(), concluded.logits_NK, atol=1e-4)
    outputs = look.arrays["outputs"].astype(np.float64)
    both = np.exp(outputs[:, 0]) + np.exp(outputs[:, 1])
    np.testing.assert_allclose(concluded.logits_NK[:, 1], np.log(both), atol=1e-5)


def test_a_processor_with_steps_of_its_own_is_asked_itself(
    tmp_path: Path, vit_folder: Path
) -> None:
    folder = copied(vit_folder, tmp_path / "own")
    transformers.ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(folder)
    mine = teacher(tmp_path, folder)
    look = mine.look(items([None] * 3), IMAGES)
    network = transformers.AutoModelForImageClassification.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.inference_mode():
        expected = network(**processor(images=IMAGES, return_tensors="pt")).logits
    np.testing.assert_allclose(look.arrays["outputs"], expected.numpy(), atol=1e-5)
    concluded = mine.conclude(manifest([None] * 3), look.arrays)
    assert concluded.head == {}
    assert load_module(mine._config, concluded.head) is None


def test_a_shorter_edge_and_a_crop_are_said_as_a_record(tmp_path: Path, vit_folder: Path) -> None:
    folder = copied(vit_folder, tmp_path / "crop")
    transformers.BitImageProcessor(
        size={"shortest_edge": 41}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder)
    mine = teacher(tmp_path, folder)
    square = image(9, (77, 77))
    look = mine.look(items([None]), [square])
    network = transformers.AutoModelForImageClassification.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.inference_mode():
        expected = network(**processor(images=square, return_tensors="pt")).logits
    np.testing.assert_allclose(look.arrays["outputs"], expected.numpy(), atol=1e-5)
    exported = load_module(mine._config, mine.conclude(manifest([None]), look.arrays).head)
    assert exported is not None
    assert (exported[1].height, exported[1].resize) == (41, "shorter_side_crop")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_checkpoint_file_with_its_architecture(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model("mobilenetv3_small_050", num_classes=2).eval()
    path = tmp_path / f"best{suffix}"
    if suffix == ".safetensors":
        save_file(network.state_dict(), path)
        stated = {"architecture": "mobilenetv3_small_050"}
    else:  # what timm's train.py writes
        options = argparse.Namespace(lr=0.1)
        tensors = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
        torch.save({"arch": "mobilenetv3_small_050", "state_dict": tensors, "args": options}, path)
        stated = {}
    (tmp_path / "labels.txt").write_text("0 cat\n1 big dog\n")
    mine = teacher(tmp_path, path, preprocess={"height": 32, "width": 48}, **stated)
    look = mine.look(items([None]), [IMAGES[0]])
    pixels = Preprocess(32, 48)
    batch = normalized(resized(IMAGES[0], pixels), pixels)[None]
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch).permute(0, 3, 1, 2))
    np.testing.assert_allclose(look.arrays["outputs"], expected.numpy(), atol=1e-5)
    concluded = mine.conclude(manifest([None], ("big_dog", "cat")), look.arrays)
    np.testing.assert_allclose(concluded.logits_NK, expected.numpy()[:, [1, 0]], atol=1e-5)


SIDE = 2
WEIGHTS = np.arange(3 * SIDE * SIDE * 3, dtype=np.float32).reshape(3, -1) / 40
BIAS = np.array([0.5, -0.25, 0.0])
PLAIN = {"height": SIDE, "width": SIDE, "mean": (0, 0, 0), "std": (1, 1, 1)}


def flat(each: Image.Image) -> np.ndarray:
    return np.asarray(each.resize((SIDE, SIDE), 2), dtype=np.float32).reshape(-1) / 255


def test_a_tflite_file(tmp_path: Path) -> None:
    path = tiny_tflite(tmp_path / "m.tflite", WEIGHTS, BIAS, (1, SIDE, SIDE, 3))
    (tmp_path / "labels.txt").write_text("cat\ndog\nemu\n")
    mine = teacher(tmp_path, path, preprocess=PLAIN)
    look = mine.look(items([None] * 3), IMAGES)
    expected = np.stack([WEIGHTS @ flat(each) + BIAS for each in IMAGES])
    assert set(look.arrays) == {"outputs"}
    np.testing.assert_allclose(look.arrays["outputs"], expected, atol=1e-5)
    concluded = mine.conclude(manifest([None] * 3), look.arrays)
    np.testing.assert_allclose(concluded.logits_NK, expected[:, [1, 0, 2]], atol=1e-5)
    assert concluded.summary["num_params"] == 3 * 12 + 3
    assert concluded.head == {}


def test_a_quantized_tflite_file_with_a_preprocess_json(tmp_path: Path) -> None:
    path = tiny_tflite(
        tmp_path / "m.tflite", WEIGHTS, BIAS, (1, SIDE, SIDE, 3), input_scale=1 / 255
    )
    resize = {"mode": "stretch", "height": SIDE, "width": SIDE, "interpolation": "bilinear"}
    entry = {"resize": resize, "mean": [0, 0, 0], "std": [1, 1, 1]}
    settings = {"schema": 1, "inputs": [entry], "outputs": [{"activation": "logits"}]}
    (tmp_path / "preprocess.json").write_text(json.dumps(settings))
    mine = teacher(tmp_path, path, classes=["cat", "dog", "emu"])
    look = mine.look(items([None]), [IMAGES[1]])
    np.testing.assert_allclose(
        look.arrays["outputs"][0], WEIGHTS @ flat(IMAGES[1]) + BIAS, atol=1e-4
    )


class Flat(torch.nn.Module):
    """Softmax of one layer over 2 x 2 pixels, channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.layer(images.flatten(1)), dim=1)


def test_an_onnx_file_that_puts_out_probabilities(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, path = Flat().eval(), tmp_path / "m.onnx"
    torch.onnx.export(
        network, (torch.zeros(1, 3, SIDE, SIDE),), str(path), dynamo=True, verbose=False
    )
    mine = teacher(tmp_path, path, preprocess=PLAIN, classes=["cat", "dog", "emu"])
    look = mine.look(items([None] * 3), IMAGES)
    batch = np.stack([flat(each).reshape(SIDE, SIDE, 3) for each in IMAGES])
    with torch.inference_mode():
        probs = network(torch.from_numpy(batch).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(look.arrays["outputs"], probs, atol=1e-6)
    concluded = mine.conclude(manifest([None] * 3), look.arrays)
    assert concluded.logits_NK is not None
    np.testing.assert_allclose(softmax(concluded.logits_NK), probs[:, [1, 0, 2]], atol=1e-6)
    as_logits = teacher(tmp_path, path, preprocess=PLAIN, classes=["cat", "dog", "emu"], activation="logits")  # fmt: skip
    other = as_logits.conclude(manifest([None] * 3), look.arrays).logits_NK
    np.testing.assert_allclose(other, probs[:, [1, 0, 2]], atol=1e-6)


@pytest.fixture
def flat_teacher(tmp_path: Path) -> ClassifierTeacher:
    path = tiny_tflite(tmp_path / "m.tflite", WEIGHTS, BIAS, (1, SIDE, SIDE, 3))
    return teacher(tmp_path, path, preprocess=PLAIN, classes=["dog", "cat", "emu"])


def test_a_quantized_probability_of_0_is_less_than_half_a_step(
    flat_teacher: ClassifierTeacher,
) -> None:
    outputs = np.array([[1.0, 0.0, 0.0], [0.5, 0.49609375, 0.00390625]], dtype=np.float32)
    logits = flat_teacher.conclude(manifest([None] * 2), {"outputs": outputs}).logits_NK
    assert logits is not None
    np.testing.assert_allclose(logits[0], np.log([1, 1 / 512, 1 / 512]), atol=1e-6)


def test_many_quantized_probabilities_need_not_add_up_to_1(tmp_path: Path) -> None:
    """999 times less than half a step is rounded to 0, and stays less than a hundredth."""
    path = tiny_tflite(tmp_path / "m.tflite", WEIGHTS, BIAS, (1, SIDE, SIDE, 3))
    names = ["cat", *(f"thing {row}" for row in range(999))]
    mine = teacher(tmp_path, path, preprocess=PLAIN, classes=names, partial=True)
    outputs = np.zeros((2, 1000), dtype=np.float32)
    outputs[0, 0], outputs[1, [0, 5]] = 225 / 256, (100 / 256, 156 / 256)
    head = mine.conclude(manifest([None] * 2), {"outputs": outputs}).summary["head"]
    first = 999e-5 / (225 / 256 + 999e-5)
    second = (156 / 256 + 998e-5) / (1 + 998e-5)
    assert head["their_mean_probability"] == pytest.approx((first + second) / 2, rel=1e-4)


@pytest.mark.parametrize(
    "outputs", [[[0.2, 1.1, 0.1]], [[0.5, -0.1, 0.6]], [[0.9, 0.9, 0.9]], [[0.1, 0.1, 0.1]]]
)
def test_what_does_not_add_up_is_taken_for_logits(
    outputs: list[list[float]], flat_teacher: ClassifierTeacher
) -> None:
    found = np.array(outputs, dtype=np.float32)
    logits = flat_teacher.conclude(manifest([None]), {"outputs": found}).logits_NK
    np.testing.assert_array_equal(logits, found)


@pytest.mark.parametrize("num_labels", [19, 20])
def test_the_temperature_is_fitted_from_20_tune_labels_on(
    flat_teacher: ClassifierTeacher, num_labels: int
) -> None:
    # Logits (2, 0, -99), right in 15 of 20: the odds exp(2 / T) become 3.
    outputs = np.tile(np.array([2.0, 0.0, -99.0], dtype=np.float32), (num_labels, 1))
    labels: list[int | None] = ([0] * 15 + [1] * 5)[:num_labels]  # type: ignore[assignment]
    concluded = flat_teacher.conclude(manifest(labels), {"outputs": outputs})
    head = concluded.summary["head"]
    if num_labels == 19:
        assert head["temperature"] == 1
        assert head["fitted_on"] == "as it is: 19 tune labels, fitted from 20 on"
    else:
        assert head["temperature"] == pytest.approx(2 / np.log(3), rel=1e-4)
        assert head["fitted_on"] == "20 tune labels"
        assert concluded.logits_NK is not None
        np.testing.assert_allclose(softmax(concluded.logits_NK)[0, :2], [0.75, 0.25], atol=1e-3)


def test_images_of_no_class_abstain(flat_teacher: ClassifierTeacher) -> None:
    probs = np.array([[0.05, 0.02, 0.93], [0.2, 0.1, 0.7]], dtype=np.float32)
    concluded = flat_teacher.conclude(manifest([None] * 2, ("cat", "dog")), {"outputs": probs})
    assert concluded.logits_NK is not None
    assert np.isfinite(concluded.logits_NK).all(axis=1).tolist() == [False, True]
    np.testing.assert_allclose(softmax(concluded.logits_NK)[1], [1 / 3, 2 / 3], atol=1e-6)
    head = concluded.summary["head"]
    assert head["outputs_without_a_class"] == "1 output: 'emu'"
    assert head["their_mean_probability"] == pytest.approx((0.93 + 0.7) / 2)
    assert head["num_abstained"] == 1


def test_classes_it_does_not_know(flat_teacher: ClassifierTeacher, tmp_path: Path) -> None:
    outputs = {"outputs": np.zeros((1, 3), dtype=np.float32)}
    wanted = manifest([None], ("dog", "cat", "emu", "owl"))
    with pytest.raises(DataError, match=r"no output for 1 class: 'owl'; .* set partial: true"):
        flat_teacher.conclude(wanted, outputs)
    config = flat_teacher._config.model_copy(update={"partial": True})
    concluded = ClassifierTeacher(config, flat_brief(tmp_path)).conclude(wanted, outputs)
    assert concluded.summary["head"]["classes_it_does_not_know"] == ["owl"]
    assert concluded.logits_NK is not None
    np.testing.assert_allclose(softmax(concluded.logits_NK), [[0.25] * 4])


def flat_brief(tmp_path: Path) -> Brief:
    return Brief(TaskSpec("t", CLASSES), 1, (1.0,), 0, tmp_path)


def test_blocks_change_nothing(
    flat_teacher: ClassifierTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    whole = flat_teacher.conclude(manifest([None] * 10), {"outputs": outputs}).logits_NK
    monkeypatch.setattr(mapped, "_BLOCK", 3)
    parts = flat_teacher.conclude(manifest([None] * 10), {"outputs": outputs}).logits_NK
    np.testing.assert_array_equal(whole, parts)


def test_settings_hang_on_weights_and_pixels_and_on_nothing_else(
    tmp_path: Path, vit_folder: Path
) -> None:
    before = teacher(tmp_path, vit_folder).settings
    said = teacher(tmp_path, vit_folder, partial=True, classes=["a", "b", "c"], abstain_above=0.5)
    assert said.settings == before
    seen = teacher(tmp_path, vit_folder, preprocess={"height": 32, "width": 32})
    assert seen.settings != before
    folder = copied(vit_folder, tmp_path / "other")
    assert teacher(tmp_path, folder).settings == before  # the same files elsewhere
    network = transformers.AutoModelForImageClassification.from_pretrained(folder)
    network.classifier.bias.data += 1
    network.save_pretrained(folder)
    assert teacher(tmp_path, folder).settings != before


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_faults_of_a_folder(tmp_path: Path, vit_folder: Path, timm_folder: Path) -> None:
    def concluded(model: Path, **settings: Any) -> Any:
        found = teacher(tmp_path, model, **settings)
        assert found.settings
        return found.conclude(manifest([None]), found.look(items([None]), [IMAGES[0]]).arrays)

    def fault(model: Path, **settings: Any) -> str:
        with pytest.raises(WeightsError) as caught:
            concluded(model, **settings)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(tmp_path), "")

    assert fault(tmp_path / "none").startswith("/none: no such file or folder. Expected a folder")
    (tmp_path / "empty").mkdir()
    assert fault(tmp_path / "empty").startswith("/empty: no config.json in it. Expected a folder")
    (tmp_path / "a.txt").write_text("")
    assert fault(tmp_path / "a.txt").startswith("/a.txt: unknown suffix '.txt'. Expected a folder")

    folder = copied(vit_folder, tmp_path / "no_weights")
    (folder / "model.safetensors").unlink()
    assert fault(folder).startswith("/no_weights: a config without weights. Expected model.safe")

    folder = copied(vit_folder, tmp_path / "no_processor")
    (folder / "preprocessor_config.json").unlink()
    assert "/no_processor: no image processor (" in fault(folder)

    folder = copied(vit_folder, tmp_path / "cut")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:1000])
    assert fault(folder).startswith("/cut: not readable as a transformers image classifier (")

    folder = copied(vit_folder, tmp_path / "base")
    network = transformers.ViTForImageClassification.from_pretrained(vit_folder)
    network.vit.save_pretrained(folder)
    assert fault(folder).startswith(
        "/base: no weights for classifier.bias, so it was not fine-tuned"
    )

    folder = copied(vit_folder, tmp_path / "text")
    text = transformers.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    text.save_pretrained(folder)
    assert fault(folder).startswith("/text: not readable as a transformers image classifier (")

    folder = copied(vit_folder, tmp_path / "unnamed")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    (folder / "config.json").write_text(json.dumps(config))
    assert fault(folder).startswith("/unnamed: no names of its 3 outputs. List them in order in")
    assert "2 names for 3 outputs" in fault(folder, classes=["a", "b"])
    assert "it cannot run on images of 20 x 20 pixels (" in fault(
        folder, preprocess={"height": 20, "width": 20}
    )

    folder = copied(timm_folder, tmp_path / "unknown")
    config = json.loads((folder / "config.json").read_text()) | {"architecture": "resnet_of_mine"}
    (folder / "config.json").write_text(json.dumps(config))
    assert "/unknown: timm cannot load it (RuntimeError: Unknown model (resnet_of_mine))" in fault(
        folder
    )


def test_faults_of_a_file(tmp_path: Path) -> None:
    def fault(model: Path, **settings: Any) -> str:
        with pytest.raises(WeightsError) as caught:
            teacher(tmp_path, model, **settings).look(items([None]), [IMAGES[0]])
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(tmp_path), "")

    path = tmp_path / "a.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    assert fault(path).startswith("/a.safetensors: a checkpoint alone does not say which network")
    assert fault(path, architecture="test_resnett").endswith(
        "no architecture 'test_resnett'. Closest: 'test_resnet'."
    )
    assert "not the weights of a mobilenetv3_small_050 (ValueError: no 'classifier.weight' in it, found w" in fault(path, architecture="mobilenetv3_small_050")  # fmt: skip
    (tmp_path / "b.pth").write_bytes(b"nothing")
    assert fault(tmp_path / "b.pth").startswith("/b.pth: not readable as a checkpoint (")

    path = tiny_tflite(tmp_path / "m.tflite", WEIGHTS, BIAS, (1, SIDE, SIDE, 3))
    assert fault(path).startswith(
        "/m.tflite: how are images prepared for it? Put a preprocess.json"
    )
    assert "it cannot run on images of 3 x 3 pixels" in fault(path, preprocess=PLAIN | {"height": 3, "width": 3})  # fmt: skip
    path = tiny_onnx(tmp_path / "m.onnx", WEIGHTS.T)  # no image goes in
    assert "/m.onnx: it cannot run on images of 2 x 2 pixels (" in fault(path, preprocess=PLAIN)
    path.write_bytes(b"")
    assert "/m.onnx: onnxruntime refuses it" in fault(path, preprocess=PLAIN)

"""Scores from class names by models that embed images and texts: open_clip, CLIP and SigLIP."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from captioning.teachers.clip import TEMPLATES, ClipConfig, ClipTeacher
from captioning.teachers.protocol import Brief
from edgekd.config import parse
from edgekd.errors import ConfigError, WeightsError
from edgekd.manifest import Manifest
from edgekd.metrics import softmax
from edgekd.records import Item, TaskSpec

TASK = TaskSpec("t", ("cat", "electric_guitar"), {"cat": ("house cat",)})
TWO = ("a photo of a {name}.", "{name}")
ARCHITECTURE = "edgekd-tiny"
WORDS = [
    "a",
    "photo",
    "of",
    "the",
    "cat",
    "house",
    "electric",
    "guitar",
    "fur",
    ",",
    ".",
    "six",
    "strings",
    "dog",
]


def image(seed: int, size: tuple[int, int] = (40, 48)) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


IMAGES = [image(0), image(1, (32, 32)), image(2, (64, 33))]


def items(count: int) -> list[Item]:
    return [Item(f"{row:064x}", f"{row}.png", "train") for row in range(count)]


def manifest(count: int = 3, task: TaskSpec = TASK) -> Manifest:
    return Manifest(task, items(count))


def teacher(
    tmp_path: Path,
    model: object,
    described: dict[str, tuple[str, ...]] | None = None,
    **settings: Any,
) -> ClipTeacher:
    config = ClipConfig(model=str(model), device="cpu", **settings)
    return ClipTeacher(config, Brief(TASK, 1, (1.0,), 0, tmp_path, descriptions=described or {}))


@pytest.fixture(scope="module")
def open_clip_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights.pt, and the same model as a local-dir in `local`."""
    folder = tmp_path_factory.mktemp("open_clip")
    config: dict[str, Any] = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }  # fmt: skip
    (folder / f"{ARCHITECTURE}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{ARCHITECTURE}.json")
    torch.manual_seed(0)
    network = open_clip.create_model(ARCHITECTURE)
    torch.save(network.state_dict(), folder / "weights.pt")
    local = folder / "local"
    local.mkdir()
    (local / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    save_file(network.state_dict(), local / "open_clip_model.safetensors")
    return folder


def tokenizer(folder: Path) -> None:
    vocabulary = {word: row for row, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)  # fmt: skip


@pytest.fixture(scope="module", params=["clip", "siglip"])
def transformers_folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "mine"
    shared = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}  # fmt: skip
    text = shared | {"vocab_size": 64, "max_position_embeddings": 20, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}  # fmt: skip
    vision = shared | {"image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    if request.param == "clip":
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        transformers.CLIPModel(config).save_pretrained(folder)
        transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)  # fmt: skip
    else:
        config = transformers.SiglipConfig(text_config=text, vision_config=vision)
        transformers.SiglipModel(config).save_pretrained(folder)
        transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    tokenizer(folder)
    return folder


def expected_logits(
    features: np.ndarray, texts: list[list[str]], encode: Any, scale: float
) -> np.ndarray:
    """Scaled cosines to the unit mean of each class's texts."""
    vectors = []
    for of_class in texts:
        mean = encode(of_class).mean(axis=0)
        vectors.append(mean / np.linalg.norm(mean))
    return scale * features @ np.stack(vectors).T


CAT = ["a photo of a cat.", "cat", "a photo of a house cat.", "house cat"]
GUITAR = ["a photo of a electric guitar.", "electric guitar"]


@pytest.mark.parametrize("source", ["architecture", "folder", "local-dir"])
def test_open_clip_scores_by_cosines(open_clip_files: Path, source: str, tmp_path: Path) -> None:
    local = open_clip_files / "local"
    model = {"architecture": ARCHITECTURE, "folder": local, "local-dir": f"local-dir:{local}"}[
        source
    ]
    weights = str(open_clip_files / "weights.pt") if source == "architecture" else None
    mine = teacher(tmp_path, model, pretrained=weights, templates=TWO)
    look = mine.look(items(3), IMAGES)
    network, _, prepare = open_clip.create_model_and_transforms(
        ARCHITECTURE, pretrained=str(open_clip_files / "weights.pt")
    )
    network.eval()
    words = open_clip.get_tokenizer(ARCHITECTURE)

    def encode(texts: list[str]) -> np.ndarray:
        with torch.inference_mode():
            return network.encode_text(words(texts), normalize=True).numpy()

    with torch.inference_mode():
        batch = torch.stack([prepare(each) for each in IMAGES])
        features = network.encode_image(batch, normalize=True).numpy()
    assert look.arrays["features"].dtype == np.float16
    np.testing.assert_allclose(look.arrays["features"], features, atol=1e-3)
    concluded = mine.conclude(manifest(), look.arrays)
    scale = float(network.logit_scale.detach().exp())  # 1 / 0.07
    expected = expected_logits(features, [CAT, GUITAR], encode, scale)
    np.testing.assert_allclose(concluded.logits_NK, expected, atol=0.02)  # float16 times 14
    assert list(concluded.captions) == []
    assert concluded.head == {}
    assert concluded.summary["head"] == {
        "logit_scale": pytest.approx(1 / 0.07),
        "num_texts": 6,
        "num_described": 0,
        "balanced": False,
        "captions": "none: it only scores",
    }
    [file] = concluded.summary["weights"]
    assert (file["source"], file["used"], file["licence"]) == ("local file", True, "not stated")
    assert concluded.summary["num_params"] == sum(p.numel() for p in network.parameters())
    name = {"architecture": "open_clip/edgekd-tiny"}.get(source, "open_clip/local")
    assert mine.name == name


def test_transformers_models_score_by_cosines(
    transformers_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = teacher(tmp_path, transformers_folder, templates=TWO)
    capsys.readouterr()
    look = mine.look(items(3), IMAGES)
    assert capsys.readouterr().err == ""  # no progress bar
    network = transformers.AutoModel.from_pretrained(transformers_folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(transformers_folder, backend="pil")
    words = transformers.AutoTokenizer.from_pretrained(transformers_folder)
    siglip = network.config.model_type == "siglip"

    def scores(texts: list[str]) -> np.ndarray:
        """The network's own logits an image [3, texts], one text at a time."""
        columns = []
        for text in texts:
            ids = words(text, padding="max_length" if siglip else False, max_length=20)["input_ids"]
            with torch.inference_mode():
                said = network(
                    input_ids=torch.tensor([ids]),
                    pixel_values=processor(images=IMAGES, return_tensors="pt")["pixel_values"],
                )
            bias = float(network.logit_bias.detach()) if siglip else 0.0
            columns.append(said.logits_per_image.numpy()[:, 0] - bias)
        return np.stack(columns, axis=1)

    one = TaskSpec("t", ("cat", "dog"))
    single = teacher(tmp_path, transformers_folder, templates=("a photo of the {name}",))
    logits = single.conclude(manifest(task=one), look.arrays).logits_NK
    expected = scores(["a photo of the cat", "a photo of the dog"])
    np.testing.assert_allclose(logits, expected, atol=0.02)
    averaged = mine.conclude(manifest(task=one), look.arrays).logits_NK
    assert averaged is not None
    assert np.abs(averaged - expected).max() > 0.02  # other texts, other scores


def test_an_image_embeds_the_same_alone_and_in_a_batch(
    open_clip_files: Path, transformers_folder: Path, tmp_path: Path
) -> None:
    for model in (open_clip_files / "local", transformers_folder):
        mine = teacher(tmp_path, model)
        together = mine.look(items(3), IMAGES).arrays["features"]
        alone = [mine.look(items(1), [each]).arrays["features"][0] for each in IMAGES]
        np.testing.assert_allclose(np.stack(alone), together, atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(together.astype(float), axis=1), 1, atol=2e-3)


def test_descriptions_count_as_much_as_names(transformers_folder: Path, tmp_path: Path) -> None:
    described = {"cat": ("fur",), "dog": ("unused",)}
    mine = teacher(tmp_path, transformers_folder, described, templates=TWO, synonyms=False)
    look = mine.look(items(3), IMAGES)
    concluded = mine.conclude(manifest(), look.arrays)
    assert concluded.summary["head"]["num_texts"] == 2 + 1 + 2
    assert concluded.summary["head"]["num_described"] == 1
    encode = mine._model.texts
    named, described = encode(["a photo of a cat.", "cat"]).mean(axis=0), encode(["cat, fur"])[0]
    cat = named / np.linalg.norm(named) + described / np.linalg.norm(described)
    cosines = look.arrays["features"].astype(float) @ (cat / np.linalg.norm(cat))
    assert concluded.logits_NK is not None
    np.testing.assert_allclose(concluded.logits_NK[:, 0], cosines * mine._model.scale, atol=1e-4)


def test_balance_makes_classes_equally_frequent(open_clip_files: Path, tmp_path: Path) -> None:
    shares = {}
    for balance in (False, True):
        mine = teacher(tmp_path, open_clip_files / "local", balance=balance)
        look = mine.look(items(3), IMAGES)
        logits = mine.conclude(manifest(), look.arrays).logits_NK
        assert logits is not None
        shares[balance] = softmax(logits).mean(axis=0)
    assert np.abs(shares[False] - 0.5).max() > 0.01
    np.testing.assert_allclose(shares[True], [0.5, 0.5], atol=1e-4)


def test_settings_hang_on_the_weights_and_not_on_the_words(
    open_clip_files: Path, tmp_path: Path
) -> None:
    local = open_clip_files / "local"
    before = teacher(tmp_path, local).settings
    assert teacher(tmp_path, local, templates=("{name}",), balance=True).settings == before
    other = shutil.copytree(local, tmp_path / "other")
    assert teacher(tmp_path, other).settings == before
    network = open_clip.create_model(f"local-dir:{local}")
    save_file({k: v + 1 for k, v in network.state_dict().items()}, other / "open_clip_model.safetensors")  # fmt: skip
    assert teacher(tmp_path, other).settings != before
    tags = [teacher(tmp_path, "RN50", pretrained=tag).settings for tag in ("openai", "yfcc15m")]
    assert tags[0] != tags[1]  # nothing was downloaded for these


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.mark.parametrize(
    ("settings", "begins", "ends"),
    [
        (
            {"model": "hf-hub:nobody/nothing"},
            "open_clip: 'hf-hub:nobody/nothing' cannot be loaded (RuntimeError: ",
            "or caption.teacher.pretrained to a local file",
        ),
        (
            {"model": "RN50", "pretrained": "cc12m"},
            "open_clip: RN50 'cc12m' cannot be loaded (RuntimeError: ",
            "set caption.teacher.model to a local folder with open_clip_config.json and its weights, "
            "or caption.teacher.pretrained to a local file",
        ),
        (
            {"model": "RN50", "pretrained": "cc21m"},
            "open_clip: 'cc21m' is no file and no tag of RN50. Closest: 'cc12m'. Its tags: openai, ",
            "cc12m",
        ),
        (
            {"model": "ViT-B-33", "pretrained": "openai"},
            "open_clip: no architecture 'ViT-B-33'. Closest: 'ViT-B-32'. Or name a local folder",
            "folder",
        ),
        ({"model": "ViT-B-32"}, "open_clip: 'ViT-B-32' is no folder, and as an arch", "of a model"),
        ({"model": "local-dir:none"}, "none: no such folder. Expected one with", "config.json"),
    ],
)
def test_what_is_not_there(
    settings: dict[str, Any], begins: str, ends: str, offline: None, tmp_path: Path
) -> None:
    handlers = list(logging.getLogger().handlers)
    with pytest.raises(WeightsError) as caught:
        teacher(tmp_path, **settings).look(items(1), IMAGES[:1])
    assert str(caught.value).startswith(begins)
    assert str(caught.value).endswith(ends)
    assert "\n" not in str(caught.value)
    assert logging.getLogger().handlers == handlers


def test_faults_of_a_folder(
    open_clip_files: Path, transformers_folder: Path, tmp_path: Path
) -> None:
    def fault(model: object, **settings: Any) -> str:
        with pytest.raises(WeightsError) as caught:
            looked_at(model, **settings)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(tmp_path), "")

    def looked_at(model: object, **settings: Any) -> None:
        mine = teacher(tmp_path, model, **settings)
        assert mine.settings
        mine.conclude(manifest(1), mine.look(items(1), IMAGES[:1]).arrays)

    (tmp_path / "empty").mkdir()
    assert fault(tmp_path / "empty").startswith(
        "/empty: expected open_clip_config.json (open_clip)"
    )
    folder = shutil.copytree(open_clip_files / "local", tmp_path / "no_weights")
    (folder / "open_clip_model.safetensors").unlink()
    assert fault(folder).startswith(
        "/no_weights: a config without weights. Expected a .safetensors"
    )
    folder = shutil.copytree(open_clip_files / "local", tmp_path / "cut")
    (folder / "open_clip_model.safetensors").write_bytes(b"short")
    assert fault(folder).startswith("/cut: open_clip cannot load it (")
    weights = tmp_path / "weights.pt"
    torch.save({"w": torch.zeros(1)}, weights)
    assert fault(ARCHITECTURE, pretrained=str(weights)).startswith(
        "/weights.pt: not the weights of a edgekd-tiny ("
    )

    folder = shutil.copytree(transformers_folder, tmp_path / "no_words")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert fault(folder).startswith("/no_words: no tokenizer in it. Expected tokenizer.json, vocab")
    folder = shutil.copytree(transformers_folder, tmp_path / "no_eyes")
    (folder / "preprocessor_config.json").unlink()
    assert fault(folder).startswith("/no_eyes: transformers cannot load it (")
    folder = shutil.copytree(transformers_folder, tmp_path / "part")
    network = transformers.AutoModel.from_pretrained(transformers_folder)
    network.vision_model.save_pretrained(folder)
    assert fault(folder).startswith("/part: ")
    folder = shutil.copytree(transformers_folder, tmp_path / "text")
    transformers.BertConfig().save_pretrained(folder)
    assert "/text/config.json: model_type 'bert', expected one that embeds images" in fault(folder)


def test_faults_of_the_config() -> None:
    with pytest.raises(ConfigError, match=r"templates: 'a photo' has no \{name\} in it"):
        parse(ClipConfig, {"model": "x", "templates": ["a photo"]})
    assert parse(ClipConfig, {"model": "x"}).templates == TEMPLATES

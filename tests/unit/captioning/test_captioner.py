from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
import transformers
from PIL import Image
from transformers.models.blip.modeling_blip import BlipForConditionalGeneration

from captioning.teachers.captioner import CaptionerTeacher
from captioning.teachers.captioner_config import CaptionerConfig
from captioning.teachers.captioner_families import Chat, Family
from captioning.teachers.captioner_files import find
from captioning.teachers.captioner_loading import load
from captioning.teachers.protocol import Brief, Look
from edgekd.confidence import fit_temperature
from edgekd.errors import ConfigError, UsageError, WeightsError
from edgekd.manifest import Manifest
from edgekd.records import Item, TaskSpec
from tests.unit import tiny_captioners

TASK = TaskSpec("things", ("cat", "dog", "electric_guitar", "apple"), {"cat": ("red cat",)})
_SIZES = [(32, 32), (40, 64), (64, 30), (32, 48)]
_FAMILIES = list(tiny_captioners.BUILDERS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: build(tmp_path_factory.mktemp(name))
        for name, build in tiny_captioners.BUILDERS.items()
    }


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(1)
    return [
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for height, width in _SIZES
    ]


ITEMS = [Item(f"{number}" * 64, f"{number}.png", "train") for number in range(len(_SIZES))]


def teacher(
    folder: Path,
    temperatures: tuple[float, ...] = (0.4, 1.0),
    captions: int = 4,
    seed: int = 0,
    task: TaskSpec = TASK,
    **config: Any,
) -> CaptionerTeacher:
    config = {"max_tokens": 8} | config
    brief = Brief(task, captions, temperatures, seed, folder / "notes")
    return CaptionerTeacher(CaptionerConfig(model=str(folder), **config), brief)


def texts(look: Look) -> list[str]:
    return [caption.text for caption in look.captions]


@pytest.mark.parametrize("name", _FAMILIES)
def test_a_batch_of_one_says_what_a_batch_of_many_says(
    name: str, folders: dict[str, Path], images: list[Image.Image]
) -> None:
    together = teacher(folders[name], batch_size=4).look(ITEMS, images)
    alone = teacher(folders[name], batch_size=1)
    each = [alone.look([item], [image]) for item, image in zip(ITEMS, images, strict=True)]
    assert texts(together) == [text for look in each for text in texts(look)]
    for first, second in zip(
        together.captions, [caption for look in each for caption in look.captions], strict=True
    ):
        assert first.confidence == pytest.approx(second.confidence, rel=1e-4)
    gains = np.concatenate([look.arrays["gain"] for look in each])
    np.testing.assert_allclose(together.arrays["gain"], gains, atol=1e-4)
    assert gains.std(axis=0).min() > 0.1  # it does depend on the image


@pytest.mark.parametrize("name", ["blip", "florence2", "smolvlm", "qwen2_vl"])
def test_the_captions_of_an_image_are_its_own_and_repeatable(
    name: str, folders: dict[str, Path], images: list[Image.Image]
) -> None:
    first = teacher(folders[name]).look(ITEMS, images)
    again = teacher(folders[name]).look(ITEMS[::-1], images[::-1])
    other = teacher(folders[name], seed=1).look(ITEMS, images)
    by_item = {(caption.item_id, caption.index): caption for caption in again.captions}
    assert [by_item[caption.item_id, caption.index].text for caption in first.captions] == texts(
        first
    )
    assert [(caption.item_id, caption.index) for caption in first.captions] == [
        (item.id, index) for item in ITEMS for index in range(4)
    ]
    assert [caption.temperature for caption in first.captions[:4]] == [0.4, 1.0, 0.4, 1.0]
    assert all(0 < caption.confidence <= 1 for caption in first.captions)
    assert texts(first) != texts(other)


@pytest.mark.parametrize("name", _FAMILIES)
def test_at_temperature_0_it_says_what_generate_of_transformers_says(
    name: str,
    folders: dict[str, Path],
    images: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("captioning.teachers.sampling.whole_sentences", lambda text: text)
    spoken = teacher(folders[name], (0.0,), 1, prompts=_one_prompt(name)).look(ITEMS, images)
    family = _loaded(folders[name])
    expected = [_generated(family, name, image) for image in images]
    assert texts(spoken) == expected
    assert max(map(len, expected)) > 8


@pytest.mark.parametrize("name", _FAMILIES)
@pytest.mark.parametrize("no_image", ["text", "blank"])
def test_gains_are_those_of_one_full_forward_pass_a_class(
    name: str, no_image: str, folders: dict[str, Path], images: list[Image.Image]
) -> None:
    asked = teacher(
        folders[name], captions=0, prompts=_one_prompt(name), no_image=no_image, batch_size=3
    )
    if name == "encoder_decoder" and no_image == "text":
        with pytest.raises(UsageError, match="Expected: no_image: blank"):
            asked.look(ITEMS, images)
        return
    look = asked.look(ITEMS, images)
    family = _loaded(folders[name])
    sentences = ["a photo of a cat", "a photo of a red cat", "a photo of a dog"]
    sentences += ["a photo of an electric guitar", "a photo of an apple"]
    blank = None if no_image == "text" else family.blank()
    for row, image in enumerate(images):
        gain = [
            _log_likelihood(family, name, text, image) - _log_likelihood(family, name, text, blank)
            for text in sentences
        ]
        cat = np.log((np.exp(gain[0]) + np.exp(gain[1])) / 2)
        np.testing.assert_allclose(look.arrays["gain"][row], [cat, *gain[2:]], atol=1e-4)


@pytest.mark.parametrize("name", ["blip", "smolvlm"])
def test_a_higher_temperature_says_more_different_things(
    name: str, folders: dict[str, Path], images: list[Image.Image]
) -> None:
    def different(temperature: float) -> int:
        look = teacher(folders[name], (temperature,), 16).look(ITEMS[:1], images[:1])
        return len(set(texts(look)))

    assert different(0.0) == 1
    assert 1 < different(0.1) < different(3.0)


def test_prompts_take_turns_after_each_round_of_temperatures(
    folders: dict[str, Path], images: list[Image.Image]
) -> None:
    spoken = teacher(folders["blip"], captions=6, prompts=["a photo of", "this image is"])
    look = spoken.look(ITEMS[:2], images[:2])
    prompts = [(caption.template, caption.temperature) for caption in look.captions[:6]]
    first, second = "a photo of", "this image is"
    assert prompts == [
        (first, 0.4), (first, 1.0), (second, 0.4), (second, 1.0), (first, 0.4), (first, 1.0),
    ]  # fmt: skip
    assert all(caption.text.startswith(caption.template) for caption in look.captions)


@pytest.mark.parametrize("name", ["blip", "florence2", "smolvlm", "qwen2_vl"])
def test_an_image_is_encoded_once_for_all_captions_prompts_and_classes(
    name: str, folders: dict[str, Path], images: list[Image.Image]
) -> None:
    prompts = ["<CAPTION>", "<DETAILED_CAPTION>"] if name == "florence2" else ["this", "what is"]
    spoken = teacher(folders[name], captions=8, prompts=prompts, no_image="text")
    network = spoken._family.model
    inner = {
        "blip": "vision_model",
        "florence2": "model.vision_tower",
        "smolvlm": "model.vision_model",
        "qwen2_vl": "model.visual",
    }
    calls: list[int] = []
    network.get_submodule(inner[name]).register_forward_hook(lambda *_: calls.append(1))
    spoken.look(ITEMS, images)
    assert len(calls) == 1


def test_a_model_that_ends_at_once_says_nothing(
    folders: dict[str, Path], images: list[Image.Image]
) -> None:
    spoken = teacher(folders["blip"], score_classes=False)
    _favour_the_end(spoken, 1000.0)
    look = spoken.look(ITEMS, images)
    assert look.captions == ()
    assert look.arrays["empty"].tolist() == [4, 4, 4, 4]
    assert look.arrays["cut"].tolist() == [0, 0, 0, 0]


def test_captions_that_end_at_different_lengths_do_not_touch_each_other(
    folders: dict[str, Path], images: list[Image.Image]
) -> None:
    def spoken(batch_size: int) -> Look:
        made = teacher(
            folders["blip"], (1.0,), 8, max_tokens=24, batch_size=batch_size, score_classes=False
        )
        _favour_the_end(made, 2.0)
        return made.look(ITEMS, images)

    together = spoken(4)
    lengths = {len(text.split()) for text in texts(together)}
    assert len(lengths) > 4
    assert texts(together) == texts(spoken(1))


@pytest.mark.parametrize("name", ["blip", "smolvlm", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava"])
def test_continuations_beside_each_other_say_what_copies_say(
    name: str, folders: dict[str, Path], images: list[Image.Image]
) -> None:
    def look(forks: bool) -> Look:
        made = teacher(folders[name], captions=8, max_tokens=12)
        made._family.forks = forks  # type: ignore[misc]
        return made.look(ITEMS, images)

    beside, copied = look(True), look(False)
    assert texts(beside) == texts(copied)
    np.testing.assert_allclose(beside.arrays["gain"], copied.arrays["gain"], atol=1e-4)


def test_without_scores_of_classes_it_only_speaks(
    folders: dict[str, Path], images: list[Image.Image]
) -> None:
    spoken = teacher(folders["blip"], score_classes=False)
    look = spoken.look(ITEMS, images)
    assert set(look.arrays) == {"empty", "cut"}
    conclusion = spoken.conclude(Manifest(TASK, ITEMS), look.arrays)
    assert conclusion.logits_NK is None
    assert conclusion.summary["head"] == {}
    assert conclusion.summary["captions"] == {"empty": 0, "cut": int(look.arrays["cut"].sum())}


def test_bf16_speaks_too(folders: dict[str, Path], images: list[Image.Image]) -> None:
    look = teacher(folders["qwen2_vl"], dtype="bf16").look(ITEMS, images)
    exact = teacher(folders["qwen2_vl"], dtype="fp32").look(ITEMS, images)
    assert look.arrays["gain"].dtype == np.float32
    assert np.abs(look.arrays["gain"] - exact.arrays["gain"]).max() < 2


def _manifest(num_tune: int, labels: list[int]) -> Manifest:
    tune = [Item(f"t{row}", "", "tune", labels[row], "given") for row in range(num_tune)]
    return Manifest(TASK, [*tune, Item("a", "", "train"), Item("b", "", "train")])


def test_the_temperature_is_fitted_on_20_tune_labels_and_not_on_19(
    folders: dict[str, Path],
) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 30).tolist()
    gain = (4 * np.eye(4)[labels] + rng.normal(0, 4, (30, 4))).astype(np.float32)
    gain = np.concatenate([gain, [[1, 2, 3, 4], [3, 4, 5, 8]]]).astype(np.float32)
    spoken = teacher(folders["blip"], gain_temperature=2.5)
    few = spoken.conclude(_manifest(19, labels), {"gain": np.delete(gain, range(19, 30), axis=0)})
    assert few.summary["head"]["temperature"] == 2.5
    assert few.summary["head"]["temperature_of"] == "the config"
    assert few.logits_NK is not None
    np.testing.assert_allclose(few.logits_NK[-1], [1.2, 1.6, 2.0, 3.2], rtol=1e-6)
    many = spoken.conclude(_manifest(30, labels), {"gain": gain})
    expected = fit_temperature(gain[:30], np.eye(4)[labels])
    assert many.summary["head"]["temperature"] == pytest.approx(expected)
    assert many.summary["head"]["temperature_of"] == "30 tune labels"
    assert many.logits_NK is not None
    np.testing.assert_allclose(many.logits_NK, gain / expected, rtol=1e-5)


def test_balanced_gains_are_those_above_the_mean_of_the_training_images(
    folders: dict[str, Path],
) -> None:
    gain = np.array([[5, 5, 5, 5], [1, 2, 3, 4], [3, 4, 5, 8]], dtype=np.float32)
    spoken = teacher(folders["blip"], balance=True)
    found = spoken.conclude(_manifest(1, [0]), {"gain": gain})  # means: 2, 3, 4, 6
    np.testing.assert_allclose(found.logits_NK, [[3, 2, 1, -1], [-1, -1, -1, -2], [1, 1, 1, 2]])
    assert found.summary["head"]["balanced"] is True


def test_the_summary_says_which_weights_and_how_large(folders: dict[str, Path]) -> None:
    (folders["blip"] / "README.md").write_text("---\nlanguage: en\nlicense: bsd-3-clause\n---\n")
    spoken = teacher(folders["blip"], score_classes=False)
    summary = spoken.conclude(Manifest(TASK, []), {}).summary
    (weights,) = summary["weights"]
    file = folders["blip"] / "model.safetensors"
    assert weights["name"] == folders["blip"].name
    assert weights["size_bytes"] == file.stat().st_size
    assert weights["used"] is True
    assert weights["licence"] == "bsd-3-clause, as its card says"
    network = BlipForConditionalGeneration.from_pretrained(folders["blip"])
    assert summary["num_params"] == network.num_parameters()


def test_settings_change_with_what_a_look_depends_on(tmp_path: Path) -> None:
    folder = tiny_captioners.blip(tmp_path)
    same = teacher(folder).settings
    assert teacher(folder).settings == same
    assert teacher(folder, batch_size=2, balance=True, gain_temperature=3).settings == same
    moved = folder.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    folder = moved.rename(tmp_path)
    others = [
        teacher(folder, seed=1),
        teacher(folder, captions=5),
        teacher(folder, (0.4,)),
        teacher(folder, prompts=["a photo of"]),
        teacher(folder, max_tokens=9),
        teacher(folder, score_prompt="a {}"),
        teacher(folder, no_image="text"),
        teacher(folder, task=TaskSpec("things", ("cat", "dog"))),
    ]
    found = {other.settings for other in others}
    assert same not in found
    assert len(found) == len(others)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert teacher(folder).settings not in {same, *found}


def test_building_one_and_asking_its_settings_reads_no_weights(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import captioning.teachers.captioner_loading as loading

    monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("read"))
    assert teacher(folders["blip"]).settings


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("gone", "no folder"),
        ("empty", "no config.json in"),
        ("no weights", "no weights in"),
        ("pickled", "only .bin files in"),
        ("damaged", "not readable as a captioning model"),
        ("another network", "is of model_type 'bert', which makes no text of images"),
        ("no tokenizer", "has no tokenizer. Expected tokenizer.json or"),
        ("no image processor", "image processor"),
        ("fewer tensors", "lacks 1 of its tensors, such as 'text_decoder"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_one_line(
    spoil: str, message: str, tmp_path: Path, images: list[Image.Image]
) -> None:
    folder = _spoiled(tmp_path / "model", spoil)
    with pytest.raises(WeightsError, match=message) as caught:
        teacher(folder).look(ITEMS, images)
    assert "\n" not in str(caught.value)


def test_a_family_that_is_not_the_models_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(WeightsError, match=r"family: florence2, and .* 'blip', family blip"):
        _ = teacher(folders["blip"], family="florence2")._family


def test_a_chat_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    folder = tiny_captioners.smolvlm(tmp_path)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(WeightsError, match="has no chat template"):
        _ = teacher(folder)._family


def test_code_of_a_folder_is_never_run(tmp_path: Path) -> None:
    folder = tiny_captioners.florence2(tmp_path)
    settings = json.loads((folder / "config.json").read_text())
    settings["auto_map"] = {"AutoConfig": "theirs.Config"}
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match="code of its own, which is never run"):
        _ = teacher(folder)._family


def test_a_hub_out_of_reach_says_how_to_pass_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect to the hub. Check your internet connection\nor see ...")

    monkeypatch.setattr(transformers.utils.hub, "cached_file", unreachable)
    with pytest.raises(WeightsError, match=r"model: path/to/folder") as caught:
        _ = teacher(Path("org/model")).settings
    assert "couldn't connect to the hub)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_of_the_hub_is_known_by_its_commit(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--org--model" / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(folders["blip"])
    asked: dict[str, Any] = {}

    def cached_file(name: str, file: str, revision: str | None) -> str:
        asked.update(name=name, file=file, revision=revision)
        return str(snapshot / file)

    monkeypatch.setattr(transformers.utils.hub, "cached_file", cached_file)
    files = find("org/model", "v1")
    assert asked == {"name": "org/model", "file": "config.json", "revision": "v1"}
    assert files.commit == commit
    assert files.origin()["source"] == "hub org/model at 0123456789ab"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"score_prompt": "a photo"}, "expected one {} for the name"),
        ({"score_prompt": "{} {}"}, "expected one {} for the name"),
        ({"prompts": []}, "at least 1 item"),
        ({"trust_remote_code": True}, "trust_remote_code"),
    ],
)
def test_configs_that_are_refused(config: dict[str, Any], message: str) -> None:
    from edgekd.config import parse

    with pytest.raises(ConfigError, match=message):
        parse(CaptionerConfig, {"model": "org/model"} | config)


def _one_prompt(name: str) -> list[str]:
    prompts = {"blip": "", "encoder_decoder": "", "florence2": "<CAPTION>"}
    return [prompts.get(name, "what is shown in this image")]


def _loaded(folder: Path) -> Family:
    return load(find(str(folder)), CaptionerConfig(model=str(folder)))


def _favour_the_end(spoken: CaptionerTeacher, by: float) -> None:
    family = spoken._family
    with torch.no_grad():
        family.model.text_decoder.cls.predictions.decoder.bias[family.end] += by


def _inputs(family: Family, name: str, image: Image.Image | None, answer: str | None) -> Any:
    """What the documentation of transformers has one pass to a forward or generate."""
    if name in ("blip", "encoder_decoder"):
        return family.image_processor([image], return_tensors="pt")
    if name == "florence2":
        return family.processor(text=["<CAPTION>"], images=[image], return_tensors="pt")
    content: list[dict[str, str]] = [] if image is None else [{"type": "image"}]
    content.append({"type": "text", "text": _one_prompt(name)[0]})
    chat: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if answer is not None:
        chat.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    text = family.processor.apply_chat_template(chat, add_generation_prompt=answer is None)
    if image is None:
        return family.tokenizer([text], add_special_tokens=False, return_tensors="pt")
    return family.processor(text=[text], images=[image], return_tensors="pt")


@torch.inference_mode()
def _generated(family: Family, name: str, image: Image.Image) -> str:
    inputs = _inputs(family, name, image, None)
    settings = {"max_new_tokens": 8, "do_sample": False, "num_beams": 1}
    if name == "florence2":  # the start and the end that it is forced to say count
        settings["max_new_tokens"] = 10
    network = family.model.text_decoder if name == "blip" else family.model
    forced = {family.tokenizer.bos_token_id} if name == "florence2" else set()
    never = set(family.never_said(_vocabulary(family, name))) - forced
    network.generation_config.suppress_tokens = sorted(never) or None
    tokens = family.model.generate(**inputs, **settings)[0]
    if "input_ids" in inputs and isinstance(family, Chat):
        tokens = tokens[inputs["input_ids"].shape[1] :]
    return " ".join(family.tokenizer.decode(tokens, skip_special_tokens=True).split())


def _vocabulary(family: Family, name: str) -> int:
    config = family.model.config
    inner = config.decoder if name == "encoder_decoder" else config.text_config
    return int(inner.vocab_size)


@torch.inference_mode()
def _log_likelihood(family: Family, name: str, text: str, image: Image.Image | None) -> float:
    """log p of the sentence and its end, by one forward pass over everything."""
    tokens = [*family.tokenizer(text, add_special_tokens=False)["input_ids"], family.end]
    wanted = torch.tensor([tokens])
    if name == "blip":
        start = torch.tensor([[family.model.config.text_config.bos_token_id]])
        ids = torch.cat([start, wanted], dim=1)
        if image is None:
            logits = family.model.text_decoder(input_ids=ids).logits
        else:
            pixels = _inputs(family, name, image, None)["pixel_values"]
            logits = family.model(pixel_values=pixels, input_ids=ids).logits
    elif name == "encoder_decoder":
        start = torch.tensor([[family.model.config.decoder_start_token_id]])
        pixels = _inputs(family, name, image, None)["pixel_values"]
        ids = torch.cat([start, wanted], dim=1)
        logits = family.model(pixel_values=pixels, decoder_input_ids=ids).logits
    elif name == "florence2":
        start = torch.tensor([[family.tokenizer.eos_token_id, family.tokenizer.bos_token_id]])
        ids = torch.cat([start, wanted], dim=1)
        if image is None:
            question = "What does the image describe?"
            inputs: Any = family.tokenizer([f"<s>{question}</s>"], return_tensors="pt")
            inputs = {"input_ids": inputs["input_ids"]}
        else:
            inputs = _inputs(family, name, image, None)
        logits = family.model(**inputs, decoder_input_ids=ids).logits
    else:
        inputs = _inputs(family, name, image, text)
        logits = family.model(**inputs).logits
        ids = inputs["input_ids"]
        place = int((ids[0] == family.end).nonzero()[-1])
        logits, ids = logits[:, : place + 1], ids[:, : place + 1]
    log_probs = torch.log_softmax(logits, dim=-1)[0, -len(tokens) - 1 : -1]
    assert ids[0, -len(tokens) :].tolist() == tokens
    return float(log_probs.gather(1, wanted[0][:, None]).sum())


def _spoiled(folder: Path, how: str) -> Path:
    if how == "gone":
        return folder
    if how == "empty":
        folder.mkdir()
        return folder
    if how == "another network":
        config = transformers.BertConfig(
            vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2
        )
        transformers.BertModel(config).save_pretrained(folder)
        return folder
    tiny_captioners.blip(folder)
    weights = folder / "model.safetensors"
    if how == "no weights":
        weights.unlink()
    elif how == "pickled":
        weights.rename(folder / "pytorch_model.bin")
    elif how == "damaged":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "no tokenizer":
        for file in folder.glob("token*"):
            file.unlink()
    elif how == "no image processor":
        for file in folder.glob("*processor_config.json"):
            file.unlink()
    elif how == "fewer tensors":
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        tensors.pop(next(key for key in tensors if key.startswith("text_decoder")))
        save_file(tensors, weights, metadata={"format": "pt"})
    return folder

"""Both kinds of language models: a real server on this machine, and a tiny folder of weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captioning.descriptions import describe, load
from captioning.teachers.server import ServerConfig
from captioning.text_models import LocalTextConfig, LocalTextModel, ServerTextModel, text_model
from edgekd.errors import UsageError, WeightsError
from tests.unit import chat_server
from tests.unit.chat_server import ChatServer, answer, error

WORDS = ("fur", "ears", "tail", "whiskers", "paws", "soft", "long", "short")


def config(server: ChatServer, **settings: Any) -> ServerConfig:
    return ServerConfig(base_url=server.url, model="m", backoff_s=0.01, **settings)


PROMPTS = ["What is {name}?", "Describe {name}."]


def test_descriptions_from_a_server(server: ChatServer, tmp_path: Path) -> None:
    server.on("What is cat?", error(429, "Slow down", retry_after="0"), answer("1. fur\n2. ears"))
    server.on("Describe cat.", chat_server.cut(), answer("- whiskers\n- Ears."))
    server.on("What is dog?", answer("I'm sorry, I can't help."))
    server.on("Describe dog.", answer("- a wet nose\n- four le", finish="length"))
    server.on("What is emu?", answer("I'm sorry, I can't help."))
    server.on("Describe emu.", answer(" "))
    model = text_model(config(server))
    path = tmp_path / "words.yaml"
    described = describe(
        ["cat", "dog", "emu"], model, path, prompts=PROMPTS, temperature=0.3, seed=5
    )
    assert described.descriptions.texts == {
        "cat": ("fur", "whiskers", "ears"),
        "dog": ("a wet nose",),
    }
    assert described.failed == {"emu": "refused: I'm sorry, I can't help."}
    assert isinstance(model, ServerTextModel)
    assert model.usage.num_usable == 2
    assert {(seen.body["temperature"], seen.body["seed"]) for seen in server.seen} == {(0.3, 5)}
    [entry] = load(path).made_by
    assert (entry["model"], entry["base_url"]) == ("openai/m", server.url)


def test_a_spending_limit_leaves_the_rest_for_the_next_call(
    server: ChatServer, tmp_path: Path
) -> None:
    server.always(answer("- fur"))
    path, classes = tmp_path / "words.yaml", ["cat", "dog", "emu"]
    # Prompts of 12 and 13 bytes: 44 + 10 and 45 + 10 tokens at most; 25 are counted each.
    limited = config(server, max_tokens=10, max_total_tokens=110, concurrency=1)
    model = ServerTextModel(limited)
    described = describe(classes, model, path, prompts=PROMPTS)
    # 50 after cat, 75 + 55 is too much for dog's second prompt; its first is enough.
    assert list(described.descriptions.texts) == ["cat", "dog"]
    assert described.failed["emu"].startswith("not asked: max_total_tokens: 75 of 110 tokens")
    assert model.usage.spent.tokens == 75
    again = text_model(limited.model_copy(update={"max_total_tokens": 130}), model.usage.spent)
    assert describe(classes, again, path, prompts=PROMPTS).failed == {}
    assert len(server.seen) == 4  # 75 + 54 fits into 130, emu's second prompt does not


def test_the_base_install_can_import_all_of_it() -> None:
    modules = "captioning.descriptions, captioning.text_models, captioning.teachers.in_order"
    heavy = {"httpx2", "tenacity", "torch", "transformers"}
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_that_is_none(make: bool, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    if make:
        folder.mkdir()
    with pytest.raises(UsageError, match=r"folder: no config\.json in '.*weights'"):
        LocalTextModel(LocalTextConfig(folder=folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised model of 8 words, saved as any other."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("tiny")
    vocabulary = {word: n for n, word in enumerate(("<end>", "<unknown>", *WORDS))}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unknown>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end>", unk_token="<unknown>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
        bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    transformers.LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_local_folder_answers_the_same_again(folder: Path) -> None:
    model = text_model(LocalTextConfig(folder=folder, max_tokens=12, device="cpu"))
    prompts = ["soft fur", "long tail"]
    first = dict(model.answers(prompts, 1.0, 3))
    # The second prompt alone, as a run that goes on asks it.
    assert dict(model.answers(prompts[1:], 1.0, 3)) == {0: first[1]}
    assert dict(model.answers(prompts, 1.0, 4)) != first
    assert first[0].tokens_in == 2
    for reply in first.values():
        assert set(reply.text.split()) <= {*WORDS, "<unknown>"}
        assert reply.tokens_out is not None
        assert (reply.reason or "").startswith("truncated") == (reply.tokens_out == 12)
    greedy = [dict(model.answers(prompts, 0, seed)) for seed in (1, 2)]
    assert greedy[0] == greedy[1]


@pytest.mark.slow
def test_a_local_folder_describes(folder: Path, tmp_path: Path) -> None:
    model = LocalTextModel(LocalTextConfig(folder=folder, max_tokens=8, device="cpu"))
    described = describe(["fur"], model, tmp_path / "words.yaml", prompts=["{name}"], seed=1)
    texts, failed = described.descriptions.texts, described.failed
    assert list(texts) == ["fur"] or list(failed) == ["fur"]
    assert len(model.origin["sha256"]) == 64
    assert model.origin["model"] == f"transformers/{folder.name}"


@pytest.mark.slow
def test_a_chat_template_is_used_and_the_room_is_kept(folder: Path, tmp_path: Path) -> None:
    import shutil

    import transformers

    chat = tmp_path / "chat"
    shutil.copytree(folder, chat)
    tokenizer = transformers.AutoTokenizer.from_pretrained(chat)
    tokenizer.chat_template = "soft {{ messages[0]['content'] }} long"
    tokenizer.save_pretrained(chat)
    model = LocalTextModel(LocalTextConfig(folder=chat, max_tokens=4, device="cpu"))
    assert next(model.answers(["fur"], 0, 0))[1].tokens_in == 3
    too_long = next(model.answers(["fur " * 61], 0, 0))[1]
    assert too_long.reason == "too long: 63 tokens and max_tokens, the model has room for 64"


@pytest.mark.slow
@pytest.mark.parametrize("left", ["{}", '{"version": "1.0", '])
@pytest.mark.parametrize("damaged", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_folder_is_one_line(
    folder: Path, tmp_path: Path, damaged: str, left: str
) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / damaged).write_text(left)
    model = LocalTextModel(LocalTextConfig(folder=broken, device="cpu"))
    with pytest.raises(WeightsError, match="broken: not readable as a transformers") as caught:
        next(model.answers(["fur"], 0, 0))
    assert len(str(caught.value).splitlines()) == 1

"""Language models that answer a prompt: a server, or a folder of transformers weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pydantic

from captioning.teachers.chat_format import Answer, refusal, without_thoughts
from captioning.teachers.in_order import ask_in_order
from captioning.teachers.server import Ask, Reply, ServerConfig, Usage, usage
from captioning.teachers.spending import NOTHING, Amount
from edgekd.config import Section
from edgekd.errors import UsageError, WeightsError
from edgekd.extras import require
from edgekd.machine import best_device
from edgekd.store import file_sha256


class LocalTextConfig(Section):
    """A language model in a local folder, as transformers saves it."""

    kind: Literal["transformers"] = pydantic.Field("transformers", description="told apart by this")
    folder: Path = pydantic.Field(description="with config.json, .safetensors and tokenizer files")
    max_tokens: int = pydantic.Field(300, ge=1, description="of one answer")
    device: str | None = pydantic.Field(None, description="as torch names it; by default the best")
    dtype: Literal["fp32", "bf16"] = pydantic.Field("fp32", description="of its weights")


TextModelConfig = Annotated[ServerConfig | LocalTextConfig, pydantic.Discriminator("kind")]


class TextModel(Protocol):
    """Answers prompts; `origin` says which model it is, for provenance."""

    @property
    def origin(self) -> dict[str, str]: ...

    def answers(
        self, prompts: Sequence[str], temperature: float, seed: int
    ) -> Iterator[tuple[int, Answer]]:
        """Yields (index into `prompts`, answer), in their order but for what a stop leaves out."""
        ...


def text_model(config: ServerConfig | LocalTextConfig, spent: Amount = NOTHING) -> TextModel:
    """Returns the model a config names; `spent` counts towards a server's limits."""
    if isinstance(config, ServerConfig):
        return ServerTextModel(config, spent)
    return LocalTextModel(config)


class ServerTextModel:
    """A model behind an OpenAI-compatible server."""

    def __init__(self, config: ServerConfig, spent: Amount = NOTHING):
        self._config = config
        self._spent_before = spent
        self._replies: list[Reply] = []

    @property
    def origin(self) -> dict[str, str]:
        """Name and address; nothing of the key."""
        return {"model": self._config.name, "base_url": self._config.base_url}

    @property
    def usage(self) -> Usage:
        """What its answers so far came to."""
        return usage(self._replies)

    def answers(
        self, prompts: Sequence[str], temperature: float, seed: int
    ) -> Iterator[tuple[int, Answer]]:
        """Yields (index into `prompts`, answer); several requests are under way at once."""
        asks = [Ask(str(n), None, prompt, temperature, seed) for n, prompt in enumerate(prompts)]
        spent = self._spent_before + self.usage.spent if self._replies else self._spent_before
        with ask_in_order(asks, self._config, spent) as replies:
            for index, reply in replies:
                self._replies.append(reply)
                yield (
                    index,
                    Answer(reply.text, reply.reason, reply.tokens_in, reply.tokens_out),
                )


class LocalTextModel:
    """A transformers model for text generation, read from a folder when it is first asked."""

    def __init__(self, config: LocalTextConfig):
        if not (config.folder / "config.json").is_file():
            raise UsageError(
                f"folder: no config.json in '{config.folder}'. Expected the folder of a language "
                "model as transformers saves it, with config.json, .safetensors and tokenizer files"
            )
        self._config = config

    @property
    def origin(self) -> dict[str, str]:
        """The folder's name and the digest of its weights."""
        return {"model": f"transformers/{self._config.folder.name}", "sha256": self._sha256}

    def answers(
        self, prompts: Sequence[str], temperature: float, seed: int
    ) -> Iterator[tuple[int, Answer]]:
        """Yields (index into `prompts`, answer), one prompt at a time.

        An answer depends on its prompt, the temperature and the seed, not on what was asked before;
        temperature 0 takes the most likely token each time.
        """
        torch = require("torch", "captioning")
        for index, prompt in enumerate(prompts):
            with torch.random.fork_rng(), torch.inference_mode():
                torch.manual_seed(seed)
                yield index, self._answer(prompt, temperature)

    def _answer(self, prompt: str, temperature: float) -> Answer:
        tokenizer, model = self._loaded
        inputs = self._encoded(prompt).to(model.device)
        num_in = inputs["input_ids"].shape[1]
        room = getattr(model.config, "max_position_embeddings", None)
        if room is not None and num_in + self._config.max_tokens > room:
            return Answer(
                "", f"too long: {num_in} tokens and max_tokens, the model has room for {room}"
            )
        sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {}
        generated = model.generate(
            **inputs,
            max_new_tokens=self._config.max_tokens,
            pad_token_id=tokenizer.pad_token_id
            if tokenizer.pad_token_id is not None
            else tokenizer.eos_token_id,
            **(sampling or {"do_sample": False}),
        )[0, num_in:]
        text = without_thoughts(tokenizer.decode(generated, skip_special_tokens=True))
        reason = refusal(text) if text else "empty"
        if len(generated) >= self._config.max_tokens and int(generated[-1]) not in _ends(model):
            reason = "truncated: the answer reached max_tokens"
        return Answer(text, reason, num_in, len(generated))

    def _encoded(self, prompt: str) -> Any:
        tokenizer, _ = self._loaded
        if not tokenizer.chat_template:
            return tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        return tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        transformers = require("transformers", "captioning")
        torch = require("torch", "captioning")
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[self._config.dtype]
        folder = self._config.folder
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=dtype
            )
        except Exception as error:  # on bad bytes tokenizers and safetensors raise their own
            raise WeightsError(
                f"{folder}: not readable as a transformers language model "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            ) from error
        return tokenizer, model.to(self._config.device or best_device()).eval()

    @cached_property
    def _sha256(self) -> str:
        files = sorted(self._config.folder.glob("*.safetensors"))
        digests = [file_sha256(file) for file in files]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256("".join(digests).encode()).hexdigest()


def _ends(model: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}

"""Captioning models of transformers, by family: how an image is shown, and what comes next.

An image is encoded once. What follows from it, captions at several temperatures or the sentences
of classes, are rows copied from its `Context`.

B images, R rows, S tokens read before, T new tokens, V vocabulary.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers.modeling_outputs import BaseModelOutput

from captioning.teachers.chat_format import without_thoughts
from edgekd.errors import UsageError, WeightsError

_BLANK_SIDE = 224


@dataclass
class Context:
    """What a model has read in each row, and what it expects next; `Family.read` lets it grow.

    `seen_RS` is 0 for padding. `memory` are an encoder's states, which cross-attention reads.
    """

    cache: Any
    seen_RS: torch.Tensor
    next_R: torch.Tensor
    logits_RV: torch.Tensor
    memory: torch.Tensor | None = None
    memory_mask: torch.Tensor | None = None

    @property
    def num_rows(self) -> int:
        return len(self.logits_RV)

    def selected(self, rows: Sequence[int] | torch.Tensor) -> Context:
        """Returns a context of copies of the rows, in this order; one may come several times."""
        index = torch.as_tensor(rows, dtype=torch.long, device=self.logits_RV.device)
        return Context(
            _selected(self.cache, index),
            self.seen_RS[index],
            self.next_R[index],
            self.logits_RV[index],
            None if self.memory is None else self.memory[index],
            None if self.memory_mask is None else self.memory_mask[index],
        )

    def row_bytes(self) -> int:
        """Returns what the cache holds for one row."""
        parts = [getattr(self.cache, name, None) for name in ("layers", *_HALVES)]
        layers = [
            *(parts[0] or ()),
            *(layer for part in parts[1:] if part for layer in part.layers),
        ]
        held = [t for layer in layers for t in (layer.keys, layer.values) if t is not None]
        return sum(t.nbytes for t in held) // self.num_rows


_HALVES = ("self_attention_cache", "cross_attention_cache")


class Family:
    """A loaded model with its processor. `ends` are the tokens that end a text, `end` the usual."""

    prompts: ClassVar[tuple[str, ...]] = ("",)
    trained_without_image: ClassVar[bool] = False

    def __init__(self, model: Any, image_processor: Any, tokenizer: Any, processor: Any = None):
        self.model = model
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        self.processor = processor
        self.ends = self._ends()
        self.end = tokenizer.eos_token_id if tokenizer.eos_token_id in self.ends else min(self.ends)
        network = self._decoder()
        known = inspect.signature(network.forward).parameters
        self._cache_key = "cache" if "cache" in known else "past_key_values"  # renamed in 5.20

    def contexts(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Iterator[Context]:
        """Yields the context of each prompt, a row an image; the images are encoded once."""
        raise NotImplementedError

    def without_image(self, prompt: str) -> Context:
        """Returns the context, of one row, of the prompt alone.

        Raises:
            UsageError: this family cannot speak without an image.
        """
        raise NotImplementedError

    def read(self, context: Context, tokens_RT: torch.Tensor) -> torch.Tensor:
        """Adds tokens to the context; returns what is expected after each, logits [R, T, V]."""
        raise NotImplementedError

    def scored_prompt(self, prompts: Sequence[str]) -> str:
        """Returns the prompt that sentences of classes answer: the first."""
        return prompts[0]

    def answer(self, text: str) -> list[int]:
        """Returns the tokens of `text` as the model would say it, with the end."""
        tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*tokens, self.end]

    def said(self, prompt: str, tokens: Sequence[int]) -> str:
        """Returns the caption that these tokens are, one line, without special tokens."""
        return " ".join(self.tokenizer.decode(tokens, skip_special_tokens=True).split())

    def blank(self) -> Image.Image:
        """Returns a grey image of the mean colour, which says next to nothing."""
        mean = getattr(self.image_processor, "image_mean", None) or (0.5, 0.5, 0.5)
        colour = tuple(round(255 * value) for value in mean)
        return Image.new("RGB", (_BLANK_SIDE, _BLANK_SIDE), colour)

    def never_said(self, size: int) -> list[int]:
        """Returns the tokens below `size` that are no text: special ones, and those without any."""
        special = set(self.tokenizer.all_special_ids) - self.ends
        return [*sorted(t for t in special if t < size), *range(len(self.tokenizer), size)]

    def _decoder(self) -> Any:
        return self.model

    def _ends(self) -> set[int]:
        found = self.model.generation_config.eos_token_id
        ends = set(found) if isinstance(found, list) else {found}
        return (ends | {self.tokenizer.eos_token_id}) - {None}

    def _pixels(self, images: Sequence[Image.Image]) -> torch.Tensor:
        pixels = self.image_processor(list(images), return_tensors="pt")["pixel_values"]
        return pixels.to(self.model.device, self.model.dtype)

    def _started(
        self,
        tokens: Sequence[int],
        num_rows: int,
        memory: torch.Tensor | None,
        memory_mask: torch.Tensor | None = None,
    ) -> Context:
        """Returns a context after `tokens` in every row, for a decoder with cross-attention."""
        device = self.model.device
        empty = torch.zeros(num_rows, 0, dtype=torch.long, device=device)
        none = torch.zeros(num_rows, 1, device=device)
        first = torch.zeros(num_rows, dtype=torch.long, device=device)
        context = Context(None, empty, first, none, memory, memory_mask)
        self.read(context, torch.tensor(tokens, device=device).expand(num_rows, -1))
        return context

    def _taken(self, context: Context, out: Any, num_new: int) -> torch.Tensor:
        """Moves a context on by what a forward pass gave."""
        logits: torch.Tensor = out.logits
        new = context.seen_RS.new_ones(len(logits), num_new)
        context.cache = getattr(out, self._cache_key)
        context.seen_RS = torch.cat([context.seen_RS, new], dim=1)
        context.next_R = context.next_R + num_new
        context.logits_RV = logits[:, -1]
        return logits


class Blip(Family):
    """BLIP: a ViT, and a BERT that reads its states. A prompt is the beginning of the caption."""

    def contexts(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Iterator[Context]:
        memory = self.model.vision_model(pixel_values=self._pixels(images)).last_hidden_state
        for prompt in prompts:
            yield self._started(self._beginning(prompt), len(images), memory)

    def without_image(self, prompt: str) -> Context:
        """The text decoder with its cross-attention left out, which it was never trained for."""
        return self._started(self._beginning(prompt), 1, None)

    def read(self, context: Context, tokens_RT: torch.Tensor) -> torch.Tensor:
        out = self.model.text_decoder(
            input_ids=tokens_RT,
            encoder_hidden_states=context.memory,
            use_cache=True,
            **{self._cache_key: context.cache},
        )
        return self._taken(context, out, tokens_RT.shape[1])

    def scored_prompt(self, prompts: Sequence[str]) -> str:
        """None: the sentence of a class is the whole caption."""
        return ""

    def said(self, prompt: str, tokens: Sequence[int]) -> str:
        text = super().said(prompt, tokens)
        return f"{prompt.strip()} {text}".strip() if text else ""

    def _beginning(self, prompt: str) -> list[int]:
        tokens = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return [self.model.config.text_config.bos_token_id, *tokens]

    def _decoder(self) -> Any:
        return self.model.text_decoder

    def _ends(self) -> set[int]:
        """As BLIP's own generate has it; what its config calls eos is no word."""
        return {self.model.config.text_config.sep_token_id}


class Florence2(Family):
    """Florence-2: the image and a task make the encoder's states, BART's decoder reads them."""

    prompts = ("<CAPTION>", "<DETAILED_CAPTION>")

    def contexts(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Iterator[Context]:
        features = None
        for prompt in prompts:
            inputs = self.processor(
                text=[prompt] * len(images), images=list(images), return_tensors="pt"
            ).to(self.model.device, self.model.dtype)
            if features is None:
                features = self.model.get_image_features(inputs["pixel_values"]).pooler_output
            ids = inputs["input_ids"]
            embeds = self.model.get_input_embeddings()(ids)
            places = (ids == self.model.config.image_token_id)[..., None]
            if int(places.sum()) * embeds.shape[-1] != features.numel():
                raise WeightsError(
                    f"model: its processor makes {int(places.sum()) // len(images)} places for an "
                    f"image, the network {features.numel() // len(images) // embeds.shape[-1]} "
                    "features. Expected the processor that was saved with it"
                )
            yield self._of(embeds.masked_scatter(places, features.to(embeds.dtype)))

    def without_image(self, prompt: str) -> Context:
        """The task alone in the encoder, which it was never trained for."""
        text = self.processor._construct_prompts(prompt)[0]
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        ids = [bos, *self.tokenizer(text, add_special_tokens=False)["input_ids"], eos]
        tokens = torch.tensor([ids], device=self.model.device)
        return self._of(self.model.get_input_embeddings()(tokens))

    def read(self, context: Context, tokens_RT: torch.Tensor) -> torch.Tensor:
        out = self.model(
            decoder_input_ids=tokens_RT,
            encoder_outputs=BaseModelOutput(last_hidden_state=context.memory),
            use_cache=True,
            **{self._cache_key: context.cache},
        )
        return self._taken(context, out, tokens_RT.shape[1])

    def never_said(self, size: int) -> list[int]:
        """Places and marks of other tasks too: none is a word."""
        marks = set(self.tokenizer.get_added_vocab().values()) - self.ends
        return sorted({*super().never_said(size), *marks})

    def _of(self, embeds: torch.Tensor) -> Context:
        memory = self.model.get_encoder()(inputs_embeds=embeds).last_hidden_state
        settings, config = self.model.generation_config, self.model.config.text_config
        found = (settings.decoder_start_token_id, config.decoder_start_token_id)
        start = next(token for token in found if token is not None)
        forced = settings.forced_bos_token_id
        return self._started([start, *([] if forced is None else [forced])], len(embeds), memory)


class EncoderDecoder(Family):
    """An image encoder with a language model that reads its states, such as ViT with GPT-2."""

    def contexts(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Iterator[Context]:
        pixels = self._pixels(images)
        memory = self.model.get_encoder()(pixel_values=pixels).last_hidden_state
        settings, config = self.model.generation_config, self.model.config
        found = (
            settings.decoder_start_token_id,
            getattr(config, "decoder_start_token_id", None),
            config.decoder.bos_token_id,
        )
        start = next(token for token in found if token is not None)
        for prompt in prompts:
            tokens = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
            yield self._started([start, *tokens], len(images), memory)

    def without_image(self, prompt: str) -> Context:
        raise UsageError(
            "no_image: text, and this encoder with a decoder has no language model of its own. "
            "Expected: no_image: blank"
        )

    def read(self, context: Context, tokens_RT: torch.Tensor) -> torch.Tensor:
        out = self.model(
            decoder_input_ids=tokens_RT,
            encoder_outputs=BaseModelOutput(last_hidden_state=context.memory),
            use_cache=True,
            **{self._cache_key: context.cache},
        )
        return self._taken(context, out, tokens_RT.shape[1])

    def scored_prompt(self, prompts: Sequence[str]) -> str:
        """None: the sentence of a class is the whole caption."""
        return ""

    def said(self, prompt: str, tokens: Sequence[int]) -> str:
        text = super().said(prompt, tokens)
        return f"{prompt.strip()} {text}".strip() if text else ""

    def _ends(self) -> set[int]:
        own: int | None = getattr(self.model.config.decoder, "eos_token_id", None)
        return super()._ends() | (set() if own is None else {own})


class Chat(Family):
    """A language model that takes an image in a chat: SmolVLM, Qwen-VL, LLaVA and the like."""

    prompts = ("Describe this image in one sentence.",)
    trained_without_image = True

    def __init__(self, model: Any, image_processor: Any, tokenizer: Any, processor: Any = None):
        super().__init__(model, image_processor, tokenizer, processor)
        if not getattr(processor, "chat_template", None):
            raise WeightsError(
                "model: its processor has no chat template, so nothing says how it is asked. "
                "Expected chat_template.jinja, or chat_template in the processor's settings"
            )
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token

    def contexts(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Iterator[Context]:
        encoded = None
        for prompt in prompts:
            inputs = self.processor(
                text=[self._asked(prompt)] * len(images),
                images=[[image] for image in images],
                padding=True,
                return_tensors="pt",
            ).to(self.model.device, self.model.dtype)
            if encoded is not None:
                for name in ("pixel_values", "pixel_attention_mask"):
                    inputs.pop(name, None)
                inputs["mm_encoder_outputs"] = {"image": encoded}
            context, out = self._first(inputs)
            if "mm_encoder_outputs" in inspect.signature(self.model.forward).parameters:
                encoded = getattr(out, "image_outputs", None)
            yield context

    def without_image(self, prompt: str) -> Context:
        """The language model, asked the same in a chat without an image."""
        text = self._asked(prompt, image=False)
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        ids = ids.to(self.model.device)
        return self._first({"input_ids": ids, "attention_mask": torch.ones_like(ids)})[0]

    def read(self, context: Context, tokens_RT: torch.Tensor) -> torch.Tensor:
        steps = torch.arange(tokens_RT.shape[1], device=tokens_RT.device)
        out = self.model(
            input_ids=tokens_RT,
            attention_mask=torch.cat([context.seen_RS, torch.ones_like(tokens_RT)], dim=1),
            position_ids=context.next_R[:, None] + steps,
            use_cache=True,
            **{self._cache_key: context.cache},
        )
        return self._taken(context, out, tokens_RT.shape[1])

    def answer(self, text: str) -> list[int]:
        asked = self._asked(self.prompts[0])
        whole = self._asked(self.prompts[0], answer=text)
        said = whole[len(asked) :] if whole.startswith(asked) else text
        tokens = self.tokenizer(said, add_special_tokens=False)["input_ids"]
        ends = [place for place, token in enumerate(tokens) if token in self.ends]
        return tokens[: ends[0] + 1] if ends else [*tokens, self.end]

    def said(self, prompt: str, tokens: Sequence[int]) -> str:
        return without_thoughts(super().said(prompt, tokens))

    def _asked(self, prompt: str, image: bool = True, answer: str | None = None) -> str:
        content = [{"type": "image"}] if image else []
        chat = [{"role": "user", "content": [*content, {"type": "text", "text": prompt}]}]
        if answer is not None:
            chat.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        text: str = self.processor.apply_chat_template(
            chat, add_generation_prompt=answer is None, tokenize=False
        )
        return text

    def _first(self, inputs: Any) -> tuple[Context, Any]:
        """Returns (context, output) of the pass over the prompt and the image."""
        mask = inputs["attention_mask"]
        inner: Any = getattr(self.model, "model", None)
        places: dict[str, Any] = {}
        if hasattr(inner, "rope_deltas"):  # Qwen: works its positions out itself, and keeps them
            inner.rope_deltas = None
        else:
            places["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        out = self.model(**inputs, **places, use_cache=True, logits_to_keep=1)
        following = mask.sum(1)
        deltas = getattr(inner, "rope_deltas", None)
        if deltas is not None:
            following = following + deltas[:, 0]
        return Context(getattr(out, self._cache_key), mask, following, out.logits[:, -1]), out


def _selected(cache: Any, index: torch.Tensor) -> Any:
    """Returns rows of a cache as a cache of their own; the old one stays as it is."""
    new = copy.copy(cache)
    if hasattr(cache, _HALVES[0]):  # of a decoder with cross-attention
        for half in _HALVES:
            setattr(new, half, _selected(getattr(cache, half), index))
        new.is_updated = dict(cache.is_updated)
        return new
    new.layers = [copy.copy(layer) for layer in cache.layers]
    new.batch_select_indices(index)
    return new

"""Captioning models of transformers, by family: how an image is shown, and what comes next.

An image is encoded once. What follows from it, captions at several temperatures or the sentences
of classes, continues from its `Context`.

B images, R rows, T new tokens, N tokens of a row's continuations beside each other, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers.modeling_outputs import BaseModelOutput

from captioning.teachers.captioner_context import Context
from captioning.teachers.chat_format import without_thoughts
from edgekd.errors import UsageError, WeightsError

_BLANK_SIDE = 224


class Family:
    """A loaded model with its processor. `ends` are the tokens that end a text, `end` the usual."""

    prompts: ClassVar[tuple[str, ...]] = ("",)
    trained_without_image: ClassVar[bool] = False
    forks: ClassVar[bool] = False
    """Whether it takes the positions and masks of continuations beside each other."""

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

    def continued(self, context: Context, rows: Sequence[int]) -> Context:
        """Returns a context of continuations of these rows; one may come several times."""
        return context.forked(rows) if self.shares(context) else context.selected(rows)

    def shares(self, context: Context) -> bool:
        """Returns whether continuations share what was read, instead of copies of it."""
        return self.forks and context.can_fork

    def read(self, context: Context, tokens_RT: torch.Tensor) -> torch.Tensor:
        """Adds tokens to the context; returns what is expected after each, logits [R, T, V]."""
        if context.fork is None:
            out = self._passed(context, tokens_RT, None, None)
            logits: torch.Tensor = out.logits
            new = context.seen_RS.new_ones(tokens_RT.shape)
            context.seen_RS = torch.cat([context.seen_RS, new], dim=1)
        else:
            packed = context.packed(tokens_RT, self.model.dtype)
            out = self._passed(context, packed.tokens_BN, packed.positions_BN, packed.mask_B1NM)
            logits = packed.unpacked(out.logits, context.fork.base_R)
            owner_BH = torch.cat([context.fork.owner_BH, packed.owner_BN], dim=1)
            context.fork = replace(context.fork, owner_BH=owner_BH)
        context.cache = getattr(out, self._cache_key)
        context.next_R = context.next_R + tokens_RT.shape[1]
        context.logits_RV = logits[:, -1]
        return logits

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

    def _passed(
        self,
        context: Context,
        tokens_BN: torch.Tensor,
        positions_BN: torch.Tensor | None,
        mask_B1NM: torch.Tensor | None,
    ) -> Any:
        """Returns the output of a pass over new tokens; positions and mask are None but in a fork."""
        raise NotImplementedError

    def _started(
        self, tokens: Sequence[int], num_rows: int, memory: torch.Tensor | None
    ) -> Context:
        """Returns a context after `tokens` in every row, for a decoder with cross-attention."""
        device = self.model.device
        empty = torch.zeros(num_rows, 0, dtype=torch.long, device=device)
        first = torch.zeros(num_rows, dtype=torch.long, device=device)
        context = Context(None, empty, first, torch.zeros(num_rows, 1, device=device), memory)
        self.read(context, torch.tensor(tokens, device=device).expand(num_rows, -1))
        return context


class _Beginning(Family):
    """A prompt is the beginning of the caption."""

    def scored_prompt(self, prompts: Sequence[str]) -> str:
        """None: the sentence of a class is the whole caption."""
        return ""

    def said(self, prompt: str, tokens: Sequence[int]) -> str:
        text = super().said(prompt, tokens)
        return f"{prompt.strip()} {text}".strip() if text else ""


class _ReadsStates(Family):
    """An encoder's states lie before a decoder, under transformers' own names for both."""

    def _passed(
        self,
        context: Context,
        tokens_BN: torch.Tensor,
        positions_BN: torch.Tensor | None,
        mask_B1NM: torch.Tensor | None,
    ) -> Any:
        return self.model(
            decoder_input_ids=tokens_BN,
            encoder_outputs=BaseModelOutput(last_hidden_state=context.memory),
            use_cache=True,
            **{self._cache_key: context.cache},
        )


class Blip(_Beginning):
    """BLIP: a ViT, and a BERT that reads its states."""

    forks = True

    def contexts(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Iterator[Context]:
        memory = self.model.vision_model(pixel_values=self._pixels(images)).last_hidden_state
        for prompt in prompts:
            yield self._started(self._beginning(prompt), len(images), memory)

    def without_image(self, prompt: str) -> Context:
        """The text decoder with its cross-attention left out, which it was never trained for."""
        return self._started(self._beginning(prompt), 1, None)

    def _passed(
        self,
        context: Context,
        tokens_BN: torch.Tensor,
        positions_BN: torch.Tensor | None,
        mask_B1NM: torch.Tensor | None,
    ) -> Any:
        return self.model.text_decoder(
            input_ids=tokens_BN,
            position_ids=positions_BN,
            attention_mask=mask_B1NM,
            encoder_hidden_states=context.memory,
            use_cache=True,
            **{self._cache_key: context.cache},
        )

    def _beginning(self, prompt: str) -> list[int]:
        tokens = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return [self.model.config.text_config.bos_token_id, *tokens]

    def _decoder(self) -> Any:
        return self.model.text_decoder

    def _ends(self) -> set[int]:
        """As BLIP's own generate has it; what its config calls eos is no word."""
        return {self.model.config.text_config.sep_token_id}


class Florence2(_ReadsStates):
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


class EncoderDecoder(_Beginning, _ReadsStates):
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

    def _ends(self) -> set[int]:
        own: int | None = getattr(self.model.config.decoder, "eos_token_id", None)
        return super()._ends() | (set() if own is None else {own})


class Chat(Family):
    """A language model that takes an image in a chat: SmolVLM, Qwen-VL, LLaVA and the like."""

    prompts = ("Describe this image in one sentence.",)
    trained_without_image = True
    forks = True

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

    def _passed(
        self,
        context: Context,
        tokens_BN: torch.Tensor,
        positions_BN: torch.Tensor | None,
        mask_B1NM: torch.Tensor | None,
    ) -> Any:
        if positions_BN is None or mask_B1NM is None:
            steps = torch.arange(tokens_BN.shape[1], device=tokens_BN.device)
            positions_BN = context.next_R[:, None] + steps
            mask = torch.cat([context.seen_RS, torch.ones_like(tokens_BN)], dim=1)
        else:
            mask = mask_B1NM
        return self.model(
            input_ids=tokens_BN,
            attention_mask=mask,
            position_ids=positions_BN,
            use_cache=True,
            **{self._cache_key: context.cache},
        )

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

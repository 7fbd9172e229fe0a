"""A captioning model of transformers as a teacher: what it says of an image, and what it gains by it.

`gain` is what the image adds to the log probability of each class's sentence
(`captioning.teachers.information_gain`). It is measured against the same question without an image
for chat models (SmolVLM, Qwen-VL, LLaVA), whose language model was trained alone, and against a
grey image of the mean colour for the others (BLIP, Florence-2, encoder with decoder), whose text
decoder never went without one; `no_image` changes that.

Captions are sampled each by its own seed, so they do not depend on the block or the batch they
come in, as far as floating point goes: in bf16, or on a GPU, a batch of another size rounds
differently, and a caption may then take another turn.

N items, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from captioning.teachers.captioner_config import CaptionerConfig
from captioning.teachers.captioner_files import ModelFiles, find
from captioning.teachers.protocol import Brief, Conclusion, Look, caption_seed
from edgekd.confidence import fit_temperature
from edgekd.extras import require
from edgekd.manifest import Manifest
from edgekd.mapped import blocks, by_rows
from edgekd.records import Caption, Item
from edgekd.store import digest

if TYPE_CHECKING:
    from captioning.teachers.captioner_context import Context
    from captioning.teachers.captioner_families import Family
    from captioning.teachers.sampling import Sampled

_FEW_LABELS = 20
# Of the config: what does not change a look.
_CONCLUDING = {"batch_size", "gain_temperature", "balance", "model", "revision"}


class CaptionerTeacher:
    """A captioning model at work. It is read at the first look."""

    def __init__(self, config: CaptionerConfig, brief: Brief):
        self._config = config
        self._brief = brief

    @property
    def name(self) -> str:
        return self._config.name

    @cached_property
    def settings(self) -> str:
        """Of the model's files, what it is asked, the sentences of the classes, and the seed."""
        brief, config = self._brief, self._config
        asked = config.model_dump(mode="json", exclude=_CONCLUDING)
        classes = [brief.task.classes, brief.task.synonyms] if config.score_classes else None
        said = [brief.captions_per_image, brief.temperatures, brief.seed, self.name]
        return digest([self._files.digest, asked, classes, said])

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        """Returns the captions and, where classes are scored, `gain` [n, K] float32.

        `empty` and `cut` count an item's captions that came out empty, which are left out, and
        those that reached max_tokens, which end with their last whole sentence.
        """
        torch = require("torch", "captioning")
        parts = []
        with torch.inference_mode():
            for start in range(0, len(items), self._config.batch_size):
                stop = start + self._config.batch_size
                parts.append(self._look(items[start:stop], images[start:stop]))
        names = parts[0].arrays if parts else {}
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in names}
        return Look(arrays, tuple(caption for part in parts for caption in part.captions))

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        """Returns gain / temperature as logits; none where no classes were scored.

        The temperature is fitted on the tune labels where there are 20 or more.
        """
        summary: dict[str, Any] = {
            "weights": [self._files.origin()],
            "num_params": self._files.num_params(),
            "captions": {
                "empty": int(observed["empty"].sum()) if "empty" in observed else 0,
                "cut": int(observed["cut"].sum()) if "cut" in observed else 0,
            },
            "head": {},
        }
        if "gain" not in observed:
            return Conclusion(summary=summary)
        gain_NK, train = observed["gain"], manifest.is_of("train")
        balance = self._config.balance and bool(train.any())
        usual_K = np.zeros(gain_NK.shape[1])
        for some in blocks(len(gain_NK)) if balance else ():
            usual_K += gain_NK[some][train[some]].sum(axis=0, dtype=np.float64) / train.sum()
        temperature, fitted = self._temperature(manifest, gain_NK, usual_K)
        summary["head"] = {
            "scores": "information gain",
            "sentence": self._config.score_prompt,
            "temperature": temperature,
            "temperature_of": fitted,
            "balanced": balance,
        }
        scores = by_rows(
            lambda gain_nK: (gain_nK - usual_K) / temperature, gain_NK, zeros=self._brief.zeros
        )
        return Conclusion(scores, summary=summary)

    def _temperature(
        self, manifest: Manifest, gain_NK: np.ndarray, usual_K: np.ndarray
    ) -> tuple[float, str]:
        rows, labels = manifest.labelled("tune")
        if len(rows) < _FEW_LABELS or manifest.task.multilabel:
            return self._config.gain_temperature, "the config"
        targets = np.eye(gain_NK.shape[1])[labels]
        return fit_temperature(gain_NK[rows] - usual_K, targets), f"{len(rows)} tune labels"

    def _look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        """Of one batch."""
        counts = {name: np.zeros(len(items), dtype=np.int32) for name in ("empty", "cut")}
        arrays: dict[str, np.ndarray] = dict(counts)
        captions = []
        scored = self._family.scored_prompt(self._prompts) if self._config.score_classes else None
        for prompt, context in self._contexts(images, scored):
            if prompt == scored:
                arrays["gain"] = self._gain(context)
            for row, index, sampled in self._sampled(items, context, prompt):
                text = self._text(prompt, sampled)
                counts["empty"][row] += not text
                counts["cut"][row] += not sampled.ended
                if text:
                    captions.append((row, self._caption(items[row], index, prompt, text, sampled)))
        captions.sort(key=lambda each: (each[0], each[1].index))
        return Look(arrays, tuple(caption for _, caption in captions))

    def _contexts(
        self, images: Sequence[Image.Image], scored: str | None
    ) -> Iterator[tuple[str, Context]]:
        """Yields each prompt once with the images' context, that of the classes' sentences too."""
        prompts = list(dict.fromkeys([*self._prompts, *([] if scored is None else [scored])]))
        yield from zip(prompts, self._family.contexts(images, prompts), strict=True)

    def _sampled(
        self, items: Sequence[Item], context: Context, prompt: str
    ) -> Iterator[tuple[int, int, Sampled]]:
        """Yields (row, index, what was said) of all captions that answer this prompt."""
        from captioning.teachers.sampling import Wish, sample

        brief = self._brief
        own = [index for index in range(brief.captions_per_image) if self._prompt(index) == prompt]
        wishes = [
            (index, Wish(row, brief.temperature(index), self._seed(item, index)))
            for row, item in enumerate(items)
            for index in own
        ]
        if wishes:
            asked = [wish for _, wish in wishes]
            said = sample(self._family, context, asked, self._config.max_tokens)
            for (index, wish), sampled in zip(wishes, said, strict=True):
                yield wish.row, index, sampled

    def _text(self, prompt: str, sampled: Sampled) -> str:
        from captioning.teachers.sampling import whole_sentences

        text = self._family.said(prompt, sampled.tokens)
        return text if sampled.ended else whole_sentences(text)

    def _caption(self, item: Item, index: int, prompt: str, text: str, sampled: Sampled) -> Caption:
        return Caption(
            item.id,
            index,
            text,
            prompt,
            self._brief.temperature(index),
            self._seed(item, index),
            self.name,
            sampled.confidence,
        )

    def _prompt(self, index: int) -> str:
        """Prompts take turns, one for each round of the temperatures."""
        rounds = index // len(self._brief.temperatures)
        return self._prompts[rounds % len(self._prompts)]

    def _seed(self, item: Item, index: int) -> int:
        return caption_seed(self._brief.seed, item.id, index, self.name)

    def _gain(self, context: Context) -> np.ndarray:
        from captioning.teachers.information_gain import gains, log_likelihoods

        answers, classes = self._answers
        return gains(log_likelihoods(self._family, context, answers), self._without, classes)

    @cached_property
    def _answers(self) -> tuple[list[list[int]], tuple[int, ...]]:
        """(tokens, class) of each sentence of a class."""
        from captioning.teachers.information_gain import sentences

        config = self._config
        found = sentences(self._brief.task, config.score_prompt, config.score_synonyms)
        return [self._family.answer(text) for text in found.texts], found.classes

    @cached_property
    def _without(self) -> np.ndarray:
        """log p(sentence | no image) of each sentence."""
        from captioning.teachers.information_gain import log_likelihoods

        family, prompt = self._family, self._family.scored_prompt(self._prompts)
        alone = self._config.no_image == "text" or (
            self._config.no_image == "auto" and family.trained_without_image
        )
        if alone:
            context = family.without_image(prompt)
        else:
            context = next(iter(family.contexts([family.blank()], [prompt])))
        return log_likelihoods(family, context, self._answers[0])[0]

    @cached_property
    def _prompts(self) -> tuple[str, ...]:
        return tuple(self._config.prompts or self._family.prompts)

    @cached_property
    def _family(self) -> Family:
        require("transformers", "captioning")
        from captioning.teachers.captioner_loading import load

        return load(self._files, self._config)

    @cached_property
    def _files(self) -> ModelFiles:
        return find(self._config.model, self._config.revision)

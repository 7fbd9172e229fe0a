"""The config section of captioning models of transformers. Importing it imports no model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic

from edgekd.config import Section

FamilyName = Literal["blip", "florence2", "smolvlm", "qwen_vl", "chat", "encoder_decoder"]


class CaptionerConfig(Section):
    """A captioning model of transformers: what it says of an image, and how it scores the classes."""

    kind: Literal["transformers"] = "transformers"
    model: str = pydantic.Field(
        min_length=1, description="a local folder as transformers saves it, or an id of the hub"
    )
    revision: str | None = pydantic.Field(
        None, description="commit, tag or branch of the hub; not for a folder"
    )
    family: Literal["auto"] | FamilyName = pydantic.Field(
        "auto",
        description="how it is asked; auto: as its config.json says. chat: any other that "
        "takes an image in a chat",
    )
    prompts: list[str] | None = pydantic.Field(
        None,
        min_length=1,
        description="what it is asked, in turns, one for each round of temperatures; Florence-2 "
        "takes its task tokens, BLIP the beginning of the caption. By default the family's own",
    )
    max_tokens: int = pydantic.Field(60, ge=1, le=4096, description="of one caption")
    batch_size: int = pydantic.Field(8, ge=1, description="images looked at together")
    dtype: Literal["auto", "fp32", "bf16"] = pydantic.Field(
        "auto", description="auto: bf16 on CUDA, fp32 elsewhere"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = pydantic.Field(
        "auto", description="auto: CUDA where there is one"
    )
    score_classes: bool = pydantic.Field(
        True, description="score each class by the information gain of its sentence"
    )
    score_prompt: str = pydantic.Field(
        "a photo of a {}", description="the sentence of a class, with its name for {}"
    )
    score_synonyms: bool = pydantic.Field(
        True, description="a class is scored by all its names; false: by the first alone"
    )
    no_image: Literal["auto", "text", "blank"] = pydantic.Field(
        "auto",
        description="what the gain is measured against: the language model alone (text), or a "
        "grey image. auto: text for chat models, whose language model was trained alone",
    )
    gain_temperature: float = pydantic.Field(
        1.0, gt=0, description="of the gains, where fewer than 20 tune labels are there to fit it"
    )
    balance: bool = pydantic.Field(
        False, description="take the mean gain of a class over the training images off its gain"
    )

    @pydantic.field_validator("score_prompt")
    @classmethod
    def _one_place(cls, score_prompt: str) -> str:
        if score_prompt.count("{}") != 1:
            raise ValueError("expected one {} for the name of the class, as in 'a photo of a {}'")
        return score_prompt

    @pydantic.model_validator(mode="after")
    def _revision_of_the_hub(self) -> CaptionerConfig:
        if self.revision is not None and Path(self.model).expanduser().is_dir():
            raise ValueError("revision: is for models of the hub, and model is a folder here")
        return self

    @property
    def name(self) -> str:
        """What captions and reports call it."""
        return f"{self.kind}/{Path(self.model).name}"

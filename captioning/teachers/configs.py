"""Config sections of the teachers, told apart by `kind`. Importing them imports no teacher."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pydantic

from edgekd.config import Section

BackboneName = Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]


class ComposedTeacherConfig(Section):
    """The embedded teacher: ImageNet backbones, measured attributes, sampled sentences."""

    kind: Literal["composed"] = "composed"
    backbone: list[BackboneName] = pydantic.Field(
        ["efficientnet_lite2"], min_length=1, description="one or several that look together"
    )
    weights: Path | None = pydantic.Field(
        None, description="local file instead of the package's, for a single backbone"
    )
    image_size: int = pydantic.Field(224, ge=32, le=1024, description="pixels")
    inverted: bool = pydantic.Field(
        False, description="swap dark and light: for light objects on black"
    )
    names: bool = pydantic.Field(True, description="carry ImageNet names to the class names")
    names_temperature: float = pydantic.Field(0.07, gt=0, description="of cosine similarities")
    synonyms: bool = pydantic.Field(
        True, description="all the words for a name, WordNet's and yours; false: the first alone"
    )
    glosses: bool = pydantic.Field(
        True, description="names with their definitions (WordNet, as timm brings it)"
    )
    balance: bool = pydantic.Field(
        True, description="names only: assume the classes equally frequent"
    )
    prototypes: int = pydantic.Field(
        1, ge=0, description="rounds of soft k-means on the training images, seeded by the names"
    )
    prototype_temperature: float = pydantic.Field(0.05, gt=0, description="of cosine similarities")

    language: str = pydantic.Field(
        "en", description="of its sentences: en, zh; see `edgekd prompts show composed`"
    )

    @pydantic.field_validator("backbone", mode="before")
    @classmethod
    def _one_or_several(cls, backbone: object) -> object:
        return [backbone] if isinstance(backbone, str) else backbone

    @pydantic.model_validator(mode="after")
    def _weights_of_one(self) -> ComposedTeacherConfig:
        if self.weights is not None and len(self.backbone) > 1:
            raise ValueError("weights: one file for several backbones. Name one backbone")
        if len(set(self.backbone)) < len(self.backbone):
            raise ValueError("backbone: the same one twice")
        return self

    @property
    def name(self) -> str:
        """What captions and reports call it."""
        return f"{self.kind}/{'+'.join(self.backbone)}"


class ServerConfig(Section):
    """An OpenAI-compatible server and what may be spent on it."""

    # A key in the wrong place must not come back in an error.
    model_config = pydantic.ConfigDict(hide_input_in_errors=True)

    kind: Literal["openai"] = pydantic.Field("openai", description="told apart by this")
    base_url: str = pydantic.Field(
        description="up to and without /chat/completions, as in http://localhost:8000/v1"
    )
    model: str = pydantic.Field(min_length=1, description="as the server calls it")
    api_key_env: str | None = pydantic.Field(
        None,
        description="name of the environment variable that holds the key; none is sent without",
    )
    concurrency: int = pydantic.Field(8, ge=1, le=256, description="requests under way at once")
    request_timeout_s: float = pydantic.Field(60, gt=0, description="of one request, in all")
    ask_timeout_s: float = pydantic.Field(
        300, gt=0, description="of one image or prompt, with its retries and waits"
    )
    total_timeout_s: float | None = pydantic.Field(
        None, gt=0, description="of one call; what is left by then is not asked"
    )
    max_attempts: int = pydantic.Field(5, ge=1, le=20, description="requests for one ask")
    backoff_s: float = pydantic.Field(
        1, gt=0, description="before the second attempt; doubles, with as much jitter"
    )
    backoff_max_s: float = pydantic.Field(60, gt=0, description="what it doubles up to")
    max_failures: int = pydantic.Field(
        20, ge=1, description="asks in a row that failed, after which no more are sent"
    )
    max_tokens: int = pydantic.Field(200, ge=1, description="of one answer")
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = pydantic.Field(
        "max_tokens", description="what the server calls it; newer OpenAI models want the second"
    )
    image_side: int = pydantic.Field(512, ge=32, le=4096, description="largest side sent, pixels")
    jpeg_quality: int = pydantic.Field(90, ge=1, le=95, description="of the image sent")
    image_tokens: int | None = pydantic.Field(
        None,
        ge=0,
        description="most tokens of an image, for the limits; by default one a 14x14 pixels",
    )
    price_in: float | None = pydantic.Field(None, ge=0, description="of a million prompt tokens")
    price_out: float | None = pydantic.Field(None, ge=0, description="of a million answer tokens")
    max_cost: float | None = pydantic.Field(
        None, ge=0, description="no request is sent that could go beyond; needs both prices"
    )
    max_total_tokens: int | None = pydantic.Field(
        None, ge=0, description="no request is sent that could go beyond"
    )

    @pydantic.field_validator("base_url")
    @classmethod
    def _a_web_address(cls, base_url: str) -> str:
        try:
            parts = urlsplit(base_url)
            whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            whole = False
        if not whole:
            raise ValueError("expected an address like http://localhost:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "expected an address without user, password or query: it is stored and shown. "
                "Put the key into an environment variable and its name into api_key_env"
            )
        if parts.path.rstrip("/").endswith("/chat/completions"):
            raise ValueError("expected the address up to and without /chat/completions")
        return base_url.rstrip("/")

    @pydantic.field_validator("api_key_env")
    @classmethod
    def _a_name(cls, api_key_env: str | None) -> str | None:
        if api_key_env is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", api_key_env):
            raise ValueError(
                "expected the name of an environment variable in capitals, such as "
                "OPENAI_API_KEY, never the key itself"
            )
        return api_key_env

    @pydantic.model_validator(mode="after")
    def _priced(self) -> ServerConfig:
        if self.max_cost is not None and None in (self.price_in, self.price_out):
            raise ValueError(
                "max_cost: needs price_in and price_out, else nothing is known to cost"
            )
        return self

    @property
    def name(self) -> str:
        """What captions and reports call it."""
        return f"{self.kind}/{self.model}"

    @property
    def most_image_tokens(self) -> int:
        """What the limits count for an image."""
        patches = -(-self.image_side // 14)
        return self.image_tokens if self.image_tokens is not None else patches * patches


class VisionServerConfig(ServerConfig):
    """A vision model behind an OpenAI-compatible server that describes every image."""

    prompts: list[str] = pydantic.Field(
        [
            "Describe the main object of this photograph in one sentence: what it is, its colour, "
            "its texture and its shape.",
            "In one sentence, say what this picture shows and where it seems to have been taken.",
            "Name the most important thing in this image and describe it in one plain sentence.",
        ],
        min_length=1,
        description="used in turn for an image's captions; `{classes}` becomes the class names",
    )

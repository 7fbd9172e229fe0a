"""A model behind an OpenAI-compatible server: asks go out together, every ask gets a reply.

`ask_all` is for async code, `captioning.teachers.in_order` for other code.

Nothing a server does raises: a refusal, an error page or no answer at all is a reply with a
reason. A reason is a word or two, and after a colon the details:

| reason | what happened |
|---|---|
| `refused`, `empty`, `truncated` | the model answered so; what text there is, is kept |
| `broken JSON`, `wrong schema`, `web page`, `too large` | no answer of a chat server |
| `http 429`, `http 500`, ... | the status after the last attempt |
| `timed out`, `no connection`, `connection lost` | after the last attempt |
| `unreadable image` | nothing was sent |
| `not asked` | a limit was reached or the server is no use; `attempts` is 0, ask again later |
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import pydantic

from captioning.teachers.spending import NOTHING, Amount
from edgekd.config import Section
from edgekd.errors import UsageError
from edgekd.extras import require


class ServerConfig(Section):
    """An OpenAI-compatible server and what may be spent on it."""

    # A key in the wrong place must not come back in an error.
    model_config = pydantic.ConfigDict(hide_input_in_errors=True)

    kind: Literal["openai"] = "openai"
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
    backoff_max_s: float = pydantic.Field(60, gt=0)
    max_failures: int = pydantic.Field(
        20, ge=1, description="asks in a row that failed, after which no more are sent"
    )
    max_tokens: int = pydantic.Field(200, ge=1, description="of one answer")
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = pydantic.Field(
        "max_tokens", description="what the server calls it; newer OpenAI models want the second"
    )
    image_side: int = pydantic.Field(512, ge=32, le=4096, description="largest side sent, pixels")
    jpeg_quality: int = pydantic.Field(90, ge=1, le=95)
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


@dataclass(frozen=True)
class Ask:
    """One prompt, with an image or without; a seed makes the answer repeatable where it can be."""

    item_id: str
    image: Path | None
    prompt: str
    temperature: float = 1.0
    seed: int | None = None


@dataclass(frozen=True)
class Reply:
    """What came of an ask; `reason` is why it is not usable, or None.

    Tokens and cost are those the server counted, None where it counted none or no price is known.
    `unsure` is the most that requests without a count (cut, timed out) may have taken beside.
    """

    text: str
    reason: str | None
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    seconds: float
    attempts: int
    unsure: Amount = NOTHING

    @property
    def asked(self) -> bool:
        """Whether it is settled: False for what a limit kept from being sent."""
        return self.reason is None or not self.reason.startswith("not asked")


IndexedReply: TypeAlias = tuple[int, Reply]


@dataclass(frozen=True)
class Usage:
    """What a number of replies came to; `reasons` counts the unusable ones by their first words."""

    num_usable: int
    num_not_asked: int
    reasons: dict[str, int]
    tokens_in: int
    tokens_out: int
    cost: float | None
    unsure: Amount

    @property
    def spent(self) -> Amount:
        """Returns the upper bound of everything, for the limits of the next call."""
        return Amount(self.tokens_in + self.tokens_out, self.cost) + self.unsure


def usage(replies: Iterable[Reply]) -> Usage:
    """Returns the sums over replies; cost is None where no reply has one."""
    reasons: Counter[str] = Counter()
    num_usable = tokens_in = tokens_out = 0
    costs, unsure = [], NOTHING
    for reply in replies:
        if reply.reason is None:
            num_usable += 1
        else:
            reasons[reply.reason.partition(":")[0]] += 1
        tokens_in += reply.tokens_in or 0
        tokens_out += reply.tokens_out or 0
        unsure = unsure + reply.unsure
        if reply.cost is not None:
            costs.append(reply.cost)
    return Usage(
        num_usable,
        reasons["not asked"],
        dict(reasons),
        tokens_in,
        tokens_out,
        sum(costs) if costs else None,
        unsure,
    )


def read_key(config: ServerConfig) -> pydantic.SecretStr | None:
    """Returns the key from the environment, or None where the config names no variable.

    Raises:
        UsageError: the variable is not set, or holds what cannot be a key; its value is not shown.
    """
    name = config.api_key_env
    if name is None:
        return None
    key = pydantic.SecretStr(os.environ.get(name, "").strip())
    if not key.get_secret_value():
        raise UsageError(f"api_key_env: the environment variable {name} is not set, or empty")
    if not re.fullmatch(r"[\x21-\x7e]+", key.get_secret_value()):  # h11 would show it in its error
        raise UsageError(
            f"api_key_env: the environment variable {name} holds a space, a line break or a letter "
            "that no key has"
        )
    return key


async def ask_all(
    asks: Sequence[Ask], config: ServerConfig, spent: Amount = NOTHING
) -> AsyncGenerator[IndexedReply, None]:
    """Yields (index into `asks`, reply) of every ask, as they come in.

    Asks are begun in their order. `spent` counts towards the limits: what earlier calls took.
    Closing the iterator cancels what is under way; a caller who takes nothing lets no more be sent.

    Raises:
        UsageError: the key is missing.
        MissingExtraError: httpx2 or tenacity is not installed.
    """
    finished: asyncio.Queue[IndexedReply | None] = asyncio.Queue()
    ahead = asyncio.Semaphore(most_ahead(config))
    work = asyncio.create_task(put_replies(asks, config, spent, finished.put_nowait, ahead))
    work.add_done_callback(lambda _: finished.put_nowait(None))
    try:
        while (item := await finished.get()) is not None:
            yield item
            ahead.release()
    finally:
        work.cancel()  # nothing where it is done
        with contextlib.suppress(asyncio.CancelledError):
            await work


def most_ahead(config: ServerConfig) -> int:
    """Returns how many asks may be under way or wait to be taken."""
    return 8 * config.concurrency


async def put_replies(
    asks: Sequence[Ask],
    config: ServerConfig,
    spent: Amount,
    put: Callable[[IndexedReply], None],
    ahead: asyncio.Semaphore,
) -> None:
    """Hands (index, reply) of every ask to `put` the moment it is there.

    An ask is begun when `ahead` has room; who takes replies releases it.
    """
    key = read_key(config)
    for library in ("httpx2", "tenacity"):
        require(library, "captioning")
    from captioning.teachers.attempts import Session

    room = asyncio.Semaphore(config.concurrency)

    async def one(index: int, ask: Ask, reserved: Amount) -> None:
        put((index, await session.reply(ask, reserved)))
        room.release()

    async with Session(config, key, spent) as session, asyncio.TaskGroup() as group:
        for index, ask in enumerate(asks):
            await ahead.acquire()
            await room.acquire()
            reserved = await session.admit(ask)
            if isinstance(reserved, Amount):
                group.create_task(one(index, ask, reserved))
            else:
                room.release()
                put((index, reserved))

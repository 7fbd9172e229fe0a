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
from typing import TypeAlias

import pydantic

from captioning.teachers.configs import ServerConfig as ServerConfig
from captioning.teachers.spending import NOTHING, Amount
from edgekd.errors import UsageError
from edgekd.extras import require


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

"""One ask of a server: the request, its retries, what it took. Imports httpx2 and tenacity."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType

import httpx2
import tenacity
from pydantic import SecretStr

from captioning.teachers import chat_format
from captioning.teachers.chat_format import Answer
from captioning.teachers.server import Ask, Reply, ServerConfig
from captioning.teachers.spending import NOTHING, Amount, Estimate, Ledger, Prices, estimate
from edgekd.errors import DataError

# More than any answer of `max_tokens` takes; a body without end is not read to its end.
MAX_BODY_BYTES = 4_000_000
_AGAIN = frozenset({408, 425, 429})
# The same for every ask: no key or the wrong one, no money, no such model or address.
_HOPELESS = frozenset({401, 402, 404, 405})
# From something before the model, which may have been at work.
_PASSED_ON = frozenset({408, 502, 504})
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_FILTERED = frozenset({"content_filter", "content_policy_violation"})
_THE_MODELS_OWN = ("refused", "empty", "truncated")
# Where httpx2 and httpcore2 log; at DEBUG also the headers of responses.
_LOGGERS = (
    "httpx2",
    *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")),
)
# Nothing reached the model, so nothing was charged.
_NOT_CONNECTED = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


class Session:
    """A connection pool, a ledger, and whether the server is still worth asking."""

    def __init__(self, config: ServerConfig, key: SecretStr | None, spent: Amount):
        self._config = config
        self._key = key
        self._prices = Prices(config.price_in, config.price_out)
        self._ledger = Ledger(self._prices, spent, config.max_cost, config.max_total_tokens)
        self._url = f"{config.base_url}/chat/completions"
        self._client = httpx2.AsyncClient(
            auth=None if key is None else _Bearer(key),
            timeout=httpx2.Timeout(config.request_timeout_s, pool=None),
            limits=httpx2.Limits(max_connections=config.concurrency),
        )
        self._deadline = time.monotonic() + (config.total_timeout_s or float("inf"))
        self._not_before = 0.0
        self._failures = 0
        self._stopped: str | None = None

    async def __aenter__(self) -> Session:
        for name in _LOGGERS if self._key is not None else ():
            logging.getLogger(name).addFilter(self._cleaned_record)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            await self._client.aclose()
        finally:
            for name in _LOGGERS:
                logging.getLogger(name).removeFilter(self._cleaned_record)

    async def admit(self, ask: Ask) -> Amount | Reply:
        """Returns what is set aside for an ask, or the reply that it is not asked.

        Once one is not asked, none after it is.
        """
        reserved: Amount | str = ""
        if self._worth_asking():
            reserved = await self._ledger.reserve(self._estimate(ask))
            if isinstance(reserved, str):
                self._stopped = self._stopped or reserved
        if isinstance(reserved, Amount):
            if self._worth_asking():  # `reserve` may have waited long
                return reserved
            await self._ledger.settle(reserved, NOTHING)
        none = self._prices.amount(0, 0)
        return Reply("", f"not asked: {self._stopped}", 0, 0, none.cost, 0.0, 0)

    async def reply(self, ask: Ask, reserved: Amount) -> Reply:
        """Returns what came of an ask, after as many attempts as it takes or the config allows."""
        course = _Course(self._estimate(ask), reserved)
        started = time.monotonic()
        answer = await self._answer(ask, course)
        tokens_in, tokens_out = answer.tokens_in, answer.tokens_out
        counted = tokens_in is not None and tokens_out is not None and not course.open
        known = self._prices.amount(tokens_in or 0, tokens_out or 0)
        if course.reserved is not None:
            await self._ledger.settle(course.reserved, known if counted else course.reserved)
            if not counted:
                course.unsure = course.unsure + course.reserved
        if counted:
            self._ledger.learn(course.estimate, tokens_in or 0, tokens_out or 0)
        self._watch(answer.reason)
        return Reply(
            answer.text,
            answer.reason,
            tokens_in,
            tokens_out,
            None if tokens_in is None or tokens_out is None else known.cost,
            time.monotonic() - started,
            course.attempts,
            course.unsure,
        )

    def _worth_asking(self) -> bool:
        if self._stopped is None and time.monotonic() >= self._deadline:
            self._stopped = f"total_timeout_s: {self._config.total_timeout_s:g} s are over"
        return self._stopped is None

    def _watch(self, reason: str | None) -> None:
        """Counts failures in a row; a server that only fails is not asked for ever."""
        if reason is None or reason.startswith(_THE_MODELS_OWN):
            self._failures = 0
        elif not reason.startswith("unreadable image"):
            self._failures += 1
        if self._failures >= self._config.max_failures:
            self._stopped = self._stopped or (
                f"max_failures: {self._failures} asks in a row failed, the last with {reason}"
            )

    def _estimate(self, ask: Ask) -> Estimate:
        image_tokens = 0 if ask.image is None else self._config.most_image_tokens
        return estimate(ask.prompt, self._config.max_tokens, image_tokens)

    async def _answer(self, ask: Ask, course: _Course) -> Answer:
        left_s = max(self._deadline - time.monotonic(), 0.001)
        most_s = min(self._config.ask_timeout_s, left_s)
        name = "ask_timeout_s" if most_s < left_s else "total_timeout_s"
        try:
            async with asyncio.timeout(most_s):
                content = await asyncio.to_thread(self._body, ask)
                return await self._with_retries(content, course, most_s)
        except DataError as error:
            course.open = False
            return _nothing(f"unreadable image: {error}")
        except _Failed as error:
            return _nothing(self._without_key(str(error)))
        except TimeoutError:
            return _nothing(f"timed out: {name}, {course.attempts} attempts in {most_s:.3g} s")

    async def _with_retries(self, content: bytes, course: _Course, most_s: float) -> Answer:
        backoff_s = self._config.backoff_s
        usual = tenacity.wait_exponential(
            backoff_s, max=self._config.backoff_max_s
        ) + tenacity.wait_random(0, backoff_s)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: getattr(error, "again", False)),
            wait=lambda state: self._wait_s(state, usual),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self._config.max_attempts),
                tenacity.stop_before_delay(most_s),
            ),
            reraise=True,
            sleep=asyncio.sleep,
        )
        return await retrying(self._attempt, content, course)

    def _wait_s(self, state: tenacity.RetryCallState, usual: tenacity.wait.wait_base) -> float:
        """Seconds to the next attempt: what the server asked for, else the usual backoff."""
        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.retry_after_s if isinstance(error, _Failed) else None
        if asked_s is None:
            return usual(state)
        if asked_s < self._config.ask_timeout_s:  # the others need not find out for themselves
            self._not_before = max(self._not_before, time.monotonic() + asked_s)
        return asked_s + random.uniform(0, self._config.backoff_s)

    async def _attempt(self, content: bytes, course: _Course) -> Answer:
        await self._book_open_attempt(course)
        while (left_s := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(left_s + random.uniform(0, self._config.backoff_s / 4))
        course.attempts += 1
        course.open = True
        try:
            async with asyncio.timeout(self._config.request_timeout_s):
                status, headers, received = await self._post(content)
        except TimeoutError as error:
            raise _Failed(
                f"timed out: request_timeout_s, no whole answer in "
                f"{self._config.request_timeout_s:g} s",
                again=True,
            ) from error
        except _NOT_CONNECTED as error:
            course.open = False
            raise _Failed(f"no connection: {_said(error)}", again=True) from error
        except httpx2.TransportError as error:
            raise _Failed(f"connection lost: {_said(error)}", again=True) from error
        except httpx2.RequestError as error:
            raise _Failed(f"broken JSON: {_said(error)}") from error
        if 200 <= status < 300:
            answer = chat_format.read_answer(received, headers.get("content-type", ""))
            course.open = answer.tokens_in is None or answer.tokens_out is None
            return self._cleaned(answer)
        course.open = status in _PASSED_ON
        return self._turned_down(status, headers, received)

    async def _book_open_attempt(self, course: _Course) -> None:
        """Books an attempt that the server may have charged, and sets aside for the next one.

        Raises:
            _Failed: a limit leaves too little.
        """
        if not course.open or course.reserved is None:
            return
        course.unsure = course.unsure + course.reserved
        await self._ledger.settle(course.reserved, course.reserved)
        course.reserved, course.open = None, False
        reserved = await self._ledger.reserve(course.estimate)
        if isinstance(reserved, str):
            raise _Failed(f"no retry: {reserved}")
        course.reserved = reserved

    async def _post(self, content: bytes) -> tuple[int, httpx2.Headers, bytes]:
        kind = {"content-type": "application/json"}
        async with self._client.stream(
            "POST", self._url, content=content, headers=kind
        ) as response:
            received = bytearray()
            async for part in response.aiter_bytes():
                received += part
                if len(received) > MAX_BODY_BYTES:
                    raise _Failed(f"too large: an answer of more than {MAX_BODY_BYTES} bytes")
            return response.status_code, response.headers, self._without_key_bytes(received)

    def _turned_down(self, status: int, headers: httpx2.Headers, received: bytes) -> Answer:
        """Returns the answer of a filter; every other status that is no success raises."""
        code = chat_format.error_code(received)
        if code in _FILTERED:
            return _nothing(f"refused: {code}")
        message = f"http {status}: {chat_format.error_message(received) or 'nothing said'}"
        if 300 <= status < 400:
            message = f"http {status}: it redirects to {headers.get('location', 'nowhere')}"
        if status in _HOPELESS or code in _NO_MONEY:
            self._stopped = self._stopped or self._without_key(message)
            raise _Failed(message)
        wait_s = retry_after_s(headers.get("retry-after"), headers.get("date"))
        if wait_s is not None:
            message += f" (wait {wait_s:.3g} s)"
        raise _Failed(message, again=status in _AGAIN or status >= 500, retry_after_s=wait_s)

    def _body(self, ask: Ask) -> bytes:
        config = self._config
        url = None
        if ask.image is not None:
            url = chat_format.data_url(ask.image, config.image_side, config.jpeg_quality)
        values = chat_format.body(
            ask.prompt,
            url,
            model=config.model,
            temperature=ask.temperature,
            seed=ask.seed,
            max_tokens=config.max_tokens,
            max_tokens_key=config.max_tokens_key,
        )
        return json.dumps(values).encode()

    def _cleaned(self, answer: Answer) -> Answer:
        reason = None if answer.reason is None else self._without_key(answer.reason)
        text = self._without_key(answer.text)
        return Answer(text, reason, answer.tokens_in, answer.tokens_out)

    def _cleaned_record(self, record: logging.LogRecord) -> bool:
        """Takes the key out of what the HTTP library logs, should a server have said it back."""
        record.msg, record.args = self._without_key(record.getMessage()), ()
        return True

    def _without_key_bytes(self, received: bytearray) -> bytes:
        """The body as it came, but for the key: what is later cut short must not hold half of it."""
        if self._key is None:
            return bytes(received)
        return bytes(received.replace(self._key.get_secret_value().encode(), b"[key]"))

    def _without_key(self, text: str) -> str:
        """The text, should a server have said the key back."""
        return text if self._key is None else text.replace(self._key.get_secret_value(), "[key]")


def retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """Returns the seconds in a Retry-After header, or None where it says nothing that can be read.

    It is a number or an HTTP date (RFC 9110, 10.2.3); a date counts from the server's own `date`,
    since clocks differ. What is past is 0.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
        return max(seconds, 0.0) if seconds < float("inf") else None
    except ValueError:
        pass
    until = _moment(value)
    if until is None:
        return None
    return max((until - (_moment(date) or datetime.now(UTC))).total_seconds(), 0.0)


@dataclass
class _Course:
    """An ask under way. `open`: the last request may have been charged, and nothing says how much.

    `reserved` is what the ledger holds for the last request, `unsure` what earlier ones may have
    taken at most.
    """

    estimate: Estimate
    reserved: Amount | None
    attempts: int = 0
    open: bool = False
    unsure: Amount = NOTHING


class _Failed(Exception):
    """An attempt that brought no answer; `again` where another may."""

    def __init__(self, message: str, again: bool = False, retry_after_s: float | None = None):
        super().__init__(message)
        self.again, self.retry_after_s = again, retry_after_s


class _Bearer(httpx2.Auth):
    """Puts the key into the header of a request as it leaves; shows it nowhere."""

    def __init__(self, key: SecretStr):
        self._key = key

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        yield request


def _nothing(reason: str) -> Answer:
    return Answer("", reason, 0, 0)


def _said(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()[:200]


def _moment(value: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

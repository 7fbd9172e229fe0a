"""The client against a real server on this machine that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import re
import socket
import traceback
from itertools import pairwise
from pathlib import Path
from typing import Any

import pydantic
import pytest
from PIL import Image

from captioning.teachers.server import Ask, Reply, ServerConfig, ask_all, read_key, usage
from captioning.teachers.spending import Amount
from edgekd.config import dump_yaml, parse
from edgekd.errors import ConfigError, UsageError
from tests.unit import chat_server
from tests.unit.chat_server import ChatServer, answer, error, status

for library in ("httpx2", "tenacity"):
    pytest.importorskip(library)

KEY = "sk-do-not-tell-1234567890"
PAGE = "<!DOCTYPE html><html><body>Bad gateway</body></html>"


def config(server: ChatServer, **settings: Any) -> ServerConfig:
    quick = {"backoff_s": 0.01, "request_timeout_s": 5, "ask_timeout_s": 10, "max_attempts": 3}
    return ServerConfig(base_url=server.url, model="test-model", **(quick | settings))


def asks(*prompts: str) -> list[Ask]:
    return [Ask(f"id{n}", None, prompt, 0.5, n) for n, prompt in enumerate(prompts)]


def replies(asked: list[Ask], settings: ServerConfig, spent: Amount = Amount()) -> list[Reply]:  # noqa: B008
    """Every reply, by the index of its ask."""

    async def collect() -> dict[int, Reply]:
        return {index: reply async for index, reply in ask_all(asked, settings, spent)}

    found = asyncio.run(collect())
    assert sorted(found) == list(range(len(asked)))
    return [found[index] for index in range(len(asked))]


def one(server: ChatServer, **settings: Any) -> Reply:
    return replies(asks("cat"), config(server, **settings))[0]


def test_a_good_answer(server: ChatServer) -> None:
    reply = one(server, price_in=2.0, price_out=8.0)
    assert (reply.text, reply.reason) == ("says cat", None)
    assert (reply.tokens_in, reply.tokens_out) == (20, 5)
    assert reply.cost == pytest.approx(80e-6)  # 20 * 2 + 5 * 8 millionths
    assert reply.attempts == 1
    assert 0 < reply.seconds < 5
    assert reply.unsure == Amount(0, 0.0)
    [request] = server.seen
    assert request.path == "/v1/chat/completions"
    assert "authorization" not in request.headers
    assert request.body == {
        "model": "test-model",
        "messages": [{"role": "user", "content": "cat"}],
        "temperature": 0.5,
        "max_tokens": 200,
        "seed": 0,
    }


def test_without_prices_no_cost_is_made_up(server: ChatServer) -> None:
    assert one(server).cost is None
    assert one(server, price_in=2.0).cost is None


def test_an_image_goes_along(server: ChatServer, tmp_path: Path) -> None:
    Image.new("RGB", (300, 150), "blue").save(tmp_path / "a.png")
    reply = replies([Ask("a", tmp_path / "a.png", "What?")], config(server, image_side=100))[0]
    assert reply.text == "says What?"
    content = base64.b64decode(server.seen[0].image_url.removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(content)).size == (100, 50)
    assert "seed" not in server.seen[0].body


def test_an_image_that_is_none_costs_no_request(server: ChatServer, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    asked = [Ask("a", tmp_path / "a.png", "What?"), *asks("cat")]
    bad, good = replies(asked, config(server, price_in=1, price_out=1, max_total_tokens=10**4))
    assert bad.reason is not None
    assert bad.reason.startswith("unreadable image: ")
    assert (bad.attempts, bad.tokens_in, bad.cost) == (0, 0, 0.0)
    assert good.text == "says cat"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("behaviour", "reason", "num_requests"),
    [
        (answer("I'm sorry, I can't help with that."), r"refused: I'm sorry", 1),
        (answer("", refusal="Not this one."), r"refused: Not this one\.", 1),
        (answer("A c", finish="content_filter"), r"refused: content_filter", 1),
        (answer(" "), r"empty$", 1),
        (answer("A cat on a", finish="length"), r"truncated: ", 1),
        (status(200, '{"choices": [{"mess'), r"broken JSON \(application/json\): ", 1),
        (status(200, "[]"), r"wrong schema: ", 1),
        (status(200, PAGE), r"web page: ", 1),
        (status(200, PAGE, "text/html"), r"web page: ", 1),
        (status(200, "A cat.", "text/plain"), r"broken JSON \(text/plain\): A cat\.", 1),
        (status(200, b"\x1f\x8b\x00bad", content_encoding="gzip"), r"broken JSON: ", 1),
        (status(204), r"broken JSON: nothing in the answer", 1),
        (chat_server.flood(), r"too large: ", 1),
        (status(301, location="http://127.0.0.1:9/x"), r"http 301: it redirects to http://127", 1),
        (error(400, "Image too small"), r"http 400: Image too small$", 1),
        (error(400, "Filtered", "content_filter"), r"refused: content_filter", 1),
        (error(403, "Flagged"), r"http 403: Flagged", 1),
        (error(401, "Wrong key"), r"http 401: Wrong key", 1),
        (error(404, "No such model"), r"http 404: No such model", 1),
        (error(429, "No money left", "insufficient_quota"), r"http 429: No money left", 1),
        (error(429, "Slow down"), r"http 429: Slow down$", 3),
        (error(500, "Oops"), r"http 500: Oops", 3),
        (status(502, PAGE, "text/html"), r"http 502: a web page", 3),
        (status(503), r"http 503: nothing said", 3),
        (error(529, "Overloaded"), r"http 529: ", 3),
        (chat_server.cut(), r"connection lost: ", 3),
        (chat_server.hang_up(), r"connection lost: ", 3),
    ],
)  # fmt: skip
def test_misbehaviour_becomes_a_reason(
    server: ChatServer, behaviour: chat_server.Behaviour, reason: str, num_requests: int
) -> None:
    server.always(behaviour)
    reply = one(server)
    assert re.match(reason, reply.reason or "none"), reply.reason
    assert len(server.seen) == reply.attempts == num_requests
    assert reply.asked


def test_the_text_of_an_unusable_answer_is_kept(server: ChatServer) -> None:
    server.always(answer("A cat on a", finish="length"))
    reply = one(server)
    assert (reply.text, reply.tokens_out) == ("A cat on a", 5)


def test_json_by_another_name_is_taken(server: ChatServer) -> None:
    server.always(answer("A cat.", kind="text/plain"))
    assert one(server).text == "A cat."


@pytest.mark.parametrize(
    "first",
    [
        error(429, "Slow down"), error(500, "Oops"), status(502, PAGE, "text/html"),
        status(408), chat_server.cut(), chat_server.hang_up(),
    ],
)  # fmt: skip
def test_a_fault_that_passes_costs_an_attempt(
    server: ChatServer, first: chat_server.Behaviour
) -> None:
    server.on("cat", first, first, answer("A cat."))
    reply = one(server)
    assert (reply.text, reply.reason, reply.attempts) == ("A cat.", None, 3)
    assert len(server.seen) == 3


@pytest.mark.parametrize("behaviour", [chat_server.silence(), chat_server.drip()])
def test_a_request_has_its_time(server: ChatServer, behaviour: chat_server.Behaviour) -> None:
    server.on("cat", behaviour, answer("A cat."))
    reply = one(server, request_timeout_s=0.2)
    assert (reply.text, reply.attempts) == ("A cat.", 2)
    assert 0.2 <= reply.seconds < 2


def test_no_answer_ever(server: ChatServer) -> None:
    server.always(chat_server.silence())
    reply = one(server, request_timeout_s=0.1)
    assert reply.reason == "timed out: request_timeout_s, no whole answer in 0.1 s"
    assert reply.attempts == 3


def test_an_ask_has_its_time_with_all_attempts(server: ChatServer) -> None:
    server.always(chat_server.silence())
    reply = one(server, request_timeout_s=0.2, ask_timeout_s=0.5, max_attempts=20)
    assert reply.reason is not None
    assert reply.reason.startswith("timed out: ")
    assert reply.attempts <= 3
    assert reply.seconds < 1


def test_all_asks_have_their_time(server: ChatServer) -> None:
    server.on("slow", chat_server.silence())
    found = replies(
        asks("cat", "slow", "dog", "emu"), config(server, concurrency=1, total_timeout_s=0.4)
    )
    assert found[0].text == "says cat"
    assert found[1].reason == "timed out: total_timeout_s, 1 attempts in 0.4 s" or (
        found[1].reason or ""
    ).startswith("timed out: total_timeout_s, 1 attempts in 0.3")
    assert [reply.reason for reply in found[2:]] == [
        "not asked: total_timeout_s: 0.4 s are over"
    ] * 2
    assert [reply.asked for reply in found] == [True, True, False, False]
    assert len(server.seen) == 2


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    settings = ServerConfig(base_url=url, model="m", backoff_s=0.01, max_attempts=2)
    reply = replies(asks("cat"), settings)[0]
    assert reply.reason is not None
    assert reply.reason.startswith("no connection: ConnectError")
    assert reply.attempts == 2
    assert reply.unsure.tokens == 0


def test_the_wait_grows(server: ChatServer) -> None:
    server.always(error(500, "Oops"))
    one(server, backoff_s=0.05, max_attempts=4)
    at = [request.at for request in server.seen]
    gaps = [later - sooner for sooner, later in pairwise(at)]
    # 0.05, 0.1, 0.2 with 0 to 0.05 of jitter each, and what a loaded machine adds.
    for gap, least in zip(gaps, (0.05, 0.1, 0.2), strict=True):
        assert least <= gap < least + 0.05 + 0.3


def test_retry_after_is_honoured_by_all(server: ChatServer) -> None:
    server.on("cat", error(429, "Slow down", retry_after="0.4"), answer("A cat."))
    server.on("dog", answer("A dog.", after_s=0.1))
    found = replies(asks("cat", "dog", "emu"), config(server, concurrency=2))
    assert [reply.text for reply in found] == ["A cat.", "A dog.", "says emu"]
    first, second = server.asked("cat")
    assert second.at - first.at >= 0.4
    assert server.asked("emu")[0].at - first.at >= 0.4  # it was told too


def test_retry_after_as_a_date(server: ChatServer) -> None:
    from datetime import UTC, datetime, timedelta
    from email.utils import format_datetime

    until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.on("cat", error(503, "Busy", retry_after=until), answer("A cat."))
    reply = one(server)
    first, second = server.asked("cat")
    assert reply.text == "A cat."
    assert 1 <= second.at - first.at < 3.5  # both dates are cut to seconds


def test_longer_than_there_is_time_is_not_waited_for(server: ChatServer) -> None:
    server.always(error(429, "Slow down", retry_after="3600"))
    reply = one(server)
    assert reply.reason == "http 429: Slow down (wait 3.6e+03 s)"
    assert reply.attempts == 1
    assert reply.seconds < 2


def test_concurrency_is_bounded_and_used(server: ChatServer) -> None:
    server.always(answer(after_s=0.05))
    found = replies(asks(*(f"cat {n}" for n in range(20))), config(server, concurrency=4))
    assert [reply.text for reply in found] == [f"says cat {n}" for n in range(20)]
    assert server.most_at_once == 4
    assert len(server.seen) == 20


def test_replies_come_as_they_are_ready(server: ChatServer) -> None:
    server.on("slow", answer(after_s=0.3))

    async def order() -> list[int]:
        return [index async for index, _ in ask_all(asks("slow", "cat"), config(server))]

    assert asyncio.run(order()) == [1, 0]


# A prompt of 3 bytes: 3 + 32 tokens at most, an answer 10; at the prices 0.035 + 0.02. The server
# counts 20 and 5: 0.02 + 0.01 each.
PRICED: dict[str, Any] = {"price_in": 1000, "price_out": 2000, "max_tokens": 10}


@pytest.mark.parametrize("concurrency", [1, 3, 8])
@pytest.mark.parametrize(
    ("limit", "num_asked"),
    [
        # n requests took 0.03 n, and one more may take 0.055.
        ({"max_cost": 0.2}, 5),  # 0.12 + 0.055 < 0.2, 0.15 + 0.055 > 0.2
        ({"max_cost": 0.054}, 0),
        ({"max_cost": 0.055}, 1),
        # n took 25 n, one more may take 45.
        ({"max_total_tokens": 120}, 4),  # 75 + 45 = 120
        ({"max_total_tokens": 119}, 3),
        ({"max_cost": 0.2, "max_total_tokens": 119}, 3),
        ({"max_cost": 100.0}, 9),
    ],
)
def test_the_spending_limit_stops_before_it_is_passed(
    server: ChatServer, limit: dict[str, Any], num_asked: int, concurrency: int
) -> None:
    prompts = [f"ca{n}" for n in range(9)]
    settings = config(server, concurrency=concurrency, **PRICED, **limit)
    found = replies(asks(*prompts), settings)
    assert [request.prompt for request in server.seen] == prompts[:num_asked] or concurrency > 1
    assert {request.prompt for request in server.seen} == set(prompts[:num_asked])
    assert [reply.asked for reply in found] == [True] * num_asked + [False] * (9 - num_asked)
    total = usage(found)
    assert (total.num_usable, total.num_not_asked) == (num_asked, 9 - num_asked)
    assert total.cost == pytest.approx(0.03 * num_asked)
    assert total.spent.tokens == 25 * num_asked
    for reply in found[num_asked:]:
        assert reply.reason is not None
        assert re.match(r"not asked: max_(cost|total_tokens): ", reply.reason)
        assert (reply.attempts, reply.tokens_in, reply.cost) == (0, 0, 0.0)


def test_going_on_counts_what_was_spent_before(server: ChatServer) -> None:
    settings = config(server, **PRICED, max_cost=0.2)
    prompts = [f"ca{n}" for n in range(9)]
    first = replies(asks(*prompts[:3]), settings)
    assert usage(first).spent == Amount(75, pytest.approx(0.09))
    rest = replies(asks(*prompts[3:]), settings, usage(first).spent)
    assert [reply.asked for reply in rest] == [True, True, False, False, False, False]


def test_an_answer_without_a_count_is_taken_for_the_most_it_can_be(server: ChatServer) -> None:
    server.always(answer(tokens=None))
    found = replies(asks("cat", "dog", "emu"), config(server, **PRICED, max_cost=0.11))
    # 0.055 and 0.055 fill 0.11.
    assert [reply.asked for reply in found] == [True, True, False]
    assert (found[0].tokens_in, found[0].tokens_out, found[0].cost) == (None, None, None)
    assert found[0].unsure == Amount(45, pytest.approx(0.055))
    total = usage(found)
    assert (total.tokens_in, total.cost) == (0, 0.0)
    assert total.spent == Amount(90, pytest.approx(0.11))


@pytest.mark.parametrize("behaviour", [chat_server.cut(), status(504)])
def test_what_may_have_been_charged_counts(
    server: ChatServer, behaviour: chat_server.Behaviour
) -> None:
    server.on("cat", behaviour, answer())
    [reply] = replies(asks("cat"), config(server, **PRICED, max_cost=1))
    assert reply.cost == pytest.approx(0.03)
    assert reply.unsure == Amount(45, pytest.approx(0.055))
    assert reply.attempts == 2


def test_a_retry_keeps_to_the_limit_too(server: ChatServer) -> None:
    server.always(chat_server.cut())
    [reply] = replies(asks("cat"), config(server, **PRICED, max_cost=0.11, max_attempts=9))
    assert reply.reason == (
        "no retry: max_cost: 0.11 of 0.11 is spent, and the next request may cost 0.055"
    )
    assert len(server.seen) == reply.attempts == 2


def test_what_is_free_for_sure_is_not_counted(server: ChatServer) -> None:
    server.on("cat", error(429, "Slow down"), error(500, "Oops"), answer())
    [reply] = replies(asks("cat"), config(server, **PRICED, max_cost=0.06))
    assert reply.reason is None
    assert reply.unsure.tokens == 0


def test_a_server_that_counts_more_than_thought(server: ChatServer) -> None:
    server.always(answer(tokens=(350, 10)))  # ten times the 35 estimated
    settings = config(server, **PRICED, max_total_tokens=800, concurrency=1)
    found = replies(asks("cat", "dog", "emu"), settings)
    # 360 taken; the next may take 360: fits. Then 720, and 360 more do not.
    assert [reply.asked for reply in found] == [True, True, False]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (error(401, "Wrong key"), "http 401: Wrong key"),
        (error(404, "No such model"), "http 404: No such model"),
        (error(429, "Pay first", "insufficient_quota"), "http 429: Pay first"),
    ],
)
def test_what_is_the_same_for_all_is_asked_once(
    server: ChatServer, behaviour: chat_server.Behaviour, reason: str
) -> None:
    server.always(behaviour)
    found = replies(asks("cat", "dog", "emu"), config(server, concurrency=1))
    assert found[0].reason == reason
    assert [reply.reason for reply in found[1:]] == [f"not asked: {reason}"] * 2
    assert len(server.seen) == 1


def test_a_server_that_only_fails_is_given_up(server: ChatServer) -> None:
    server.always(error(500, "Oops"))
    settings = config(server, concurrency=1, max_attempts=2, max_failures=3)
    found = replies(asks(*"abcdefg"), settings)
    assert [reply.reason for reply in found] == ["http 500: Oops"] * 3 + [
        "not asked: max_failures: 3 asks in a row failed, the last with http 500: Oops"
    ] * 4
    assert len(server.seen) == 6


def test_failures_now_and_then_are_no_reason_to_stop(server: ChatServer) -> None:
    for prompt in "abde":
        server.on(prompt, error(500, "Oops"))
    server.on("c", answer("I cannot help with that."))
    settings = config(server, concurrency=1, max_attempts=1, max_failures=3)
    assert all(reply.asked for reply in replies(asks(*"abcdefg"), settings))


def test_a_caller_who_takes_nothing_stops_the_asking(server: ChatServer) -> None:
    async def take_one() -> int:
        asked = ask_all(asks(*(f"{n}" for n in range(100))), config(server, concurrency=2))
        await anext(asked)
        await asyncio.sleep(0.5)
        num_seen = len(server.seen)
        await asked.aclose()
        return num_seen

    assert asyncio.run(take_one()) <= 16  # eight for each of the two


def test_closing_cancels_what_is_under_way(server: ChatServer) -> None:
    server.on("slow", chat_server.silence())

    async def close() -> float:
        asked = ask_all(asks("cat", "slow", "dog"), config(server, concurrency=2))
        await anext(asked)
        await asked.aclose()
        return len(asyncio.all_tasks())

    assert asyncio.run(close()) == 1


@pytest.mark.parametrize("value", [KEY, f"  {KEY}\n"])
def test_the_key_goes_to_the_server_and_nowhere_else(
    value: str,
    server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TEST_KEY", value)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    settings = config(server, api_key_env="TEST_KEY", concurrency=1)
    server.on("echo", answer(f"Your key is {KEY}."))
    server.on("cut", chat_server.cut())
    spelled = {"choices": [{"message": {"content": "", "refusal": f"No, {KEY}."}}]}
    server.on("spelled", status(200, json.dumps(spelled).replace("-", "\\u002d")))
    server.on("half", status(200, "x" * 190 + KEY))
    server.on("scolded", error(400, f"Bad request with key {KEY}"))
    server.on("away", status(307, location=f"{server.url}/other?key={KEY}"))
    server.on("wrong", error(401, f"Incorrect API key provided: {KEY}"))
    asked = asks("cat", "echo", "cut", "scolded", "away", "spelled", "half", "wrong", "after")
    found = replies(asked, settings)
    assert [reply.reason is None for reply in found] == [True, True, *[False] * 7]
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in server.seen)
    assert found[1].text == "Your key is [key]."
    assert found[3].reason == "http 400: Bad request with key [key]"
    assert found[5].reason == "refused: No, [key]."
    assert found[8].reason == "not asked: http 401: Incorrect API key provided: [key]"
    assert [request.path for request in server.asked("away")] == ["/v1/chat/completions"]
    assert caplog.text  # the library does log
    printed = capfd.readouterr()
    told = [repr(found), repr(settings), dump_yaml(settings), repr(read_key(settings))]
    for text in (*told, caplog.text, printed.out, printed.err):
        assert KEY not in text
        assert KEY[:9] not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "api_key_env: the environment variable TEST_KEY is not set, or empty"),
        ("  ", "api_key_env: the environment variable TEST_KEY is not set, or empty"),
        ("sk-secret\nX-Header: 1", "TEST_KEY holds a space, a line break or a letter"),
        ("sk-sécret", "TEST_KEY holds a space, a line break or a letter"),
    ],
)
def test_a_key_that_is_none(
    value: str | None, message: str, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_KEY", value)
    with pytest.raises(UsageError, match=message) as caught:
        replies(asks("cat"), config(server, api_key_env="TEST_KEY"))
    # Some tools show the variables of a traceback.
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    ours = [frame for frame in frames if frame.filename.endswith("teachers/server.py")]
    assert "read_key" in [frame.name for frame in ours]
    assert not any("sk-s" in shown for frame in ours for shown in (frame.locals or {}).values())
    assert "sk-s" not in str(caught.value)
    assert server.seen == []


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"base_url": "localhost:8000"}, "base_url: expected an address like"),
        ({"base_url": "ftp://host/v1"}, "base_url: expected an address like"),
        ({"base_url": "http://host:99999/v1"}, "base_url: expected an address like"),
        ({"base_url": "http://user:hunter2@host/v1"}, "base_url: expected an address without user"),
        ({"base_url": "https://host/v1?api_key=hunter2"}, "base_url: expected an address without"),
        ({"base_url": "http://host/v1/chat/completions/"}, "without /chat/completions"),
        (
            {"api_key_env": "sk-hunter2"},
            "api_key_env: expected the name of an environment variable",
        ),
        ({"api_key": "sk-hunter2"}, "api_key: unknown key. Closest: 'api_key_env'"),
        ({"max_cost": 1.0}, "max_cost: needs price_in and price_out"),
        ({"max_cost": 1.0, "price_in": 1.0}, "max_cost: needs price_in and price_out"),
        ({"concurrency": 0}, "concurrency: input should be greater than or equal to 1"),
    ],
)
def test_faults_in_the_config(settings: dict[str, Any], fault: str) -> None:
    good = {"base_url": "http://localhost:8000/v1", "model": "m"}
    with pytest.raises(ConfigError) as caught:
        parse(ServerConfig, good | settings)
    assert fault in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(pydantic.ValidationError) as direct:
        ServerConfig(**(good | settings))
    assert "hunter2" not in str(direct.value)


def test_what_the_config_makes_of_it() -> None:
    settings = ServerConfig(base_url="http://localhost:8000/v1/", model="qwen")
    assert settings.base_url == "http://localhost:8000/v1"
    assert settings.name == "openai/qwen"
    assert settings.most_image_tokens == 37 * 37  # 512 / 14 is 36.6
    assert settings.model_copy(update={"image_tokens": 85}).most_image_tokens == 85


def test_reasons_are_counted_by_their_first_words() -> None:
    def reply(reason: str | None, cost: float | None = 0.5) -> Reply:
        return Reply("", reason, 10, 2, cost, 0.1, 1, Amount(7, 0.25))

    found = usage(
        [reply(None), reply("http 500: Oops"), reply("http 500: Again"), reply("empty", None)]
    )
    assert found.reasons == {"http 500": 2, "empty": 1}
    assert (found.num_usable, found.tokens_in, found.tokens_out, found.cost) == (1, 40, 8, 1.5)
    assert found.spent == Amount(48 + 28, 1.5 + 1.0)
    assert usage([]).cost is None

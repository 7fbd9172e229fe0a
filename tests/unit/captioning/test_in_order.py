"""Replies in order for code that is not async; what was answered survives Ctrl-C."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from captioning.teachers.in_order import Replies, ask_in_order
from captioning.teachers.server import Ask, ServerConfig
from edgekd.errors import UsageError
from tests.unit import chat_server
from tests.unit.chat_server import ChatServer, answer

for library in ("httpx2", "tenacity"):
    pytest.importorskip(library)


def asking(server: ChatServer, *prompts: str, **settings: Any) -> Replies:
    asks = [Ask(f"id{n}", None, prompt) for n, prompt in enumerate(prompts)]
    return ask_in_order(asks, ServerConfig(base_url=server.url, model="m", **settings))


def until(done: Any) -> None:
    """Waits for something another thread does, and fails after five seconds."""
    end = time.monotonic() + 5
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def keep(replies: Replies, kept: list[int], save: Callable[[int], None] = lambda _: None) -> None:
    """As a caller does who saves each reply."""
    try:
        for index, _ in replies:
            kept.append(index)
            save(index)
    finally:
        kept += [index for index, _ in replies.stop()]


def loop(replies: Replies, kept: list[int]) -> None:
    """As a caller does who thinks of no stop."""
    for index, _ in replies:
        kept.append(index)


def num_threads() -> int:
    return sum("_run" in thread.name for thread in threading.enumerate())


def test_in_the_order_of_the_asks(server: ChatServer) -> None:
    for number in range(6):  # the first takes longest
        server.on(f"cat {number}", answer(after_s=0.3 - 0.05 * number))
    with asking(server, *(f"cat {n}" for n in range(6))) as replies:
        found = [(index, reply.text) for index, reply in replies]
    assert found == [(n, f"says cat {n}") for n in range(6)]
    assert server.most_at_once > 1


def test_each_as_soon_as_those_before_it_are_there(server: ChatServer) -> None:
    server.on("slow", chat_server.silence())
    with asking(server, "cat", "dog", "slow", concurrency=3) as replies:
        assert next(replies)[1].text == "says cat"
        assert next(replies)[1].text == "says dog"
    assert num_threads() == 0  # leaving it ended the third


def test_nothing_to_ask(server: ChatServer) -> None:
    with asking(server) as replies:
        assert list(replies) == []
        assert list(replies) == []
    assert server.seen == []


def test_ctrl_c_keeps_what_was_answered(server: ChatServer) -> None:
    """Asks 0, 2 and 3 are answered, 1 never: it is what is waited for when Ctrl-C comes."""
    server.on("slow", chat_server.silence())
    kept: list[int] = []

    def press() -> None:
        until(lambda: len(server.asked("emu")) == 1)
        time.sleep(0.3)  # for the answer to arrive
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press)
    with asking(server, "cat", "slow", "dog", "emu", concurrency=2) as replies:
        finger.start()
        with pytest.raises(KeyboardInterrupt):
            loop(replies, kept)
    finger.join()
    assert kept == [0, 2, 3]
    assert num_threads() == 0


def test_nothing_more_is_asked_after_ctrl_c(server: ChatServer) -> None:
    server.always(answer(after_s=0.1))
    kept: list[int] = []

    def press() -> None:
        until(lambda: len(server.seen) >= 5)
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press)
    with asking(server, *(f"{n}" for n in range(50)), concurrency=2) as replies:
        finger.start()
        with pytest.raises(KeyboardInterrupt):
            keep(replies, kept)
    finger.join()
    num_seen = len(server.seen)
    time.sleep(0.3)
    assert len(server.seen) == num_seen < 10
    assert kept == sorted(kept)
    # All but those that were under way.
    assert num_seen - 2 <= len(kept) <= num_seen


def test_an_error_of_the_caller_loses_nothing_that_was_answered(server: ChatServer) -> None:
    kept: list[int] = []

    def full_disk(index: int) -> None:
        if index == 2:
            until(lambda: len(server.seen) == 6)
            time.sleep(0.2)
            raise OSError("disk full")

    with asking(server, *"abcdef") as replies, pytest.raises(OSError, match="disk full"):
        keep(replies, kept, full_disk)
    assert kept == [0, 1, 2, 3, 4, 5]


def test_a_caller_who_is_slow_is_waited_for(server: ChatServer) -> None:
    with asking(server, *(f"{n}" for n in range(100)), concurrency=2) as replies:
        next(replies)
        time.sleep(0.5)
        assert len(server.seen) <= 20  # eight for each of the two, and those that were taken
        assert [index for index, _ in replies] == list(range(1, 100))
    assert len(server.seen) == 100


def test_requests_go_on_while_the_caller_works(server: ChatServer) -> None:
    server.always(answer(after_s=0.05))
    with asking(server, *"abc", concurrency=1, request_timeout_s=0.5) as replies:
        next(replies)
        time.sleep(0.8)  # longer than a request may take, and it does not count
        assert [reply.text for _, reply in replies] == ["says b", "says c"]
    assert len(server.seen) == 3


def test_one_that_is_dropped_stops(server: ChatServer) -> None:
    server.always(chat_server.silence())
    replies = asking(server, "a")
    until(lambda: len(server.seen) == 1)
    assert num_threads() == 1
    del replies
    gc.collect()
    until(lambda: num_threads() == 0)


def test_a_missing_key_is_known_at_once(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_KEY", raising=False)
    with pytest.raises(UsageError, match="TEST_KEY is not set"):
        asking(server, "a", api_key_env="TEST_KEY")


def test_an_error_in_the_thread_comes_out(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from captioning.teachers import attempts

    async def broken(*_: object) -> None:
        raise RuntimeError("our own mistake")

    monkeypatch.setattr(attempts.Session, "admit", broken)
    with asking(server, "a") as replies, pytest.raises(ExceptionGroup) as caught:
        next(replies)
    assert caught.group_contains(RuntimeError, match="our own mistake")


def test_a_missing_library_is_named(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from edgekd import extras
    from edgekd.errors import MissingExtraError

    def without_tenacity(name: str) -> Any:
        if name == "tenacity":
            raise ModuleNotFoundError("No module named 'tenacity'", name="tenacity")
        return found(name)

    found = importlib.import_module
    monkeypatch.setattr(extras.importlib, "import_module", without_tenacity)
    with asking(server, "a") as replies, pytest.raises(MissingExtraError, match="tenacity"):
        next(replies)

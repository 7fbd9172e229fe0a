"""A chat server for whoever asks for one; and Ctrl-C works in the tests, and in what they start,
wherever pytest itself was started from."""

import signal
from collections.abc import Iterator

import pytest

from tests.unit.chat_server import ChatServer

# A shell starts its background jobs with SIGINT ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """An OpenAI-compatible server on this machine, which behaves as a test tells it to."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    chat = ChatServer()
    yield chat
    chat.close()

"""A real HTTP server on this machine that answers chat completions, and misbehaves when told to."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Seen:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)

    @property
    def prompt(self) -> str:
        content = self.body["messages"][0]["content"]
        return content if isinstance(content, str) else content[-1]["text"]

    @property
    def image_url(self) -> str:
        return self.body["messages"][0]["content"][0]["image_url"]["url"]


@dataclass
class Call:
    """What a behaviour works with: the open connection, the prompt, when the server closes."""

    handler: BaseHTTPRequestHandler
    prompt: str
    over: threading.Event

    def head(self, code: int, length: int, kind: str, headers: dict[str, str]) -> None:
        self.handler.send_response(code)
        for name, value in {"content-type": kind, "content-length": str(length), **headers}.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()

    def hang_up(self) -> None:
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)


Behaviour = Callable[[Call], None]


class ChatServer:
    """Answers a prompt by the behaviours set for it in turn, the last one again and again.

    Without one it says `says <prompt>` and counts 20 prompt tokens and 5 more.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.most_at_once = 0
        self._behaviours: dict[str, list[Behaviour]] = defaultdict(list)
        self._default: Behaviour = answer()
        self._at_once = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = _Quick(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def on(self, prompt: str, *behaviours: Behaviour) -> None:
        self._behaviours[prompt] = list(behaviours)

    def always(self, behaviour: Behaviour) -> None:
        self._default = behaviour

    def asked(self, prompt: str) -> list[Seen]:
        return [request for request in self.seen if request.prompt == prompt]

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _begin(self, request: Seen) -> Behaviour:
        with self._lock:
            self.seen.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            waiting = self._behaviours[request.prompt] or [self._default]
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def _end(self) -> None:
        with self._lock:
            self._at_once -= 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        chat = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Seen(self.path, headers, json.loads(content))
                act = chat._begin(request)
                try:
                    with suppress(OSError):  # the client has gone
                        act(Call(self, request.prompt, chat._over))
                finally:
                    chat._end()

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


class _Quick(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # of the usual 5, more callers at once would wait a second


def status(
    code: int, body: str | bytes = b"", kind: str = "application/json", **headers: str
) -> Behaviour:
    """Any status with any body and headers; `retry_after` becomes retry-after."""
    content = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def act(call: Call) -> None:
        call.head(code, len(content), kind, named)
        call.handler.wfile.write(content)

    return act


def error(code: int, message: str, name: str = "", **headers: str) -> Behaviour:
    """An error as OpenAI words it."""
    return status(code, json.dumps({"error": {"message": message, "code": name}}), **headers)


def answer(
    content: Any = None,
    tokens: tuple[int, int] | None = (20, 5),
    after_s: float = 0,
    finish: str = "stop",
    kind: str = "application/json",
    **message: Any,
) -> Behaviour:
    """A good answer, or one that is not in its content."""

    def act(call: Call) -> None:
        call.over.wait(after_s)
        said = {"role": "assistant", "content": content or f"says {call.prompt}"} | message
        values: dict[str, Any] = {"choices": [{"message": said, "finish_reason": finish}]}
        if tokens is not None:
            values["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
        status(200, json.dumps(values), kind)(call)

    return act


def cut() -> Behaviour:
    """Half a good answer, then the connection is gone."""

    def act(call: Call) -> None:
        call.head(200, 500, "application/json", {})
        call.handler.wfile.write(b'{"choices": [{"message": {"content": "a ca')
        call.handler.wfile.flush()
        call.hang_up()

    return act


def hang_up() -> Behaviour:
    """Not even a status line."""
    return lambda call: call.hang_up()


def silence() -> Behaviour:
    """Nothing, until the server is closed."""

    def act(call: Call) -> None:
        call.over.wait()
        call.hang_up()

    return act


def drip() -> Behaviour:
    """A byte every 50 ms without end: no single read ever takes long."""

    def act(call: Call) -> None:
        call.head(200, 10**6, "application/json", {})
        while not call.over.wait(0.05):
            call.handler.wfile.write(b" ")
            call.handler.wfile.flush()

    return act


def flood() -> Behaviour:
    """A body that goes on and on."""

    def act(call: Call) -> None:
        call.head(200, 10**9, "application/json", {})
        while not call.over.is_set():
            call.handler.wfile.write(b"x" * 2**20)

    return act

"""Replies of a server in the order of the asks, for code that is not async."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any

from captioning.teachers.server import (
    Ask,
    IndexedReply,
    Reply,
    ServerConfig,
    most_ahead,
    put_replies,
    read_key,
)
from captioning.teachers.spending import NOTHING, Amount
from edgekd.errors import Interrupted


def ask_in_order(asks: Sequence[Ask], config: ServerConfig, spent: Amount = NOTHING) -> Replies:
    """Returns an iterator of (index, reply) in the order of `asks`, for code that is not async.

    The requests run in a thread of their own, so a caller may save a block meanwhile. Use it as a
    context manager: leaving it cancels what is under way.
    """
    return Replies(asks, config, spent)


class Replies:
    """(index, reply) in the order of the asks, each as soon as those before it are there.

    After Ctrl-C, or `stop()`, nothing more is asked and what had been answered still comes, with
    gaps in the indices; then Ctrl-C is raised.
    """

    def __init__(self, asks: Sequence[Ask], config: ServerConfig, spent: Amount = NOTHING):
        read_key(config)  # fails here, not in the thread
        self._work = _Thread(asks, config, spent)
        self._waiting: dict[int, Reply] = {}
        self._next = 0
        self._open = True
        self._interrupt: BaseException | None = None

    def __enter__(self) -> Replies:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    def __iter__(self) -> Iterator[IndexedReply]:
        return self

    def __next__(self) -> IndexedReply:
        try:
            while self._open and self._next not in self._waiting:
                self._take(self._work.get())
        except (KeyboardInterrupt, Interrupted) as interrupt:
            self._interrupt = interrupt
            self.stop()
        if self._waiting:
            index = min(self._waiting)
            self._next = index + 1
            return index, self._waiting.pop(index)
        stopped, self._interrupt = self._interrupt, None
        if stopped is not None:
            raise stopped
        self._work.raise_error()
        raise StopIteration

    def stop(self) -> Iterator[IndexedReply]:
        """Cancels what is under way; returns itself, which yields what had been answered."""
        self._work.stop()
        while self._open:
            self._take(self._work.get())
        return self

    def __del__(self) -> None:
        if hasattr(self, "_work"):
            self._work.cancel()

    def _take(self, item: IndexedReply | None) -> None:
        if item is None:
            self._open = False
        else:
            self._waiting[item[0]] = item[1]


class _Thread:
    """An event loop of its own for the asks; the queue of replies ends in None."""

    def __init__(self, asks: Sequence[Ask], config: ServerConfig, spent: Amount):
        self._queue: queue.SimpleQueue[IndexedReply | None] = queue.SimpleQueue()
        self._ahead = asyncio.Semaphore(most_ahead(config))
        self._error: BaseException | None = None
        self._started = threading.Event()
        work = self._put_replies(asks, config, spent)
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self._started.wait()

    def get(self) -> IndexedReply | None:
        """Returns the next reply, or None after the last."""
        while True:
            with contextlib.suppress(queue.Empty):
                item = self._queue.get(timeout=1)  # without one, Windows would not see Ctrl-C
                self._in_loop(self._ahead.release)
                return item

    def cancel(self) -> None:
        """Ends the requests soon; does not wait."""
        self._in_loop(lambda: self._task.cancel())

    def stop(self) -> None:
        """Ends the requests; when it returns the queue holds all there will be."""
        self.cancel()
        self._thread.join()

    def raise_error(self) -> None:
        """Raises what ended the thread before its time, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _in_loop(self, act: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(act)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            asyncio.run(work)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._queue.put(None)

    async def _put_replies(self, asks: Sequence[Ask], config: ServerConfig, spent: Amount) -> None:
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] = asyncio.current_task()  # type: ignore[assignment]
        self._started.set()
        await put_replies(asks, config, spent, self._queue.put, self._ahead)

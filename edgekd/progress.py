"""How a long act says where it is: `progress(done, total, what)`."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, what: str = "") -> None:
    """A progress that says nothing."""

"""Every error a user can meet. A message says what was found, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgeKDError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(EdgeKDError):
    """The call itself is wrong: an unknown name, a missing file, two options that exclude each other."""

    exit_code = 2


class ConfigError(EdgeKDError):
    """One or more faults in a config, all listed at once."""

    exit_code = 2

    def __init__(self, faults: list[str], source: str = "config"):
        self.faults = faults
        self.source = source
        count = f"{len(faults)} fault" + ("s" if len(faults) > 1 else "")
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  {fault}" for fault in faults))


class DataError(EdgeKDError):
    """The images, labels or captions a user brought cannot be used as they are."""

    exit_code = 2


class GateError(EdgeKDError):
    """A gate failed: over the size budget, or below a floor."""

    exit_code = 3


class SchemaError(EdgeKDError):
    """A file is written in another version of its kind than this edgekd reads."""

    def __init__(self, file: object, found: object, reads: int, advice: str):
        super().__init__(f"{file}: schema {found!r}, this edgekd reads schema {reads}. {advice}")


class MissingExtraError(EdgeKDError):
    """A library of an install extra is missing."""


class WeightsError(EdgeKDError):
    """Weights were not found or are not the ones that were expected."""


class TeacherError(EdgeKDError):
    """A teacher cannot go on: a limit was reached, or its server answers nothing."""


class DiskError(EdgeKDError):
    """A file cannot be written: the disk is full, read-only, or the folder is gone."""


class RunLockedError(EdgeKDError):
    """Another live process works in the same run folder."""


class Interrupted(EdgeKDError):
    """Stopped by Ctrl-C or SIGTERM after the work so far was saved."""

    exit_code = 130


def closest(name: str, known: Iterable[str]) -> str:
    """Returns " Closest: 'x'." for the known name most like `name`, or an empty string."""
    matches = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f" Closest: '{matches[0]}'." if matches else ""


def one_line(error: BaseException) -> str:
    """Returns what an error of a library says, on one line and not much of it."""
    return " ".join(str(error).split())[:200]

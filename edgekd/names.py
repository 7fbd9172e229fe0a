"""Class names as people write them: one spelling to compare, one to say, and what cannot be a name."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

MAX_LENGTH = 200
_NO_THINGS = frozenset(
    {"background", "miscellaneous", "misc", "negative", "none", "nothing", "other", "others"}
    | {"rest", "unknown", "unlabeled", "unlabelled", "undefined", "various"}
)


def clean(name: str) -> str:
    """Returns the name as it is kept: composed letters (NFC), no space around it."""
    return unicodedata.normalize("NFC", name).strip()


def key(name: str) -> str:
    """Returns what two spellings of one name share.

    "t_shirt", "T-Shirt" and "TShirt" are one; numbers stay apart ("1 2" is not "12").
    """
    text = unicodedata.normalize("NFKC", name).casefold().strip()
    return re.sub(r"(?<=\w)[\s_-]+(?=\w)", _joint, text).replace("_", "") or text


def spoken(name: str) -> str:
    """Returns the name as a sentence says it: "electric guitar" of "electric_guitar"."""
    apart = re.sub(r"[\s_]+", " ", name).strip()
    # CamelCase, but not "iPhone", "PCs" or "McDonald" alone: two capitalized words or more.
    if re.fullmatch(r"(?:[A-Z][a-z]+){2,}|[a-z]{2,}(?:[A-Z][a-z]+)+", apart):
        apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", apart).lower()
    return apart or name


def fault(names: Sequence[str]) -> str | None:
    """Returns what is wrong with a list of class names, in one line, or None."""
    for number, name in enumerate(names, 1):
        if not name.strip():
            return f"name {number} of {len(names)} is empty"
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
            return f"{name!r} has a line break or another control character in it. Rename it"
        if len(name) > MAX_LENGTH:
            return f"'{name[:40]}...' has {len(name)} characters, expected {MAX_LENGTH} at most"
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        return f"'{twice[0]}' stands there twice"
    first_of: dict[str, str] = {}
    for name in names:
        other = first_of.setdefault(key(name), name)
        if other != name:
            return (
                f"'{other}' and '{name}' are one name but for case, spaces, hyphens and "
                "underscores. Rename one, or make them one class"
            )
    return None


def not_texts(values: Iterable[object]) -> str | None:
    """Returns what to do about names that YAML read as something else, or None."""
    strange = [value for value in values if not isinstance(value, str)]
    if not strange:
        return None
    found = strange[0]
    kinds = {"bool": "yes/no", "int": "a number", "float": "a number", "NoneType": "nothing"}
    kind = type(found).__name__
    shown = json.dumps(found) if kind in kinds else str(found)
    return (
        f"{shown} is no text: YAML reads it as {kinds.get(kind, kind)}. Put names in quotes, "
        'as in ["yes", "no", "1"]'
    )


def notes(names: Sequence[str]) -> list[str]:
    """Returns a line for each kind of name that works less well than others."""
    lines = []
    foreign = [name for name in names if any(c.isalpha() and not c.isascii() for c in name)]
    if foreign:
        lines.append(
            f"{_listed(foreign)}: the packaged sentence encoder reads English only. Captions are "
            "matched all the same; for names alone add English words in data.synonyms"
        )
    empty = [name for name in names if key(name) in _NO_THINGS]
    if empty:
        lines.append(
            f"{_listed(empty)}: says nothing of what to look for, so a teacher that goes by names "
            "cannot know it. Give it some labelled images"
        )
    return lines


def _joint(match: re.Match[str]) -> str:
    before, after = match.string[match.start() - 1], match.string[match.end()]
    return " " if before.isdigit() and after.isdigit() else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    quoted = ", ".join(f"'{name}'" for name in names[:3])
    return f"class{'es' if len(names) > 1 else ''} {quoted}{more}"

"""The items of a list as language models write it: numbered, bulleted, JSON, lines, one sentence."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any

MAX_CHARACTERS = 300
_BULLET = re.compile(
    r"^(?P<indent>\s*)(?:[-*+•‣▪◦·–—]\s+|[•‣▪◦·]|\(?\d{1,3}[.):．、](?!\d)\)?\s*|\(?[A-Za-z][.)]\s+|[①-⑳]\s*)"
    r"(?P<item>.*)$"
)
_FENCE = re.compile(r"^\s*```\w*\s*$", re.MULTILINE)
_CHATTER = re.compile(
    r"^(?:sure|certainly|of course|absolutely|okay|ok|great)[,.! ]|^here(?:'s| is| are)\b|"
    r"^(?:let me know|i hope|note that|these (?:features|are)|in (?:summary|short))\b|^(?:好的|以下是|当然)",
    re.IGNORECASE,
)
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z\d\"'])|(?<=[。！？])\s*")


def items(text: str, is_cut: bool = False) -> list[str]:
    """Returns the items of a list, in order, without bullets, markup, headings or chatter.

    Of a text that was cut off the last item goes, since nobody knows how it ends.
    """
    found = _of_json(text)
    if found is None:
        plain = _FENCE.sub("", text)
        found = _bulleted(plain) or _lines(plain)
        if is_cut:
            found = found[:-1]
    return [item for item in map(_clean, found) if _says_something(item)]


def merged(lists: Iterable[list[str]], most: int) -> list[str]:
    """Returns at most `most` different items, taking from the lists in turn.

    Two are the same but for case, punctuation and an article in front.
    """
    kept: dict[str, str] = {}
    for item in chain.from_iterable(zip_longest(*lists)):
        if item is not None:
            kept.setdefault(_key(item), item)
    return list(kept.values())[:most]


def _of_json(text: str) -> list[str] | None:
    """The texts of a JSON list, or of the first list in a JSON object; None where it is neither."""
    try:
        values: Any = json.loads(_FENCE.sub("", text))
    except (ValueError, RecursionError):
        return None
    if isinstance(values, dict):
        values = next((value for value in values.values() if isinstance(value, list)), None)
    if not isinstance(values, list):
        return None
    return [value for value in values if isinstance(value, str)]


def _bulleted(text: str) -> list[str]:
    """The bulleted lines; an indented line without a bullet goes on with the one before."""
    found: list[str] = []
    for line in text.splitlines():
        match = _BULLET.match(line)
        if match:
            found.append(match["item"])
        elif found and line[:1].isspace() and line.strip():
            found[-1] += " " + line.strip()
    return found


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not _CHATTER.match(line)]
    return _parts(lines[0]) if len(lines) == 1 else lines


def _parts(line: str) -> list[str]:
    """A single line taken apart at semicolons, at the commas of a bare list, or at sentences."""
    if ";" in line or "；" in line:
        return re.split(r"[;；]", line)
    short = [part for part in re.split(r"[,，、]", line) if len(part.split()) <= 5]
    if len(short) >= 3 and len(short) == len(re.split(r"[,，、]", line)) and line[-1] not in ".。":
        return short
    return _SENTENCE_ENDS.split(line)


def _clean(item: str) -> str:
    item = unicodedata.normalize("NFC", re.sub(r"\*\*|__|`|^#+\s*", "", item))
    item = " ".join(item.split()).rstrip(",;，；").removesuffix(".").removesuffix("。")
    return item.strip(" \"'“”‘’*_")


def _says_something(item: str) -> bool:
    letters = sum(character.isalnum() for character in item)
    return letters >= 2 and len(item) <= MAX_CHARACTERS and item[-1] not in ":："


def _key(item: str) -> str:
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", item).casefold())
    return " ".join(words[1:] if words[:1] in (["a"], ["an"], ["the"]) else words)

"""The chat completions format: what is sent to a server, and what its answer says or lacks."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from captioning import rules
from edgekd.preprocess import open_image

_THOUGHTS = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)
_PAGE = re.compile(r"^\s*<(?:!doctype|html|head|body)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What a server said; `reason` is why it cannot be used as it is, or None.

    Token counts are None where the server gave none.
    """

    text: str
    reason: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None


def body(
    prompt: str,
    image_url: str | None,
    *,
    model: str,
    temperature: float,
    seed: int | None,
    max_tokens: int,
    max_tokens_key: str,
) -> dict[str, Any]:
    """Returns what is posted to `chat/completions`; the image comes before the text."""
    content: Any = prompt
    if image_url is not None:
        content = [
            {"type": "image_url", "image_url": {"url": image_url}},
            {"type": "text", "text": prompt},
        ]
    values = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": temperature,
        max_tokens_key: max_tokens,
    }
    return values if seed is None else values | {"seed": seed}


def data_url(path: Path, side: int, quality: int) -> str:
    """Returns the image as a JPEG data URL, its longer side at most `side` pixels.

    Nothing but pixels is sent: no EXIF, no place, no comment, no name.

    Raises:
        DataError: the file is not an image that can be read.
    """
    image = open_image(path)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)  # never enlarges
    image.info.clear()  # Pillow would write a comment of the original again
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def read_answer(content: bytes, content_type: str = "") -> Answer:
    """Returns what the body of a 200 response says; never raises, whatever the bytes are.

    Reasons: `web page`, `broken JSON`, `wrong schema`, `refused`, `truncated`, `empty`; the part
    after a colon says more. A text that came along is kept, to be looked at.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return _no_json(content, content_type)
    tokens_in, tokens_out = _usage(values)
    try:
        choice = values["choices"][0]
        message = choice["message"]
        text, refusal = _text(message.get("content")), message.get("refusal")
        finish = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        said = error_message(content) or f"found {_shown(content)}"
        return Answer("", f"wrong schema: expected choices[0].message.content, {said}")
    return Answer(text, _reason(text, refusal, finish), tokens_in, tokens_out)


def refusal(text: str) -> str | None:
    """Returns the reason `refused: ...` where a text opens as models do that decline, else None.

    How they open is in captioning/rules/refusals.yaml, which the filter reads too.
    """
    return f"refused: {text[:80]}" if rules.shipped_refusals().refused.match(text) else None


def error_message(content: bytes) -> str:
    """Returns what a server's error body says in one line of 200 characters at most, or ""."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return "a web page" if is_page(content) else _shown(content)
    found = values.get("error", values) if isinstance(values, dict) else None
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail")
    return _shown(found.encode()) if isinstance(found, str) else ""


def error_code(content: bytes) -> str:
    """Returns the `code` or `type` of a server's error body, or ""."""
    try:
        error = json.loads(content)["error"]
        return str(error.get("code") or error.get("type") or "")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return ""


def is_page(content: bytes, content_type: str = "") -> bool:
    """Whether it is HTML: by what it holds, or by what the server calls it."""
    return "html" in content_type.lower() or bool(_PAGE.match(_decoded(content[:200])))


def without_thoughts(text: str) -> str:
    """Returns a text without the <think> block that reasoning models open with; "" if all is one."""
    rest = _THOUGHTS.sub("", text, count=1).strip()
    return "" if rest.startswith("<think>") else rest


def _no_json(content: bytes, content_type: str) -> Answer:
    if not content.strip():
        return Answer("", "broken JSON: nothing in the answer")
    if is_page(content, content_type):
        return Answer("", f"web page: expected JSON, found HTML: {_shown(content)}")
    kind = f" ({content_type})" if content_type else ""
    return Answer("", f"broken JSON{kind}: {_shown(content)}")


def _reason(text: str, declined: Any, finish: Any) -> str | None:
    if isinstance(declined, str) and declined.strip():
        return f"refused: {declined[:80]}"
    if finish == "content_filter":
        return "refused: content_filter"
    if finish == "length":
        return "truncated: the answer reached max_tokens"
    return refusal(text) if text else "empty"


def _text(content: Any) -> str:
    """The text of a message; some servers send a list of parts."""
    if isinstance(content, list):
        parts = [part.get("text") or "" for part in content if part.get("type") == "text"]
        content = "".join(parts)
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(type(content).__name__)
    return without_thoughts(content)


def _usage(values: Any) -> tuple[int | None, int | None]:
    usage = values.get("usage") if isinstance(values, dict) else None
    if not isinstance(usage, dict):
        return None, None
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(found: Any) -> int | None:
    whole = isinstance(found, int) and not isinstance(found, bool)
    return found if whole and found >= 0 else None


def _shown(content: bytes) -> str:
    return " ".join(_decoded(content[:1000]).split())[:200]


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", "replace")

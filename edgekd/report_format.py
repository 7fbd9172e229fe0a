"""How the report writes numbers. A missing figure is a dash, never a zero."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

DASH = "–"


def percent(value: float | None) -> str:
    """Returns "81.2%"."""
    return DASH if value is None else f"{value * 100:.1f}%"


def share(value: dict[str, Any] | None) -> str:
    """Returns "81.2%", a line break and "79.4 to 82.8%", its 95% interval."""
    return DASH if value is None else f"{percent(value['value'])}\n{interval(value)}"


def interval(value: dict[str, Any]) -> str:
    """Returns "79.4 to 82.8%"."""
    return f"{value['low'] * 100:.1f} to {value['high'] * 100:.1f}%"


def points(value: float) -> str:
    """Returns a difference of two shares, "+9.1 points"."""
    return f"{value * 100:+.1f} points"


def megabytes(size_bytes: int | None) -> str:
    """Returns MB (10^6 bytes) without the unit, at least three digits that count: "0.41"."""
    if size_bytes is None:
        return DASH
    value = size_bytes / 1e6
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.3g}"


def short_count(value: int | None) -> str:
    """Returns a count with three digits: "412 k", "6.10 M", "1.20 G"."""
    if value is None:
        return DASH
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor * 0.9995:
            return f"{value / factor:#.3g}".removesuffix(".") + f" {unit}"
    return str(value)


def milliseconds(value: float | None) -> str:
    """Returns ms without the unit: "1.47", "18.2"."""
    return DASH if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def duration(seconds: float) -> str:
    """Returns "8.2 s", "2 min 5 s", "1 h 2 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def compared(reference: int, candidate: int) -> str:
    """Returns "6.5 times smaller than", "1.3 times larger than" or "as large as"."""
    ratio = max(reference, candidate) / max(min(reference, candidate), 1)
    if ratio < 1.05:
        return "as large as"
    text = f"{ratio:.1f}" if ratio < 99.95 else f"{ratio:,.0f}"
    return f"{text} times {'smaller' if reference > candidate else 'larger'} than"


def readable_date(iso: str) -> str:
    """Returns "2025-03-03 10:41 UTC"; what is no ISO date stays as it is."""
    try:
        return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M %Z}".strip()
    except ValueError:
        return iso


def plural(number: int, noun: str) -> str:
    """Returns "1 label" or "2,000 labels"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def plain(value: Any) -> str:
    """Returns a setting as a person writes it: no Python quotes or braces."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_nan(value: Any) -> Any:
    """Returns the value with every nan or infinity as None: JSON knows neither."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""Rewrites the figures in README.md and docs/*.md from benchmarks/results/*.json.

    python -m benchmarks.docs_figures            write them
    python -m benchmarks.docs_figures --check    exit 1 when one differs

A figure stands between two comments, which name where it comes from and how it is written:

    <!-- figure demo.student_int8_accuracy percent -->81.2%<!-- /figure -->

The name is FILE.FIGURE, or FILE.KEY.KEY for anything else in the file, or NAME/NAME for the
quotient of two figures.
The forms are those of FORMS. Before the JSON file is there, the figure is a dash. No line may begin
with a figure: Markdown would take all of it for HTML.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DASH = "–"

_PLACE = re.compile(
    r"(?P<open><!-- figure (?P<name>\S+) (?P<form>\w+) -->)(?P<text>.*?)(?P<close><!-- /figure -->)"
)


class FigureError(Exception):
    """A place that cannot be filled: says which, what was found and what was expected."""


def main(argv: list[str] | None = None, root: Path = ROOT, results: Path = RESULTS) -> int:
    """Writes or checks every page; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 when a figure differs")
    check = parser.parse_args(argv).check
    try:
        changed = list(update(root, results, write=not check))
    except FigureError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in changed:
        print(line, file=sys.stderr if check else sys.stdout)
    if check and changed:
        print("Write them with: python -m benchmarks.docs_figures", file=sys.stderr)
    return 1 if check and changed else 0


def update(root: Path, results: Path, write: bool) -> Iterator[str]:
    """Yields "page: name: old -> new" for each figure that differs; writes the pages if asked.

    Raises:
        FigureError: an unknown figure or form, or a place that is not closed on its line.
    """
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        old = page.read_text(encoding="utf-8")
        new = filled(old, results, page.name)
        for before, after in zip(_PLACE.finditer(old), _PLACE.finditer(new), strict=True):
            if before["text"] != after["text"]:
                yield f"{page.name}: {before['name']}: {before['text']} -> {after['text']}"
        if write and new != old:
            page.write_text(new, encoding="utf-8")


def filled(text: str, results: Path, page: str) -> str:
    """Returns the text with every figure as the JSON files have it.

    Raises:
        FigureError: as `update`.
    """
    if text.count("<!-- figure ") != len(_PLACE.findall(text)):
        raise FigureError(
            f"{page}: a figure is not whole. Expected, on one line: "
            "<!-- figure FILE.NAME FORM -->text<!-- /figure -->"
        )
    first = re.search(r"^ *<!-- figure (\S+)", text, re.MULTILINE)
    if first:
        raise FigureError(f"{page}: {first[1]}: a line begins with it. Put a word in front")

    def fill(place: re.Match[str]) -> str:
        try:
            value = written(place["name"], place["form"], results)
        except FigureError as error:
            raise FigureError(f"{page}: {place['name']}: {error}") from error
        return place["open"] + value + place["close"]

    return _PLACE.sub(fill, text)


def written(name: str, form: str, results: Path) -> str:
    """Returns one figure in words, or a dash where its file is not there yet.

    Raises:
        FigureError: an unknown form, or the file has no such figure.
    """
    if form not in FORMS:
        raise FigureError(f"unknown form '{form}', expected one of {', '.join(FORMS)}")
    found = [_found(part, results) for part in name.split("/")]
    if None in found:
        return DASH
    try:
        return FORMS[form](*found)
    except (TypeError, KeyError, ValueError) as error:
        raise FigureError(f"{found!r:.80} cannot be written as '{form}'") from error


def _found(name: str, results: Path) -> Any:
    """The figure's dict, or another value of the file; None where there is no file."""
    file, *keys = name.split(".")
    path = results / f"{file}.json"
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    if len(keys) == 1 and keys[0] in values["figures"]:
        return values["figures"][keys[0]]
    try:
        for key in keys:
            values = values[key]
    except (KeyError, TypeError) as error:
        raise FigureError(f"{path.name} has no such figure") from error
    return values


def _percent(figure: dict[str, Any]) -> str:
    return f"{100 * figure['value']:.1f}%"


def _interval(figure: dict[str, Any]) -> str:
    return f"{100 * figure['low']:.1f} to {100 * figure['high']:.1f}%"


def _points(figure: dict[str, Any]) -> str:
    return f"{100 * figure['value']:+.1f}"


def _points_interval(figure: dict[str, Any]) -> str:
    return f"{100 * figure['low']:+.1f} to {100 * figure['high']:+.1f}"


def _megabytes(figure: dict[str, Any]) -> str:
    return f"{figure['value'] / 1e6:.2f} MB"


def _ratio(numerator: dict[str, Any], denominator: dict[str, Any] | None = None) -> str:
    return f"{numerator['value'] / (denominator['value'] if denominator else 1):.1f}"


def _minutes(figure: dict[str, Any]) -> str:
    return f"{figure['value'] / 60:.0f} minutes"


def _per_seed(figure: dict[str, Any]) -> str:
    return ", ".join(f"{100 * value:.1f}" for value in figure["per_seed"])


def _num(figure: dict[str, Any]) -> str:
    return f"{figure['n']:,}"


def _count(values: list[Any]) -> str:
    if not isinstance(values, list):
        raise TypeError("not a list")
    return str(len(values))


def _text(value: object) -> str:
    if not isinstance(value, str | int):
        raise TypeError("not a plain value")
    return f"{value:,}" if isinstance(value, int) else value.replace("<", "&lt;")


FORMS: dict[str, Callable[..., str]] = {
    "percent": _percent,
    "interval": _interval,
    "points": _points,
    "points_interval": _points_interval,
    "megabytes": _megabytes,
    "ratio": _ratio,
    "minutes": _minutes,
    "per_seed": _per_seed,
    "n": _num,
    "count": _count,
    "text": _text,
}
"""How a figure is written: shares in percent or points, bytes in MB of 10^6."""


if __name__ == "__main__":
    sys.exit(main())

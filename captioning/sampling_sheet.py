"""A sheet on which people say what of some captions is true, and what their answers come to.

The sheet is a CSV with a row a claim; which temperature and template a row is of stands in a key
file beside it, so whoever answers does not see it.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from captioning.attributes import WORDS
from captioning.caption_metrics import Sample
from captioning.matching import Lexicon
from edgekd import store
from edgekd.errors import DataError, SchemaError, UsageError, closest
from edgekd.metrics import wilson_interval
from edgekd.names import spoken
from edgekd.records import Caption, TaskSpec

SCHEMA = 1
COLUMNS = ("id", "image", "caption", "about", "claim", "answer")
WHOLE = "the whole sentence is right"
_ANSWERS = {
    "yes": ("yes", "y", "true", "1"),
    "no": ("no", "n", "false", "0"),
    "unclear": ("unclear", "?"),
}
_READ = {word: answer for answer, words in _ANSWERS.items() for word in words}
_MOST_FAULTS = 10


@dataclass(frozen=True)
class Row:
    """One claim of one caption. `weight`: how many captions of its kind each drawn one stands for."""

    id: str
    image: str
    caption: str
    about: str
    claim: str
    temperature: float
    template: str
    weight: float


@dataclass(frozen=True)
class Answer:
    """What a person said of a row: yes, no or unclear."""

    row: Row
    answer: str


def draw(
    captions: Iterable[Caption],
    images: Mapping[str, str],
    task: TaskSpec,
    num_captions: int,
    seed: int,
) -> list[Row]:
    """Returns the rows of up to `num_captions` kept captions, the same for the same seed.

    Classes and temperatures take turns, so each has as many captions as the others while it has
    any; the class is the one a caption names first. `images` maps item ids to paths. A caption
    claims its class, each attribute word, and to be right as a whole.
    """
    lexicon = Lexicon(task)
    kinds: dict[tuple[int, float], Sample] = defaultdict(lambda: Sample(num_captions, seed))
    sizes: dict[tuple[int, float], int] = defaultdict(int)
    for caption in captions:
        if caption.dropped is None:
            named = lexicon.parse(caption.text).classes
            kind = (named[0] if named else -1, caption.temperature)
            kinds[kind].add(caption)
            sizes[kind] += 1
    drawn = [
        (caption, sizes[kind] / len(found))
        for kind, found in _in_turn(kinds, num_captions, seed).items()
        for caption in found
    ]
    drawn.sort(key=lambda pair: store.digest(["sheet", seed, pair[0].item_id, pair[0].index]))
    return [
        row
        for caption, weight in drawn
        for row in _rows(caption, images, task, lexicon, weight, seed)
    ]


def write(rows: Iterable[Row], path: Path) -> Path:
    """Writes the sheet, and the key that `read` needs beside it; returns the key's path.

    With a byte order mark, so that spreadsheets read it as UTF-8.

    Raises:
        UsageError: the sheet is there already: it may hold answers.
    """
    if path.exists():
        raise UsageError(f"{path}: is there already, perhaps with answers. Name another file")
    rows = list(rows)
    text = io.StringIO()
    sheet = csv.writer(text, lineterminator="\r\n")
    sheet.writerow(COLUMNS)
    sheet.writerows(_cells(row) for row in rows)
    key = key_path(path)
    store.write_json(key, {"schema": SCHEMA, "rows": [asdict(row) for row in rows]})
    store.write_bytes(path, text.getvalue().encode("utf-8-sig"))
    return key


def read(path: Path) -> list[Answer]:
    """Returns the answers of a sheet, in the order of its key.

    Commas, semicolons and tabs are read, as spreadsheets save them; rows may stand in any order.

    Raises:
        UsageError: no sheet or no key there.
        DataError: rows that are missing, changed, doubled or strange, and answers that are missing
            or none of yes, no, unclear; all at once.
        SchemaError: the key is of another version.
    """
    known = {row.id: row for row in _key(path)}
    faults: list[str] = []
    answers: dict[str, str] = {}
    for number, cells in enumerate(_records(path), 2):
        fault = _fault(cells, known, answers)
        if fault is None:
            answers[cells["id"]] = _READ[cells["answer"].casefold()]
        else:
            faults.append(f"row {number}: {fault}")
        if cells["id"] in known:
            answers.setdefault(cells["id"], "")
    missing = [row for row in known.values() if row.id not in answers]
    faults += [f"missing: row {row.id} ({row.image}: {row.about} {row.claim})" for row in missing]
    if faults:
        shown = faults[:_MOST_FAULTS]
        more = len(faults) - len(shown)
        lines = "\n".join(f"  {line}" for line in shown + ([f"and {more} more"] if more else []))
        raise DataError(f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''}\n{lines}")
    return [Answer(row, answers[row.id]) for row in known.values()]


def rates(answers: Iterable[Answer]) -> dict[str, Any]:
    """Returns the share of claims that are true with its 95% interval (Wilson), whole and in parts.

    Parts are `by_temperature`, `by_template` and `by_attribute` (the class is "object"), of claims
    about class and attributes; `sentences` are those about whole sentences. Unclear answers are
    counted beside, not in. `weighted` is the share in all captions: the sheet has as many of a
    rare class as of a frequent one.
    """
    answers = list(answers)
    claims = [answer for answer in answers if answer.row.about != "sentence"]
    return {
        "overall": _rate(claims),
        "sentences": _rate(answer for answer in answers if answer.row.about == "sentence"),
        "by_temperature": _rates_by(claims, lambda row: row.temperature),
        "by_template": _rates_by(claims, lambda row: row.template),
        "by_attribute": _rates_by(claims, lambda row: row.about),
    }


def key_path(path: Path) -> Path:
    """Returns where a sheet's key lies: "sheet.key.json" beside "sheet.csv"."""
    return path.with_suffix(".key.json")


def _in_turn(
    kinds: Mapping[tuple[int, float], Sample], wanted: int, seed: int
) -> dict[tuple[int, float], list[Caption]]:
    """One caption of each kind after the other until there are enough; kinds in a drawn order."""
    order = sorted(kinds, key=lambda kind: store.digest([seed, *kind]))
    waiting = {kind: kinds[kind].captions() for kind in order}
    drawn: dict[tuple[int, float], list[Caption]] = {}
    total = 0
    for turn in range(wanted):
        for kind in order:
            if total < wanted and turn < len(waiting[kind]):
                drawn.setdefault(kind, []).append(waiting[kind][turn])
                total += 1
    return drawn


def _rows(
    caption: Caption,
    images: Mapping[str, str],
    task: TaskSpec,
    lexicon: Lexicon,
    weight: float,
    seed: int,
) -> Iterator[Row]:
    mentions = lexicon.parse(caption.text)
    claims = [("object", spoken(task.classes[index])) for index in mentions.classes[:1]]
    claims += [WORDS[index] for index in mentions.words]
    for about, claim in [*claims, ("sentence", WHOLE)]:
        yield Row(
            # A letter first: spreadsheets take "12e4567890" for a number.
            "r" + store.digest([seed, caption.item_id, caption.index, about, claim])[:9],
            images[caption.item_id],
            " ".join(caption.text.split()),
            about,
            claim,
            caption.temperature,
            caption.template,
            weight,
        )


def _cells(row: Row) -> list[str]:
    return [_harmless(text) for text in (row.id, row.image, row.caption, row.about, row.claim)] + [
        ""
    ]


def _harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _key(path: Path) -> list[Row]:
    if not path.is_file():
        raise UsageError(f"{path}: no such sheet")
    key = key_path(path)
    if not key.is_file():
        raise UsageError(
            f"{key}: no such file. Expected the key that was written with the sheet; "
            "lay it beside the sheet"
        )
    content = store.read_json(key)
    found = content.get("schema") if isinstance(content, dict) else None
    if found != SCHEMA:
        raise SchemaError(key, found, SCHEMA, "Draw the sheet anew")
    return [Row(**row) for row in content["rows"]]


def _records(path: Path) -> Iterator[dict[str, str]]:
    """Each line of the sheet by column, without space around the cells; empty lines left out."""
    text = _text(path)
    header = text.splitlines()[0] if text.strip() else ""
    separator = max(",;\t", key=header.count)
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    columns = [(name or "").strip().casefold() for name in lines.fieldnames or []]
    lacking = [name for name in COLUMNS if name not in columns]
    if lacking:
        raise DataError(
            f"{path}: no column {', '.join(lacking)}, found {', '.join(columns) or 'nothing'}. "
            f"Expected {', '.join(COLUMNS)}; leave the first line as it was"
        )
    lines.fieldnames = columns
    for line in lines:
        cells = {name: (line.get(name) or "").strip() for name in COLUMNS}
        if any(cells.values()):
            yield cells


def _text(path: Path) -> str:
    content = path.read_bytes()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8. Save the sheet as CSV in UTF-8") from error


def _fault(cells: dict[str, str], known: dict[str, Row], answers: dict[str, str]) -> str | None:
    """What is wrong with a line of the sheet, or None."""
    row = known.get(cells["id"])
    if row is None:
        return f"id '{cells['id']}' is none of this sheet's.{closest(cells['id'], known)}"
    if row.id in answers:
        return f"id '{row.id}' stands there twice"
    for column in ("image", "caption", "about", "claim"):
        written = getattr(row, column)
        if cells[column] not in (written, _harmless(written)):
            return f"{column} changed from '{written}' to '{cells[column]}'. Put it back"
    if not cells["answer"]:
        return "no answer, expected yes, no or unclear"
    if cells["answer"].casefold() not in _READ:
        near = closest(cells["answer"].casefold(), _READ)
        return f"answer '{cells['answer']}', expected yes, no or unclear.{near}"
    return None


def _rates_by(answers: list[Answer], part: Callable[[Row], Any]) -> dict[str, dict[str, Any]]:
    parts: dict[Any, list[Answer]] = defaultdict(list)
    for answer in answers:
        parts[part(answer.row)].append(answer)
    return {str(name): _rate(parts[name]) for name in sorted(parts)}


def _rate(answers: Iterable[Answer]) -> dict[str, Any]:
    answers = list(answers)
    judged = [answer for answer in answers if answer.answer != "unclear"]
    num_right = sum(answer.answer == "yes" for answer in judged)
    low, high = wilson_interval(num_right, len(judged))
    weights = sum(answer.row.weight for answer in judged)
    right = sum(answer.row.weight for answer in judged if answer.answer == "yes")
    return {
        "value": num_right / len(judged) if judged else float("nan"),
        "low": low,
        "high": high,
        "n": len(judged),
        "num_unclear": len(answers) - len(judged),
        "weighted": right / weights if judged else float("nan"),
    }

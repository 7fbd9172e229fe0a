"""What a class looks like, in the words of a language model (arXiv:2209.03320).

They lie in a YAML file that people may edit: a list a class, and who made which.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from captioning import lists
from captioning.teachers.chat_format import Answer
from captioning.text_models import TextModel
from edgekd import names
from edgekd.errors import DataError, SchemaError, UsageError, closest, one_line
from edgekd.names import spoken
from edgekd.progress import Progress, silent
from edgekd.store import write_text

SCHEMA = 1
MAX_OTHERS = 20
PROMPTS: tuple[str, ...] = (
    'In photographs of these classes: {others}, what tells "{name}" apart from all the others? '
    "List {count} visual features: parts, shape, colours, pattern, material, size, surroundings. "
    "One short phrase a line, nothing that cannot be seen, no other text.",
    'What does "{name}" look like in a photograph? List {count} short phrases that describe it to '
    "somebody who has never seen one. One phrase a line, nothing that cannot be seen, no other "
    "text.",
)
_FIELDS = ("name", "others", "count")
_HEADER = """\
# What each class looks like. Change, add or take away lines as you like; they stay as they are.
# A class that is missing is asked about by the next run.
"""


@dataclass(frozen=True)
class Descriptions:
    """Texts of each class; `made_by` says which model was asked what for which classes."""

    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    made_by: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Described:
    """The descriptions there are now, and why a class has none."""

    descriptions: Descriptions
    failed: dict[str, str]


def describe(
    classes: Sequence[str],
    model: TextModel,
    path: Path,
    *,
    most: int = 10,
    temperature: float = 0.7,
    seed: int = 0,
    prompts: Sequence[str] = PROMPTS,
    confused_with: Mapping[str, Sequence[str]] | None = None,
    progress: Progress = silent,
) -> Described:
    """Returns the descriptions of the classes; asks the model for those the file does not have.

    The file is written after every class, so a stop costs one class at most. `most` bounds the
    texts of a class; `confused_with` names the classes to tell it from, by default the first
    others. What is in the file already is never changed.

    Raises:
        UsageError: a prompt with an unknown field.
        DataError, SchemaError: the file is there and is not one of these.
    """
    _check_prompts(prompts)
    found = load(path) if path.is_file() else Descriptions()
    missing = [name for name in classes if name not in found.texts]
    asked = [
        _prompt(prompt, name, _others(name, classes, confused_with), most)
        for name in missing
        for prompt in prompts
    ]
    made = model.origin | {
        "temperature": temperature, "seed": seed, "prompts": list(prompts),
    } if missing else {}  # fmt: skip
    failed: dict[str, str] = {}
    answers = model.answers(asked, temperature, seed) if asked else iter(())
    for done, (row, of_class) in enumerate(_by_class(answers, len(prompts)), 1):
        name = missing[row]
        texts = _texts(of_class, most)
        if texts:
            found = _with(found, name, texts, made)
            save(found, path)
        else:
            failed[name] = _why_none(of_class)
        progress(done, len(missing), "classes described")
    return Described(found, failed)


def load(path: Path) -> Descriptions:
    """Returns the descriptions in a YAML file.

    Raises:
        DataError: missing, not YAML, or not a list of texts for each class; says where.
        SchemaError: another version.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not readable as YAML ({one_line(error)})") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected 'schema' and 'descriptions', found {_kind(values)}")
    if values.get("schema") != SCHEMA:
        raise SchemaError(
            path, values.get("schema"), SCHEMA, f"Begin the file with 'schema: {SCHEMA}'"
        )
    unknown = [key for key in values if key not in ("schema", "descriptions", "made_by")]
    if unknown:
        near = closest(str(unknown[0]), ["descriptions", "made_by"])
        raise DataError(
            f"{path}: unknown key '{unknown[0]}'.{near} Classes stand under 'descriptions'"
        )
    found, made_by = values.get("descriptions") or {}, values.get("made_by") or []
    if not isinstance(found, dict):
        raise DataError(f"{path}: descriptions: expected classes, found {_kind(found)}")
    if not isinstance(made_by, list) or not all(isinstance(entry, dict) for entry in made_by):
        raise DataError(f"{path}: made_by: expected a list of entries, found {_kind(made_by)}")
    not_texts = names.not_texts(found)
    if not_texts is not None:
        raise DataError(f"{path}: descriptions: {not_texts}")
    texts = {name: _checked(path, name, value) for name, value in found.items()}
    return Descriptions(texts, tuple(made_by))


def save(descriptions: Descriptions, path: Path) -> None:
    """Writes the YAML file whole or not at all; `load` returns the same."""
    values = {
        "schema": SCHEMA,
        "descriptions": {name: list(texts) for name, texts in descriptions.texts.items()},
        "made_by": list(descriptions.made_by),
    }
    body = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    write_text(path, _HEADER + body)


def _check_prompts(prompts: Sequence[str]) -> None:
    for prompt in prompts:
        try:
            fields = [part[1] for part in string.Formatter().parse(prompt) if part[1] is not None]
        except ValueError as error:
            raise UsageError(f"prompt '{prompt[:60]}': {error}. Write {{{{ for a brace") from error
        for name in fields:
            if name not in _FIELDS:
                raise UsageError(
                    f"prompt '{prompt[:60]}': unknown field '{name}', expected one of "
                    f"{', '.join(_FIELDS)}.{closest(name, _FIELDS)}"
                )
    if not prompts or not all("{name}" in prompt for prompt in prompts):
        raise UsageError("prompts: expected one or more, each with {name} in it")


def _others(
    name: str, classes: Sequence[str], confused_with: Mapping[str, Sequence[str]] | None
) -> list[str]:
    chosen = (confused_with or {}).get(name, classes)
    return [other for other in chosen if other != name][:MAX_OTHERS]


def _prompt(prompt: str, name: str, others: Sequence[str], count: int) -> str:
    listed = ", ".join(spoken(other) for other in [name, *others])
    return prompt.format(name=spoken(name), others=listed, count=count)


def _by_class(
    answers: Iterator[tuple[int, Answer]], num_prompts: int
) -> Iterator[tuple[int, list[Answer]]]:
    """Yields (class row, its answers) as soon as all of a class are there."""
    waiting: dict[int, dict[int, Answer]] = {}
    for index, answer in answers:
        row, column = divmod(index, num_prompts)
        of_class = waiting.setdefault(row, {})
        of_class[column] = answer
        if len(of_class) == num_prompts:
            yield row, [of_class[column] for column in sorted(waiting.pop(row))]


def _texts(answers: Sequence[Answer], most: int) -> tuple[str, ...]:
    found = []
    for answer in answers:
        is_cut = (answer.reason or "").startswith("truncated")
        if answer.reason is None or is_cut:
            found.append(lists.items(answer.text, is_cut))
    return tuple(lists.merged(found, most))


def _why_none(answers: Sequence[Answer]) -> str:
    reasons = [answer.reason for answer in answers if answer.reason is not None]
    return reasons[0] if reasons else f"no list in the answer: {answers[0].text[:80]}"


def _with(
    found: Descriptions, name: str, texts: tuple[str, ...], made: dict[str, Any]
) -> Descriptions:
    """The descriptions with one class more; classes made alike on a day share an entry."""
    entry = made | {"date": datetime.now(UTC).date().isoformat()}
    made_by = [dict(known) for known in found.made_by]
    last = made_by[-1] if made_by else {}
    if {key: value for key, value in last.items() if key != "classes"} == entry:
        made_by[-1] = entry | {"classes": [*last.get("classes", []), name]}
    else:
        made_by.append(entry | {"classes": [name]})
    return Descriptions(found.texts | {name: texts}, tuple(made_by))


def _checked(path: Path, name: str, value: Any) -> tuple[str, ...]:
    where = f"{path}: descriptions.{name}"
    if not isinstance(value, list):
        raise DataError(f"{where}: expected a list of texts, found {_kind(value)}")
    if not value:
        raise DataError(f"{where}: an empty list. Write a line, or take the class out")
    for number, text in enumerate(value, 1):
        if isinstance(text, str) and text.strip():
            continue
        advice = ". Put a text with a colon in quotes" if isinstance(text, dict) else ""
        found = "an empty text" if isinstance(text, str) else _kind(text)
        raise DataError(f"{where}, line {number}: expected a text, found {found}{advice}")
    return tuple(text.strip() for text in value)


def _kind(value: Any) -> str:
    kinds = {"NoneType": "nothing", "dict": "keys and values", "list": "a list", "str": "a text"}
    return kinds.get(type(value).__name__, f"{value!r}"[:60])

"""A template filled in: values checked against its definition, then rendered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from captioning.templates import sandbox
from captioning.templates.definitions import READ_BY_ENCODER, TaskDefinition, Template, Variable
from edgekd.errors import UsageError, closest

Values = Mapping[str, str | Iterable[str]]
MAX_VALUE = 2_000  # characters
# A class that is called like an attribute word ("orange") keeps its name.
_SAID_AS_GIVEN = ("object", "second", "classes", "description", "caption")


def fill(definition: TaskDefinition, template: Template, values: Values) -> str:
    """Returns the template's text with the values in it; optional ones may be left out.

    An attribute, or a word of one, is said in the template's language.

    Raises:
        UsageError: an unknown name, a needed one left out, or a value of another kind.
        DataError: what comes out is too long.
    """
    given = completed(definition, template.text, values, template.id)
    return say(template, given)


def for_matching(
    definition: TaskDefinition, template: Template, values: Values, readable: Values | None = None
) -> str:
    """Returns the sentence that the embedded text encoder reads in the template's place.

    That is the template's own, or its translation's with the values; `readable` replaces those
    that are in the template's language, as {"object": "cat"} of {"object": "猫"}.
    """
    if template.language in READ_BY_ENCODER or template.translation is None:
        return fill(definition, template, values)
    other = definition.template(template.translation)
    return fill(definition, other, {**values, **(readable or {})})


def say(template: Template, values: Mapping[str, Any]) -> str:
    """Returns the rendered template; the values are taken as complete."""
    return sandbox.render(
        template.text,
        template.language,
        translated(values, template.words) if template.words else values,
        template.max_characters,
        template.id,
    )


def translated(values: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Returns the values with each attribute word that has a translation replaced by it."""
    return {
        name: value
        if name in _SAID_AS_GIVEN
        else words.get(value, value)
        if isinstance(value, str)
        else tuple(words.get(entry, entry) for entry in value)
        for name, value in values.items()
    }


def completed(
    definition: TaskDefinition, text: str, values: Values, name: str
) -> dict[str, str | tuple[str, ...]]:
    """Returns the values a text needs, defaults filled in.

    Raises:
        UsageError: an unknown name, a needed one left out, or a value of another kind.
    """
    check_names(definition, values)
    given: dict[str, str | tuple[str, ...]] = {}
    for needed in sorted(sandbox.variables(text)):
        variable = definition.variables[needed]
        if needed in values:
            given[needed] = _of_kind(needed, variable, values[needed])
        elif variable.default is not None:
            given[needed] = variable.default
        else:
            raise UsageError(
                f"template '{name}': no value for '{needed}' ({variable.meaning}). "
                f"For example: {_shown(variable.example)}"
            )
    return given


def check_names(definition: TaskDefinition, values: Iterable[str]) -> None:
    """Checks that values are given for known variables only.

    Raises:
        UsageError: names the first that is not, those there are, and the closest.
    """
    for name in values:
        if name not in definition.variables:
            there = ", ".join(sorted(definition.variables))
            raise UsageError(
                f"{definition.name}: unknown variable '{name}'. There are: {there}."
                f"{closest(name, definition.variables)}"
            )


def placeholders(definition: TaskDefinition) -> dict[str, str | tuple[str, ...]]:
    """Returns each variable's default, or how it is written where no value is known: "[object]"."""
    return {
        name: variable.default or ((f"[{name}]",) if variable.kind == "list" else f"[{name}]")
        for name, variable in definition.variables.items()
    }


def _of_kind(name: str, variable: Variable, value: str | Iterable[str]) -> str | tuple[str, ...]:
    if isinstance(value, str) and variable.kind == "list":
        raise UsageError(f"variable '{name}': a text ('{value[:40]}'), expected a list")
    if not isinstance(value, str) and variable.kind == "text":
        raise UsageError(f"variable '{name}': a {type(value).__name__}, expected a text")
    entries = (value,) if isinstance(value, str) else tuple(value)
    for entry in entries:
        if not isinstance(entry, str):
            raise UsageError(f"variable '{name}': {entry!r} is no text. Put it in quotes")
        if len(entry) > MAX_VALUE:
            raise UsageError(
                f"variable '{name}': {len(entry):,} characters, expected {MAX_VALUE:,} at most"
            )
    return value if isinstance(value, str) else entries


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)

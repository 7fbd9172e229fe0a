"""What `edgekd prompts show` prints: definitions, their variables, their templates filled in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from captioning.templates import files, filling, sandbox
from captioning.templates.definitions import READ_BY_ENCODER, ROLES, TaskDefinition, Template
from edgekd.errors import UsageError, closest


def shown(
    name: str | None, language: str | None = None, settings: Iterable[str] = ()
) -> dict[str, Any]:
    """Returns what is known of a definition, its templates filled in, or of all definitions.

    `name` is a packaged definition or a YAML file; `settings` are "object=cat" or
    "attributes=[colour, shape]". What is not set stands as "[object]".

    Raises:
        UsageError: no such definition or language, an unknown variable, a value of another kind.
        ConfigError: a faulty file.
        DataError: what comes out is too long.
    """
    if name is None:
        found = [files.find(known) for known in files.packaged()]
        _check_language(language, {code for d in found for code in d.languages}, "prompts")
        return {"definitions": [_summary(d) for d in found if language in (None, *d.languages)]}
    definition = files.find(name)
    _check_language(language, definition.languages, definition.name)
    values = filling.placeholders(definition) | _set(definition, settings)
    languages = [language] if language else list(definition.languages)
    return {
        "name": definition.name,
        "task": definition.task,
        "about": definition.about,
        "variables": {
            variable: {
                "kind": known.kind,
                "meaning": known.meaning,
                "example": known.example,
                "default": known.default,
            }
            for variable, known in definition.variables.items()
        },
        "languages": {code: _in_language(definition, code, values) for code in languages},
    }


def text(values: dict[str, Any]) -> str:
    """Returns the same for people: a line a definition, or one definition whole."""
    if "definitions" in values:
        return "\n".join(
            f"{row['name']:15} {row['num_templates']:3} templates  "
            f"{', '.join(row['languages']):11} {row['about']}"
            for row in values["definitions"]
        )
    lines = [f"{values['name']} ({values['task']}): {values['about']}", "", "variables"]
    lines += [
        f"  {name:12} {known['meaning']}; {_wanted(known)}"
        for name, known in values["variables"].items()
    ]
    for code, found in values["languages"].items():
        lines += ["", f"{code}", f"  input: {found['input']}", f"  output: {found['output']}"]
        for row in found["templates"]:
            other = f"; in English: {row['translation']}" if row["translation"] else ""
            lines += ["", f"  {row['id']} ({row['role']}: {ROLES[row['role']]}{other})"]
            lines += [f"    {line}" for line in row["filled"].splitlines()]
    return "\n".join(lines)


def _summary(definition: TaskDefinition) -> dict[str, Any]:
    return {
        "name": definition.name,
        "task": definition.task,
        "about": definition.about,
        "languages": list(definition.languages),
        "num_templates": len(definition.templates),
    }


def _in_language(
    definition: TaskDefinition, code: str, values: dict[str, str | tuple[str, ...]]
) -> dict[str, Any]:
    def filled(key: str, content: str) -> str:
        return filling.fill(definition, Template(key, content, code, words=words), values)

    words = definition.words[code]
    return {
        "read_by_text_encoder": code in READ_BY_ENCODER,
        "input": filled("input", definition.input[code]),
        "output": filled("output", definition.output[code]),
        "templates": [
            {
                "id": template.id,
                "role": template.role,
                "text": template.text,
                "filled": filling.fill(definition, template, values),
                "variables": sorted(sandbox.variables(template.text)),
                "translation": template.translation,
            }
            for template in definition.templates
            if template.language == code
        ],
    }


def _set(definition: TaskDefinition, settings: Iterable[str]) -> dict[str, str | tuple[str, ...]]:
    """The values of "name=value": a text as it stands, a list as YAML or with commas."""
    values: dict[str, str | tuple[str, ...]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: expected NAME=VALUE, for example object=cat")
        filling.check_names(definition, [name])
        is_list = definition.variables[name].kind == "list"
        values[name] = _entries(name, value) if is_list else value
    return values


def _entries(name: str, value: str) -> tuple[str, ...]:
    if not value.startswith("["):
        return tuple(entry.strip() for entry in value.split(",") if entry.strip())
    try:
        return tuple(map(str, yaml.safe_load(value)))
    except yaml.YAMLError as error:
        raise UsageError(f"--set {name}: '{value}' is not readable as a list") from error


def _check_language(language: str | None, known: Iterable[str], name: str) -> None:
    known = sorted(known)
    if language is not None and language not in known:
        raise UsageError(
            f"{name}: no templates in '{language}'. There are: {', '.join(known)}."
            f"{closest(language, known)}"
        )


def _wanted(known: dict[str, Any]) -> str:
    if known["default"] is not None:
        return "may be left out"
    example = known["example"]
    return f"for example {example if isinstance(example, str) else ', '.join(example)}"

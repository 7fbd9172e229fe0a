"""Definitions in YAML files: those of this package, which lie beside this module, and a user's own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from captioning.templates import sandbox
from captioning.templates.definitions import (
    READ_BY_ENCODER,
    Role,
    Task,
    TaskDefinition,
    Template,
    Variable,
)
from edgekd.config import Section, parse, read_yaml
from edgekd.errors import ConfigError, UsageError, closest

_WORDS = "words.yaml"
_NAME = r"^[a-z0-9][a-z0-9_-]*$"


def packaged() -> dict[str, Path]:
    """Returns the definitions that come with edgekd: {name: file}."""
    files = sorted(Path(__file__).parent.glob("*.yaml"))
    return {path.stem: path for path in files if path.name != _WORDS}


def find(name: str) -> TaskDefinition:
    """Returns the packaged definition of that name, or the one in a YAML file.

    Raises:
        UsageError: neither.
        ConfigError: the file is faulty.
    """
    files = packaged()
    if name in files:
        return _of_package(name)
    if not Path(name).is_file():
        raise UsageError(
            f"prompts: no definition '{name}' and no such file. There are: "
            f"{', '.join(files)}.{closest(name, files)}"
        )
    return load(Path(name))


def load(path: Path) -> TaskDefinition:
    """Returns the definition in a YAML file, every template checked.

    Raises:
        UsageError: no such file.
        ConfigError: all faults at once, those of templates by file line and template.
    """
    read = parse(_File, read_yaml(path), str(path))
    definition = _definition(read, path)
    found = [*_template_faults(definition, path), *_translation_faults(definition)]
    if found:
        raise ConfigError(found, str(path))
    return definition


@cache
def _of_package(name: str) -> TaskDefinition:
    return load(packaged()[name])


class _Variable(Section):
    kind: Literal["text", "list"] = "text"
    meaning: str
    example: str | list[str]
    default: str | list[str] | None = None

    @pydantic.model_validator(mode="after")
    def _of_its_kind(self) -> _Variable:
        for name in ("example", "default"):
            value = getattr(self, name)
            if value is not None and isinstance(value, list) != (self.kind == "list"):
                found = "a list" if isinstance(value, list) else "a text"
                raise ValueError(f"{name} is {found}, and kind is {self.kind}")
        return self


class _Template(Section):
    name: str = pydantic.Field(pattern=_NAME)
    role: Role
    text: str = pydantic.Field(min_length=1)
    translation: str | None = None
    max_characters: int = pydantic.Field(sandbox.MAX_OUTPUT, ge=1, le=100_000)


class _Language(Section):
    input: str
    output: str
    words: dict[str, str] = pydantic.Field(default_factory=dict)
    templates: list[_Template] = pydantic.Field(min_length=1)


class _File(Section):
    task: Task
    about: str
    variables: dict[str, _Variable]
    languages: dict[str, _Language] = pydantic.Field(min_length=1)


def _definition(read: _File, path: Path) -> TaskDefinition:
    languages = read.languages
    words = {code: {**_words().get(code, {}), **of.words} for code, of in languages.items()}
    return TaskDefinition(
        name=path.stem,
        task=read.task,
        about=read.about,
        source=path.name,
        variables={
            name: Variable(v.kind, v.meaning, _frozen(v.example), _frozen(v.default))
            for name, v in read.variables.items()
        },
        input={code: language.input for code, language in languages.items()},
        output={code: language.output for code, language in languages.items()},
        words=words,
        templates=tuple(
            Template(language=code, words=words[code], **entry.model_dump())
            for code, language in languages.items()
            for entry in language.templates
        ),
    )


@cache
def _words() -> dict[str, dict[str, str]]:
    """What attributes and their words are called, by language."""
    return read_yaml(Path(__file__).with_name(_WORDS))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _template_faults(definition: TaskDefinition, path: Path) -> Iterator[str]:
    """Every fault inside a text, with its line in the file."""
    lines = _lines(path)
    known = definition.variables
    counts: dict[str, int] = {}
    for code in definition.languages:
        for key, text in (("input", definition.input[code]), ("output", definition.output[code])):
            for fault in sandbox.faults(text, known):
                line = lines[("languages", code, key)]
                yield f"line {line + fault.line - 1}: {key} ({code}): {fault.message}"
    for template in definition.templates:
        index = counts[template.language] = counts.get(template.language, -1) + 1
        line = lines[("languages", template.language, "templates", index, "text")]
        for fault in sandbox.faults(template.text, known):
            yield (
                f"line {line + fault.line - 1}: template '{template.name}' "
                f"({template.language}): {fault.message}"
            )


def _translation_faults(definition: TaskDefinition) -> Iterator[str]:
    """Names given twice, and templates that cannot be matched for want of a translation."""
    known: dict[str, Template] = {}
    for template in definition.templates:
        if template.id in known:
            yield f"template '{template.id}': there twice. Rename one"
        known[template.id] = template
    read = {
        key: template for key, template in known.items() if template.language in READ_BY_ENCODER
    }
    for template in definition.templates:
        where = f"template '{template.name}' ({template.language})"
        if template.language in READ_BY_ENCODER:
            continue
        if template.translation is None:
            yield (
                f"{where}: no translation, and the text encoder reads {', '.join(READ_BY_ENCODER)} "
                "only. Name the template that says the same: translation: NAME"
            )
        elif template.translation not in read:
            yield (
                f"{where}: translation '{template.translation}' is no template in "
                f"{', '.join(READ_BY_ENCODER)}.{closest(template.translation, read)}"
            )
        elif read[template.translation].role != template.role:
            yield (
                f"{where}: a {template.role}, and its translation '{template.translation}' is a "
                f"{read[template.translation].role}"
            )


def _lines(path: Path) -> dict[tuple[str | int, ...], int]:
    """Returns the file line each text begins on, by its place in the YAML."""
    root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    return dict(_scalars(root, ())) if root is not None else {}


def _scalars(
    node: yaml.Node, place: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _scalars(value, (*place, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _scalars(value, (*place, index))
    elif isinstance(node, yaml.ScalarNode):
        below_its_key = node.style in ("|", ">")
        yield place, node.start_mark.line + 1 + below_its_key

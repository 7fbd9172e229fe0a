"""YAML in, one frozen pydantic model out; every fault listed at once by its dotted key."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from edgekd.errors import ConfigError, UsageError, closest

# Of the keys in a YAML file; a run folder's config.yaml says it, other files may.
SCHEMA = 1

Model = TypeVar("Model", bound=pydantic.BaseModel)


class Section(pydantic.BaseModel):
    """Base of every config section: unknown keys are refused, values do not change."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns the mapping in a YAML file.

    Raises:
        UsageError: no such file.
        ConfigError: not YAML, or not a mapping.
    """
    if not path.is_file():
        raise UsageError(f"config: no file '{path}'. Write one with: edgekd init FOLDER")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"not readable as YAML: {error}"], str(path)) from error
    if not isinstance(values, dict):
        found = "nothing" if values is None else type(values).__name__
        raise ConfigError([f"expected keys and values at the top, found {found}"], str(path))
    return values


def read_run(path: Path) -> dict[str, Any]:
    """Returns the config in a YAML file, or that of a run folder with the folder as its `out`.

    Raises:
        UsageError: no such file, or a folder that is no run.
        ConfigError: not YAML, or not a mapping.
    """
    if not path.is_dir():
        return read_yaml(path)
    if not (path / "config.yaml").is_file():
        raise UsageError(
            f"{path}: a folder without config.yaml, so no run. Expected a YAML file or the folder "
            f"of a run; see: edgekd list runs. If it holds images: edgekd init {path}"
        )
    return read_yaml(path / "config.yaml") | {"out": str(path)}


def apply_overrides(values: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Returns a copy of `values` with each `a.b=c` set; c is read as YAML.

    Raises:
        UsageError: an override without '=', or one that goes through a plain value.
    """
    result = _copy(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {override}: expected KEY=VALUE, for example distill.steps=500")
        node = result
        *parents, last = key.strip().split(".")
        for parent in parents:
            if node.get(parent) is None:  # missing, or a section left empty in the YAML
                node[parent] = {}
            node = node[parent]
            if not isinstance(node, dict):
                raise UsageError(f"--set {override}: '{parent}' holds a value, not keys")
        try:
            node[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {override}: value is not readable as YAML") from error
    return result


def parse(model: type[Model], values: dict[str, Any], source: str = "config") -> Model:
    """Returns the validated config.

    Raises:
        ConfigError: another schema version, or every fault with its dotted key and, for unknown
            keys, the closest one.
    """
    found = values.get("schema", SCHEMA)
    if found != SCHEMA:
        raise ConfigError(
            [
                f"schema: found {found!r}, this edgekd reads schema {SCHEMA}. Use the edgekd that "
                "wrote it, or take that line out and see which keys are named then"
            ],
            source,
        )
    try:
        return model.model_validate({k: v for k, v in values.items() if k != "schema"})
    except pydantic.ValidationError as error:
        raise ConfigError([_fault(model, item) for item in error.errors()], source) from error


def load(model: type[Model], path: Path, overrides: list[str] | None = None) -> Model:
    """Returns the config in a YAML file with `--set` overrides applied."""
    return parse(model, apply_overrides(read_yaml(path), overrides or []), str(path))


def dump_yaml(config: pydantic.BaseModel) -> str:
    """Returns the resolved config as YAML with its schema, keys in the order of the code."""
    values = {"schema": SCHEMA} | config.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _fault(model: type[pydantic.BaseModel], item: Any) -> str:
    key = ".".join(_without_tags(model, item["loc"]))
    if item["type"] == "union_tag_invalid":
        options = [option.strip("' ") for option in item["ctx"]["expected_tags"].split(",")]
        tag = item["ctx"]["tag"]
        return f"{key}.kind: unknown '{tag}', expected {', '.join(options)}.{closest(tag, options)}"
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key.{_closest_key(model, item['loc'])}"
    if item["type"] == "missing":
        return f"{key}: missing, and it has no default"
    if item["type"] == "literal_error":
        expected = item["ctx"]["expected"]
        options = [part.strip(" '") for part in expected.replace(" or ", ", ").split(",")]
        return f"{key}: unknown '{item['input']}', expected {expected}.{closest(item['input'], options)}"
    if item["type"] == "value_error":
        return f"{key}: {item['ctx']['error']}" if key else str(item["ctx"]["error"])
    found = repr(item["input"])
    return f"{key}: {_lower_first(item['msg'])}, found {found[:60]}"


def _closest_key(model: type[pydantic.BaseModel], location: typing.Sequence[Any]) -> str:
    """The key that may be meant: one of the section's, or that name in another section."""
    *section, name = location
    here = closest(str(name), _known_keys(model, section))
    elsewhere = [key for key in _all_keys(model) if key.rsplit(".", 1)[-1] == name]
    if elsewhere and not (section and here):
        return f" Closest: '{elsewhere[0]}'."
    return here


def _without_tags(model: Any, location: typing.Sequence[Any]) -> list[str]:
    """The parts of a location without those that only say which section of a union was meant."""
    candidates, kept = [model], []
    for part in location:
        leaves = [leaf for candidate in candidates for leaf in _models_in(candidate)]
        tagged = [leaf for leaf in leaves if _tag(leaf) == part or leaf.__name__ == part]
        following = [
            leaf.model_fields[str(part)].annotation
            for leaf in leaves
            if str(part) in leaf.model_fields
        ]
        if following or not tagged:
            kept.append(str(part))
        candidates = following or tagged or candidates
    return kept


def _all_keys(model: Any, before: str = "") -> list[str]:
    """The dotted names of a model's keys, those of the outer sections first."""
    fields = {name: f for leaf in _models_in(model) for name, f in leaf.model_fields.items()}
    inner = [k for name, f in fields.items() for k in _all_keys(f.annotation, f"{before}{name}.")]
    return [f"{before}{name}" for name in fields] + inner


def _known_keys(model: Any, location: typing.Sequence[Any]) -> list[str]:
    """The field names of the section at `location`; follows unions by their tag."""
    candidates = [model]
    for part in location:
        following: list[Any] = []
        for candidate in candidates:
            for leaf in _models_in(candidate):
                if str(part) in leaf.model_fields:
                    following.append(leaf.model_fields[str(part)].annotation)
                elif _tag(leaf) == part:
                    following.append(leaf)
        candidates = following or candidates
    return [name for c in candidates for leaf in _models_in(c) for name in leaf.model_fields]


def _models_in(annotation: Any) -> list[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, pydantic.BaseModel) else []
    return [leaf for part in typing.get_args(annotation) for leaf in _models_in(part)]


def _tag(model: type[pydantic.BaseModel]) -> Any:
    kind = model.model_fields.get("kind")
    return kind.default if kind is not None else None


def _copy(values: Any) -> Any:
    return (
        {key: _copy(value) for key, value in values.items()} if isinstance(values, dict) else values
    )


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]

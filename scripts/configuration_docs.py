"""Writes docs/configuration.md from the pydantic models, so that the page cannot go stale.

python scripts/configuration_docs.py            write the page
python scripts/configuration_docs.py --check    exit 1 when the page differs
"""

from __future__ import annotations

import argparse
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import yaml

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

_INTRO = """\
# Configuration

<!-- Written by scripts/configuration_docs.py. Do not edit: change the models and run it again. -->

A run is one YAML file. `edgekd init FOLDER` writes a short one, `edgekd validate FILE` checks it,
and `--set a.b=c` on the command line goes over it, as in `--set distill.steps=500`. A key that is
not here is refused, and all faults are listed at once. The run folder keeps the resolved config
as `config.yaml`.

Paths are relative to where the command is called; `data.labels` is relative to `data.folder`.
Every key has a default but `data.folder`.
"""

# What keys mean whose field carries no description of its own.
_MEANINGS = {
    "name": "name of the run; letters, digits, `_`, `.`, `-`",
    "seed": "of splits, sentences, weights and augmentation",
    "data.licence": "of the images; goes into model card and bundle",
    "data.on_bad_image": "what to do with a file that cannot be read",
    "caption.teacher.kind": "which kind of teacher",
    "caption.captions_per_image": "sentences sampled for every image",
    "targets.evidence": "what the soft targets are made of",
    "distill.arch": "student network; see `edgekd list students`",
    "distill.batch_size": "images in an optimizer step",
    "distill.weight_decay": "of AdamW, on weights but not on norms and biases",
    "distill.kd_weight": "of the loss on soft targets; the baseline has 0",
    "distill.kd_temperature": "softens targets and student alike in that loss",
    "distill.label_smoothing": "in the cross-entropy on given labels",
    "baseline.enabled": "false: no labels-alone baseline, and no gain in the report",
    "prune.enabled": "false: only the unpruned student is exported",
    "prune.recovery_steps": "optimizer steps after the cut",
    "prune.recovery_lr": "peak learning rate of these steps",
    "export.formats": "files made of the students; baseline and teacher are .tflite only",
    "export.precisions": "of the students' files; int8 is made from the fp32 file",
    "choose.format": "preferred format; any where there is no such file",
    "choose.precision": "preferred precision; any where there is no such file",
    "bench.enabled": "false: no latencies in the report",
    "bench.threads": "of the runtime",
    "report.currency": "of that price",
}

_BOUNDS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "below {}"),
    ("multipleOf", "a multiple of {}"),
)


def main(argv: list[str] | None = None) -> int:
    """Writes or checks the page; returns the exit code."""
    from edgekd.run_config import RunConfig

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 when the page differs")
    check = parser.parse_args(argv).check
    wanted = page(RunConfig)
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")
        print(f"{PAGE.name}: written")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == wanted:
        return 0
    print(
        f"docs/{PAGE.name}: differs from the models. Run: python scripts/configuration_docs.py",
        file=sys.stderr,
    )
    return 1


def page(model: type[pydantic.BaseModel]) -> str:
    """Returns the whole page for a config model.

    Raises:
        ValueError: a key without a meaning, or a meaning for a key that is not there.
    """
    missing = [key for key, field in keys(model) if not meaning(key, field)]
    idle = sorted(set(_MEANINGS) - {key for key, field in keys(model) if not field.description})
    if missing or idle:
        raise ValueError(
            f"keys without a meaning: {missing}; meanings without need: {idle}. "
            "Describe the field in its model, or else in scripts/configuration_docs.py"
        )
    return _INTRO + "".join(_section(model, "", "The run"))


def keys(
    model: type[pydantic.BaseModel], prefix: str = ""
) -> Iterator[tuple[str, pydantic.fields.FieldInfo]]:
    """Yields (dotted key, field) of every value of a config, sections left out; a list of sections
    is a value and, under `key[]`, its parts."""
    for name, field in model.model_fields.items():
        if not sections(field.annotation) or _is_list(field):
            yield prefix + name, field
        for section in _described_here(model, field):
            yield from keys(section, _inside(prefix, name, field))


def sections(annotation: Any) -> list[type[pydantic.BaseModel]]:
    """Returns the config models in a type: one for a section, several for a union of kinds."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in sections(part)]


def meaning(key: str, field: pydantic.fields.FieldInfo) -> str:
    """Returns what a key means, from its field or else from this file; empty when neither says."""
    return field.description or _MEANINGS.get(key, "")


def allowed(schema: dict[str, Any]) -> str:
    """Returns the values a JSON schema lets through, in words: "at least 0, at most 1"."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if options:
        words = " or ".join(allowed(option) for option in options)
        return words + (", or null" if len(options) < len(schema["anyOf"]) else "")
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum") or [schema["const"]])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            parts = schema["prefixItems"]
            return f"{len(parts)} times: {allowed(parts[0])}"
        inside = allowed(schema["items"])
        listed = f"list of: {inside}" if "enum" in schema["items"] else f"list ({inside})"
        return listed + (", not empty" if schema.get("minItems") else "")
    if schema.get("type") == "object":
        return f"key: {allowed(schema['additionalProperties'])}"
    kind = {"boolean": "`true`, `false`", "string": "text", "number": "number"}
    word = "path" if schema.get("format") == "path" else kind.get(schema["type"], schema["type"])
    bounds = [text.format(schema[name]) for name, text in _BOUNDS if name in schema]
    return ", ".join([word, *bounds])


def _section(model: type[pydantic.BaseModel], prefix: str, title: str) -> Iterator[str]:
    """The heading, sentence and table of a section, then its inner sections."""
    schemas = model.model_json_schema()["properties"]
    yield f"\n## {title}\n\n{_sentence(model)}\n\n| key | default | values | meaning |\n|---|---|---|---|\n"
    for name, field in model.model_fields.items():
        inner = sections(field.annotation)
        if inner and not _is_list(field):
            continue
        values = _listed(model, field, schemas[name]) if inner else allowed(schemas[name])
        default = _default_list(field) if inner else _default(field)
        yield _row(f"`{prefix}{name}`", default, values, meaning(prefix + name, field))
    for name, field in model.model_fields.items():
        described = _described_here(model, field)
        for section in described:
            inside = _inside(prefix, name, field)
            kind = f", kind: {section.model_fields['kind'].default}" if len(described) > 1 else ""
            yield from _section(section, inside, f"`{inside[:-1]}`{kind}")


def _described_here(
    model: type[pydantic.BaseModel], field: pydantic.fields.FieldInfo
) -> list[type[pydantic.BaseModel]]:
    """The sections of a field; none for a list of kinds that another field has one of."""
    return [] if _twin(model, field) else sections(field.annotation)


def _twin(model: type[pydantic.BaseModel], field: pydantic.fields.FieldInfo) -> str:
    """The name of the field that a list of kinds is a list of, or an empty string."""
    inner = sections(field.annotation)
    others = {
        name: sections(other.annotation)
        for name, other in model.model_fields.items()
        if not _is_list(other)
    }
    same = [name for name, found in others.items() if found == inner]
    return same[0] if _is_list(field) and len(inner) > 1 and same else ""


def _listed(
    model: type[pydantic.BaseModel], field: pydantic.fields.FieldInfo, schema: dict[str, Any]
) -> str:
    twin = _twin(model, field)
    what = f"list of sections like `{twin}`" if twin else "list of what is below"
    return what + (", not empty" if schema.get("minItems") else "")


def _default_list(field: pydantic.fields.FieldInfo) -> str:
    return "one with the defaults below" if field.default else "`[]`"


def _is_list(field: pydantic.fields.FieldInfo) -> bool:
    return typing.get_origin(field.annotation) is list


def _inside(prefix: str, name: str, field: pydantic.fields.FieldInfo) -> str:
    """The prefix of the keys inside a section: "a.b." or, in a list of sections, "a.b[]."."""
    return f"{prefix}{name}[]." if _is_list(field) else f"{prefix}{name}."


def _sentence(model: type[pydantic.BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _default(field: pydantic.fields.FieldInfo) -> str:
    if field.is_required():
        return "none: must be given"
    value = field.get_default(call_default_factory=True, validated_data={})
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).split("\n")[0]
    return f"`{text}`"


def _row(*cells: str) -> str:
    escaped = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return "| " + " | ".join(escaped) + " |\n"


if __name__ == "__main__":
    sys.exit(main())

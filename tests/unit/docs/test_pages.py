"""What the pages say of commands, keys, stages and exit codes is what the code has."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import typing
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
import yaml
from PIL import Image

from edgekd import config as configs
from edgekd import errors, pipeline, preprocess, runtimes
from edgekd.cli import app
from edgekd.records import Preprocess
from tests.unit.tiny_models import tiny_tflite

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.name for page in PAGES]
_FILES = (".html", ".json", ".md", ".npz", ".parquet", ".py", ".yaml")


def _text(name: str) -> str:
    return next(page for page in PAGES if page.name == name).read_text(encoding="utf-8")


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _spans(text: str) -> list[str]:
    without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", without_blocks)


def _calls(text: str) -> Iterator[list[str]]:
    """The words of every `edgekd ...` in a shell block or between backticks."""
    lines = [line for block in _blocks(text, "sh") for line in block.splitlines()]
    for line in lines + _spans(text):
        words = shlex.split(line, comments=True)
        if words[:1] == ["edgekd"] and len(words) > 1:
            yield words[1:]


def _commands() -> dict[str, Any]:
    """Every command by its words: "run", "bundle show"."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}": c for sub, c in inner.items()} if inner else {name: command}
    return found


def _keys(model: Any, prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for section in _sections(field.annotation):
            yield from _keys(section, f"{prefix}{name}.")


def _sections(annotation: Any) -> list[Any]:
    """The models in a type, several in a union of kinds."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [section for part in typing.get_args(annotation) for section in _sections(part)]


def test_the_readme_names_every_command() -> None:
    listed = re.findall(r"^\| `edgekd ([a-z-]+(?: [a-z]+)?)", _text("README.md"), re.MULTILINE)
    assert sorted(listed) == sorted(_commands())


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_option_on_a_page_exists(name: str) -> None:
    commands = _commands()
    for words in _calls(_text(name)):
        if words[0].startswith("-"):
            assert words == ["--help"]
            continue
        called = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
        assert called in commands, words
        known = {option for parameter in commands[called].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known | {"--help"}, words


def test_the_pages_do_call_edgekd() -> None:
    """The test above would pass on pages it cannot read."""
    called = {words[0] for name in NAMES for words in _calls(_text(name))}
    assert {"init", "validate", "run", "check", "predict", "bundle", "clean", "list"} <= called


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = next(page for page in PAGES if page.name == name)
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("name", NAMES)
def test_every_config_key_on_a_page_exists(name: str) -> None:
    sections = [
        key for key in pipeline.RunConfig.model_fields if key not in ("name", "out", "seed")
    ]
    known = set(_keys(pipeline.RunConfig))
    pattern = re.compile(rf"(?:{'|'.join(sections)})\.[a-z_.]+(?=$|[=:\[ ])")
    for span in _spans(_text(name)):
        found = pattern.match(span.removeprefix("--set "))
        if found and not found.group().endswith(_FILES):
            assert found.group() in known, span


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_on_a_page_is_a_config(name: str) -> None:
    for block in _blocks(_text(name), "yaml"):
        values = {"data": {"folder": "photos"}} | yaml.safe_load(block)
        configs.parse(pipeline.RunConfig, values)


def test_the_architecture_page_lists_the_stages_in_order() -> None:
    table = _text("architecture.md").split("| stage |")[1].split("\n\n")[0]
    listed = re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE)
    assert listed == [stage.name for stage in pipeline.STAGES]


def test_the_picture_names_every_stage_and_package() -> None:
    picture = ET.parse(ROOT / "docs" / "architecture.svg")
    said = " ".join(picture.getroot().itertext())
    packages = ["captioning", "students", "export", "devices", "edgekd.pipeline"]
    for word in [*(stage.name for stage in pipeline.STAGES), *packages]:
        assert re.search(rf"\b{re.escape(word)}\b", said), word


def test_the_readme_lists_the_exit_codes() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", _text("README.md"), re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert listed == {0} | {
        kind.exit_code for kind in kinds if issubclass(kind, errors.EdgeKDError)
    }


def test_the_program_of_the_quick_start_runs_in_a_bundle(tmp_path: Path) -> None:
    """The model sums each colour over 2 x 2 pixels; a mostly green image is green."""
    weights = np.tile(np.eye(3), (1, 4))
    model = tiny_tflite(tmp_path / "model.tflite", weights, np.zeros(3), (1, 2, 2, 3))
    runner = runtimes.load(model)
    settings = preprocess.to_json(Preprocess(2, 2), runner.inputs[0], runner.outputs[0])
    (tmp_path / "preprocess.json").write_text(json.dumps(settings))
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    Image.new("RGB", (4, 6), (90, 200, 110)).save(tmp_path / "test_image.png")
    (program,) = [b for b in _blocks(_text("quickstart.md"), "python") if "Interpreter" in b]
    assert len(program.strip().splitlines()) <= 20
    done = subprocess.run(
        [sys.executable, "-c", program, "test_image.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "green\n", done.stderr

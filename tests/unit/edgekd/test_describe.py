"""`edgekd describe` asks a server for what the file does not say yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from edgekd.cli import app
from edgekd.errors import UsageError
from tests.unit.chat_server import ChatServer, answer


@pytest.fixture
def config(server: ChatServer, tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(3):
            Image.new("RGB", (8, 8), (n, len(name), ord(name[0]))).save(
                tmp_path / "photos" / name / f"{n}.png"
            )
    path = tmp_path / "c.yaml"
    model = {"kind": "openai", "base_url": server.url, "model": "m"}
    values = {"data": {"folder": str(tmp_path / "photos")}, "caption": {"text_model": model}}
    path.write_text(yaml.safe_dump(values))
    return path


def test_classes_are_described_into_a_file_once(
    server: ChatServer, config: Path, tmp_path: Path
) -> None:
    server.always(answer("- whiskers\n- a long tail"))
    looks = tmp_path / "looks.yaml"
    words = ["describe", str(config), "--out", str(looks), "--json"]
    done = CliRunner().invoke(app, words)
    assert json.loads(done.stdout) == {
        "file": str(looks), "texts": {"cat": 2, "dog": 2}, "failed": {},
    }  # fmt: skip
    assert yaml.safe_load(looks.read_text())["descriptions"]["dog"] == ["whiskers", "a long tail"]
    num_asked = len(server.seen)
    CliRunner().invoke(app, words)
    assert len(server.seen) == num_asked


def test_what_is_missing_is_named(config: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["describe", str(config)])
    assert isinstance(found.exception, UsageError)
    assert str(found.exception).startswith("describe: needs --out FILE;")
    values = yaml.safe_load(config.read_text())
    del values["caption"]
    config.write_text(yaml.safe_dump(values))
    found = CliRunner().invoke(app, ["describe", str(config), "--out", str(tmp_path / "l.yaml")])
    assert str(found.exception).startswith("describe: needs caption.text_model in the config;")

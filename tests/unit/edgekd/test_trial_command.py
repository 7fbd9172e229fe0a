"""`edgekd caption --trial`: nine images, a page, and nothing of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from edgekd.cli import app
from edgekd.errors import DataError
from tests.unit.chat_server import ChatServer, answer


@pytest.fixture
def config(tmp_path: Path, server: ChatServer) -> Path:
    """20 images of two classes, 12 of them to train, and a server that is paid for its answers."""
    server.always(answer("A photo of a small black cat."))
    for name, shade in (("cat", 0), ("dog", 200)):
        for split, count in (("train", 6), ("test", 4)):
            for index in range(count):
                path = tmp_path / "images" / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                colour = (shade, 20 * index, 0 if split == "train" else 255)
                Image.new("RGB", (8, 8), colour).save(path)
    prices = {"price_in": 1e6, "price_out": 2e6, "max_cost": 100.0}  # 1 and 2 a token
    teacher = {"kind": "openai", "base_url": server.url, "model": "m", **prices}
    caption = {"teacher": teacher | {"image_tokens": 0}, "captions_per_image": 1}
    values = {"data": {"folder": str(tmp_path / "images")}, "out": str(tmp_path / "run")}
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(values | {"caption": caption}))
    return path


def text(config: Path, *words: str | Path) -> str:
    done = CliRunner().invoke(app, ["caption", str(config), "--trial", *map(str, words)])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def run(config: Path, *words: str | Path) -> Any:
    return json.loads(text(config, "--json", *words))


def test_nine_images_say_what_all_of_them_take(config: Path, server: ChatServer) -> None:
    values = run(config, "--set", "caption.teacher.max_cost=10000")
    assert len(server.seen) == 9
    assert [len(image["captions"]) for image in values["images"]] == [1] * 9
    assert all(image["path"].startswith("train/") for image in values["images"])
    whole = values["whole"]
    # 20 + 5 tokens an answer; 20 * 1 + 5 * 2 = 30 an image.
    assert [whole["num_images"], whole["num_captions"]] == [20, 20]
    assert [whole["num_tokens"], whole["cost"]] == [500, 600.0]
    assert whole["seconds"] == pytest.approx(20 * values["seconds_per_image"])
    assert values["seconds_per_image"] > 0


def test_nothing_of_the_run_is_touched_but_the_page(config: Path, tmp_path: Path) -> None:
    values = run(config, "--set", "caption.teacher.max_cost=10000")
    folder = tmp_path / "run"
    assert [path.name for path in folder.iterdir()] == ["trial.html"]
    assert values["page"] == str(folder / "trial.html")
    elsewhere = tmp_path / "elsewhere.html"
    run(config, "--set", "caption.teacher.max_cost=10000", "--page", elsewhere)
    page = elsewhere.read_text(encoding="utf-8")
    assert page.count('class="shot"') == 9
    assert "The spending limit" not in page  # 10,000 is enough for 600


def test_the_limit_that_would_stop_the_whole_is_said(config: Path, tmp_path: Path) -> None:
    run(config, "--set", "caption.teacher.max_cost=500", "--set", "caption.teacher.max_tokens=5")
    page = (tmp_path / "run" / "trial.html").read_text(encoding="utf-8")
    assert "The spending limit of 500.00 USD would stop it after about 17 captions" in page


def test_the_terminal_gets_the_same_in_short(config: Path) -> None:
    lines = text(config, "--set", "caption.teacher.max_cost=10000").splitlines()
    assert "  A photo of a small black cat." in lines or "  1 caption dropped" in lines
    assert lines[-2].startswith("Everything: 20 captions of 20 images, about ")
    assert "500 tokens, 600 USD" in lines[-2]
    assert lines[-1].endswith("trial.html")


def test_without_training_images_there_is_nothing_to_try(config: Path, tmp_path: Path) -> None:
    import shutil

    shutil.rmtree(tmp_path / "images" / "train")
    with pytest.raises(DataError, match="no training image"):
        text(config)

"""A vision server as a teacher: captions, the journal of what was paid for, limits that stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from captioning.teachers.configs import VisionServerConfig
from captioning.teachers.protocol import Brief
from captioning.teachers.server_teacher import ServerTeacher
from edgekd.errors import TeacherError
from edgekd.manifest import Manifest
from edgekd.records import Item, TaskSpec
from tests.unit import chat_server
from tests.unit.chat_server import ChatServer, answer

TASK = TaskSpec("test", ("electric_guitar", "dog"))
ITEMS = [Item(f"id{n}", f"{n}.png", "train") for n in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n, item in enumerate(ITEMS):
        Image.new("RGB", (8, 8), (n, 0, 0)).save(tmp_path / item.path)
    return tmp_path


def teacher(server: ChatServer, folder: Path, **settings: Any) -> ServerTeacher:
    values = {"prompts": ["what", "which of {classes}"], "concurrency": 2} | settings
    config = VisionServerConfig(base_url=server.url, model="m", **values)
    return ServerTeacher(config, Brief(TASK, 2, (0.5, 1.0), 0, folder / "notes", None, folder))


def look(asked: ServerTeacher, items: list[Item] = ITEMS) -> dict[tuple[str, int], Any]:
    images = [Image.new("RGB", (8, 8)) for _ in items]
    return {(c.item_id, c.index): c for c in asked.look(items, images).captions}


def test_every_image_is_asked_by_prompt_and_temperature_in_turn(
    server: ChatServer, folder: Path
) -> None:
    server.on("what", answer("A  red\nball."))
    said = look(teacher(server, folder))
    assert len(said) == len(server.seen) == 6
    first, second = said["id1", 0], said["id1", 1]
    assert (first.text, first.temperature, first.teacher) == ("A red ball.", 0.5, "openai/m")
    assert second.text == "says which of electric guitar, dog"
    assert (second.temperature, second.template) == (1.0, "prompt 1")
    assert first.seed != second.seed


def test_what_was_paid_for_is_not_asked_again(server: ChatServer, folder: Path) -> None:
    said = look(teacher(server, folder), ITEMS[:2])
    with next(folder.glob("notes/*.jsonl")).open("a") as journal:
        journal.write('{"item": "id2", "ind')  # the process was killed here
    again = teacher(server, folder)
    assert look(again, ITEMS[:2]) == said
    assert len(server.seen) == 4
    assert set(look(again)) == {(item.id, index) for item in ITEMS for index in (0, 1)}
    assert len(server.seen) == 6
    assert len(look(teacher(server, folder))) == 6  # the cut line spoiled none that followed
    assert len(server.seen) == 6


def test_a_limit_stops_with_what_is_kept_and_a_higher_one_goes_on(
    server: ChatServer, folder: Path
) -> None:
    limits = {"max_tokens": 5, "image_tokens": 0, "price_in": 1e6, "price_out": 1e6}
    poor = teacher(server, folder, max_cost=120.0, **limits)
    with pytest.raises(TeacherError, match=r"openai/m: not asked: .*max_cost.*are kept"):
        look(poor)
    num_paid = len(server.seen)
    assert 0 < num_paid < 6
    rich = teacher(server, folder, max_cost=1e6, **limits)
    assert rich.settings == poor.settings
    assert len(look(rich)) == len(server.seen) == 6
    observed = {"answered": rich.look(ITEMS, []).arrays["answered"]}
    summary = rich.conclude(Manifest(TASK, ITEMS), observed).summary
    assert summary["usage"]["tokens_in"] == 6 * 20
    assert summary["usage"]["cost"] == pytest.approx(6 * 25)


def test_refusals_are_counted_and_their_images_stay_silent(
    server: ChatServer, folder: Path
) -> None:
    server.always(answer("I'm sorry, but I can't help with that."))
    refused = teacher(server, folder)
    seen = refused.look(ITEMS, [])
    assert seen.captions == ()
    assert seen.arrays["answered"].tolist() == [0, 0, 0]
    conclusion = refused.conclude(Manifest(TASK, ITEMS), seen.arrays)
    assert conclusion.logits_NK is None
    assert conclusion.summary["head"] == {"captions": "0 usable, 3 images without"}
    assert conclusion.summary["usage"]["reasons"] == {"refused": 6}


def test_a_server_that_is_no_use_stops_the_run(server: ChatServer, folder: Path) -> None:
    server.always(chat_server.status(401))
    with pytest.raises(TeacherError, match=r"not asked: .*401"):
        look(teacher(server, folder))


def test_settings_are_what_answers_depend_on(server: ChatServer, folder: Path) -> None:
    plain = teacher(server, folder).settings
    assert teacher(server, folder, concurrency=7, request_timeout_s=1).settings == plain
    assert teacher(server, folder, prompts=["other"]).settings != plain
    assert teacher(server, folder, max_tokens=7).settings != plain

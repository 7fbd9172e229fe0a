"""`edgekd prompts show`: its values and its text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captioning.templates.showing import shown, text
from edgekd.errors import ConfigError, UsageError


def test_all_definitions() -> None:
    values = shown(None)
    names = [row["name"] for row in values["definitions"]]
    assert names == ["classification", "composed", "generation", "retrieval"]
    assert [line.split()[0] for line in text(values).splitlines()] == names
    german = shown(None, "de")["definitions"]
    assert [row["name"] for row in german] == ["classification"]


def test_one_definition_with_nothing_set() -> None:
    values = shown("classification", "en")
    english = values["languages"]["en"]
    assert english["input"] == "a picture containing [object]"
    assert english["output"] == "a sentence with the [attributes] of [object]"
    by_id = {row["id"]: row for row in english["templates"]}
    assert by_id["photo"]["filled"] == "a photo of a [object]"
    assert by_id["photo"]["text"] == "a photo of a {{ object }}"
    assert by_id["choice"]["variables"] == ["attributes", "classes"]
    assert list(values["languages"]) == ["en"]
    json.dumps(values)


@pytest.mark.parametrize("setting", ["attributes=[colour, shape]", "attributes=colour, shape"])
def test_values_that_are_set(setting: str) -> None:
    values = shown("classification", "zh", ["object=猫", setting])
    chinese = values["languages"]["zh"]
    assert chinese["output"] == "一句描述猫的颜色和形状的话"
    assert chinese["read_by_text_encoder"] is False
    row = next(row for row in chinese["templates"] if row["id"] == "zh.photo")
    assert (row["filled"], row["translation"]) == ("一张猫的照片", "photo")
    lines = text(values).splitlines()
    at = lines.index(
        "  zh.photo (class_text: what an image or a caption is compared with; in English: photo)"
    )
    assert lines[at + 1] == "    一张猫的照片"
    assert "  input: 一张包含猫的图片" in lines


def test_a_file_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "task: generation\nabout: Mine.\n"
        "variables: {object: {meaning: it, example: cat}}\n"
        "languages:\n  en:\n    input: a {{ object }}\n    output: text\n"
        "    templates: [{name: one, role: prompt, text: 'See the {{ object }}.'}]\n"
    )
    values = shown(str(path), None, ["object=egg"])
    assert values["languages"]["en"]["input"] == "an egg"
    assert values["languages"]["en"]["templates"][0]["filled"] == "See the egg."
    path.write_text(path.read_text().replace("See the {{ object", "See the {{ objet"))
    with pytest.raises(ConfigError, match="line 8: template 'one' \\(en\\): unknown variable"):
        shown(str(path))


@pytest.mark.parametrize(
    ("name", "language", "settings", "says"),
    [
        ("clasification", None, [], "Closest: 'classification'."),
        (
            "classification",
            "zz",
            [],
            "classification: no templates in 'zz'. There are: de, en, zh.",
        ),
        (None, "zz", [], "prompts: no templates in 'zz'. There are: de, en, zh."),
        ("classification", None, ["objct=cat"], "unknown variable 'objct'"),
        ("classification", None, ["object"], "--set object: expected NAME=VALUE"),
        ("classification", None, ["attributes=[a, "], "is not readable as a list"),
    ],
)
def test_what_is_refused(
    name: str | None, language: str | None, settings: list[str], says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        shown(name, language, settings)
    assert says in str(caught.value)

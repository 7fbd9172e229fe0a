"""Task definitions from YAML: what is read, and every fault with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from captioning.attributes import ATTRIBUTES
from captioning.templates.definitions import READ_BY_ENCODER, ROLES, check_task
from captioning.templates.files import find, load, packaged
from edgekd.errors import ConfigError, UsageError
from edgekd.records import TaskSpec

GOOD = """\
schema: 1
task: classification
about: Signs of a disease in, what it may be out.
variables:
  object: {meaning: the plant, example: tomato}
  symptoms: {kind: list, meaning: what is seen, example: [spots, wilting]}
  season: {meaning: when, example: spring, default: any season}
languages:
  en:
    input: a picture containing {{ object }}
    output: a sentence with the {{ symptoms | listed }} of {{ object }}
    templates:
      - name: signs
        role: prompt
        text: |
          A {{ object }} in {{ season }}.
          It shows {{ symptoms | listed }}.
  fr:
    input: une image de {{ object }}
    output: une phrase sur {{ object }}
    words: {colour: couleur}
    templates:
      - {name: signes, role: prompt, text: "Voici : {{ object }}", translation: signs}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "plants.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text))
    return caught.value.faults


def test_what_a_file_says(tmp_path: Path) -> None:
    definition = load(write(tmp_path, GOOD))
    assert (definition.name, definition.task) == ("plants", "classification")
    assert definition.languages == ("en", "fr")
    assert definition.variables["symptoms"].example == ("spots", "wilting")
    assert definition.variables["season"].default == "any season"
    assert definition.input["en"] == "a picture containing {{ object }}"
    assert [template.id for template in definition.templates] == ["signs", "fr.signes"]
    french = definition.template("fr.signes")
    assert (french.translation, french.words["colour"]) == ("signs", "couleur")
    assert definition.of("prompt", "fr") == (french,)
    assert definition.of("query") == ()


@pytest.mark.parametrize("name", packaged())
def test_the_packaged_ones(name: str) -> None:
    definition = find(name)
    assert set(definition.languages) >= {"en", "zh"}
    for template in definition.templates:
        if template.language not in READ_BY_ENCODER:
            assert definition.template(str(template.translation)).language in READ_BY_ENCODER
    by_language = {
        code: [(t.name, t.role) for t in definition.templates if t.language == code]
        for code in definition.languages
    }
    assert all(found == by_language["en"] for found in by_language.values())
    check_task(definition, TaskSpec("test", ("cat", "dog"), task=definition.task))


def test_the_packaged_ones_serve_every_task_and_role() -> None:
    found = [find(name) for name in packaged()]
    assert {definition.task for definition in found} == {
        "classification",
        "generation",
        "retrieval",
    }
    assert {t.role for definition in found for t in definition.templates} == set(ROLES)


def test_faults_carry_the_line_of_the_file(tmp_path: Path) -> None:
    """Lines counted by hand in GOOD: its block of text is on lines 16 and 17."""
    found = faults_of(
        tmp_path,
        GOOD.replace("shows {{ symptoms", "shows {{ symptms")
        .replace("Voici : {{ object }}", "{{ object.x }}")
        .replace("une image de {{ object }}", "une image de {{ objet }}"),
    )
    assert found == [
        "line 19: input (fr): unknown variable 'objet'. There are: object, season, symptoms. "
        "Closest: 'object'.",
        "line 17: template 'signs' (en): unknown variable 'symptms'. "
        "There are: object, season, symptoms. Closest: 'symptoms'.",
        "line 23: template 'signes' (fr): attribute access ('.x') is not allowed. Allowed are "
        "variables, if, for over a list, and the filters capitalize, first, join, last, length, "
        "listed, lower, title, trim, upper",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (", translation: signs", "",
         "template 'signes' (fr): no translation, and the text encoder reads en only. "
         "Name the template that says the same: translation: NAME"),
        ("translation: signs", "translation: sings",
         "template 'signes' (fr): translation 'sings' is no template in en. Closest: 'signs'."),
        ("name: signes, role: prompt", "name: signes, role: query",
         "template 'signes' (fr): a query, and its translation 'signs' is a prompt"),
        ("  fr:\n", "  fr2:\n    input: x\n    output: y\n    templates: []\n  fr:\n",
         "languages.fr2.templates: list should have at least 1 item after validation, not 0, "
         "found []"),
        ("role: prompt\n", "role: promt\n",
         "languages.en.templates.0.role: unknown 'promt', expected 'prompt', 'sentence', "
         "'class_text' or 'query'. Closest: 'prompt'."),
        ("name: signs\n", "nme: signs\n", "languages.en.templates.0.nme: unknown key."),
        ("task: classification", "task: clasification",
         "task: unknown 'clasification', expected 'classification', 'generation' or 'retrieval'. "
         "Closest: 'classification'."),
        ("example: [spots, wilting]", "example: spots",
         "variables.symptoms: example is a text, and kind is list"),
        ("schema: 1", "schema: 2", "schema: found 2, this edgekd reads schema 1."),
    ],
)  # fmt: skip
def test_faults_of_structure(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in GOOD
    found = faults_of(tmp_path, GOOD.replace(old, new))
    assert any(line.startswith(fault) for line in found), found


def test_a_name_twice(tmp_path: Path) -> None:
    again = "      - {name: signs, role: prompt, text: Again}\n  fr:\n"
    assert faults_of(tmp_path, GOOD.replace("  fr:\n", again)) == [
        "template 'signs': there twice. Rename one"
    ]


def test_a_variable_that_the_task_cannot_fill(tmp_path: Path) -> None:
    definition = load(write(tmp_path, GOOD))
    task = TaskSpec("plants", ("tomato", "potato"))
    check_task(definition, task, own=["symptoms"])
    with pytest.raises(ConfigError) as caught:
        check_task(definition, task)
    (fault,) = caught.value.faults
    there = sorted({"object", "attributes", "classes", "description", "second", *ATTRIBUTES})
    assert fault == (
        "variable 'symptoms' (signs): nothing fills it in. A classification task gives "
        f"{', '.join(there)}. Or give it a default"
    )


def test_a_definition_of_another_task() -> None:
    task = TaskSpec("photos", ("cat",), task="retrieval")
    with pytest.raises(ConfigError, match="made for generation, and task 'photos' is retrieval"):
        check_task(find("generation"), task)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("clasification", "no definition 'clasification' and no such file. There are: "
         "classification, composed, generation, retrieval. Closest: 'classification'."),
        ("none.yaml", "no definition 'none.yaml' and no such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_found(name: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(name)
    assert says in str(caught.value)


def test_an_unknown_template() -> None:
    with pytest.raises(UsageError) as caught:
        find("composed").template("zh.plan")
    assert str(caught.value) == (
        "composed: no template 'zh.plan'. Closest: 'zh.plain'. See: edgekd prompts show composed"
    )

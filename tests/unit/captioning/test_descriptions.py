"""Descriptions of classes: asked for, kept in a file that people edit, gone on with after a stop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from captioning import descriptions
from captioning.descriptions import Descriptions, describe, load, save
from captioning.teachers.chat_format import Answer
from edgekd.errors import DataError, SchemaError, UsageError

TODAY = datetime.now(UTC).date().isoformat()


@dataclass
class Scripted:
    """A model that says what `say` returns for a prompt; records what it was asked."""

    say: Callable[[str], Answer]
    stop_after: int | None = None
    prompts: list[str] = field(default_factory=list)

    @property
    def origin(self) -> dict[str, str]:
        return {"model": "scripted"}

    def answers(
        self, prompts: Sequence[str], temperature: float, seed: int
    ) -> Iterator[tuple[int, Answer]]:
        for index, prompt in enumerate(prompts):
            if self.stop_after is not None and len(self.prompts) == self.stop_after:
                raise KeyboardInterrupt
            self.prompts.append(prompt)
            yield index, self.say(prompt)


def of_name(prompt: str) -> Answer:
    """Two items of the kind that was asked for, about the name in quotes."""
    name = re.search('"(.*?)"', prompt)[1]  # type: ignore[index]
    kind = "part" if "apart" in prompt else "look"
    return Answer(f"1. {kind} one of {name}\n2. {kind} two of {name}")


def test_asked_for_and_written(tmp_path: Path) -> None:
    path, model = tmp_path / "words.yaml", Scripted(of_name)
    described = describe(["cat", "electric_guitar"], model, path, most=3, seed=7)
    assert described.failed == {}
    # From the two answers in turn, three at most.
    assert described.descriptions.texts == {
        "cat": ("part one of cat", "look one of cat", "part two of cat"),
        "electric_guitar": (
            "part one of electric guitar", "look one of electric guitar",
            "part two of electric guitar",
        ),
    }  # fmt: skip
    assert described.descriptions.made_by == (
        {
            "model": "scripted", "temperature": 0.7, "seed": 7,
            "prompts": list(descriptions.PROMPTS), "date": TODAY,
            "classes": ["cat", "electric_guitar"],
        },
    )  # fmt: skip
    assert load(path) == described.descriptions
    assert "List 3 visual features" in model.prompts[0]
    assert "these classes: cat, electric guitar," in model.prompts[0]
    assert "these classes: electric guitar, cat," in model.prompts[2]


def test_the_file_reads_as_a_person_would_write_it(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    save(Descriptions({"猫": ("尖耳朵", "fur: soft"), "no": ("yes",)}), path)
    assert path.read_text(encoding="utf-8").splitlines()[2:] == [
        "schema: 1",
        "descriptions:",
        "  猫:",
        "  - 尖耳朵",
        "  - 'fur: soft'",
        "  'no':",
        "  - 'yes'",
        "made_by: []",
    ]


def test_what_a_person_changed_stays_and_what_is_missing_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    describe(["cat", "dog"], Scripted(of_name), path)
    values = yaml.safe_load(path.read_text())
    values["descriptions"]["cat"] = ["my own words"]
    del values["descriptions"]["dog"]
    path.write_text(yaml.safe_dump(values))
    model = Scripted(lambda prompt: Answer("- new"))
    again = describe(["cat", "dog", "emu"], model, path, seed=1).descriptions
    assert again.texts == {"cat": ("my own words",), "dog": ("new",), "emu": ("new",)}
    assert [entry["classes"] for entry in again.made_by] == [["cat", "dog"], ["dog", "emu"]]
    assert [entry["seed"] for entry in again.made_by] == [0, 1]
    assert len(model.prompts) == 4


def test_nothing_missing_asks_nothing_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("# mine\nschema: 1\ndescriptions: {cat: [furry]}\n")
    model = Scripted(of_name)
    assert describe(["cat"], model, path).descriptions.texts == {"cat": ("furry",)}
    assert model.prompts == []
    assert path.read_text().startswith("# mine")


def test_a_stopped_run_goes_on_class_by_class(tmp_path: Path) -> None:
    path, classes = tmp_path / "words.yaml", [f"class {n}" for n in range(5)]
    whole = describe(classes, Scripted(of_name), tmp_path / "whole.yaml").descriptions
    with pytest.raises(KeyboardInterrupt):
        describe(classes, Scripted(of_name, stop_after=5), path)  # in the middle of the third
    assert list(load(path).texts) == classes[:2]
    model = Scripted(of_name)
    assert describe(classes, model, path).descriptions == whole
    assert len(model.prompts) == 6  # three classes, two prompts each
    assert path.read_text() == (tmp_path / "whole.yaml").read_text()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer("", "refused: I cannot"), "refused: I cannot"),
        (Answer("", "http 500: Oops"), "http 500: Oops"),
        (Answer("", "not asked: max_cost: all spent"), "not asked: max_cost: all spent"),
        (Answer("Here are the features:"), "no list in the answer: Here are the features:"),
        (Answer("1. poin", "truncated: max_tokens"), "truncated: max_tokens"),
    ],
)
def test_a_class_without_an_answer_says_why_and_is_asked_again(
    answer: Answer, reason: str, tmp_path: Path
) -> None:
    def say(prompt: str) -> Answer:
        return answer if 'What does "dog"' in prompt or '"dog" apart' in prompt else of_name(prompt)

    path = tmp_path / "words.yaml"
    described = describe(["cat", "dog", "emu"], Scripted(say), path)
    assert described.failed == {"dog": reason}
    assert list(load(path).texts) == ["cat", "emu"]
    assert describe(["cat", "dog", "emu"], Scripted(of_name), path).failed == {}
    assert set(load(path).texts) == {"cat", "dog", "emu"}


def test_one_good_answer_of_two_is_enough(tmp_path: Path) -> None:
    answers = iter([Answer("", "empty"), Answer("- fur\n- long whi", "truncated: max_tokens")])
    described = describe(["cat"], Scripted(lambda _: next(answers)), tmp_path / "words.yaml")
    assert described.descriptions.texts == {"cat": ("fur",)}
    assert described.failed == {}


def test_answers_that_come_out_of_order(tmp_path: Path) -> None:
    """After a stop a server's answers have gaps: whole classes count, halves do not."""

    class Gaps(Scripted):
        def answers(
            self, prompts: Sequence[str], temperature: float, seed: int
        ) -> Iterator[tuple[int, Answer]]:
            for index in (3, 0, 2):  # of classes 1, 0, 1
                yield index, of_name(prompts[index])

    described = describe(["cat", "dog"], Gaps(of_name), tmp_path / "words.yaml", most=2)
    assert described.descriptions.texts == {"dog": ("part one of dog", "look one of dog")}


def test_what_to_tell_a_class_from(tmp_path: Path) -> None:
    classes = [f"class {n}" for n in range(40)]
    model = Scripted(lambda _: Answer("- fine"))
    describe(
        classes, model, tmp_path / "words.yaml",
        prompts=["{name} of {others}, {count}"], confused_with={"class 1": ["class 7", "class 1"]},
    )  # fmt: skip
    assert model.prompts[1] == "class 1 of class 1, class 7, 10"
    assert model.prompts[0].count("class") == 2 + descriptions.MAX_OTHERS


def test_names_may_hold_anything(tmp_path: Path) -> None:
    model = Scripted(lambda _: Answer("- fine"))
    describe(["a{b}c", "100%", 'the "one"'], model, tmp_path / "words.yaml", prompts=["<{name}>"])
    assert model.prompts == ["<a{b}c>", "<100%>", '<the "one">']
    assert list(load(tmp_path / "words.yaml").texts) == ["a{b}c", "100%", 'the "one"']


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["{name} and {nam}"], "unknown field 'nam', expected one of name, others, count. Closest: 'name'"),
        (["{name.__class__}"], r"unknown field 'name\.__class__'"),
        (["{name} {}"], "unknown field ''"),
        (["{name"], "prompt '{name': expected '}'"),
        (["What is it?"], r"each with \{name\} in it"),
        ([], r"each with \{name\} in it"),
    ],
)  # fmt: skip
def test_prompts_are_checked(prompts: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        describe(["cat"], Scripted(of_name), tmp_path / "words.yaml", prompts=prompts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("descriptions: [", "words.yaml: not readable as YAML"),
        ("", "words.yaml: expected 'schema' and 'descriptions', found nothing"),
        ("- cat", "found a list"),
        ("schema: 1\ncat: [furry]", "unknown key 'cat'. Classes stand under 'descriptions'"),
        ("schema: 1\ndescription: {}", "unknown key 'description'. Closest: 'descriptions'"),
        ("schema: 1\ndescriptions: [cat]", "descriptions: expected classes, found a list"),
        ("schema: 1\ndescriptions: {cat: furry}",
         "descriptions.cat: expected a list of texts, found a text"),
        ("schema: 1\ndescriptions: {cat: }", "expected a list of texts, found nothing"),
        ("schema: 1\ndescriptions: {cat: []}",
         "descriptions.cat: an empty list. Write a line, or take the class out"),
        ("schema: 1\ndescriptions: {cat: [furry, 7]}",
         "descriptions.cat, line 2: expected a text, found 7"),
        ("schema: 1\ndescriptions:\n  cat:\n  - fur: soft",
         "line 1: expected a text, found keys and values. Put a text with a colon in quotes"),
        ("schema: 1\ndescriptions: {cat: ['  ']}", "line 1: expected a text, found an empty text"),
        ("schema: 1\ndescriptions: {no: [negative]}", "descriptions: false is no text"),
        ("schema: 1\ndescriptions: {7: [seven]}", "descriptions: 7 is no text"),
        ("schema: 1\nmade_by: me", "made_by: expected a list of entries, found a text"),
    ],
)  # fmt: skip
def test_faults_in_the_file_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text(text)
    model = Scripted(of_name)
    with pytest.raises(DataError, match=re.escape(message)):
        describe(["cat"], model, path)
    assert model.prompts == []
    assert path.read_text() == text


def test_another_version_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("schema: 2\n")
    with pytest.raises(SchemaError, match="schema 2, this edgekd reads schema 1"):
        load(path)
    with pytest.raises(DataError, match=r"none\.yaml: no such file"):
        load(tmp_path / "none.yaml")


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    describe(
        ["cat", "dog"], Scripted(of_name), tmp_path / "words.yaml",
        progress=lambda done, total, _: told.append((done, total)),
    )  # fmt: skip
    assert told == [(1, 2), (2, 2)]

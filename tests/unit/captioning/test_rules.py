"""The shipped rules are whole; a folder's own replace them file by file; faults are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from captioning import rules
from edgekd.errors import ConfigError, UsageError


def test_the_shipped_rules_can_be_read_and_have_a_digest() -> None:
    read = rules.load_rules()
    assert read.contradictions.groups["colour"].values["red"][0] == "red"
    assert read.limits.language.allowed == ["en"]
    assert read.sha256 == rules.rules_sha256()
    assert len(read.sha256) == 64


def test_a_folder_replaces_what_it_holds_and_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "refusals.yaml").write_text("refusals: [nope]\nboilerplate: []\n")
    read = rules.load_rules(tmp_path)
    assert read.refusals.refused.match("Nope, no caption.")
    assert not read.refusals.refused.match("I am sorry, I cannot.")
    assert read.contradictions == rules.load_rules().contradictions
    assert read.sha256 != rules.rules_sha256()


def test_a_list_without_patterns_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "refusals.yaml").write_text("refusals: []\nboilerplate: []\n")
    read = rules.load_rules(tmp_path).refusals
    assert read.refused.match("A cat.") is None
    assert read.filler.search("A cat.") is None


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rules: no folder '.*none'\. Expected one with"):
        rules.load_rules(tmp_path / "none")


def test_a_file_that_no_rule_reads(tmp_path: Path) -> None:
    (tmp_path / "colours.yaml").write_text("a: 1\n")
    with pytest.raises(UsageError, match=r"no rule reads 'colours\.yaml'\. Expected contradic"):
        rules.load_rules(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("refusals", "boilerplate:", "boilerplates:", "boilerplates: unknown key"),
        ("limits", "min_words: 2", "min_words: -1", "length.min_words: input should be"),
        ("limits", "allowed: [en]", "allowed: [xx]", r"allowed names \['xx'\], which candidates"),
        ("limits", "max_words: 80", "max_words: 1", "min_words 2 is more than max_words 1"),
        ("privacy", r"'(?i)\bhttps?", r"'(?i)(\bhttps?", "is no regular expression"),
        ("contradictions", "scope: scene", "scope: sky", "unknown 'sky', expected 'object'"),
    ],
)
def test_faults_are_named(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    path = tmp_path / f"{name}.yaml"
    shutil.copy(rules.SHIPPED / path.name, path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        rules.load_rules(tmp_path)

"""docs/configuration.md is what the models say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Literal

import pydantic
import pytest

from edgekd.config import Section

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "configuration_docs", ROOT / "scripts" / "configuration_docs.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Inner(Section):
    """What lies
    inside."""

    kind: Literal["a|b"] = pydantic.Field("a|b", description="of it")
    share: float = pydantic.Field(0.5, gt=0, le=1, description="of <all>")


class Whole(Section):
    """The whole."""

    folder: Path = pydantic.Field(description="where")
    floor: int | None = pydantic.Field(None, ge=0, multiple_of=8, description="lowest")
    names: list[Literal["x", "y"]] = pydantic.Field(["x"], min_length=1, description="which")
    words: dict[str, list[str]] = pydantic.Field(default_factory=dict, description="other words")
    inner: Inner = Inner()
    several: list[Inner] = pydantic.Field([Inner()], min_length=1, description="to choose from")


def test_every_key_stands_with_default_values_and_meaning(
    docs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs, "_MEANINGS", {})
    text = docs.page(Whole)
    assert "| `folder` | none: must be given | path | where |" in text
    assert "| `floor` | `null` | integer, at least 0, a multiple of 8, or null | lowest |" in text
    assert "| `names` | `[x]` | list of: `x`, `y`, not empty | which |" in text
    assert "| `words` | `{}` | key: list (text) | other words |" in text
    assert "## `inner`\n\nWhat lies inside.\n" in text
    assert "| `inner.kind` | `a\\|b` | `a\\|b` | of it |" in text
    assert "| `inner.share` | `0.5` | number, above 0, at most 1 | of &lt;all> |" in text
    assert "| `several` | one with the defaults below | list of what is below, not empty |" in text
    assert "## `several[]`\n\nWhat lies inside.\n" in text
    assert "| `several[].share` | `0.5` |" in text


def test_a_key_without_a_meaning_is_refused(
    docs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(Section):
        steps: int = 1

    monkeypatch.setattr(docs, "_MEANINGS", {})
    with pytest.raises(ValueError, match=r"keys without a meaning: \['steps'\]"):
        docs.page(Silent)
    monkeypatch.setattr(docs, "_MEANINGS", {"steps": "how many", "stepz": "gone"})
    with pytest.raises(ValueError, match=r"meanings without need: \['stepz'\]"):
        docs.page(Silent)


def test_check_finds_a_page_that_differs(
    docs: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(docs, "PAGE", tmp_path / "configuration.md")
    assert docs.main(["--check"]) == 1
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    page = (tmp_path / "configuration.md").read_text()
    (tmp_path / "configuration.md").write_text(page.replace("`seed` | `0`", "`seed` | `1`"))
    assert docs.main(["--check"]) == 1
    assert "Run: python scripts/configuration_docs.py" in capsys.readouterr().err


def test_the_page_of_this_repository_is_up_to_date(docs: ModuleType) -> None:
    assert docs.main(["--check"]) == 0

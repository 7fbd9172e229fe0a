"""A missing library is named with the line that installs it."""

from __future__ import annotations

import importlib.util

import pytest

from edgekd import extras
from edgekd.errors import MissingExtraError


def test_what_is_there_is_returned() -> None:
    assert extras.require("json", "export").dumps([1]) == "[1]"
    extras.ensure("captioning", "students", "export")


def test_a_missing_module_names_its_extra() -> None:
    with pytest.raises(
        MissingExtraError, match=r"no_such_module .* pip install 'edgekd\[export\]'"
    ):
        extras.require("no_such_module", "export")


def test_all_that_a_run_lacks_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find_spec(name: str) -> object:
        return None if name in ("sklearn", "onnxslim") else found(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(MissingExtraError) as caught:
        extras.ensure("captioning", "students", "export")
    assert str(caught.value) == (
        "onnxslim, sklearn: not installed, and this run needs them. "
        "Install them with: pip install 'edgekd[captioning,export]'"
    )
    extras.ensure("students")

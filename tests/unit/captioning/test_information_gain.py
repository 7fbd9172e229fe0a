"""Log likelihoods in a Markov chain, worked out by hand, whatever is shared and put together."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from transformers import DynamicCache

from captioning.teachers import information_gain
from captioning.teachers.captioner_context import Context
from captioning.teachers.captioner_families import Family
from captioning.teachers.information_gain import Sentences, gains, log_likelihoods, sentences
from edgekd.records import TaskSpec

A, B, C, END = range(4)
TABLE = {
    A: [0.1, 0.2, 0.3, 0.4],
    B: [0.5, 0.2, 0.2, 0.1],
    C: [0.25, 0.25, 0.1, 0.4],
    END: [0.25, 0.25, 0.25, 0.25],
}
_FIRST = [[0.7, 0.1, 0.1, 0.1], [0.2, 0.3, 0.4, 0.1]]


class Chain(Family):
    """Two rows that differ in what they expect first."""

    def __init__(self, forks: bool = False) -> None:
        self.forks = forks  # type: ignore[misc]
        self.model = SimpleNamespace(dtype=torch.float32)
        self.table = torch.log(torch.tensor([TABLE[token] for token in range(4)]))
        self.reads: list[tuple[int, int]] = []
        self._cache_key = "cache"

    def begun(self) -> Context:
        none = torch.zeros(2, 0, dtype=torch.long)
        # Logits are no probabilities yet: a constant a row changes nothing.
        logits = torch.log(torch.tensor(_FIRST)) + torch.tensor([[3.0], [-2.0]])
        return Context(DynamicCache(), none, none.sum(1), logits)

    def _passed(
        self,
        context: Context,
        tokens_BN: torch.Tensor,
        positions_BN: torch.Tensor | None,
        mask_B1NM: torch.Tensor | None,
    ) -> Any:
        self.reads.append(tuple(tokens_BN.shape))  # type: ignore[arg-type]
        return SimpleNamespace(logits=self.table[tokens_BN] + 1.5, cache=context.cache)


def by_hand(row: int, answer: list[int]) -> float:
    steps = [_FIRST[row][answer[0]]]
    steps += [TABLE[before][after] for before, after in pairwise(answer)]
    return sum(map(math.log, steps))


@pytest.mark.parametrize("forks", [False, True])
@pytest.mark.parametrize("most_bytes", [1, 400, 2**29])
@pytest.mark.parametrize(
    "answers",
    [
        [[A, B, C, END], [A, B, END], [A, B, A, A, C, END]],
        [[A, END], [B, C, END], [C, C, A, END]],
        [[A, B, END]],
        [[END], [A, END]],
        [[A, B, END], [A, B, END]],
    ],
)
def test_log_likelihoods_are_the_sums_over_the_tokens(
    answers: list[list[int]], most_bytes: int, forks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(information_gain, "_MOST_BYTES", most_bytes)
    chain = Chain(forks)
    context = chain.begun()
    found = log_likelihoods(chain, context, answers)
    expected = [[by_hand(row, answer) for answer in answers] for row in (0, 1)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32
    assert context.seen_RS.shape == (2, 0)


@pytest.mark.parametrize(("forks", "rests"), [(False, (18, 2)), (True, (2, 18))])
def test_what_all_answers_begin_with_is_read_once_an_image(
    forks: bool, rests: tuple[int, int]
) -> None:
    chain = Chain(forks)
    answers = [[A, B, A, first, second, END] for first in (A, B, C) for second in (A, B, C)]
    log_likelihoods(chain, chain.begun(), answers)
    # The beginning by 2 rows; then both tokens of the nine rests by 18, or beside each other in 2.
    assert chain.reads == [(2, 3), rests]


def test_gains_are_differences_and_the_mean_ratio_of_several_sentences() -> None:
    with_image = np.log(np.array([[0.2, 0.3, 0.05], [0.1, 0.1, 0.2]]))
    without = np.log(np.array([0.1, 0.1, 0.1]))
    found = gains(with_image, without, (0, 0, 1))
    # Ratios: (2 + 3) / 2 and 0.5; (1 + 1) / 2 and 2.
    np.testing.assert_allclose(found, np.log([[2.5, 0.5], [1.0, 2.0]]), atol=1e-6)
    assert found.dtype == np.float32


def test_sentences_say_names_as_people_do_with_their_article() -> None:
    task = TaskSpec(
        "things",
        ("electric_guitar", "cat", "apple"),
        {"cat": ("kitty", "Cat", "alley_cat"), "apple": ()},
    )
    assert sentences(task, "a photo of a {}", synonyms=True) == Sentences(
        (
            "a photo of an electric guitar",
            "a photo of a cat",
            "a photo of a kitty",
            "a photo of an alley cat",
            "a photo of an apple",
        ),
        (0, 1, 1, 1, 2),
    )
    assert sentences(task, "this is {}.", synonyms=False) == Sentences(
        ("this is electric guitar.", "this is cat.", "this is apple."), (0, 1, 2)
    )

"""Sampling from a Markov chain: what comes next depends on the last token alone, by a table."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch
from transformers import DynamicCache

from captioning.teachers.captioner_context import Context
from captioning.teachers.captioner_families import Family
from captioning.teachers.sampling import Wish, sample, whole_sentences

A, B, END, MARK = range(4)


class Chain(Family):
    """Four tokens, of which the last is none that is said; begins after A."""

    def __init__(self, probs: dict[int, list[float]], forks: bool = False):
        self.table = torch.log(torch.tensor([probs[token] for token in range(4)]))
        self.ends = {END}
        self.forks = forks  # type: ignore[misc]
        self.model = SimpleNamespace(dtype=torch.float32)
        self._cache_key = "cache"
        self.num_read: list[int] = []

    def begun(self, num_rows: int) -> Context:
        none = torch.zeros(num_rows, 0, dtype=torch.long)
        logits = self.table[A].expand(num_rows, -1)
        return Context(DynamicCache(), none, none.sum(1), logits)

    def _passed(
        self,
        context: Context,
        tokens_BN: torch.Tensor,
        positions_BN: torch.Tensor | None,
        mask_B1NM: torch.Tensor | None,
    ) -> Any:
        self.num_read.append(tokens_BN.numel())
        return SimpleNamespace(logits=self.table[tokens_BN], cache=context.cache)

    def never_said(self, size: int) -> list[int]:
        return [MARK]


_EVEN = [0.25, 0.25, 0.25, 0.25]
CHAIN = {A: [0.1, 0.6, 0.05, 0.25], B: [0.3, 0.15, 0.3, 0.25], END: _EVEN, MARK: _EVEN}


def test_tokens_come_as_often_as_the_softmax_at_the_temperature_says() -> None:
    chain = Chain(CHAIN)
    draws = 4000
    for temperature in (1.0, 0.5):
        wishes = [Wish(0, temperature, seed) for seed in range(draws)]
        firsts = [said.tokens[:1] for said in sample(chain, chain.begun(1), wishes, 1)]
        # A's row without the mark, to the power of 1 / temperature.
        weights = [p ** (1 / temperature) for p in (0.1, 0.6, 0.05)]
        for tokens, weight in zip(((A,), (B,), ()), weights, strict=True):
            share = weight / sum(weights)
            # Four standard deviations of a share of so many draws.
            tolerance = 4 * math.sqrt(share * (1 - share) / draws)
            assert firsts.count(tokens) / draws == pytest.approx(share, abs=tolerance)


def test_confidence_is_the_geometric_mean_at_temperature_1() -> None:
    table = {A: [0.1, 0.6, 0.05, 0.25], B: [0.1, 0.15, 0.5, 0.25], END: _EVEN, MARK: _EVEN}
    chain = Chain(table)
    for temperature in (0.0, 1e-4):
        (said,) = sample(chain, chain.begun(1), [Wish(0, temperature, 3)], 5)
        assert said.tokens == (B,)
        assert said.ended
        # Of B after A and the end after B, both without the mark: 0.6 / 0.75 and 0.5 / 0.75.
        assert said.confidence == pytest.approx(math.sqrt(0.8 * 2 / 3), rel=1e-5)


def test_where_there_is_no_room_for_the_end_it_says_so() -> None:
    table = {A: [0.1, 0.6, 0.05, 0.25], B: [0.6, 0.1, 0.05, 0.25], END: _EVEN, MARK: _EVEN}
    chain = Chain(table)
    (said,) = sample(chain, chain.begun(1), [Wish(0, 0.0, 0)], 3)
    assert (said.tokens, said.ended) == ((B, A, B), False)
    assert said.confidence == pytest.approx(0.8)
    assert chain.num_read == [1, 1]  # the last token is not read: nothing follows


def test_an_end_at_once_is_an_empty_caption() -> None:
    chain = Chain({A: [0.1, 0.1, 0.6, 0.2], B: _EVEN, END: _EVEN, MARK: _EVEN})
    (said,) = sample(chain, chain.begun(1), [Wish(0, 0.0, 0)], 3)
    assert (said.tokens, said.ended) == ((), True)
    assert said.confidence == pytest.approx(0.75)
    assert chain.num_read == []


@pytest.mark.parametrize("forks", [False, True])
def test_captions_do_not_depend_on_those_beside_them(forks: bool) -> None:
    wishes = [Wish(seed % 3, 0.5 + seed / 20, seed) for seed in range(40)]
    chain = Chain(CHAIN, forks)
    together = sample(chain, chain.begun(3), wishes, 30)
    assert together == [sample(chain, chain.begun(3), [wish], 30)[0] for wish in wishes]
    assert len({said.tokens for said in together}) > 10


@pytest.mark.parametrize("forks", [False, True])
def test_captions_that_have_ended_are_left_behind(forks: bool) -> None:
    chain = Chain(CHAIN, forks)
    sample(chain, chain.begun(1), [Wish(0, 1.0, seed) for seed in range(64)], 40)
    assert chain.num_read[0] == 64
    assert sorted(chain.num_read, reverse=True) == chain.num_read
    assert chain.num_read[-1] < 8


def test_the_context_stays_as_it_is() -> None:
    chain = Chain(CHAIN)
    context = chain.begun(2)
    before = context.logits_RV.clone()
    sample(chain, context, [Wish(0, 1.0, 1), Wish(1, 1.0, 2)], 6)
    assert context.seen_RS.shape == (2, 0)
    assert torch.equal(context.logits_RV, before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cat sits. The dog", "A cat sits."),
        ("A cat sits. The dog runs! It", "A cat sits. The dog runs!"),
        ('He said "stop." And', 'He said "stop."'),
        ("about 3.5 cats on", "about 3.5 cats on …"),
        ("About 3.5 cats. On", "About 3.5 cats."),
        ("a cat on a", "a cat on a …"),
        ("一只猫。旁边", "一只猫。"),
        ("一只猫在", "一只猫在 …"),
        ("A cat. ", "A cat."),
        ("", ""),
    ],
)
def test_what_was_cut_off_ends_with_a_whole_sentence_or_is_marked(text: str, expected: str) -> None:
    assert whole_sentences(text) == expected

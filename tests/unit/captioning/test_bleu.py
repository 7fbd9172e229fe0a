"""BLEU by hand, the fast self-BLEU against the plain one, and both against sacrebleu."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from captioning.bleu import self_bleu, sentence_bleu


@pytest.mark.parametrize(
    ("hypothesis", "references", "expected"),
    [
        ("a b c d e", ["a b c d e"], 1.0),
        # 5/6 words, 3/5 pairs, 1/4 triples; of 3 fours none: 1/(2 * 3).
        ("the cat sat on the mat", ["the cat is on the mat"], (5 / 6 * 3 / 5 / 4 / 6) ** (1 / 4)),
        # "the" counts once, as in the reference; of 2 pairs and 1 triple none: 1/(2 * 2), 1/(4 * 1).
        ("the the the", ["the cat"], (1 / 3 / 4 / 4) ** (1 / 3)),
        # All there, but two words where the reference has three.
        ("the cat", ["the cat sat"], math.exp(1 - 3 / 2)),
        # The nearest lengths are 1 and 3: the shorter counts, so nothing is too short.
        ("the cat", ["the", "the cat sat"], 1.0),
        # The largest count of any reference counts: "the" twice, in the second.
        ("the the", ["the cat", "the the"], 1.0),
        ("dog", ["the cat"], 0.0),
        ("", ["the cat"], 0.0),
    ],
)
def test_sentence_bleu(hypothesis: str, references: list[str], expected: float) -> None:
    found = sentence_bleu(hypothesis.split(), [reference.split() for reference in references])
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        (["a b", "a b", "c d"], 2 / 3),
        (["a", "b", "c"], 0.0),
        (["a b c", "a b c"], 1.0),
        # "a" against two words: brevity exp(1 - 2/1); "a b" against "a": one of two words, and of
        # one pair none, 1/(2 * 1).
        (["a", "a b"], (math.exp(-1) + math.sqrt(1 / 2 * 1 / 2)) / 2),
    ],
)
def test_self_bleu(sentences: list[str], expected: float) -> None:
    found = self_bleu([sentence.split() for sentence in sentences])
    assert found == pytest.approx(expected, abs=1e-12)


def test_one_sentence_has_no_self_bleu() -> None:
    assert math.isnan(self_bleu([]))
    assert math.isnan(self_bleu([["a"]]))


def drawn(count: int, seed: int) -> list[list[str]]:
    """Sentences of 0 to 12 words, of few enough words that they repeat each other's."""
    rng = np.random.default_rng(seed)
    return [[f"w{w}" for w in rng.integers(9, size=rng.integers(13))] for _ in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_the_fast_way_gives_what_the_plain_one_gives(seed: int) -> None:
    sentences = drawn(30, seed)
    plain = [
        sentence_bleu(sentence, sentences[:at] + sentences[at + 1 :])
        for at, sentence in enumerate(sentences)
    ]
    assert self_bleu(sentences) == pytest.approx(sum(plain) / 30, abs=1e-12)


def test_it_takes_time_in_proportion() -> None:
    """2,000 sentences pair by pair would be 4 million comparisons."""
    started = time.process_time()
    assert 0 < self_bleu(drawn(2000, 0)) < 1
    assert time.process_time() - started < 5


def test_sacrebleu_says_the_same() -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    theirs = metrics.BLEU(effective_order=True, tokenize="none", smooth_method="exp")
    sentences = [sentence for sentence in drawn(80, 3) if sentence]
    for at, sentence in enumerate(sentences[:50]):
        references = sentences[at + 1 : at + 6]
        score = theirs.sentence_score(" ".join(sentence), [" ".join(r) for r in references]).score
        assert sentence_bleu(sentence, references) == pytest.approx(score / 100, abs=1e-9)

"""BLEU of one sentence, and of many against each other; standard library only.

Papineni et al., ACL 2002, up to 4-grams. Where an order has no match its precision is 1 / (2**k *
the number of n-grams), k counting those orders (method 3 of Chen and Cherry, WMT 2014; sacrebleu
calls it "exp"). Sentences shorter than 4 words are judged up to their length.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_ORDER = 4
Gram = tuple[str, ...]


def sentence_bleu(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Returns BLEU of a sentence, 0 to 1, given as words; 0 where no word is in a reference."""
    most: Counter[Gram] = Counter()
    for reference in references:
        most |= _grams(reference)  # the largest count of each n-gram
    found = _grams(hypothesis)
    matches = [0] * MAX_ORDER
    for gram, count in found.items():
        matches[len(gram) - 1] += min(count, most[gram])
    lengths = [len(reference) for reference in references]
    return _bleu(matches, len(hypothesis), _closest(len(hypothesis), lengths))


def self_bleu(sentences: Sequence[Sequence[str]]) -> float:
    """Returns the mean BLEU of each sentence against all others (arXiv:1802.01886), 0 to 1.

    High where sentences repeat each other; nan for fewer than two. Takes time in proportion to the
    number of words, and gives what `sentence_bleu` gives.
    """
    if len(sentences) < 2:
        return math.nan
    grams = [_grams(sentence) for sentence in sentences]
    most = _two_largest(grams)
    lengths = Counter(map(len, sentences))
    scores = []
    for owner, (sentence, found) in enumerate(zip(sentences, grams, strict=True)):
        matches = [0] * MAX_ORDER
        for gram, count in found.items():
            matches[len(gram) - 1] += min(count, most[gram].without(owner))
        alone = lengths[len(sentence)] == 1
        others = (length for length in lengths if not (alone and length == len(sentence)))
        scores.append(_bleu(matches, len(sentence), _closest(len(sentence), others)))
    return math.fsum(scores) / len(scores)


@dataclass(slots=True)
class _Largest:
    """The largest count of an n-gram in one sentence, whose it is, and the largest elsewhere."""

    count: int = 0
    owner: int = -1
    elsewhere: int = 0

    def without(self, owner: int) -> int:
        return self.elsewhere if owner == self.owner else self.count


def _two_largest(grams: Iterable[Counter[Gram]]) -> dict[Gram, _Largest]:
    most: dict[Gram, _Largest] = {}
    for owner, found in enumerate(grams):
        for gram, count in found.items():
            largest = most.setdefault(gram, _Largest())
            if count > largest.count:
                largest.count, largest.owner, largest.elsewhere = count, owner, largest.count
            else:
                largest.elsewhere = max(largest.elsewhere, count)
    return most


def _grams(words: Sequence[str]) -> Counter[Gram]:
    return Counter(
        tuple(words[start : start + order])
        for order in range(1, MAX_ORDER + 1)
        for start in range(len(words) - order + 1)
    )


def _bleu(matches: Sequence[int], length: int, reference_length: int) -> float:
    if not any(matches):
        return 0.0
    logs, halvings = [], 0
    for order, count in enumerate(matches[:length], 1):
        total = length - order + 1
        halvings += count == 0
        logs.append(math.log(count / total if count else 1 / (2**halvings * total)))
    brevity = min(0.0, 1 - reference_length / length)
    return math.exp(brevity + math.fsum(logs) / len(logs))


def _closest(length: int, lengths: Iterable[int]) -> int:
    """The reference length nearest to the sentence's; of two as near, the shorter."""
    return min(lengths, key=lambda other: (abs(other - length), other))

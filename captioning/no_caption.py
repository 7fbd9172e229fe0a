"""A small linear model of texts that describe nothing: refusals, and what pages put instead.

For wordings that no pattern of rules/refusals.yaml has. It reads letters and words, hashed
(`features`), and was trained by benchmarks/no_caption.py on texts written for it; numpy only.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np

from edgekd.metrics import softmax

PATH = Path(__file__).resolve().parent / "rules" / "no_caption.npz"
KINDS = ("caption", "refusal", "boilerplate")
BUCKETS = 1 << 14
_LETTERS = range(2, 6)


@dataclass(frozen=True)
class NoCaption:
    """`weights_BK` and `bias_K` give the log odds of `KINDS`."""

    weights_BK: np.ndarray
    bias_K: np.ndarray

    def probabilities(self, text: str) -> np.ndarray:
        """Returns the probability of each of `KINDS`."""
        buckets = features(text)
        scale = 1 / math.sqrt(len(buckets)) if len(buckets) else 0.0
        logits_K = self.weights_BK[buckets].astype(np.float64).sum(axis=0) * scale + self.bias_K
        return softmax(logits_K)

    def kind(self, text: str, min_probability: float) -> str | None:
        """Returns "refusal" or "boilerplate" where the text is surely no caption, else None."""
        caption, refusal, boilerplate = self.probabilities(text).tolist()
        if 1 - caption < min_probability:
            return None
        return "refusal" if refusal >= boilerplate else "boilerplate"


@cache
def shipped() -> NoCaption:
    """Returns the model that comes with edgekd; read once."""
    with np.load(PATH) as read:
        return NoCaption(read["weights_BK"], read["bias_K"])


def features(text: str) -> np.ndarray:
    """Returns the buckets of a text's runs of 2 to 5 letters, words, pairs of words and shape."""
    folded = re.sub(r"\d", "0", text.casefold())
    said = [f" {word} " for word in re.findall(r"[^\W_]+(?:['’][^\W_]+)?|[^\w\s]", folded)]
    found = {f"c{word[at : at + n]}" for word in said for n in _LETTERS
             for at in range(max(1, len(word) - n + 1))}  # fmt: skip
    found |= {f"w{word}" for word in said}
    found |= {f"p{one}{other}" for one, other in pairwise(said)}
    found |= {f"n{min(len(said), 12)}", f"e{said[-1] if said else ''}", f"b{''.join(said[:2])}"}
    return np.array(sorted({crc32(one.encode()) % BUCKETS for one in found}), dtype=np.int64)

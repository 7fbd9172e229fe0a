"""Captions sampled token by token, many at once, each from a seed of its own.

Which token comes is the argmax of log probability + temperature * Gumbel noise, a draw from the
softmax at that temperature (Gumbel-max). The noise is the caption's own, so a caption does not
depend on those beside it.

R rows, V vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from captioning.teachers.captioner_context import Context
from captioning.teachers.captioner_families import Family

CUT = "…"
_SENTENCE = re.compile(r".*?[.!?]+[\"')\]]*(?=\s|$)|.*?[。！？]+[」』”）]*", re.DOTALL)


@dataclass(frozen=True)
class Wish:
    """One caption to be: of which row of a context, how freely, and by which seed."""

    row: int
    temperature: float
    seed: int


@dataclass(frozen=True)
class Sampled:
    """The tokens without the end. `confidence` is the geometric mean of the tokens' probabilities
    at temperature 1, the end's among them; `ended` is False where there was no room for an end."""

    tokens: tuple[int, ...]
    confidence: float
    ended: bool


def sample(
    family: Family, context: Context, wishes: Sequence[Wish], max_tokens: int
) -> list[Sampled]:
    """Returns a caption for each wish. The context stays as it is."""
    courses = [_Course(wish) for wish in wishes]
    rows = courses
    live = family.continued(context, [wish.row for wish in wishes])
    never = family.never_said(live.logits_RV.shape[1])
    for left in range(max_tokens, 0, -1):
        log_probs = _log_probs(live.logits_RV, never)
        drawn = (log_probs + _noise(rows, log_probs)).argmax(-1)
        said = log_probs.gather(1, drawn[:, None])[:, 0]
        for course, token, log_prob in zip(rows, drawn.tolist(), said.tolist(), strict=True):
            course.take(token, log_prob, token in family.ends)
        going = [row for row, course in enumerate(rows) if not course.ended]
        if not going or left == 1:
            break
        if len(going) <= len(rows) // 2:  # to copy them costs as much as to take the others along
            live, drawn = live.selected(going), drawn[going]
            rows = [rows[row] for row in going]
        family.read(live, drawn[:, None])
    return [course.sampled() for course in courses]


def whole_sentences(text: str) -> str:
    """Returns a text that was cut off up to its last whole sentence, else the text marked by "…"."""
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    if ends:
        return text[: ends[-1]].strip()
    return f"{text} {CUT}" if text else ""


@dataclass
class _Course:
    """A caption on its way."""

    wish: Wish
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    ended: bool = False

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.wish.seed)

    def take(self, token: int, log_prob: float, is_end: bool) -> None:
        if self.ended:
            return
        self.log_probs.append(log_prob)
        self.ended = is_end
        if not is_end:
            self.tokens.append(token)

    def noise(self, size: int) -> np.ndarray:
        if self.ended or self.wish.temperature == 0:
            return np.zeros(size, dtype=np.float32)
        # The log of an exponential is Gumbel noise but for its sign.
        waits = self.rng.standard_exponential(size, dtype=np.float32)
        return -self.wish.temperature * np.log(np.maximum(waits, np.finfo(np.float32).tiny))

    def sampled(self) -> Sampled:
        confidence = math.exp(sum(self.log_probs) / len(self.log_probs))
        return Sampled(tuple(self.tokens), confidence, self.ended)


def _log_probs(logits_RV: torch.Tensor, never: list[int]) -> torch.Tensor:
    logits_RV = logits_RV.float()
    if never:
        logits_RV = logits_RV.index_fill(1, torch.tensor(never, device=logits_RV.device), -math.inf)
    return torch.log_softmax(logits_RV, dim=-1)


def _noise(rows: list[_Course], like_RV: torch.Tensor) -> torch.Tensor:
    noise_RV = np.stack([course.noise(like_RV.shape[1]) for course in rows])
    return torch.from_numpy(noise_RV).to(like_RV.device)

"""What an image adds to the probability of a class's sentence (arXiv:2311.17072).

The gain is log p(sentence | image) - log p(sentence | no image). Both are sums over the tokens, the
end among them, and are not divided by their number: what a longer name costs it costs twice, and
falls out of the difference.

R rows, K classes, M sentences, T tokens, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from captioning.teachers.captioner_context import Context
from captioning.teachers.captioner_families import Family
from edgekd import names
from edgekd.records import TaskSpec

_MOST_BYTES = 2**29  # of the rows that are scored together
_AN = re.compile(r"\b([Aa])(?= \{\})")


@dataclass(frozen=True)
class Sentences:
    """One sentence or several a class; `classes[i]` is the class of `texts[i]`."""

    texts: tuple[str, ...]
    classes: tuple[int, ...]


def sentences(task: TaskSpec, template: str, synonyms: bool) -> Sentences:
    """Returns the sentences of all classes, each with one of the class's names as it is said."""
    texts, classes = [], []
    for index, name in enumerate(task.classes):
        others = task.synonyms.get(name, ()) if synonyms else ()
        said: dict[str, str] = {}
        for word in (name, *others):
            said.setdefault(names.key(word), names.spoken(word))
        for word in said.values():
            texts.append(_with_article(template, word).format(word))
            classes.append(index)
    return Sentences(tuple(texts), tuple(classes))


@torch.inference_mode()
def log_likelihoods(
    family: Family, context: Context, answers: Sequence[Sequence[int]]
) -> np.ndarray:
    """Returns log p(answer | row) of each row and answer, float32 [R, M]; the context stays.

    What all answers begin with is read once a row, and the rest by as many rows at a time as
    half a gigabyte holds. Answers are tokens with the end.
    """
    shared = _common_beginning([answer[:-1] for answer in answers])
    rests = [list(answer[len(shared) :]) for answer in answers]
    begun = context.selected(range(context.num_rows))
    shared_R = _read_shared(family, begun, shared)
    first = torch.tensor([rest[0] for rest in rests], device=begun.logits_RV.device)
    scores_RM = shared_R[:, None] + _log_softmax(begun.logits_RV)[:, first]
    for rows, columns, tokens_PT in _chunks(
        begun, rests, 0 if family.shares(begun) else begun.row_bytes()
    ):
        place = torch.tensor(rows), torch.tensor(columns)
        scores_RM[place] += _read_rests(family, family.continued(begun, rows), tokens_PT)
    return scores_RM.float().cpu().numpy()


def gains(with_NM: np.ndarray, without_M: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Returns the gain of each class, float32 [N, K].

    A class with several sentences has the log of the mean of their ratios: as likely as any of
    them made it, and no likelier for having many.
    """
    gains_NM = with_NM.astype(np.float64) - without_M
    of = np.asarray(classes)
    gains_NK = np.empty((len(gains_NM), of.max() + 1), dtype=np.float32)
    for index in range(gains_NK.shape[1]):
        own = gains_NM[:, of == index]
        highest = own.max(axis=1, keepdims=True)
        gains_NK[:, index] = highest[:, 0] + np.log(np.exp(own - highest).mean(axis=1))
    return gains_NK


def _with_article(template: str, word: str) -> str:
    """ "an apple" where the template has "a {}", by the letter it begins with."""
    return _AN.sub(r"\1n", template) if word[0].casefold() in "aeiou" else template


def _common_beginning(lists: Sequence[Sequence[int]]) -> list[int]:
    shared = []
    for column in zip(*lists, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return shared


def _read_shared(family: Family, begun: Context, shared: list[int]) -> torch.Tensor:
    """Reads the beginning of all answers; returns its log probability [R]."""
    expected_RV = begun.logits_RV
    if not shared:
        return expected_RV.new_zeros(begun.num_rows, dtype=torch.float32)
    tokens = torch.tensor(shared, device=expected_RV.device).expand(begun.num_rows, -1)
    after_RTV = family.read(begun, tokens)
    before_RTV = torch.cat([expected_RV[:, None], after_RTV[:, :-1]], dim=1)
    return _picked(before_RTV, tokens).sum(1)


def _read_rests(family: Family, context: Context, tokens_PT: torch.Tensor) -> torch.Tensor:
    """Returns log p of all tokens but the first [P]; -1 stands where a shorter rest has ended."""
    tokens_PT = tokens_PT.to(context.logits_RV.device)
    after_PTV = family.read(context, tokens_PT[:, :-1].clamp(min=0))
    wanted = tokens_PT[:, 1:]
    return (_picked(after_PTV, wanted.clamp(min=0)) * (wanted >= 0)).sum(1)


def _chunks(
    begun: Context, rests: list[list[int]], copied_bytes: int
) -> Iterator[tuple[list[int], list[int], torch.Tensor]]:
    """Yields (rows, columns, tokens [P, T] filled up with -1) of rests longer than one token."""
    longer = sorted(
        (c for c, rest in enumerate(rests) if len(rest) > 1), key=lambda c: len(rests[c])
    )
    pairs = [(row, column) for column in longer for row in range(begun.num_rows)]
    if not pairs:
        return
    longest = len(rests[longer[-1]])
    logits = 3 * longest * begun.logits_RV.shape[1] * 4  # as given, as float32, and normalized
    most = max(1, _MOST_BYTES // (copied_bytes + logits))
    for start in range(0, len(pairs), most):
        rows, columns = map(list, zip(*pairs[start : start + most], strict=True))
        chosen = [torch.tensor(rests[column]) for column in columns]
        yield rows, columns, torch.nn.utils.rnn.pad_sequence(chosen, True, -1)


def _picked(logits_RTV: torch.Tensor, tokens_RT: torch.Tensor) -> torch.Tensor:
    return _log_softmax(logits_RTV).gather(-1, tokens_RT[..., None])[..., 0]


def _log_softmax(logits: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(logits.float(), dim=-1)

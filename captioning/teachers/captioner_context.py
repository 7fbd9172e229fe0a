"""What a captioning model has read, and several continuations of it beside each other.

Rows of a context are copies of what was read, each with a cache of its own. A forked context has
rows that share one cache: they lie beside each other in one sequence, and a mask keeps each from
seeing the others. An image's keys and values then lie in memory once, whatever is said of it.

B rows of the context that was forked, R rows, S tokens read before the fork, H after it, T new
tokens, P places beside each other, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

_HALVES = ("self_attention_cache", "cross_attention_cache")
_NOBODY = -1


@dataclass(frozen=True)
class Fork:
    """Whose continuation each row is (`base_R`), its number, and whose each token is since."""

    base_R: torch.Tensor
    branch_R: torch.Tensor
    owner_BH: torch.Tensor


@dataclass(frozen=True)
class Packed:
    """New tokens of a forked context as a model reads them, N = P * T; `mask_B1NM` is added."""

    tokens_BN: torch.Tensor
    positions_BN: torch.Tensor
    mask_B1NM: torch.Tensor
    owner_BN: torch.Tensor
    place_R: torch.Tensor

    def unpacked(self, logits_BNV: torch.Tensor, base_R: torch.Tensor) -> torch.Tensor:
        """Returns logits [R, T, V] in the order of the rows."""
        num_places = int(self.place_R.max()) + 1
        steps = logits_BNV.shape[1] // num_places
        shaped = logits_BNV.view(len(logits_BNV), num_places, steps, -1)
        return shaped[base_R, self.place_R]


@dataclass
class Context:
    """What a model has read in each row, and what it expects next; `Family.read` lets it grow.

    `seen_RS` is 0 for padding. `memory` are an encoder's states, which cross-attention reads. Of a
    forked context, both and the cache are those of the rows it was forked from.
    """

    cache: Any
    seen_RS: torch.Tensor
    next_R: torch.Tensor
    logits_RV: torch.Tensor
    memory: torch.Tensor | None = None
    fork: Fork | None = None

    @property
    def num_rows(self) -> int:
        return len(self.logits_RV)

    @property
    def can_fork(self) -> bool:
        """Whether a mask rules all that a token sees: no sliding window, no running state."""
        return all(
            type(layer) is DynamicLayer for part in _parts(self.cache) for layer in part.layers
        )

    def selected(self, rows: Sequence[int] | torch.Tensor) -> Context:
        """Returns a context of these rows, in this order; one may come several times.

        Rows are copied; those of a forked context go on sharing, and each may come once.
        """
        index = self._index(rows)
        next_R, logits_RV = self.next_R[index], self.logits_RV[index]
        if self.fork is not None:
            base_R, branch_R = self.fork.base_R[index], self.fork.branch_R[index]
            fork = Fork(base_R, branch_R, self.fork.owner_BH)
            cache = _shared(self.cache)
            return Context(cache, self.seen_RS, next_R, logits_RV, self.memory, fork)
        memory = None if self.memory is None else self.memory[index]
        cache = _selected(self.cache, index)
        return Context(cache, self.seen_RS[index], next_R, logits_RV, memory)

    def forked(self, rows: Sequence[int] | torch.Tensor) -> Context:
        """Returns a context of continuations of these rows, which share what was read."""
        index = self._index(rows)
        none = self.seen_RS.new_zeros(self.num_rows, 0)
        fork = Fork(index, torch.arange(len(index), device=index.device), none)
        cache, next_R, logits_RV = _shared(self.cache), self.next_R[index], self.logits_RV[index]
        return Context(cache, self.seen_RS, next_R, logits_RV, self.memory, fork)

    def packed(self, tokens_RT: torch.Tensor, dtype: torch.dtype) -> Packed:
        """Returns new tokens of all rows as sequences of the rows this was forked from."""
        assert self.fork is not None
        base_R, num_new = self.fork.base_R, tokens_RT.shape[1]
        place_R = _places(base_R)
        shape = (len(self.seen_RS), int(place_R.max()) + 1)
        branch_BP = tokens_RT.new_full(shape, _NOBODY)
        branch_BP[base_R, place_R] = self.fork.branch_R
        tokens_BPT = tokens_RT.new_zeros(*shape, num_new)
        tokens_BPT[base_R, place_R] = tokens_RT
        next_BP = tokens_RT.new_zeros(shape)
        next_BP[base_R, place_R] = self.next_R
        steps = torch.arange(num_new, device=tokens_RT.device)
        owner_BN = branch_BP.repeat_interleave(num_new, dim=1)
        step_N = steps.repeat(shape[1])
        before = owner_BN[:, :, None] == self.fork.owner_BH[:, None, :]
        beside = owner_BN[:, :, None] == owner_BN[:, None, :]
        read = self.seen_RS.bool()[:, None, :].expand(-1, owner_BN.shape[1], -1)
        seen = torch.cat([read, before, beside & (step_N[None, :] <= step_N[:, None])], dim=2)
        mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
        return Packed(
            tokens_BPT.flatten(1),
            (next_BP[:, :, None] + steps).flatten(1),
            mask.masked_fill(~seen, torch.finfo(dtype).min)[:, None],
            owner_BN,
            place_R,
        )

    def row_bytes(self) -> int:
        """Returns what the cache holds for one of its rows."""
        layers = [layer for cache in _parts(self.cache) for layer in cache.layers]
        held = [getattr(layer, part, None) for layer in layers for part in ("keys", "values")]
        return sum(t.nbytes for t in held if t is not None) // max(len(self.seen_RS), 1)

    def _index(self, rows: Sequence[int] | torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(rows, dtype=torch.long, device=self.logits_RV.device)


def _places(base_R: torch.Tensor) -> torch.Tensor:
    """Returns for each row how many before it continue the same."""
    seen: dict[int, int] = {}
    places = []
    for base in base_R.tolist():
        places.append(seen.get(base, 0))
        seen[base] = places[-1] + 1
    return torch.tensor(places, device=base_R.device)


def _parts(cache: Any) -> list[Any]:
    """Returns a decoder's cache of itself and that of its encoder, or the one there is."""
    return [getattr(cache, half) for half in _HALVES if hasattr(cache, half)] or [cache]


def _selected(cache: Any, index: torch.Tensor) -> Any:
    """Returns rows of a cache as a cache of their own; the old one stays as it is."""
    new = _shared(cache)
    for part in _parts(new):
        part.reorder_cache(index)
    return new


def _shared(cache: Any) -> Any:
    """Returns a cache of the same tensors; what the one reads from now on, the other does not see."""
    new = copy.copy(cache)
    if hasattr(cache, _HALVES[0]):
        for half in _HALVES:
            setattr(new, half, _shared(getattr(cache, half)))
        new.is_updated = dict(cache.is_updated)
    else:
        new.layers = [_of_its_own(layer) for layer in cache.layers]
    return new


def _of_its_own(layer: Any) -> Any:
    new = copy.copy(layer)
    for name, value in vars(layer).items():
        if isinstance(value, dict):  # states of linear attention, by their number
            setattr(new, name, dict(value))
    return new

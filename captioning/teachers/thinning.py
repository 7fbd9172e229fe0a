"""A teacher with fewer blocks: those that change what passes through them least are taken out.

Works on any network with blocks in a row that keep their input's shape, as the layers of a vision
or text transformer (ViT, CLIP, BLIP, GPT) and the residual blocks of a CNN (ResNet,
EfficientNet). A block that keeps the shape without a residual connection is a candidate too; it
changes much, so it is taken last.

n images of a batch, T tokens or places, D channels.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from edgekd import metrics
from edgekd.errors import UsageError, WeightsError

Measure = Literal["cka", "angular"]
Way = Literal["greedy", "contiguous"]
Answer = Callable[[Any, Any], torch.Tensor]
"""(model, batch) to logits [n, K]."""

_LEAST_FOR_CKA = 4  # the unbiased estimate divides by n - 3


@dataclass(frozen=True)
class Stack:
    """Blocks in a row: the name of their list, how many it has, and the runs that may be thinned.

    A run is consecutive indices whose blocks keep the shape and feed each other.
    """

    name: str
    num_blocks: int
    runs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Thinned:
    """A copy of a model without some blocks. `dropped` are names in the model it was made from, in
    the order they were taken, each with its distance."""

    model: Any
    dropped: tuple[tuple[str, float], ...]


def answer(model: Any, batch: Any) -> torch.Tensor:
    """Returns a model's logits [n, K]; a batch is pixels, or keyword inputs."""
    output = model(**batch) if isinstance(batch, dict) else model(batch)
    if isinstance(output, torch.Tensor):
        return output
    logits = getattr(output, "logits", None)
    if logits is None:
        raise UsageError(
            f"{type(model).__name__}: its output has no logits. Give `answer`, a function of "
            "(model, batch) that returns scores, one row an image"
        )
    return logits


def thin(
    model: torch.nn.Module,
    batches: Sequence[Any],
    drop: int,
    *,
    way: Way = "greedy",
    measure: Measure = "cka",
    answer: Answer = answer,
) -> Thinned:
    """Returns a copy of the model without its `drop` least useful blocks, and which those were.

    `greedy` takes one block at a time and measures anew; `contiguous` takes the run of `drop`
    blocks between whose ends least changes (arXiv:2403.17887). `batches` are calibration images;
    no labels are needed. A list keeps at least one block.

    Raises:
        UsageError: there are not that many blocks to drop, or a batch is too small to measure.
    """
    if drop < 1:
        raise UsageError(f"drop: {drop} blocks, expected 1 or more")
    thinned = copy.deepcopy(model).eval()
    stacks = find(thinned, batches[0], answer)
    places = {stack.name: list(range(stack.num_blocks)) for stack in stacks}
    dropped: list[tuple[str, float]] = []
    span = drop if way == "contiguous" else 1
    while len(dropped) < drop:
        measured = distances(thinned, batches, stacks, span=span, measure=measure, answer=answer)
        if not measured:
            there = f"{len(dropped)} dropped, and no {span} more" if dropped else f"no {span}"
            raise UsageError(
                f"drop: {drop} blocks, and {type(model).__name__} has {there} in a row that keep "
                "their input's shape, one left over"
            )
        (name, first), distance = min(measured.items(), key=lambda entry: entry[1])
        remove(thinned, name, range(first, first + span))
        stacks = [_shortened(s, first, span) if s.name == name else s for s in stacks]
        taken = places[name][first : first + span]
        del places[name][first : first + span]
        dropped += [(f"{name}.{index}", distance) for index in taken]
    return Thinned(thinned, tuple(dropped))


def find(model: torch.nn.Module, batch: Any, answer: Answer = answer) -> list[Stack]:
    """Returns the model's stacks, found by running a batch through it."""
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList | torch.nn.Sequential) and len(module) > 1
    }
    blocks = {
        f"{name}.{index}": block
        for name, module in lists.items()
        for index, block in enumerate(module)
        if any(True for _ in block.children())
    }
    with _watching(blocks) as seen:
        _run(model, batch, answer)
    found: list[Stack] = []
    units: list[str] = []
    sizes = {name: len(module) for name, module in lists.items()}
    for name, module in lists.items():
        passed = [_unit(f"{name}.{index}", seen, sizes) for index in range(len(module))]
        runs = _runs(passed)
        # Of a layer, or of another of its kind that changes the shape, nothing inside may go alone.
        is_inside = any(name.startswith(unit) for unit in units)
        if runs and not is_inside:
            found.append(Stack(name, len(module), runs))
            kinds = {type(module[index]) for run in runs for index in run}
            units += [f"{name}.{i}." for i, block in enumerate(module) if type(block) in kinds]
    return found


def distances(
    model: torch.nn.Module,
    batches: Sequence[Any],
    stacks: Sequence[Stack],
    *,
    span: int = 1,
    measure: Measure = "cka",
    answer: Answer = answer,
) -> dict[tuple[str, int], float]:
    """Returns how far what enters `span` consecutive blocks is from what leaves them.

    Keys are (stack, index of the first block). "cka": 1 - linear CKA (arXiv:1905.00414), the
    unbiased HSIC summed over batches (arXiv:2010.15327). "angular": the mean angle between a
    token's vector, or a place's channels, before and after, over pi (arXiv:2403.17887).

    Raises:
        UsageError: "cka" of a batch of fewer than 4 images.
    """
    spans = [
        (stack.name, run[at], run[at + span - 1])
        for stack in stacks
        for run in stack.runs
        for at in range(len(run) - span + 1)
        if stack.num_blocks > span
    ]
    named = dict(model.named_modules())
    ends = {f"{name}.{index}" for name, *pair in spans for index in pair}
    totals = {place: _Total(measure) for place in spans}
    for batch in batches:
        with _watching({name: named[name] for name in ends}) as seen:
            _run(model, batch, answer)
        for (name, first, last), total in totals.items():
            total.add(seen[f"{name}.{first}"][0][0], seen[f"{name}.{last}"][0][1])
    return {(name, first): total.value for (name, first, _), total in totals.items()}


def remove(model: torch.nn.Module, stack: str, blocks: Sequence[int]) -> None:
    """Takes blocks out of a list of the model, in place, and corrects the config that counts them."""
    module: Any = model.get_submodule(stack)
    before = len(module)
    kept = [index for index in range(before) if index not in blocks]
    for index in sorted(blocks, reverse=True):
        del module[index]
    for place, block in enumerate(module):
        for part in block.modules():  # a decoder's cache is kept by these
            if hasattr(part, "layer_idx"):
                part.layer_idx = place
    _correct_config(model, stack, before, kept)


def without(model: torch.nn.Module, blocks: Sequence[str]) -> Any:
    """Returns a copy of a model without the blocks of these names, as `Thinned.dropped` has them."""
    thinned = copy.deepcopy(model).eval()
    by_stack: dict[str, list[int]] = {}
    for name in blocks:
        stack, _, index = name.rpartition(".")
        by_stack.setdefault(stack, []).append(int(index))
    for stack, indices in by_stack.items():
        remove(thinned, stack, indices)
    return thinned


def compare(
    reference: torch.nn.Module,
    candidate: torch.nn.Module,
    batches: Sequence[Any],
    *,
    rounds: int = 5,
    answer: Answer = answer,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Returns speed-up against agreement of a thinned model with the one it was made from.

    `agreement`: {value, low, high, n} of the same largest entry. `kl`: mean KL divergence of
    the candidate's answers from the reference's, in nats. `speedup`: seconds of the reference over
    those of the candidate on the first batch, over rounds in which both take turns: median, min
    and max, and that of the fastest of each, which a busy machine moves least. On one thread of a busy
    machine `time.process_time` is the better `clock`.
    """
    logits = [[_run(model, b, answer) for b in batches] for model in (reference, candidate)]
    ours, theirs = (torch.cat(each).double().cpu().numpy() for each in logits)
    seconds = _seconds((reference, candidate), batches[0], rounds, answer, clock)
    speedups = seconds[0] / seconds[1]
    return {
        "agreement": metrics.share(ours.argmax(axis=1) == theirs.argmax(axis=1)),
        "kl": _kl(ours, theirs),
        "speedup": {
            "median": float(np.median(speedups)),
            "min": float(speedups.min()),
            "max": float(speedups.max()),
            "of_fastest": float(seconds[0].min() / seconds[1].min()),
            "rounds": rounds,
        },
        "num_params": {"reference": _count(reference), "candidate": _count(candidate)},
    }


def save(thinned: Any, folder: Path, batch: Any, answer: Answer = answer) -> None:
    """Writes a thinned transformers model so that its own class loads it; checks that it does.

    Raises:
        UsageError: not a transformers model.
        WeightsError: loaded again it answers otherwise, as where a block depends on its place.
    """
    if not hasattr(thinned, "save_pretrained"):
        raise UsageError(
            f"{type(thinned).__name__}: no transformers model. Keep its state_dict and the names of "
            "the blocks; `without` takes them out of a new one before that is loaded"
        )
    thinned.save_pretrained(folder)
    try:
        again = type(thinned).from_pretrained(folder, dtype=thinned.dtype).to(thinned.device)
        before, after = (_run(model, batch, answer).float() for model in (thinned, again))
    except (OSError, RuntimeError, ValueError) as error:
        found = f"does not load again ({type(error).__name__})"
        raise WeightsError(f"{folder}: the thinned model {found}. {_EVEN}") from error
    if (before - after).abs().max() > 1e-4 * before.abs().max():
        raise WeightsError(f"{folder}: loaded again, the thinned model answers otherwise. {_EVEN}")


_EVEN = (
    "Its blocks depend on their place or its config does not count them; where they alternate, as "
    "in Swin, drop an even number with way='contiguous'"
)


def _shortened(stack: Stack, first: int, span: int) -> Stack:
    """The stack after `span` blocks of one of its runs went; those around them now meet."""
    runs = (
        tuple(index - span * (index > first) for index in run if not first <= index < first + span)
        for run in stack.runs
    )
    return Stack(stack.name, stack.num_blocks - span, tuple(run for run in runs if run))


class _Total:
    """A distance summed over batches."""

    def __init__(self, measure: Measure):
        self._measure = measure
        self._sums = np.zeros(3)

    def add(self, before: torch.Tensor, after: torch.Tensor) -> None:
        if self._measure == "angular":
            angles = angular_distance(before, after)
            self._sums[:2] += [float(angles.sum()), angles.numel()]
            return
        first, second = _gram(before), _gram(after)
        self._sums += [hsic(first, second), hsic(first, first), hsic(second, second)]

    @property
    def value(self) -> float:
        if self._measure == "angular":
            return float(self._sums[0] / self._sums[1])
        shared, first, second = self._sums
        # Unbiased estimates of tiny batches may come out below 0: nothing is known to be shared.
        return float(1 - shared / math.sqrt(first * second)) if first > 0 and second > 0 else 1.0


def angular_distance(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Returns arccos of the cosine over pi for every token or place; [n, T, D] or [n, D, H, W]."""
    axis = 1 if before.ndim == 4 and not _is_channels_last(before) else -1
    cosine = torch.nn.functional.cosine_similarity(before.float(), after.float(), dim=axis)
    return torch.arccos(cosine.clamp(-1, 1)) / math.pi


def hsic(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the unbiased HSIC of two Gram matrices [n, n] (Song et al., JMLR 13, 2012, eq. 5)."""
    n = len(first)
    if n < _LEAST_FOR_CKA:
        raise UsageError(
            f"a batch of {n} images, expected {_LEAST_FOR_CKA} or more for measure='cka'. Join "
            "batches, or take measure='angular'"
        )
    first, second = (matrix - np.diag(np.diag(matrix)) for matrix in (first, second))
    across = (first * second).sum()
    sums = first.sum() * second.sum() / ((n - 1) * (n - 2))
    rows = first.sum(axis=0) @ second.sum(axis=0) * 2 / (n - 2)
    return float((across + sums - rows) / (n * (n - 3)))


def _gram(values: torch.Tensor) -> np.ndarray:
    """Inner products of whole images, about their mean so that float32 keeps what differs."""
    flat = values.flatten(1).float()
    flat = flat - flat.mean(dim=0)
    return (flat @ flat.T).double().cpu().numpy()


def _is_channels_last(values: torch.Tensor) -> bool:
    """Whether [n, H, W, D] (Swin) and not [n, D, H, W]: the two equal sides tell."""
    return values.shape[1] == values.shape[2] != values.shape[3]


Passing = tuple[torch.Tensor, torch.Tensor]


@contextmanager
def _watching(blocks: dict[str, torch.nn.Module]) -> Iterator[dict[str, list[Passing]]]:
    """Yields what enters and leaves each block, filled in while a batch runs."""
    seen: dict[str, list[Passing]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_: Any, given: tuple[Any, ...], named: dict[str, Any], made: Any) -> None:
            before, after = _tensor([*given, *named.values()]), _tensor([made])
            if before is not None and after is not None:
                seen.setdefault(name, []).append((before, after))

        return hook

    handles = [
        block.register_forward_hook(watch(name), with_kwargs=True) for name, block in blocks.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _tensor(values: Sequence[Any]) -> torch.Tensor | None:
    """The first tensor of some arguments, or of a tuple that stands first."""
    for value in values:
        if isinstance(value, torch.Tensor):
            return value
        if isinstance(value, tuple | list) and value and isinstance(value[0], torch.Tensor):
            return value[0]
    return None


def _unit(name: str, seen: dict[str, list[Passing]], sizes: dict[str, int]) -> Passing | None:
    """What passed through a block that may go: it ran once, on images or tokens, and kept the shape.

    None of a stage that does nothing but run a list: the blocks of that list may go.
    """
    passed = seen.get(name, [])
    if len(passed) != 1:
        return None
    before, after = passed[0]
    if before.shape != after.shape or before.ndim < 3 or not before.is_floating_point():
        return None
    for inner, size in sizes.items():
        if inner == name or inner.startswith(f"{name}."):
            first, last = seen.get(f"{inner}.0", []), seen.get(f"{inner}.{size - 1}", [])
            if first and last and first[0][0] is before and last[-1][1] is after:
                return None
    return before, after


def _runs(passed: list[Passing | None]) -> tuple[tuple[int, ...], ...]:
    """Consecutive blocks of which each takes what the one before left; of blocks side by side none.

    None stands for a block that must stay.
    """
    runs: list[list[int]] = []
    for index, here in enumerate(passed):
        if here is None:
            continue
        before = passed[index - 1] if index else None
        if before is not None and torch.equal(before[1], here[0]):
            runs[-1].append(index)
        elif before is not None and torch.equal(before[0], here[0]):
            return ()
        else:
            runs.append([index])
    return tuple(map(tuple, runs))


_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers")


def _correct_config(model: torch.nn.Module, stack: str, before: int, kept: list[int]) -> None:
    """Sets the number of layers in the config nearest to the stack, where that one counts it."""
    config = _config_of(model, stack)
    if config is None:
        return
    depths = getattr(config, "depths", None)
    if depths is not None:  # of each stage, whose number is in the stack's name
        stages = [int(part) for part in stack.split(".") if part.isdigit()]
        if stages and stages[0] < len(depths) and depths[stages[0]] == before:
            config.depths = [
                len(kept) if stage == stages[0] else depth for stage, depth in enumerate(depths)
            ]
        return
    if len(getattr(config, "layer_types", None) or ()) == before:
        config.layer_types = [config.layer_types[index] for index in kept]
    for name in _COUNTS:
        if getattr(config, name, None) == before:
            setattr(config, name, len(kept))
            _correct_stages(config, before, len(kept))
            return


def _correct_stages(config: Any, before: int, after: int) -> None:
    """As a backbone (DINOv2, BEiT) a model names its layers, and the last one as what it returns."""
    names = getattr(config, "stage_names", None) or []
    if len(names) == before + 1 and list(config.out_features or ()) == names[-1:]:
        config.stage_names = names[: after + 1]
        config.set_output_features_output_indices(out_features=None, out_indices=None)


def _config_of(model: torch.nn.Module, stack: str) -> Any:
    parts = stack.split(".")
    for length in range(len(parts), -1, -1):
        owner = model.get_submodule(".".join(parts[:length]))
        if getattr(owner, "config", None) is not None:
            return owner.config
    return None


@torch.inference_mode()
def _run(model: Any, batch: Any, answer: Answer) -> torch.Tensor:
    model.eval()
    return answer(model, batch).detach()


def _seconds(
    models: tuple[Any, Any], batch: Any, rounds: int, answer: Answer, clock: Callable[[], float]
) -> np.ndarray:
    """Seconds [2, rounds] of both; in each round one after the other, what else runs meets both."""
    seconds = np.zeros((2, rounds))
    for turn in range(-1, rounds):  # the round before the first warms both up
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            start = clock()
            _run(models[which], batch, answer).cpu()  # read, so it is there, on a GPU too
            if turn >= 0:
                seconds[which, turn] = clock() - start
    return seconds


def _kl(reference_NK: np.ndarray, candidate_NK: np.ndarray) -> float:
    probs = metrics.softmax(reference_NK)
    ours, theirs = (
        np.log(np.maximum(metrics.softmax(each), 1e-12)) for each in (reference_NK, candidate_NK)
    )
    return float((probs * (ours - theirs)).sum(axis=1).mean())


def _count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())

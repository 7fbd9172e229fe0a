"""Searches over what a stage may be told, by trying: stages are called through plain functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.records import to_dict
from edgekd.store import digest, read_json, write_json

Sweep = tuple[float, ...]


@dataclass(frozen=True)
class Tried:
    """What a short training on targets of these temperatures had on tune."""

    temperatures: Sweep
    accuracy: float
    nll: float


def sweeps(temperatures: Sequence[float]) -> list[Sweep]:
    """Returns the sweeps to try: all temperatures, all but each, each alone; no two the same."""
    every = tuple(dict.fromkeys(temperatures))
    without = [tuple(other for other in every if other != one) for one in every]
    alone = [(one,) for one in every]
    return [sweep for sweep in dict.fromkeys([every, *without, *alone]) if sweep]


def try_sweeps(
    temperatures: Sequence[float],
    train: Callable[[Sweep], dict[str, float]],
    kept: Path,
    made_of: str,
    tell: Callable[[int, int], None],
) -> list[Tried]:
    """Returns what each sweep was worth, in the order of `sweeps`.

    `train` returns {"accuracy", "nll"}; each result is kept in the folder `kept` by `made_of`, the
    digest of all that it hangs on, so that a search that was stopped goes on. `tell` is told how many
    of how many are done.
    """
    found: list[Tried] = []
    candidates = sweeps(temperatures)
    if len(candidates) < 2:  # nothing to choose between
        return found
    for number, sweep in enumerate(candidates):
        path = kept / f"{digest([made_of, sweep])[:16]}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, train(sweep))
        values = read_json(path)
        found.append(Tried(sweep, values["accuracy"], values["nll"]))
        tell(number + 1, len(candidates))
    return found


def best_sweep(tried: Sequence[Tried]) -> Tried:
    """Returns the one whose student finds tune's labels likeliest; of equal ones the first.

    Accuracies of short trainings on few images differ by chance; likelihoods differ less.
    """
    return min(tried, key=lambda each: each.nll)


def summary(tried: Sequence[Tried], steps: int) -> dict[str, object]:
    """Returns {steps, chosen, candidates} for the report; chosen is None where nothing was tried."""
    return {
        "steps": steps,
        "chosen": list(best_sweep(tried).temperatures) if tried else None,
        "candidates": [to_dict(each) for each in tried],
    }

"""The one training loop: distillation, the labels-alone baseline and recovery after pruning."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekd.progress import Progress
from edgekd.records import Preprocess
from edgekd.store import Stopwatch, atomic_path
from students.data import Changes, TrainingData, batches
from students.losses import kd_loss, label_loss, labelled_rows, multilabel_kd_loss
from students.models import device_of

Evaluate = Callable[[torch.nn.Module], dict[str, float]]

_FORMAT = 1  # of a saved state; another one is not read
# Between two saves a training runs this many times as long as a save takes: they cost under 5%.
_SAVE_SHARE = 20


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes one training; `lr` is the peak of warmup and cosine."""

    steps: int
    batch_size: int
    lr: float
    weight_decay: float
    warmup: float
    ema_decay: float
    kd_weight: float
    kd_temperature: float
    label_weight: float
    label_smoothing: float
    evaluations: int


@dataclass
class Training:
    """What a training leaves: the best weights by tune accuracy, and its history."""

    best_state: dict[str, torch.Tensor]
    best_metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    network: torch.nn.Module,
    data: TrainingData,
    preprocess: Preprocess,
    augment: Changes,
    recipe: Recipe,
    seed: int,
    evaluate: Evaluate | None,
    state_path: Path,
    progress: Progress,
    what: str,
) -> Training:
    """Trains in place and returns the best averaged weights.

    `evaluate` gives {"accuracy", "nll"} on tune; without it the last weights count. The state is
    saved to `state_path` at every evaluation and at the end of every epoch, but for epochs so short
    that saving would slow the training down. It is read from there when it exists, so a stopped
    training goes on and ends with the same weights; the caller removes it.
    """
    # Averages shrink towards zero; numbers below float32's normal range are many times slower.
    torch.set_flush_denormal(True)
    try:
        return _train(
            network, data, preprocess, augment, recipe, seed, evaluate, state_path, progress, what
        )
    finally:  # what follows must not depend on whether this process trained
        torch.set_flush_denormal(False)


def _train(
    network: torch.nn.Module,
    data: TrainingData,
    preprocess: Preprocess,
    augment: Changes,
    recipe: Recipe,
    seed: int,
    evaluate: Evaluate | None,
    state_path: Path,
    progress: Progress,
    what: str,
) -> Training:
    torch.manual_seed(seed)  # of dropout and the like, whatever was drawn before
    network.train()
    average = copy.deepcopy(network).eval()
    optimizer = torch.optim.AdamW(
        _parameter_groups(network, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.99)
    )
    result = Training(best_state=_cpu_state(average))
    saved = _Saved(state_path, network, average, optimizer, result)
    first_step = saved.resume()
    every = max(1, recipe.steps // recipe.evaluations)
    epoch = max(1, len(data.labels) // recipe.batch_size)
    stream = batches(data, preprocess, augment, recipe.batch_size, seed, first_step, recipe.steps)
    for step, batch in enumerate(stream, start=first_step):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * _schedule(step, recipe)
        loss = _loss(network, batch, recipe)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        _average(average, network, min(recipe.ema_decay, (step + 1) / (step + 10)))
        saved.losses.append(float(loss.detach()))
        progress(step + 1, recipe.steps, what)
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            _record(result, average, evaluate, step + 1, float(np.mean(saved.losses)))
            saved.losses = []
            saved.save(step + 1)
        elif (step + 1) % epoch == 0 and saved.is_due:
            saved.save(step + 1)
    network.load_state_dict(result.best_state)
    network.eval()
    return result


def _loss(network: torch.nn.Module, batch: Any, recipe: Recipe) -> torch.Tensor:
    device = device_of(network)
    images, probs, weight, labels = (torch.from_numpy(np.ascontiguousarray(a)) for a in batch)
    labels = labels.to(device)
    logits = network(images.permute(0, 3, 1, 2).to(device))
    loss = logits.new_zeros(())
    if recipe.kd_weight:
        distance = kd_loss if labels.ndim == 1 else multilabel_kd_loss
        soft = distance(logits, probs.to(device), weight.to(device), recipe.kd_temperature)
        loss = loss + recipe.kd_weight * soft
    if recipe.label_weight:
        # Mean over the batch, not over its labelled rows: one labelled image in a batch
        # weighs as much as one image, however few are labelled.
        share = labelled_rows(labels).float().mean()
        hard = label_loss(logits, labels, recipe.label_smoothing)
        loss = loss + recipe.label_weight * share * hard
    return loss


def _schedule(step: int, recipe: Recipe) -> float:
    warmup = max(1, int(recipe.warmup * recipe.steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))


def _parameter_groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Norms and biases are not decayed."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


@torch.no_grad()
def _average(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """Moves the average towards the network; running statistics too, counters are copied."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _record(
    result: Training, average: torch.nn.Module, evaluate: Evaluate | None, step: int, loss: float
) -> None:
    metrics = evaluate(average) if evaluate else {}
    result.history.append(
        {"step": step, "loss": loss} | {f"tune_{k}": v for k, v in metrics.items()}
    )
    better = not metrics or not result.best_metrics or _rank(metrics) >= _rank(result.best_metrics)
    if better:
        result.best_state = _cpu_state(average)
        result.best_metrics = metrics | {"step": step}


def _rank(metrics: dict[str, float]) -> tuple[float, float]:
    return metrics["accuracy"], -metrics["nll"]


def _cpu_state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}


class _Saved:
    """The state of a training on disk: all that its next step depends on.

    `losses` are those since the last evaluation.
    """

    def __init__(
        self,
        path: Path,
        network: torch.nn.Module,
        average: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        result: Training,
    ):
        self.path = path
        self.network, self.average, self.optimizer = network, average, optimizer
        self.result = result
        self.losses: list[float] = []
        self._since = Stopwatch()
        self._cost = 0.0

    @property
    def is_due(self) -> bool:
        return self._since.seconds >= _SAVE_SHARE * self._cost

    def save(self, step: int) -> None:
        watch = Stopwatch()
        state = {
            "format": _FORMAT,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_state": self.result.best_state,
            "best_metrics": self.result.best_metrics,
            "history": self.result.history,
            "losses": self.losses,
            "random": _random_state(),
            "step": step,
        }
        # Through a stream of ours, since torch's own says nothing of why it cannot write.
        with atomic_path(self.path) as temporary, temporary.open("wb") as stream:
            torch.save(state, stream)
        self._cost, self._since = watch.seconds, Stopwatch()

    def resume(self) -> int:
        """Loads the saved state when there is one; returns the next step."""
        if not self.path.is_file():
            return 0
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception:  # whatever torch raises on bad bytes: as if it were not there
            return 0
        if state.get("format") != _FORMAT:
            return 0
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.result.best_state = state["best_state"]
        self.result.best_metrics = state["best_metrics"]
        self.result.history = state["history"]
        self.losses = state["losses"]
        _set_random_state(state["random"])
        return int(state["step"])


def _random_state() -> list[torch.Tensor]:
    """The generators that dropout draws from: the processor's, then those of the GPUs."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_random_state(states: list[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) - 1 == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states[1:])

"""The training loop: it learns, it keeps the best, and a stop changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgekd.progress import Progress, silent
from edgekd.records import Preprocess
from edgekd.targets_file import Probs
from students import distill as distill_module
from students import models
from students.data import Augment, AugmentConfig, TrainingData
from students.distill import Recipe, Training, train
from students.evaluate import logits_of

SIDE, NUM_CLASSES = 32, 2
PREPROCESS = Preprocess(SIDE, SIDE)
RECIPE = Recipe(
    steps=6, batch_size=8, lr=0.003, weight_decay=0.02, warmup=0.1, ema_decay=0.9,
    kd_weight=1.0, kd_temperature=1.0, label_weight=1.0, label_smoothing=0.0, evaluations=3,
)  # fmt: skip
PLAIN = AugmentConfig(flip=0.5, shift=0, scale=0, rotate=0, brightness=0, cutout=0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """24 noisy pictures, dark ones of class 0 and bright ones of class 1; a third labelled."""
    rng = np.random.default_rng(0)
    labels = np.arange(24) % NUM_CLASSES
    level = np.where(labels == 0, 70, 180)[:, None, None, None]
    pixels = np.clip(level + rng.integers(-60, 60, (24, SIDE, SIDE, 3)), 0, 255)
    probs = np.where(np.eye(NUM_CLASSES)[labels] == 1, 0.9, 0.1).astype(np.float32)
    known = np.where(np.arange(24) % 3 == 0, labels, -1)
    targets = Probs(probs, None, NUM_CLASSES)
    return TrainingData(pixels.astype(np.uint8), targets, np.ones(24, np.float32), known)


def fresh() -> torch.nn.Module:
    torch.manual_seed(0)
    network, _ = models.build("mobilenetv4_conv_small_050", NUM_CLASSES)
    return network


def run(
    data: TrainingData,
    state: Path,
    recipe: Recipe = RECIPE,
    evaluate: Callable[[torch.nn.Module], dict[str, float]] | None = None,
    progress: Progress = silent,
) -> tuple[torch.nn.Module, Training]:
    network = fresh()
    augment = Augment(PLAIN)
    result = train(
        network, data, PREPROCESS, augment, recipe, 0, evaluate, state, progress, "student"
    )
    return network, result


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def steadily_better() -> Callable[[torch.nn.Module], dict[str, float]]:
    def evaluate(network: torch.nn.Module) -> dict[str, float]:
        return {"accuracy": 0.5, "nll": float(next(network.parameters()).detach().abs().sum())}

    return evaluate


class StopAt:
    """An evaluation that is stopped when it is asked for the nth time."""

    def __init__(self, number: int):
        self.left = number
        self.evaluate = steadily_better()

    def __call__(self, network: torch.nn.Module) -> dict[str, float]:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.evaluate(network)


def test_stopped_at_its_second_evaluation_and_resumed_it_ends_bit_for_bit_the_same(
    data: TrainingData, tmp_path: Path
) -> None:
    whole, whole_result = run(data, tmp_path / "whole.state", evaluate=steadily_better())
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "cut.state", evaluate=StopAt(2))
    done: list[int] = []

    def progress(step: int, total: int, what: str) -> None:
        done.append(step)

    resumed, result = run(
        data, tmp_path / "cut.state", evaluate=steadily_better(), progress=progress
    )
    assert done == [3, 4, 5, 6]  # steps 1 and 2 were kept
    assert same(weights(resumed), weights(whole))
    assert result.history == whole_result.history
    assert result.best_metrics == whole_result.best_metrics


class StopAfter:
    """A progress that stops the training after a step."""

    def __init__(self, step: int):
        self.step = step

    def __call__(self, done: int, total: int, what: str) -> None:
        if done == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("stop", "kept"), [(3, 0), (4, 3), (6, 3), (7, 6)])
def test_it_is_saved_at_the_end_of_every_epoch(
    stop: int, kept: int, data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 images in batches of 8: an epoch is 3 steps, and an evaluation comes after 8 alone."""
    monkeypatch.setattr(distill_module, "_SAVE_SHARE", 0)
    recipe = replace(RECIPE, steps=8, evaluations=1)
    whole, whole_result = run(data, tmp_path / "whole.state", recipe)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "cut.state", recipe, progress=StopAfter(stop))
    done: list[int] = []
    resumed, result = run(
        data, tmp_path / "cut.state", recipe, progress=lambda step, total, what: done.append(step)
    )
    assert done[0] == kept + 1
    assert same(weights(resumed), weights(whole))
    assert result.history == whole_result.history  # the mean loss of all 8 steps


def test_saving_takes_no_more_than_its_share(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a share that no epoch here reaches, the first one and the evaluation are left."""
    monkeypatch.setattr(distill_module, "_SAVE_SHARE", 1e9)
    saved: list[int] = []
    real = distill_module._Saved.save
    monkeypatch.setattr(
        distill_module._Saved, "save", lambda self, step: (saved.append(step), real(self, step))
    )
    run(data, tmp_path / "x.state", replace(RECIPE, steps=12, evaluations=1))
    assert saved == [3, 12]


def test_what_dropout_draws_goes_on_where_it_was(data: TrainingData, tmp_path: Path) -> None:
    def train_with_dropout(state: Path, progress: Progress = silent) -> dict[str, torch.Tensor]:
        network: Any = fresh()
        network.drop_rate = 0.5
        torch.rand(int(state.stat().st_size) if state.is_file() else 1)  # whatever came before
        train(
            network, data, PREPROCESS, Augment(PLAIN), RECIPE, 0, None, state, progress, "student"
        )
        return weights(network)

    whole = train_with_dropout(tmp_path / "whole.state")
    assert not same(whole, weights(run(data, tmp_path / "none.state")[0]))
    with pytest.raises(KeyboardInterrupt):
        train_with_dropout(tmp_path / "cut.state", StopAfter(4))
    assert same(train_with_dropout(tmp_path / "cut.state"), whole)


@pytest.mark.parametrize("content", [b"", b"half a state", None])
def test_a_state_that_cannot_be_read_starts_again(
    content: bytes | None, data: TrainingData, tmp_path: Path
) -> None:
    """Damaged, or of another edgekd (None)."""
    whole, _ = run(data, tmp_path / "whole.state")
    state = tmp_path / "x.state"
    if content is None:
        torch.save({"step": 4}, state)
    else:
        state.write_bytes(content)
    done: list[int] = []
    network, _ = run(data, state, progress=lambda step, total, what: done.append(step))
    assert done[0] == 1
    assert same(weights(network), weights(whole))


def test_after_a_training_small_numbers_count_again(data: TrainingData, tmp_path: Path) -> None:
    run(data, tmp_path / "x.state")
    assert float(torch.tensor([1e-39]) * torch.tensor([0.5])) > 0


def test_a_finished_training_is_read_and_not_repeated(data: TrainingData, tmp_path: Path) -> None:
    first, _ = run(data, tmp_path / "x.state", evaluate=steadily_better())
    done: list[int] = []
    second, result = run(
        data, tmp_path / "x.state", progress=lambda step, total, what: done.append(step)
    )
    assert done == []
    assert same(weights(first), weights(second))
    assert [entry["step"] for entry in result.history] == [2, 4, 6]


def test_the_best_weights_on_tune_are_returned(data: TrainingData, tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    accuracies = iter([0.4, 0.9, 0.6])

    def evaluate(network: torch.nn.Module) -> dict[str, float]:
        seen.append(weights(network))
        return {"accuracy": next(accuracies), "nll": 1.0}

    network, result = run(data, tmp_path / "x.state", evaluate=evaluate)
    assert result.best_metrics == {"accuracy": 0.9, "nll": 1.0, "step": 4}
    assert same(weights(network), seen[1])
    assert not same(weights(network), seen[2])
    assert [entry["tune_accuracy"] for entry in result.history] == [0.4, 0.9, 0.6]
    assert not network.training


def test_without_tune_the_last_weights_count(data: TrainingData, tmp_path: Path) -> None:
    network, result = run(data, tmp_path / "x.state")
    state = torch.load(tmp_path / "x.state", weights_only=True)
    assert result.best_metrics == {"step": 6}
    assert same(weights(network), state["average"])
    assert np.isfinite([entry["loss"] for entry in result.history]).all()


def test_it_learns_what_the_targets_say(data: TrainingData, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=60, batch_size=24, evaluations=3, label_weight=0.0)
    network, result = run(data, tmp_path / "x.state", recipe)
    logits = logits_of(network, data.pixels, PREPROCESS)
    assert (logits.argmax(axis=1) == data.probs.argmax()).mean() > 0.9
    # Knowing nothing costs ln 2 less the targets' entropy: .693 - .325.
    assert result.history[-1]["loss"] < 0.5 * 0.368


def test_rows_without_weight_and_label_do_not_move_the_network(
    data: TrainingData, tmp_path: Path
) -> None:
    """But for weight decay, which is switched off here."""
    nothing = TrainingData(
        data.pixels, data.probs, np.zeros_like(data.weight), np.full_like(data.labels, -1)
    )
    recipe = replace(RECIPE, weight_decay=0.0, steps=2)
    network, _ = run(nothing, tmp_path / "x.state", recipe)
    before = dict(fresh().named_parameters())
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_evaluation_is_in_eval_mode_and_does_not_change_the_network(data: TrainingData) -> None:
    network = fresh().train()
    before = weights(network)
    whole = logits_of(network, data.pixels, PREPROCESS, batch=24)
    parts = logits_of(network, data.pixels, PREPROCESS, batch=5)
    assert network.training
    assert same(weights(network), before)
    assert parts == pytest.approx(whole, abs=1e-5)

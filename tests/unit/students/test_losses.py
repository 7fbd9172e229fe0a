"""Losses against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from students.losses import ShapeError, kd_loss, label_loss, multilabel_kd_loss

# softmax of the first row is (3/4, 1/4).
LOGITS = torch.tensor([[math.log(3), 0.0]])
HALVES = torch.tensor([[0.5, 0.5]])
ONE = torch.ones(1)


def test_kd_loss_by_hand() -> None:
    # 1/2 ln(1/2 / 3/4) + 1/2 ln(1/2 / 1/4) = 1/2 ln(4/3)
    loss = kd_loss(LOGITS, HALVES, ONE, 1.0)
    assert loss.shape == ()
    assert float(loss) == pytest.approx(0.5 * math.log(4 / 3), rel=1e-5)


def test_kd_loss_at_temperature_2_by_hand() -> None:
    # The target stays one half each; the student's odds become the root of 3.
    first = math.sqrt(3) / (1 + math.sqrt(3))
    divergence = 0.5 * math.log(0.5 / first) + 0.5 * math.log(0.5 / (1 - first))
    assert float(kd_loss(LOGITS, HALVES, ONE, 2.0)) == pytest.approx(4 * divergence, rel=1e-5)


def test_targets_are_softened_as_the_student_is() -> None:
    """A student whose logits are the log of the targets has no loss at any temperature."""
    targets = torch.tensor([[0.7, 0.2, 0.1]])
    for temperature in (0.5, 1.0, 4.0):
        loss = kd_loss(targets.log(), targets, ONE, temperature)
        assert float(loss) == pytest.approx(0, abs=1e-6)


def test_the_square_of_the_temperature_keeps_the_gradients_their_size() -> None:
    def gradient(temperature: float) -> float:
        logits = torch.tensor([[0.2, -0.1, 0.0]], requires_grad=True)
        targets = torch.softmax(torch.tensor([[-0.3, 0.1, 0.2]]), dim=1)
        kd_loss(logits, targets, ONE, temperature).backward()
        assert logits.grad is not None
        return float(logits.grad.norm())

    assert gradient(4.0) == pytest.approx(gradient(1.0), rel=0.1)
    assert gradient(20.0) == pytest.approx(gradient(4.0), rel=0.05)


def test_rows_are_weighted_and_the_mean_is_over_the_batch() -> None:
    logits, targets = LOGITS.repeat(4, 1), HALVES.repeat(4, 1)
    weight = torch.tensor([1.0, 0.0, 0.5, 0.0])
    one = 0.5 * math.log(4 / 3)
    assert float(kd_loss(logits, targets, weight, 1.0)) == pytest.approx(1.5 * one / 4, rel=1e-5)


def test_a_certain_target_is_no_nan() -> None:
    loss = kd_loss(LOGITS, torch.tensor([[1.0, 0.0]]), ONE, 1.0)
    assert float(loss) == pytest.approx(-math.log(0.75), rel=1e-4)


def test_other_class_counts_are_refused() -> None:
    with pytest.raises(ShapeError) as caught:
        kd_loss(torch.zeros(2, 3), torch.zeros(2, 4), torch.ones(2), 1.0)
    assert str(caught.value) == ("student logits (2, 3), targets (2, 4): expected the same shape")


def test_label_loss_ignores_rows_without_a_label() -> None:
    logits = torch.cat([LOGITS, torch.tensor([[9.0, -9.0], [0.0, 0.0]])])
    # Rows 0 and 2 count: -ln(3/4) and -ln(1/2).
    loss = label_loss(logits, torch.tensor([0, -1, 1]))
    assert float(loss) == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, rel=1e-5)


def test_label_loss_without_any_label_is_zero_and_still_has_a_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = label_loss(logits, torch.tensor([-1]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_label_smoothing_by_hand() -> None:
    # .9 on the label and .1 spread over both: -(.95 ln 3/4 + .05 ln 1/4)
    loss = label_loss(LOGITS, torch.tensor([0]), 0.1)
    assert float(loss) == pytest.approx(-(0.95 * math.log(0.75) + 0.05 * math.log(0.25)), rel=1e-5)


def test_the_loss_of_several_labels_by_hand() -> None:
    # Of the student 3/4 and 1/2; the target says 1/2 and 1/2: only the first class has a distance.
    logits, targets = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.5, 0.5]])
    divergence = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert float(multilabel_kd_loss(logits, targets, ONE, 1.0)) == pytest.approx(
        divergence, abs=1e-5
    )
    assert float(multilabel_kd_loss(logits, targets, torch.zeros(1), 1.0)) == 0
    root = math.sqrt(3) / (1 + math.sqrt(3))
    softer = 0.5 * math.log(0.5 / root) + 0.5 * math.log(0.5 / (1 - root))
    found = float(multilabel_kd_loss(logits, targets, ONE, 2.0))
    assert found == pytest.approx(4 * softer, abs=1e-5)
    with pytest.raises(ShapeError):
        multilabel_kd_loss(logits, targets[:, :1], ONE, 1.0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_student_of_several_labels_that_says_what_the_target_does_has_no_loss(
    temperature: float,
) -> None:
    targets = torch.tensor([[0.9, 0.02, 0.4], [0.0, 1.0, 0.5]])
    loss = multilabel_kd_loss(torch.logit(targets, eps=1e-6), targets, torch.ones(2), temperature)
    assert float(loss) == pytest.approx(0, abs=1e-4)


def test_labels_of_several_classes_by_hand() -> None:
    labels = torch.tensor([[1, 0], [-1, -1]], dtype=torch.int8)
    logits = torch.tensor([[math.log(3), 0.0], [5.0, 5.0]], requires_grad=True)
    loss = label_loss(logits, labels)
    assert loss.item() == pytest.approx(-math.log(0.75) - math.log(0.5), rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[1].abs().sum() == 0
    assert float(label_loss(logits[1:], labels[1:])) == 0

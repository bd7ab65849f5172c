"""The two losses and the metrics, against values worked by hand and torch's own in float64."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tuner.training.criterion import CRITERIA, soft_cross_entropy, softmax_bce
from tuner.training.metrics import ece, error, evaluate, measure, nll, top_k_error

every_criterion = pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)


def logits_and_targets(n=8, k=5, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(n, k, generator=generator)
    return logits, torch.rand(n, k, generator=generator).softmax(1)


def test_cross_entropy_by_hand():
    logits = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log()
    targets = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    assert soft_cross_entropy(logits, targets).item() == pytest.approx((-math.log(0.75) + math.log(2)) / 2)


def test_softmax_bce_by_hand():
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    targets = torch.tensor([[1.0, 0.0, 0.0]])
    expected = -(math.log(0.5) + math.log(0.7) + math.log(0.8)) / 3
    assert softmax_bce(logits, targets).item() == pytest.approx(expected)


def test_softmax_bce_is_torch_s_bce_on_the_softmax():
    logits, targets = logits_and_targets()
    logits.requires_grad_()
    exact = logits.detach().double().requires_grad_()
    reference = nn.BCELoss()(exact.softmax(1), targets.double())
    reference.backward()
    ours = softmax_bce(logits, targets)
    ours.backward()
    assert ours.item() == pytest.approx(reference.item(), rel=1e-5)
    torch.testing.assert_close(logits.grad, exact.grad.float(), rtol=1e-4, atol=1e-6)


def test_softmax_bce_of_a_confidently_wrong_sample_is_exact_and_keeps_its_gradient():
    logits = torch.tensor([[300.0, 0.0, 0.0]], requires_grad=True)
    loss = softmax_bce(logits, torch.tensor([[0.0, 1.0, 0.0]]))
    loss.backward()
    # log p of the label is -300, and log(1 - p) of the wrong one is log 2 - 300.
    assert loss.item() == pytest.approx((300 + 300 - math.log(2)) / 3)
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 0] > 0.5


@every_criterion
def test_affine_in_the_target(criterion):
    logits, first = logits_and_targets()
    second, share = first.roll(3, 0), 0.3
    mixed = criterion(logits, share * first + (1 - share) * second)
    torch.testing.assert_close(mixed, share * criterion(logits, first) + (1 - share) * criterion(logits, second))


@every_criterion
def test_float32_under_autocast(criterion):
    logits, targets = logits_and_targets()
    with torch.autocast("cpu", torch.bfloat16):
        loss = criterion(logits.bfloat16(), targets)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, criterion(logits.bfloat16().float(), targets))


def test_errors_and_nll_by_hand():
    logits = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]).log()
    labels = torch.tensor([0, 1, 2, 2])
    assert error(logits, labels) == 0.5
    assert top_k_error(logits, labels, 2) == 0.25
    assert nll(logits, labels) == pytest.approx(-math.log(0.6 * 0.3 * 0.1 * 0.8) / 4)


def binary(confidences):
    return torch.tensor([[c, 1 - c] for c in confidences], dtype=torch.float64).log().float()


def test_ece_by_hand():
    # Bins of 1/15: .61 and .65 share (.6, .6667], .95 is alone in (.9333, 1].
    logits, labels = binary([0.61, 0.65, 0.95, 0.95]), torch.tensor([0, 1, 0, 0])
    expected = (abs(1 - 0.61 - 0.65) + abs(2 - 2 * 0.95)) / 4
    assert ece(logits, labels) == pytest.approx(expected, abs=1e-6)


def test_ece_does_not_let_bins_cancel():
    # Right at .7 and wrong at .55 is badly calibrated though confidence and accuracy agree better on average.
    logits, labels = binary([0.7, 0.55]), torch.tensor([0, 1])
    assert ece(logits, labels) == pytest.approx((0.3 + 0.55) / 2, abs=1e-6)


def test_ece_ends():
    certain = torch.tensor([[100.0, 0.0], [100.0, 0.0]])
    assert ece(certain, torch.tensor([0, 0])) == pytest.approx(0, abs=1e-6)
    assert ece(certain, torch.tensor([1, 1])) == pytest.approx(1, abs=1e-6)


def test_a_diverged_net_is_measured_without_a_crash():
    measured = measure(torch.full((4, 3), torch.nan), torch.tensor([0, 1, 2, 0]))
    assert math.isnan(measured["nll"])


def test_top5_from_100_classes_on():
    labels = torch.zeros(2, dtype=torch.int64)
    assert list(measure(torch.randn(2, 99), labels)) == ["error", "nll", "ece"]
    assert list(measure(torch.randn(2, 100), labels)) == ["error", "nll", "ece", "top5_error"]


def test_evaluate_is_in_eval_mode_and_the_same_in_any_batches():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(8), nn.Dropout(0.9), nn.Linear(8, 3))
    images, labels = torch.randn(10, 2, 2, 2), torch.randint(3, (10,))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    whole = evaluate(net.train(), [(images, labels)])
    parts = evaluate(net.train(), zip(images.split(4), labels.split(4), strict=True))
    assert not net.training
    assert parts == pytest.approx(whole)
    assert whole["nll"] == pytest.approx(F.cross_entropy(net(images), labels).item())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())

"""No regularizer: the plain loss, and nothing drawn."""

import torch
from torch import nn

from tuner.regularizers import Step, get
from tuner.training.criterion import soft_cross_entropy


def test_is_the_plain_loss_of_the_net_in_training_mode_and_draws_nothing():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images, targets = torch.randn(3, 1, 2, 2), torch.eye(2)[[0, 1, 1]]
    step = Step(soft_cross_entropy, torch.Generator().manual_seed(0), progress=0.0, mean=(0.0,), std=(1.0,))
    before = step.generator.get_state()
    assert torch.equal(get("none")().loss(net, images, targets, step), soft_cross_entropy(net(images), targets))
    assert torch.equal(step.generator.get_state(), before)

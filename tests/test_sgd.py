import pytest
import torch
from torch import nn

from tuner.training.settings import Training
from tuner.training.sgd import SGD


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.0, False)])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_every_update_is_bitwise_that_of_torch(momentum, nesterov, weight_decay):
    training = Training.model_validate(
        {
            "epochs": 1,
            "batch_size": 1,
            "lr": 0.1,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "schedule": {"name": "constant"},
        }
    )
    ours, theirs = (nn.Linear(7, 5) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    sgd = SGD(ours.parameters(), training)
    reference = torch.optim.SGD(
        theirs.parameters(), lr=1.0, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True
    )
    for step in range(10):
        lr = 0.1 / (step + 1)
        reference.param_groups[0]["lr"] = lr
        images = torch.randn(3, 7)
        for net, optimizer in ((ours, sgd), (theirs, reference)):
            optimizer.zero_grad()
            net(images).square().mean().backward()
        sgd.step(lr)
        reference.step()
        for name, weight in ours.state_dict().items():
            assert torch.equal(weight, theirs.state_dict()[name])


def test_parameters_that_a_step_left_out_stay_as_they_are():
    training = Training.model_validate(
        {"epochs": 1, "batch_size": 1, "lr": 0.1, "weight_decay": 0.1, "schedule": {"name": "constant"}}
    )
    reached, left_out = nn.Linear(3, 2), nn.Linear(3, 2)
    before = left_out.weight.clone()
    sgd = SGD([*reached.parameters(), *left_out.parameters()], training)
    reached(torch.randn(4, 3)).sum().backward()
    weight = reached.weight.clone()
    sgd.step(0.1)
    assert torch.equal(left_out.weight, before)
    assert not torch.equal(reached.weight, weight)

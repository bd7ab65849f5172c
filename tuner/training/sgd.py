"""Stochastic gradient descent with momentum, by the kernel of `torch.optim.SGD(fused=True)` and equal to it bit by bit.

Not torch's class, because building one imports torch's compiler: seconds in every worker, as many as a trial may take.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from tuner.training.settings import Training


class SGD:
    """Updates parameters in place from their gradients; the learning rate is an argument of each step."""

    def __init__(self, parameters: Iterable[nn.Parameter], training: Training):
        self.parameters = list(parameters)
        self.training = training
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters] if training.momentum else []

    def zero_grad(self) -> None:
        """Drops the gradients, so that the next backward pass writes them instead of adding."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One update. Weight decay is part of the gradient, as in the papers' codes."""
        # A method may leave parameters out of a step: they stay as they are, velocities too.
        reached = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        torch._fused_sgd_(
            [self.parameters[i] for i in reached],
            [self.parameters[i].grad for i in reached],
            [self.velocities[i] for i in reached] if self.velocities else [],
            lr=lr,
            momentum=self.training.momentum,
            nesterov=self.training.nesterov,
            weight_decay=self.training.weight_decay,
            dampening=0.0,
            maximize=False,
            is_first_step=False,  # velocities begin at zero, which comes to the same
        )

    def state_dict(self) -> dict[str, Any]:
        return {"velocities": self.velocities}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for velocity, saved in zip(self.velocities, state["velocities"], strict=True):
            velocity.copy_(saved)

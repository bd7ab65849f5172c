"""Stochastic gradient descent with momentum, update for update what `torch.optim.SGD` computes.

Our own, because building torch's imports its compiler: seconds in every worker process, as long as a short trial trains.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tuner.training.settings import Training


class SGD:
    """Updates parameters in place from their gradients; the learning rate is an argument of each step."""

    def __init__(self, parameters: Iterable[nn.Parameter], training: Training):
        self.parameters = list(parameters)
        self.training = training
        self.velocities: list[Tensor] = []

    def zero_grad(self) -> None:
        """Drops the gradients, so that the next backward pass writes them instead of adding."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One update. Weight decay is part of the gradient, as in the papers' codes."""
        momentum = self.training.momentum
        gradients = torch._foreach_add(
            [parameter.grad for parameter in self.parameters], self.parameters, alpha=self.training.weight_decay
        )
        if not self.velocities:
            self.velocities = [gradient.clone() for gradient in gradients]
        else:
            torch._foreach_mul_(self.velocities, momentum)
            torch._foreach_add_(self.velocities, gradients)
        if self.training.nesterov:
            torch._foreach_add_(gradients, self.velocities, alpha=momentum)
        else:
            gradients = self.velocities
        torch._foreach_add_(self.parameters, gradients, alpha=-lr)

    def state_dict(self) -> dict[str, Any]:
        return {"velocities": self.velocities}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.velocities = [
            velocity.to(parameter.device)
            for velocity, parameter in zip(state["velocities"], self.parameters, strict=False)
        ]

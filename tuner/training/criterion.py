"""The two losses that the literature trains with. Both are affine in the target; PatchUp's form rests on that."""

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor
from torch.nn import functional as F

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(logits (N,K), targets (N,K)) -> float32 scalar, the mean. Each target is a distribution over the classes."""


def _in_float32(criterion: Criterion) -> Criterion:
    @wraps(criterion)
    def whatever_autocast_says(logits: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            return criterion(logits.float(), targets.float())

    return whatever_autocast_says


@_in_float32
def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over samples of `-sum_k t_k log p_k`, with p the softmax of the logits."""
    return F.cross_entropy(logits, targets)


@_in_float32
def softmax_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over samples and classes of `-t log p - (1 - t) log(1 - p)`, with p the softmax of the logits.

    The loss of the codes of Manifold Mixup, Puzzle Mix and PatchUp; about 2/K of cross-entropy, so that learning rate
    and weight decay mean something else under it. Those codes take logarithms of a rounded p and clamp them at -100;
    here both come from the logits, exact and unclamped, so that a confidently wrong sample keeps its gradient.
    """
    log_p = F.log_softmax(logits, dim=1)
    # log(1 - p) cancels only where p is above 1/2: at most once a row, at its top. There, sum the others instead.
    top = log_p.argmax(dim=1, keepdim=True)
    others = log_p.scatter(1, top, -torch.inf)
    log_rest = torch.log1p(-others.exp()).scatter(1, top, others.logsumexp(dim=1, keepdim=True))
    return -(targets * log_p + (1 - targets) * log_rest).mean()


CRITERIA: dict[str, Criterion] = {"ce": soft_cross_entropy, "bce": softmax_bce}

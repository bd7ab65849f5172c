"""What is measured on held-out images: pure functions of float32 logits (N,K) and int64 labels (N,)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TOP5_FROM_CLASSES = 100  # below, five guesses are too many to tell nets apart
ECE_BINS = 15  # as in Guo et al. 2017, section 5


def top_k_error(logits: Tensor, labels: Tensor, k: int) -> float:
    """The share of samples, in [0, 1], whose label is not among the k largest logits."""
    return 1 - (logits.topk(k, dim=1).indices == labels[:, None]).any(dim=1).double().mean().item()


def error(logits: Tensor, labels: Tensor) -> float:
    """The share of wrong predictions, in [0, 1]."""
    return top_k_error(logits, labels, 1)


def nll(logits: Tensor, labels: Tensor) -> float:
    """The mean negative log-likelihood of the labels, in nats."""
    return F.cross_entropy(logits, labels).item()


def ece(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error, in [0, 1]: |accuracy - confidence| in bins of confidence, weighted by their samples.

    Equal-width bins, open below and closed above (Guo et al. 2017, eqs. 2 to 5); confidence is the largest probability.
    """
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    bins = ((confidence * ECE_BINS).ceil().long() - 1).clamp(0, ECE_BINS - 1)
    # A bin's sum of (hit - confidence) is its size times its gap, so that the sizes cancel against the weights.
    surplus = (predicted == labels).double() - confidence.double()
    return torch.bincount(bins, weights=surplus, minlength=ECE_BINS).abs().sum().item() / len(labels)


def measure(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Every metric by name; `top5_error` from 100 classes on."""
    measured = {"error": error(logits, labels), "nll": nll(logits, labels), "ece": ece(logits, labels)}
    if logits.shape[1] >= TOP5_FROM_CLASSES:
        measured["top5_error"] = top_k_error(logits, labels, 5)
    return measured


@torch.inference_mode()
def evaluate(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Every metric of a net over (images, labels) batches; leaves the net in eval mode.

    The net runs in float32 even where it trains in bfloat16: how training is sped up should not touch the measurement.
    """
    net.eval()
    outputs = [(net(images).float(), labels) for images, labels in batches]
    logits, labels = (torch.cat(parts).cpu() for parts in zip(*outputs, strict=True))
    return measure(logits, labels)

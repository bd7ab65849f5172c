"""All randomness of the regularizers.

Every draw starts from a generator on the CPU: nothing waits for the device, and one seed gives the same numbers, pairs
and boxes everywhere. Fields alone differ from one kind of device to another."""

from collections.abc import Sequence

import torch
from torch import Tensor

# Below it a Beta draw is wrong: both of the gamma draws behind it underflow, and their ratio comes out as 1/2.
SMALLEST_ALPHA = 0.01


def uniform(generator: torch.Generator) -> float:
    """A number from U[0, 1)."""
    return torch.rand((), dtype=torch.float64, generator=generator).item()


def integer(low: int, high: int, generator: torch.Generator) -> int:
    """An integer from low, ..., high - 1."""
    return int(torch.randint(low, high, (), generator=generator))


def beta(alpha: float, generator: torch.Generator) -> float:
    """A number from Beta(alpha, alpha), alpha >= SMALLEST_ALPHA.

    Drawn as a two-sided Dirichlet because `torch.distributions.Beta` takes no generator; in float64 because for small
    alpha float32 puts visibly too much mass on exactly 0 and 1.
    """
    concentration = torch.full((2,), alpha, dtype=torch.float64)
    return torch._sample_dirichlet(concentration, generator)[0].item()


def permutation(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """A uniform permutation int64 (n,): sample i is paired with sample perm[i], which may be i itself."""
    return torch.randperm(n, generator=generator).to(device, non_blocking=True)


def uniform_field(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """A float32 tensor of U[0, 1) numbers, drawn on the device itself.

    Only a 63-bit seed comes from the host's generator: no upload, no wait, no second stream for a checkpoint to carry.
    Never in bfloat16: its values are so few that `field < p` comes true 3 times too often at p = .001.
    """
    seed = integer(0, 2**63 - 1, generator)
    return torch.rand(
        tuple(shape), dtype=torch.float32, device=device, generator=torch.Generator(device).manual_seed(seed)
    )

"""Independent random streams from one seed, each addressed by a path.

They are stateless: what epoch 7 or step 812 draws depends on the seed and its path alone. So a resumed run needs no
generator's state, and methods that draw differently still share their initialisation and their order of images."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the stream at `path`, as in `seed_of(0, "order", 7)`; hashed: neighbours are unrelated."""
    digest = hashlib.sha256(json.dumps([seed, *path]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *path: str | int) -> torch.Generator:
    """A fresh generator on the CPU at the start of the stream at `path`."""
    return torch.Generator().manual_seed(seed_of(seed, *path))


@contextmanager
def global_stream(seed: int, *path: str | int) -> Iterator[None]:
    """Inside, torch's global CPU generator is the stream at `path`; after, it is as it was.

    For the one place that cannot be handed a generator: the constructors of torch's layers.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would also reseed every accelerator, which fork_rng leaves alone here.
        torch.default_generator.manual_seed(seed_of(seed, *path))
        yield

"""Images in batches: what every kind of images has in common there."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


class Batches(ABC):
    """A set of images cut into batches: shuffled and augmented to train on, in order and unchanged to evaluate."""

    def __init__(self, count: int, batch_size: int, train: bool):
        self.train = train
        self.edges = [*range(0, count, batch_size), count]
        if train and len(self.edges) > 2 and self.edges[-1] - self.edges[-2] == 1 < batch_size:
            # BatchNorm has no variance over one image: the last one joins the batch before it.
            del self.edges[-2]

    def __len__(self) -> int:
        return len(self.edges) - 1

    @final
    def epoch(self, generator: torch.Generator | None = None, start_batch: int = 0) -> Iterator[Batch]:
        """Yields (images float32 (B,C,H,W), labels int64 (B,)) of every batch from `start_batch` on.

        Training takes a CPU generator and draws the whole epoch from it before the first batch: whatever `start_batch`,
        a batch is the same. Evaluation draws nothing and takes None.
        """
        if self.train != (generator is not None):
            raise ValueError(
                "a training epoch draws from a generator and an evaluation epoch takes None, "
                f"got train={self.train} and {generator}"
            )
        slices = [slice(start, stop) for start, stop in pairwise(self.edges)][start_batch:]
        yield from self._shuffled(slices, generator) if generator else self._in_order(slices)

    @abstractmethod
    def _shuffled(self, slices: Sequence[slice], generator: torch.Generator) -> Iterator[Batch]:
        """The batches at these places of a shuffled, augmented epoch."""

    @abstractmethod
    def _in_order(self, slices: Sequence[slice]) -> Iterator[Batch]:
        """The batches at these places, unchanged."""

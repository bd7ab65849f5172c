"""Batches of normalised images, cropped and flipped image by image on the device that holds them."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from tuner.datasets.base import Data, ImageSet


class Batches:
    """One image set cut into batches: shuffled and augmented to train on, in order and unchanged to evaluate.

    In training each image of an epoch draws its own crop, uniform over the (2p+1)^2 offsets in a black border of p
    pixels, and its own flip: what torchvision's RandomCrop(padding=p) and RandomHorizontalFlip do to single images.
    """

    def __init__(self, image_set: ImageSet, data: Data, batch_size: int, train: bool):
        self.image_set = image_set
        self.train = train
        self.flip = data.flip
        self.padding = data.crop_padding
        self.mean, self.std = (
            255 * torch.tensor(channels, device=image_set.images.device).view(-1, 1, 1)
            for channels in (data.mean, data.std)
        )
        if train:
            self.windows = crop_windows(image_set.images, self.padding)
        self.edges = [*range(0, len(image_set), batch_size), len(image_set)]
        if train and len(self.edges) > 2 and self.edges[-1] - self.edges[-2] == 1 < batch_size:
            # BatchNorm has no variance over one image: the last one joins the batch before it.
            del self.edges[-2]

    def __len__(self) -> int:
        return len(self.edges) - 1

    def epoch(self, generator: torch.Generator | None = None, start_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (images float32 (B,C,H,W), labels int64 (B,)) of every batch from `start_batch` on.

        Training takes a CPU generator and draws the whole epoch from it before the first batch: whatever `start_batch`,
        a batch is the same. Evaluation draws nothing and takes None.
        """
        if self.train != (generator is not None):
            raise ValueError(
                "a training epoch draws from a generator and an evaluation epoch takes None, "
                f"got train={self.train} and {generator}"
            )
        take = self._augmented(generator) if self.train else self._plain
        for start, stop in list(pairwise(self.edges))[start_batch:]:
            images, labels = take(slice(start, stop))
            yield images.to(torch.float32).sub_(self.mean).div_(self.std), labels

    def _plain(self, batch: slice) -> tuple[Tensor, Tensor]:
        return self.image_set.images[batch], self.image_set.labels[batch]

    def _augmented(self, generator: torch.Generator) -> Callable[[slice], tuple[Tensor, Tensor]]:
        count = len(self.image_set)
        order, down, right, mirrored = (
            draw.to(self.image_set.images.device)
            for draw in (
                torch.randperm(count, generator=generator),
                *torch.randint(2 * self.padding + 1, (2, count), generator=generator),
                torch.randint(2, (count, 1, 1, 1), generator=generator, dtype=torch.bool),
            )
        )

        def take(batch: slice) -> tuple[Tensor, Tensor]:
            images = self.windows[order[batch], :, down[batch], right[batch]]
            if self.flip:
                images = torch.where(mirrored[batch], images.flip(-1), images)
            return images, self.image_set.labels[order[batch]]

        return take


def crop_windows(images: Tensor, padding: int) -> Tensor:
    """Every crop of images (N,C,H,W) in a black border of `padding` pixels, as a view (N,C,2p+1,2p+1,H,W).

    One advanced index into it crops a whole batch, each image at its own offset; only the border takes memory.
    """
    height, width = images.shape[2:]
    return F.pad(images, (padding, padding, padding, padding)).unfold(2, height, 1).unfold(3, width, 1)

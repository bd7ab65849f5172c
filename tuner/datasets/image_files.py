"""Images that do not fit in memory: files, decoded batch by batch while the net trains."""

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from tuner.datasets.base import Data, Images, Statistics
from tuner.datasets.batches import Batch, Batches
from tuner.training.streams import global_stream

View = Callable[[Image.Image], Tensor]
"""What is shown of an image: RGB of any size to uint8 (3,S,S). A random one draws from torch's global generator."""

CHUNK = 256
"""Files that are taken together where all of them are looked at."""

EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Principal components of ImageNet's RGB values on the [0,1] scale, the vectors as columns: the constants of
facebook/fb.resnet.torch, datasets/imagenet.lua, which CutMix's code has too."""


def lighting(normals: Tensor, std: float) -> Tensor:
    """What the noise adds to each channel (N,3) of an image, on the [0,1] scale, for standard normals (N,3).

    Krizhevsky et al., NeurIPS 2012, section 4.1: [p1,p2,p3][a1 l1, a2 l2, a3 l3]^T with a ~ N(0, std^2), drawn once for
    an image; p and l are the eigenvectors and eigenvalues.
    """
    weights = normals * std * torch.tensor(EIGENVALUES)
    return (weights[:, None, :] * torch.tensor(EIGENVECTORS)).sum(2)


@dataclass(frozen=True)
class CropAndColor:
    """A random part of the image, resized; with `flip`, half of them mirrored; `color_jitter` is by how much
    brightness, contrast and saturation may each change, `lighting` the standard deviation of the colour noise."""

    flip: bool
    color_jitter: float
    lighting: float


def training_view(image_size: int, augmentation: CropAndColor) -> View:
    """All of the augmentation but the lighting, which is not uint8.

    Jittered colours are clipped to what a pixel can hold, as torchvision does; CutMix's code lets them leave [0,1].
    """
    # Importing torchvision takes seconds, which only those who stream should pay.
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomResizedCrop(image_size),
            v2.RandomHorizontalFlip(0.5 if augmentation.flip else 0.0),
            v2.ColorJitter(*3 * [augmentation.color_jitter]),
            v2.PILToTensor(),
        ]
    )


def evaluation_view(image_size: int) -> View:
    """The centre square, from an image resized as ImageNet's are: the shorter side 256 where the square has 224."""
    from torchvision.transforms import v2

    return v2.Compose([v2.Resize(round(image_size * 256 / 224)), v2.CenterCrop(image_size), v2.PILToTensor()])


def read_rgb(path: str) -> Image.Image:
    """The image in RGB, whatever the file's colours; ValueError where it is broken."""
    try:
        with Image.open(path) as file:
            return file.convert("RGB")
    except Exception as fault:  # what a broken file raises depends on its format: OSError, SyntaxError, ...
        raise ValueError(f"{path} cannot be decoded as an image ({fault}); replace or remove it") from fault


@dataclass(frozen=True, eq=False)
class ImageFiles(Images):
    """Image files of any size and colours, seen as squares of `image_size` pixels in RGB.

    `names` are paths below `folder`, as bytes in one NumPy array (N,): a list of a million strings would be copied by
    every process that decodes. Labels are int64 (N,), on the CPU; `workers` processes decode (0: the calling one), and
    batches come on `device`.
    """

    folder: str
    names: np.ndarray
    labels: Tensor
    image_size: int
    workers: int
    device: torch.device | str = "cpu"

    def __post_init__(self):
        if self.labels.dtype != torch.int64 or self.labels.shape != self.names.shape:
            raise ValueError(
                f"labels must be int64 {self.names.shape}, one for each file, "
                f"got {self.labels.dtype} {tuple(self.labels.shape)}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.image_size, self.image_size

    def path(self, row: int) -> str:
        return os.path.join(self.folder, os.fsdecode(self.names[row]))

    def take(self, indices: Tensor) -> "ImageFiles":
        return replace(self, names=self.names[indices.numpy()], labels=self.labels[indices])

    def to(self, device: torch.device | str) -> "ImageFiles":
        return replace(self, device=device)

    def digest(self) -> str:
        """SHA-256 (hex) of the shape, and of every file's name, size in bytes and label.

        Not of the pixels: to read ImageNet takes as long as an epoch, before every campaign. A file that was replaced
        by another of the same size goes unnoticed.
        """
        sha = hashlib.sha256(repr((len(self), *self.shape)).encode())
        # Threads, because a network's file system lets each of a million questions wait.
        with ThreadPoolExecutor() as pool:
            for chunk in pool.map(self._names_and_sizes, range(0, len(self), CHUNK)):
                sha.update(repr(chunk).encode())
        sha.update(self.labels.numpy())
        return sha.hexdigest()

    def statistics(self) -> Statistics:
        """Mean and population standard deviation of each channel, on the [0,1] scale, of the images as evaluated.

        Every image is decoded. A constant channel has standard deviation 1.
        """
        sums, squares = torch.zeros(2, 3, dtype=torch.int64)
        chunks = torch.arange(len(self)).split(CHUNK)
        for pixels in self.decoded(chunks, evaluation_view(self.image_size)):
            values = pixels.long()
            sums += values.sum((0, 2, 3))
            squares += (values**2).sum((0, 2, 3))
        sums, squares, count = sums.tolist(), squares.tolist(), len(self) * self.image_size**2
        # Whole numbers under the root, so that a constant channel is told exactly.
        roots = (math.sqrt(count * square - total**2) for total, square in zip(sums, squares, strict=True))
        return tuple(total / count / 255 for total in sums), tuple(root / count / 255 or 1.0 for root in roots)

    def batches(self, data: Data, batch_size: int, train: bool) -> "StreamedBatches":
        return StreamedBatches(self, data, batch_size, train)

    def decoded(self, batches: Sequence[Tensor], view: View, seed: int = 0) -> Iterator[Tensor]:
        """The pixels uint8 (B,3,S,S) of the images at each of `batches`, int64 (B,), in that order.

        What a random view draws for an image depends on `seed` and the image's index alone. The processes end with the
        iterator, closed early or not.

        Raises:
            ValueError: a file is broken.
            RuntimeError: a process died.
        """
        loader = DataLoader(
            Decoder(self, view, seed),
            # Whole batches are asked for, each when its turn comes: no list as long as the data set.
            sampler=(rows.tolist() for rows in batches),
            batch_size=None,
            num_workers=min(self.workers, len(batches)),
            pin_memory=torch.device(self.device).type == "cuda",
            # Nothing here draws from it; without one, DataLoader would draw from torch's global generator.
            generator=torch.Generator(),
        )
        iterator = iter(loader)
        try:
            for pixels in iterator:
                if isinstance(pixels, ValueError):
                    raise pixels
                yield pixels
        except RuntimeError as fault:
            if not str(fault).startswith("DataLoader worker"):
                raise
            raise RuntimeError(
                f"a process that decodes images died ({fault}); as a rule memory, or shared memory in /dev/shm, ran "
                "out: lower the data set's workers, or give the trial more memory; the same command goes on"
            ) from fault
        finally:
            if loader.num_workers:
                # DataLoader has no public way to end its processes: they would live on as long as a traceback does.
                iterator._shutdown_workers()

    def _names_and_sizes(self, start: int) -> list[tuple[bytes, int]]:
        rows = range(start, min(start + CHUNK, len(self)))
        return [(bytes(self.names[row]), os.stat(self.path(row)).st_size) for row in rows]


@dataclass(frozen=True)
class Decoder:
    """Reads batches of images: what DataLoader calls a map-style data set, and runs in its processes."""

    files: ImageFiles
    view: View
    seed: int

    def __getitem__(self, rows: Sequence[int]) -> Tensor | ValueError:
        views = []
        for row in rows:
            try:
                image = read_rgb(self.files.path(row))
            except ValueError as broken:
                # Sent, not raised: DataLoader would bury the sentence in a traceback of this process.
                return broken
            with global_stream(self.seed, "image", row):
                views.append(self.view(image))
        return torch.stack(views)


class StreamedBatches(Batches):
    """Batches of image files. Processes decode and augment ahead; bytes travel, and become numbers on the device."""

    def __init__(self, files: ImageFiles, data: Data, batch_size: int, train: bool):
        super().__init__(len(files), batch_size, train)
        self.files = files
        self.augmentation: CropAndColor = data.augmentation
        self.view = training_view(files.image_size, data.augmentation) if train else evaluation_view(files.image_size)
        self.mean, self.std = (torch.tensor(channels, device=files.device) for channels in (data.mean, data.std))

    def _in_order(self, slices: Sequence[slice]) -> Iterator[Batch]:
        rows = torch.arange(len(self.files))
        batches = [rows[batch] for batch in slices]
        for chosen, pixels in zip(batches, self.files.decoded(batches, self.view), strict=True):
            yield self._batch(pixels, chosen, self.mean)

    def _shuffled(self, slices: Sequence[slice], generator: torch.Generator) -> Iterator[Batch]:
        count = len(self.files)
        order = torch.randperm(count, generator=generator)
        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        normals = torch.randn(count, 3, generator=generator)
        batches = [order[batch] for batch in slices]
        for chosen, pixels in zip(batches, self.files.decoded(batches, self.view, seed), strict=True):
            noise = lighting(normals[chosen], self.augmentation.lighting).to(self.files.device, non_blocking=True)
            # To add noise to an image is to subtract as much less of the mean.
            yield self._batch(pixels, chosen, self.mean - noise)

    def _batch(self, pixels: Tensor, chosen: Tensor, mean: Tensor) -> Batch:
        """Normalised pixels with their labels, on the device; `mean` is one for all (3,) or one for each (B,3)."""
        device = self.files.device
        images = pixels.to(device, non_blocking=True).to(torch.float32)
        images.sub_(255 * mean.view(-1, 3, 1, 1)).div_(255 * self.std.view(3, 1, 1))
        return images, self.files.labels[chosen].to(device, non_blocking=True)

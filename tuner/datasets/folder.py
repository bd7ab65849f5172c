"""Any ImageFolder tree with train/ and test/."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, final

import numpy as np
import torch
from PIL import Image, ImageOps
from pydantic import Field

from tuner.datasets.cache import cached
from tuner.datasets.image_files import read_rgb
from tuner.datasets.image_set import ImageSet, TensorDataset
from tuner.datasets.root import Root, files_key

logger = logging.getLogger(__name__)

# Own listing and decoding instead of torchvision's (a test holds them equal): importing torchvision takes a worker
# longer than many a trial.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@final
class Folder(TensorDataset):
    """A tree root/{train,test}/<class>/**/<image>, read as torchvision's ImageFolder reads it, in RGB.

    The classes are the folders' names, sorted. Images are decoded once and cached as uint8, so they must fit in memory.
    """

    name: Literal["folder"] = "folder"
    root: Root = Field(description="the folder that holds train/ and test/")
    image_size: int | None = Field(
        None, ge=1, description="side of the centre square that images are resized to, in pixels; none: as they are"
    )

    def class_names(self) -> tuple[str, ...]:
        """The names of the folders in train/; reads no image, and nothing of test/."""
        return class_folders(self.root, "train", self._layout())

    def training_pool(self) -> ImageSet:
        return self._read("train")

    def test_set(self) -> ImageSet:
        """The images of test/. Raises ValueError where its classes are not those of train/."""
        same_classes(self.root, "train", "test", self._layout())
        return self._read("test")

    def _layout(self) -> str:
        return f"{self.root}/train/<class>/<image> and {self.root}/test/<class>/<image>: create it, or correct root"

    def _read(self, part: str) -> ImageSet:
        names, folder = self.class_names(), os.path.join(self.root, part)
        files = [list_images(os.path.join(folder, name)) for name in names]
        paths = [path for class_files in files for path in class_files]
        labels = torch.repeat_interleave(torch.tensor([len(class_files) for class_files in files]))
        source = {"root": os.path.realpath(self.root), "part": part, "image_size": self.image_size}
        return cached(
            key=files_key(source, folder, paths),
            about={**source, "class_names": names},
            decode=lambda: ImageSet(torch.from_numpy(decode(paths, self.image_size)), labels),
        )


def class_folders(root: str, part: str, layout: str) -> tuple[str, ...]:
    """The names of the folders root/part/<class>, sorted; ValueError, which tells the layout, where there are none."""
    folder = Path(root, part)
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()) if folder.is_dir() else []
    if not names:
        raise ValueError(
            f"{folder} must hold one folder of images for each class, got "
            f"{'none there' if folder.is_dir() else 'no such folder'}; the layout is {layout}"
        )
    return tuple(names)


def same_classes(root: str, train: str, test: str, layout: str) -> None:
    """Raises ValueError where two parts of a tree do not hold the same classes."""
    one, other = (set(class_folders(root, part, layout)) for part in (train, test))
    if one != other:
        raise ValueError(
            f"{root}: {train}/ and {test}/ must hold the same classes, got "
            f"only in {train}: {sorted(one - other) or 'none'}, only in {test}: {sorted(other - one) or 'none'}; "
            "rename or remove folders"
        )


def list_images(folder: str) -> list[str]:
    """The paths of the images anywhere under a class's folder, in a fixed order; ValueError where there is none."""
    paths = [
        os.path.join(parent, name)
        for parent, _, names in sorted(os.walk(folder, followlinks=True))
        for name in sorted(names)
        if name.lower().endswith(SUFFIXES)
    ]
    if not paths:
        raise ValueError(f"{folder} must hold images ({' '.join(SUFFIXES)}), got none; add some or remove the folder")
    return paths


def decode(paths: Sequence[str], image_size: int | None) -> np.ndarray:
    """The images as one uint8 array (N,3,H,W); ValueError where one is broken, or of another size than the first."""
    logger.info("decoding %d images under %s", len(paths), os.path.commonpath(paths))
    first = _decode(paths[0], image_size)
    images = np.empty((len(paths), *first.shape), np.uint8)
    with ThreadPoolExecutor() as pool:
        # Threads help only where libjpeg, without the interpreter's lock, is most of the work: from some 16 KiB a file.
        spread = pool.map if os.path.getsize(paths[0]) > 16 * 1024 else map
        for path, slot, image in zip(paths, images, spread(lambda path: _decode(path, image_size), paths), strict=True):
            if image.shape != first.shape:
                raise ValueError(
                    "all images must have one size (height, width), got "
                    f"{first.shape[1:]} in {paths[0]} and {image.shape[1:]} in {path}; set image_size to resize them"
                )
            slot[:] = image
    return images


def _decode(path: str, image_size: int | None) -> np.ndarray:
    image = read_rgb(path)
    if image_size is not None:
        # Shorter side to image_size, centre crop, antialiased: in one resampling of the centre square.
        image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)

"""Tiny-ImageNet (Le and Yang, 2015)."""

import os
from pathlib import Path
from typing import ClassVar, Literal, NoReturn, final

import torch
from pydantic import Field

from tuner.datasets.base import Images, Statistics
from tuner.datasets.cache import cached
from tuner.datasets.folder import decode
from tuner.datasets.image_set import ImageSet, TensorDataset
from tuner.datasets.root import Root, files_key
from tuner.paper import Paper

ADDRESS = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
LAYOUT = ("wnids.txt", "words.txt", "train/<wnid>/images/*.JPEG", "val/val_annotations.txt", "val/images/*.JPEG")


@final
class TinyImageNet(TensorDataset):
    """Tiny-ImageNet: 100,000 images to train, the 10,000 of val/ to test; 200 classes, 64 pixels.

    The published test images have no labels; chandar-lab/PatchUp, data_loader.py, tests on val/ as well. From there
    come the augmentation and the normalisation of pixels to -1..1. Labels number the sorted WordNet ids, as
    torchvision's ImageFolder does on train/; grey images become RGB.
    """

    name: Literal["tiny_imagenet"] = "tiny_imagenet"
    paper: ClassVar[Paper | None] = Paper(
        title="Tiny ImageNet Visual Recognition Challenge",
        authors="Le and Yang",
        venue="Stanford CS 231N 2015",
        url="http://cs231n.stanford.edu/reports/2015/pdfs/yle_project.pdf",
    )

    root: Root = Field(description="the unpacked folder, which holds wnids.txt, words.txt, train/ and val/")
    crop_padding: int = Field(
        4, ge=0, description="black border of the random crop, in pixels (chandar-lab/PatchUp, data_loader.py: 4)"
    )

    def class_names(self) -> tuple[str, ...]:
        """The words of each WordNet id, as in "Egyptian cat"."""
        words = dict(line.split("\t", 1) for line in self._lines("words.txt"))
        if unknown := [wnid for wnid in self._wnids() if wnid not in words]:
            self._refuse(f"no words for {', '.join(unknown)} in words.txt")
        return tuple(words[wnid] for wnid in self._wnids())

    def training_pool(self) -> ImageSet:
        wnids = self._wnids()
        paths = [
            sorted(str(path) for path in Path(self.root, "train", wnid, "images").glob("*.JPEG")) for wnid in wnids
        ]
        counts = [len(class_paths) for class_paths in paths]
        # The archive has 500 of every class: fewer in one are an unpacking that was cut short.
        if min(counts) < max(counts) or not max(counts):
            fewest = wnids[counts.index(min(counts))]
            self._refuse(f"{min(counts)} images in train/{fewest}/images and up to {max(counts)} in other classes")
        labels = torch.arange(len(wnids)).repeat_interleave(max(counts))
        return self._read("train", [path for class_paths in paths for path in class_paths], labels)

    def test_set(self) -> ImageSet:
        labels = {wnid: label for label, wnid in enumerate(self._wnids())}
        rows = [line.split("\t") for line in self._lines("val/val_annotations.txt")]
        if wrong := [row for row in rows if len(row) < 2 or row[1] not in labels]:
            self._refuse(f"the line {' '.join(wrong[0])!r} in val/val_annotations.txt")
        paths = [os.path.join(self.root, "val", "images", row[0]) for row in rows]
        if missing := [path for path in paths if not os.path.isfile(path)]:
            self._refuse(f"no {missing[0]} and {len(missing) - 1} other images of val/val_annotations.txt")
        return self._read("val", paths, torch.tensor([labels[row[1]] for row in rows]))

    def statistics(self, pool: Images) -> Statistics:
        return (0.5,) * 3, (0.5,) * 3

    def classes(self) -> int:
        return len(self._wnids())

    def _wnids(self) -> list[str]:
        return sorted(self._lines("wnids.txt"))

    def _lines(self, file: str) -> list[str]:
        path = Path(self.root, file)
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if not lines:
            self._refuse(f"no {path}, or an empty one")
        return lines

    def _refuse(self, got: str) -> NoReturn:
        raise ValueError(
            f"{self.root} must hold {', '.join(LAYOUT)}, got {got}; unpack {ADDRESS} (again), and let root be the "
            "folder tiny-imagenet-200 that comes out"
        )

    def _read(self, part: str, paths: list[str], labels: torch.Tensor) -> ImageSet:
        source = {"dataset": self.name, "root": os.path.realpath(self.root), "part": part}
        # With the labels: those of val/ stand in a file of their own.
        return cached(
            key=files_key({**source, "labels": labels.tolist()}, self.root, paths),
            about={**source, "class_names": self.class_names()},
            decode=lambda: ImageSet(torch.from_numpy(decode(paths, image_size=None)), labels),
        )

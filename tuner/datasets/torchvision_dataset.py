"""Data sets that torchvision downloads, verifies and reads."""

import logging
import os
from abc import abstractmethod
from tempfile import TemporaryDirectory
from typing import ClassVar, Literal, get_args

from pydantic import Field

from tuner.datasets.cache import cached
from tuner.datasets.image_set import ImageSet, TensorDataset
from tuner.datasets.root import Root, files_key

logger = logging.getLogger(__name__)

Part = Literal["train", "test"]


class TorchvisionDataset(TensorDataset):
    """A data set in torchvision's own files under `root`. Their checksums are verified before anything is unpickled.

    Images are decoded once and cached: importing torchvision takes a process seconds, and only the first one pays.
    """

    without_effect: ClassVar[frozenset[str]] = frozenset({"download"})

    crop_padding: int = Field(
        2, ge=0, description="black border of the random crop, in pixels (chandar-lab/PatchUp, data_loader.py: 2)"
    )
    root: Root = Field(description="the folder that the files are in, or are downloaded to")
    download: bool = Field(False, description="download what is missing into root")

    def at_hand(self) -> bool:
        return not self.download or not self._missing(self._files("train"))

    def training_pool(self) -> ImageSet:
        return self._read("train")

    def test_set(self) -> ImageSet:
        return self._read("test")

    @abstractmethod
    def _files(self, part: Part) -> tuple[str, ...]:
        """The files below root that it takes to read this part, none of which holds images of the other."""

    @abstractmethod
    def _by_hand(self, part: Part) -> str:
        """What puts these files in place without `download`, as in "unpack <address> there"."""

    @abstractmethod
    def _decode(self, part: Part, root: str, download: bool) -> ImageSet:
        """The part as torchvision reads it below `root`; RuntimeError where a checksum is not the published one."""

    def _read(self, part: Part) -> ImageSet:
        files = self._files(part)
        if self.download and self._missing(files):
            self._fetch(part)
        if missing := self._missing(files):
            raise ValueError(
                f"{self.root} must hold {', '.join(files)}, got "
                f"{'none of them' if len(missing) == len(files) else 'no ' + ', '.join(missing)}; "
                f"set download: true, or {self._by_hand(part)}, or correct root"
            )
        source = {"dataset": self.name, "root": os.path.realpath(self.root), "part": part}
        return cached(
            key=files_key(source, self.root, [os.path.join(self.root, file) for file in files]),
            about={**source, "class_names": self.class_names()},
            decode=lambda: self._verified(part),
        )

    def _missing(self, files: tuple[str, ...]) -> list[str]:
        return [file for file in files if not os.path.isfile(os.path.join(self.root, file))]

    def _verified(self, part: Part) -> ImageSet:
        try:
            return self._decode(part, self.root, download=False)
        except RuntimeError as fault:
            raise ValueError(
                f"{self.root}: {', '.join(self._files(part))} must be the published files, got another checksum "
                f"({fault}); remove them, then set download: true or {self._by_hand(part)}"
            ) from fault

    def _fetch(self, part: Part) -> None:
        """Downloads beside the files' places and moves them in whole: another process never sees half of one."""
        logger.info("downloading %s to %s", self.name, self.root)
        try:
            os.makedirs(self.root, exist_ok=True)
            with TemporaryDirectory(dir=self.root, prefix="download-") as folder:
                self._decode(part, folder, download=True)
                # CIFAR's archive holds both parts: what came along need not come again. Moving is not reading.
                both = dict.fromkeys(file for each in get_args(Part) for file in self._files(each))
                came = [file for file in both if os.path.isfile(os.path.join(folder, file))]
                for file in self._missing(tuple(came)):
                    place = os.path.join(self.root, file)
                    os.makedirs(os.path.dirname(place), exist_ok=True)
                    os.replace(os.path.join(folder, file), place)
        except (OSError, RuntimeError) as fault:
            raise ValueError(
                f"{self.name} cannot be downloaded to {self.root} ({fault}); try again, or {self._by_hand(part)}"
            ) from fault

"""A machine holds a cached data set once, however many processes train on it."""

import os
import sys
from itertools import chain
from multiprocessing import get_context
from typing import Literal

import pytest
import torch

from tuner.datasets import search_data
from tuner.datasets.cache import cached
from tuner.datasets.image_set import ImageSet, TensorDataset
from tuner.datasets.split import Split

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux's smaps_rollup")

IMAGES, SHAPE = 60_000, (3, 32, 32)
MEGABYTES = IMAGES * 3 * 32 * 32 / 1e6


class Noise(TensorDataset):
    """Random images, which nothing can compress or share by chance."""

    name: Literal["noise"] = "noise"

    def class_names(self):
        return tuple("0123456789")

    def training_pool(self):
        return cached("noise", {}, decoded)

    def test_set(self):
        raise AssertionError("no search reads it")


def decoded() -> ImageSet:
    images = torch.randint(256, (IMAGES, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(images, torch.arange(IMAGES) % 10)


def proportional() -> float:
    """Megabytes of this process's memory, a page that n processes share counted as a n-th of one."""
    with open("/proc/self/smaps_rollup") as file:
        [line] = (line for line in file if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024 / 1e6


def train(cache, everyone, grown) -> None:
    """All that a run does with its images: the split, normalisation's statistics, an epoch, a look at validation."""
    os.environ["REGTUNE_CACHE"] = str(cache)
    torch.set_num_threads(1)
    everyone.wait(timeout=120)
    before = proportional()
    everyone.wait(timeout=120)
    data = search_data(Noise(), Split(validation_per_class=1000)).to("cpu")
    batches = data.train.batches(data, 128, train=True)
    looks = data.validation.batches(data, 128, train=False)
    for images, _ in chain(batches.epoch(torch.Generator().manual_seed(os.getpid())), looks.epoch()):
        assert images.dtype == torch.float32
    everyone.wait(timeout=120)
    grown.put(proportional() - before)
    everyone.wait(timeout=120)  # nobody leaves before all have measured


def grown_together(processes: int, cache) -> float:
    """Megabytes that so many processes take together for training on one data set."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    everyone, grown = context.Barrier(processes), context.Queue()
    all_of_them = [context.Process(target=train, args=(cache, everyone, grown), daemon=True) for _ in range(processes)]
    for process in all_of_them:
        process.start()
    total = sum(grown.get(timeout=120) for _ in all_of_them)
    for process in all_of_them:
        process.join()
    return total


def test_processes_that_train_on_one_data_set_hold_it_once(tmp_path, monkeypatch):
    # The server of the processes imports this module, and only PYTHONPATH tells it where to look.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("REGTUNE_CACHE", str(tmp_path))
    cached("noise", {}, decoded)
    one, three = grown_together(1, tmp_path), grown_together(3, tmp_path)
    assert one > 0.9 * MEGABYTES  # it was read, and the measure sees it
    assert three < one + 0.5 * MEGABYTES

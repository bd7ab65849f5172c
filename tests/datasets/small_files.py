"""Small data sets in the files of the real ones, whose checksums torchvision is then made to expect.

Every writer returns what it wrote: for each part the images uint8 (N,3,H,W), and the labels as the files have them.
"""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import torchvision.datasets
from PIL import Image
from scipy.io import savemat

from tuner.datasets.cifar import CIFAR10, CIFAR100

Written = dict[str, tuple[np.ndarray, np.ndarray]]


def pictures(seed: int, count: int, side: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), dtype=np.uint8)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def _dump(content: dict, path: Path) -> list[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
    return [path.name, md5(path)]


def _rows(images: np.ndarray) -> np.ndarray:
    """Each image as one row: 1,024 values of red, then of green, then of blue, line by line."""
    return images.reshape(len(images), 3072)


def write_cifar10(root: Path, monkeypatch) -> Written:
    """Five training batches and one test batch of ten images, one of each class."""
    folder, lists, written = root / "cifar-10-batches-py", {}, {}
    for seed, (part, names) in enumerate(
        {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}.items()
    ):
        images = pictures(seed, 10 * len(names), 32)
        labels = np.concatenate([np.random.default_rng(batch).permutation(10) for batch in range(len(names))])
        lists[part] = [
            _dump(
                {
                    "batch_label": name,
                    "labels": labels[10 * batch : 10 * batch + 10].tolist(),
                    "data": _rows(images[10 * batch : 10 * batch + 10]),
                    "filenames": [f"{batch}_{number}.png" for number in range(10)],
                },
                folder / name,
            )
            for batch, name in enumerate(names)
        ]
        written[part] = images, labels
    names = CIFAR10(root=str(root)).class_names()
    meta = _dump({"num_cases_per_batch": 10, "label_names": list(names), "num_vis": 3072}, folder / "batches.meta")
    _expect(monkeypatch, torchvision.datasets.CIFAR10, lists, meta)
    return written


def write_cifar100(root: Path, monkeypatch) -> Written:
    """Two training images and one test image of each fine class."""
    folder, lists, written = root / "cifar-100-python", {}, {}
    for seed, (part, count) in enumerate({"train": 200, "test": 100}.items()):
        images, labels = pictures(seed, count, 32), np.random.default_rng(seed).permutation(count) % 100
        content = {
            "filenames": [f"{number}.png" for number in range(count)],
            "batch_label": f"{part}ing batch 1 of 1",
            "fine_labels": labels.tolist(),
            "coarse_labels": (labels // 5).tolist(),
            "data": _rows(images),
        }
        lists[part] = [_dump(content, folder / part)]
        written[part] = images, labels
    names = CIFAR100(root=str(root)).class_names()
    meta = _dump({"fine_label_names": list(names), "coarse_label_names": ["many"] * 20}, folder / "meta")
    _expect(monkeypatch, torchvision.datasets.CIFAR100, lists, meta)
    return written


def _expect(monkeypatch, source: type, lists: dict, meta: list[str]) -> None:
    monkeypatch.setattr(source, "train_list", lists["train"])
    monkeypatch.setattr(source, "test_list", lists["test"])
    monkeypatch.setattr(source, "meta", source.meta | {"md5": meta[1]})


def write_svhn(root: Path, monkeypatch) -> Written:
    """Matlab files with X (32,32,3,N) and y (N,1) from 1 to 10: three training images and two test images a digit."""
    root.mkdir(parents=True, exist_ok=True)
    written, expected = {}, {}
    for seed, (part, count) in enumerate({"train": 30, "test": 20}.items()):
        images, labels = pictures(seed, count, 32), np.random.default_rng(seed).permutation(count) % 10 + 1
        path = root / f"{part}_32x32.mat"
        savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None].astype(np.uint8)}, do_compression=True)
        expected[part] = [f"http://ufldl.stanford.edu/housenumbers/{path.name}", path.name, md5(path)]
        written[part] = images, labels
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", expected)
    return written


WNIDS = {"n02124075": "Egyptian cat", "n01443537": "goldfish, Carassius auratus", "n07749582": "lemon"}
"""In the order of wnids.txt, which is not the sorted one."""


def write_tiny_imagenet(root: Path, monkeypatch) -> Written:
    """Three classes with four training images and two of val/; the first image of each part is grey.

    JPEG loses pixels: the images returned are what Pillow reads. Labels number the sorted WordNet ids.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    others = {"n00001740": "entity", "n09999999": "words of no class here"}
    (root / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for wnid, words in sorted((others | WNIDS).items())))
    wnids, written = sorted(WNIDS), {"train": [], "test": []}
    for label, wnid in enumerate(wnids):
        for number, image in enumerate(pictures(label, 4, 64)):
            path = root / "train" / wnid / "images" / f"{wnid}_{number}.JPEG"
            written["train"].append((_jpeg(image, path, grey=label == number == 0), label))
        boxes = "".join(f"{wnid}_{number}.JPEG\t0\t0\t63\t63\n" for number in range(4))
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(boxes)
    lines = []
    for number, image in enumerate(pictures(9, 6, 64)):
        label = [2, 0, 1, 1, 2, 0][number]
        written["test"].append((_jpeg(image, root / f"val/images/val_{number}.JPEG", grey=number == 0), label))
        lines.append(f"val_{number}.JPEG\t{wnids[label]}\t0\t0\t63\t63\n")
    (root / "val/val_annotations.txt").write_text("".join(lines))
    return {part: tuple(map(np.array, zip(*rows, strict=True))) for part, rows in written.items()}


def _jpeg(image: np.ndarray, path: Path, grey: bool) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.transpose(1, 2, 0)).convert("L" if grey else "RGB").save(path, format="JPEG")
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB")).transpose(2, 0, 1)


def write_folder(root: Path, monkeypatch) -> Written:
    """Two classes with three training images and two test images each."""
    return _write_tree(root, {"train": ("train", 3), "test": ("test", 2)})


def write_imagenet(root: Path, monkeypatch) -> Written:
    """Two classes with three training images and two of val/ each."""
    return _write_tree(root, {"train": ("train", 3), "test": ("val", 2)})


def _write_tree(root: Path, parts: dict[str, tuple[str, int]]) -> Written:
    written = {}
    for seed, (part, (folder, count)) in enumerate(parts.items()):
        images = pictures(seed, 2 * count, 16)
        rows = [
            (_jpeg(image, root / folder / f"n0000000{number // count}" / f"{number}.JPEG", grey=False), number // count)
            for number, image in enumerate(images)
        ]
        written[part] = tuple(map(np.array, zip(*rows, strict=True)))
    return written
